/**
 * Packets that wait until a new mapping is stored. A mapping is given to nobody before it is on
 * disk (design: State), so the first packet of a new host is kept here, is offered again after
 * each commit, and is let go when there is no room. Bounded in packets and octets.
 */

const PACKETS_MAX = 1024;
const BYTES_MAX = 2 * 1024 * 1024;

/** `Packet` is whatever the owner needs to try again; the queue takes it. */
export class WaitingPackets<Packet> {
  #packets: Packet[] = [];
  #bytes = 0;

  get size(): number {
    return this.#packets.length;
  }

  /** True when a packet of `bytes` octets can be kept. */
  hasRoom(bytes: number): boolean {
    return this.#packets.length < PACKETS_MAX && this.#bytes + bytes <= BYTES_MAX;
  }

  /** Keeps a packet of `bytes` octets; false when there is no room. */
  add(packet: Packet, bytes: number): boolean {
    if (!this.hasRoom(bytes)) return false;
    this.#packets.push(packet);
    this.#bytes += bytes;
    return true;
  }

  /** All waiting packets in the order in which they came; the queue is empty afterwards. */
  takeAll(): readonly Packet[] {
    const packets = this.#packets;
    this.#packets = [];
    this.#bytes = 0;
    return packets;
  }
}
