/** The interface of kernels that translate whole batches; see translation.ts. */

/** What stays fixed, and where things lie: byte offsets into the shared memory. */
export interface TranslatorPlan {
  readonly localVersion: 4 | 6;
  readonly tunnelVersion: 4 | 6;
  /** Option -dec-ttl (spec/tunnel.md 3.1). */
  readonly decrementTtl: boolean;
  readonly carriesTcp: boolean;
  readonly carriesUdp: boolean;
  readonly carriesIcmp: boolean;
  /** Own public address, padded to 16 bytes. */
  readonly publicOffset: number;
  /** Room for a header of 80 bytes and for two references of 16 bytes. */
  readonly headerOffset: number;
  readonly referencesOffset: number;
  /** The set of narrow destinations of the control block. */
  readonly narrowOffset: number;
  readonly identificationsOffset: number;
  /** Entries, index slots and number of slots of the peer table. */
  readonly peersOffset: number;
  readonly peerSlotsOffset: number;
  readonly peersMax: number;
  readonly peerSlots: number;
}

/** Translates packets of one worker. */
export interface Translator {
  /** Once, before anything else. */
  plan(plan: TranslatorPlan): void;
  /** Fills the results of the first `count` entries of the job at `entries`. */
  egress(entries: number, count: number, hasDeviceHeader: boolean, nowSeconds: number): void;
  /**
   * The datagram at `offset` (a multiple of 4): offset of the native packet that it has become, or
   * 0 when the slow path must take it.
   */
  ingress(
    offset: number,
    length: number,
    sourceOffset: number,
    port: number,
    isPublicKnown: boolean,
    nowSeconds: number,
  ): number;
}
