/** What POST /capture may be asked for, within which bounds. Shared by server and client. */

/** What may be asked for; what is left out is as in CAPTURE_DEFAULTS. */
export interface CaptureQuestion {
  readonly filter?: string;
  readonly format?: "pcapng" | "lines";
  /** Octets of each packet. */
  readonly snaplen?: number;
  /** Packets; both sides count. */
  readonly count?: number;
  readonly durationMs?: number;
  readonly bytes?: number;
  /** With the messages of the mapper socket; the filter is for packets alone. */
  readonly mapper?: boolean;
}

export const CAPTURE_DEFAULTS = {
  filter: "",
  format: "pcapng",
  snaplen: 65_535,
  count: 1_000_000,
  durationMs: 60_000,
  bytes: 100_000_000,
  mapper: false,
} as const satisfies Required<CaptureQuestion>;

/** The least and the most that a limit can be: a packet's headers, an hour, what a disk may hold. */
export const CAPTURE_BOUNDS = {
  snaplen: [64, 65_535],
  count: [1, 1_000_000_000],
  durationMs: [1, 24 * 3_600_000],
  bytes: [4096, 1_000_000_000_000],
} as const;
