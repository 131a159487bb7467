/**
 * The two ports of a forwarding worker: the TUN device and the tunnel socket. Implemented by
 * platform, and by doubles in tests. Packets lie in the worker's slab of the shared memory; a
 * batch names them by offset. Nothing is allocated per packet.
 */

/** What became of one message of `sendBatch`. */
export const SEND_DONE = 0;
/** The kernel refuses a packet of this size on the path. */
export const SEND_TOO_BIG = 1;
/** Another refusal, after retries. */
export const SEND_FAILED = 2;

/** Packets in a slab: parallel arrays, `count` of them valid. One object for the worker's life. */
export class PacketBatch {
  readonly capacity: number;
  count = 0;
  /** Byte offset of the packet; a multiple of 4. */
  readonly offsets: Int32Array;
  readonly lengths: Int32Array;
  /** Tunnel only: byte offset of the remote gateway's address (4 or 16 bytes, multiple of 4). */
  readonly addressOffsets: Int32Array;
  /** Tunnel only: UDP port of the remote gateway. */
  readonly ports: Int32Array;
  /** Filled by `sendBatch`: SEND_… of each message. */
  readonly outcomes: Uint8Array;

  constructor(capacity: number) {
    this.capacity = capacity;
    this.offsets = new Int32Array(capacity);
    this.lengths = new Int32Array(capacity);
    this.addressOffsets = new Int32Array(capacity);
    this.ports = new Int32Array(capacity);
    this.outcomes = new Uint8Array(capacity);
  }

  /** Appends a packet for the local network; the batch has room. */
  addLocal(offset: number, length: number): void {
    this.offsets[this.count] = offset;
    this.lengths[this.count] = length;
    this.count++;
  }

  /** Appends a packet for the tunnel; the batch has room. */
  addTunnel(offset: number, length: number, addressOffset: number, port: number): void {
    this.addressOffsets[this.count] = addressOffset;
    this.ports[this.count] = port;
    this.addLocal(offset, length);
  }
}

/** The TUN device: whole IP packets. */
export interface TunPort {
  /** Blocks until packets can be read. False: the worker is told to end. */
  waitReadable(): boolean;
  /** Fills the batch (offset and length) with the packets that wait, each in its own slot. */
  readBatch(batch: PacketBatch): void;
  /** Writes all packets of the batch, in order; returns how many the kernel refused. */
  writeBatch(batch: PacketBatch): number;
}

/** The tunnel socket: UDP datagrams. */
export interface TunnelPort {
  /** Blocks until datagrams can be received. False: the worker is told to end. */
  waitReadable(): boolean;
  /** True once after a wait that found news in the socket's error queue. */
  takeErrorNotice(): boolean;
  /** Fills the batch (offset, length, source address and port) with the datagrams that wait. */
  receiveBatch(batch: PacketBatch): void;
  /** Sends all packets of the batch, in order, and fills `outcomes`; returns how many failed. */
  sendBatch(batch: PacketBatch): number;
}
