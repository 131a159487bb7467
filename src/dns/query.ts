/**
 * A query on its way through a chain: the request as read from the wire plus who asked, where and
 * how. The server uses one object for request after request; a handler that answers later (returns
 * a promise) may keep it, since the server then copies the message and takes a new object.
 */

import type { IpAddress } from "../base/ip.js";
import type { Name } from "../wire/dns/name.js";
import { FLAG_CD, FLAG_RD, MESSAGE_MAX_BYTES, UDP_SIZE_MIN_BYTES } from "../wire/dns/numbers.js";
import { RequestView } from "../wire/dns/request.js";

export type Transport = "udp" | "tcp";

/** One end of a conversation. */
export interface Endpoint {
  readonly address: IpAddress;
  readonly port: number;
}

/** What the sockets know about a request. */
export interface Origin {
  readonly transport: Transport;
  readonly client: Endpoint;
  /** Address and port that the request was sent to. */
  readonly local: Endpoint;
}

const UNKNOWN_ENDPOINT: Endpoint = {
  address: { version: 4, bytes: new Uint8Array(4) },
  port: 0,
};
const UNKNOWN_ORIGIN: Origin = {
  transport: "udp",
  client: UNKNOWN_ENDPOINT,
  local: UNKNOWN_ENDPOINT,
};

/**
 * CNAME targets that are resolved through the server again may lead back to it; spec/resolver.md
 * 5.2 allows 8 steps for one client query.
 */
export const RESOLVE_DEPTH_MAX = 8;

/** One client query; see the file header for its lifetime. */
export class Query extends RequestView {
  origin: Origin = UNKNOWN_ORIGIN;
  /** Monotonic clock. */
  receivedAtMs = 0;
  /** 0 for a client's query, more for a CNAME target asked on its behalf. */
  depth = 0;

  get transport(): Transport {
    return this.origin.transport;
  }

  get client(): Endpoint {
    return this.origin.client;
  }

  get isRecursionDesired(): boolean {
    return (this.flags & FLAG_RD) !== 0;
  }

  get isCheckingDisabled(): boolean {
    return (this.flags & FLAG_CD) !== 0;
  }

  /** Largest reply that the client accepts; `blockSizeBytes` is the block's `bufsize`. */
  replySizeMax(blockSizeBytes: number): number {
    if (this.origin.transport === "tcp") return MESSAGE_MAX_BYTES;
    return Math.max(UDP_SIZE_MIN_BYTES, Math.min(this.ednsSizeBytes, blockSizeBytes));
  }

  /** A query for another name and type on behalf of the same client, as for a CNAME target. */
  derive(name: Name, type: number): Query {
    const inner = new Query();
    const bytes = new Uint8Array(12 + name.wire.length + 4);
    bytes.set(this.bytes.subarray(0, 4));
    bytes[5] = 1;
    bytes.set(name.wire, 12);
    bytes[bytes.length - 4] = type >>> 8;
    bytes[bytes.length - 3] = type;
    bytes[bytes.length - 1] = 1;
    inner.read(bytes, bytes.length);
    inner.hasEdns = this.hasEdns;
    inner.isDnssecOk = this.isDnssecOk;
    inner.ednsSizeBytes = this.ednsSizeBytes;
    inner.origin = this.origin;
    inner.receivedAtMs = this.receivedAtMs;
    inner.depth = this.depth + 1;
    return inner;
  }
}
