/** What `POST /explain` and `GET /who` are asked and answer: JSON, shared by gateway and client. */

/** A packet named by its ends. Addresses and IPREF addresses as text. */
export interface ExplainFlow {
  /** An address, or an IPREF address such as "198.51.100.7 + 1025". */
  readonly source: string;
  readonly destination: string;
  /** Protocol number in the tunnel: 1 stands for ICMP of both versions. */
  readonly protocol: number;
  readonly port: number;
  readonly sourcePort: number;
  /** Octets of the IP packet in the local network; undefined: the smallest usual one. */
  readonly size?: number | undefined;
  /** It must not be fragmented (IPv4). */
  readonly df: boolean;
  /** A TCP SYN with the MSS option. */
  readonly syn: boolean;
}

/** A packet as it is, however malformed. */
export interface ExplainRaw {
  /** Hexadecimal. */
  readonly packet: string;
  /** Which side of the gateway it comes from. */
  readonly side: "local" | "tunnel";
  /** Outer source of a datagram; undefined: its source context. */
  readonly from?: string | undefined;
  readonly fromPort?: number | undefined;
}

export type ExplainQuestion = ExplainFlow | ExplainRaw;

/** One step of a packet through the gateway. */
export interface ExplainStep {
  readonly title: string;
  readonly result: "ok" | "note" | "drop";
  readonly text: string;
  /** Document and section that decide; empty where no rule does. */
  readonly rule: string;
}

/** A mapping that the packet meets. */
export interface ExplainMapping {
  readonly role: "ours" | "theirs";
  /** Absent where the mapper would choose it. */
  readonly address?: string | undefined;
  readonly ipref?: string | undefined;
  /** Who made it: "mapper", the hosts file, or a DNS source. */
  readonly owner?: string | undefined;
  readonly state: "pending" | "active" | "provisional" | "resting" | "would be created" | "none";
}

/** Where a packet to a remote gateway goes. */
export interface ExplainRoute {
  readonly gateway: string;
  readonly port: number;
  /** Largest tunnel packet in octets. */
  readonly packetBytesMax: number;
  readonly isNew: boolean;
  readonly isVerified: boolean;
  readonly portFrom: "heard" | "remembered" | "default";
}

/** A drop, with what it means. */
export interface ExplainDrop {
  readonly reason: string;
  readonly meaning: string;
  readonly causes: string;
  readonly fix: string;
}

/** How it ends. */
export interface ExplainVerdict {
  readonly kind: "delivered" | "answered" | "held" | "direct" | "dropped";
  /** One sentence. */
  readonly text: string;
  /** Of this packet; unless it is dropped, of an earlier one that was kept until it came. */
  readonly drop?: ExplainDrop | undefined;
  /** What the sender of a dropped packet is told, or why it is told nothing. */
  readonly told?: string | undefined;
}

/** The way of one packet. */
export interface ExplainReport {
  readonly direction: "outbound" | "inbound";
  /** The packet in one line. */
  readonly packet: string;
  readonly octets: number;
  readonly steps: readonly ExplainStep[];
  /** Which code would take it: a worker, the main thread, or the main thread after the store. */
  readonly path: "fast" | "slow" | "waits";
  readonly mappings: readonly ExplainMapping[];
  readonly route?: ExplainRoute | undefined;
  /** Octets of each datagram to the remote gateway. */
  readonly sentBytes: readonly number[];
  /** Octets of each packet to the local network. */
  readonly writtenBytes: readonly number[];
  readonly verdict: ExplainVerdict;
}

/** Who an address of the local network stands for. */
export interface WhoReport {
  readonly address: string;
  /** `gateway`: this gateway's own encoded address. */
  readonly role: "gateway" | "remote" | "local" | "unknown";
  readonly ipref?: string | undefined;
  readonly owner?: string | undefined;
  readonly state?: string | undefined;
  /** Of a remote host. */
  readonly route?: ExplainRoute | undefined;
  /** This gateway's own IPREF address, encoded address and settings. */
  readonly own: {
    readonly ipref: string;
    readonly encoded: string;
    readonly encodeNet: string;
    readonly tunnelVersion: 4 | 6;
    readonly bind: string;
    readonly mapperSocket: string;
  };
}
