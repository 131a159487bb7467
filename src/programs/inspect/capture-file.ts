/** The file of a capture: written as it arrives, with its progress on standard error. */

import { open } from "node:fs/promises";
import { BlockReader, type StreamBlock } from "../../capture/pcapng.js";
import { EXIT_IO_ERROR, EXIT_NO_PERMISSION, EXIT_OK, EXIT_UNAVAILABLE } from "../exit-status.js";

/** Captures are for those who may ask the gateway only. */
const FILE_MODE = 0o600;
const PROGRESS_MS = 500;

/** The file cannot be written; the message says why. */
export class FileRefused extends Error {
  override readonly name = "FileRefused";
  readonly exitStatus: number;

  constructor(message: string, exitStatus: number) {
    super(message);
    this.exitStatus = exitStatus;
  }
}

/** Where the octets go. */
interface Target {
  /** False when nobody reads any more. */
  write(piece: Uint8Array): Promise<boolean>;
  close(): Promise<void>;
}

/** Writes the stream; exit status. `stop` is called when nobody reads what is written. */
export async function writeCapture(
  file: string,
  stream: AsyncIterable<Uint8Array>,
  stop: () => void,
): Promise<number> {
  const target = file === "-" ? standardOutput() : await openFile(file);
  const progress = new Progress();
  const reader = new BlockReader();
  let isRead = true;
  try {
    for await (const piece of stream) {
      progress.take(reader.take(piece) ?? [], piece.length);
      if (!isRead) continue;
      isRead = await target.write(piece);
      if (!isRead) stop();
    }
  } finally {
    await target.close();
    progress.end();
  }
  if (progress.isComplete) return EXIT_OK;
  process.stderr.write("The capture broke off: the gateway has ended\n");
  return EXIT_UNAVAILABLE;
}

function standardOutput(): Target {
  let isClosed = false;
  process.stdout.on("error", () => {
    isClosed = true;
  });
  return {
    write: (piece) =>
      new Promise((resolve) => {
        if (isClosed) return resolve(false);
        process.stdout.write(piece, (error) => resolve(error === undefined || error === null));
      }),
    close: () => Promise.resolve(),
  };
}

async function openFile(path: string): Promise<Target> {
  try {
    const handle = await open(path, "w", FILE_MODE);
    return {
      async write(piece) {
        try {
          await handle.writeFile(piece);
        } catch (error) {
          throw refused(path, error);
        }
        return true;
      },
      close: () => handle.close(),
    };
  } catch (error) {
    throw refused(path, error);
  }
}

function refused(path: string, error: unknown): FileRefused {
  const code = (error as NodeJS.ErrnoException).code ?? String(error);
  const isDenied = code === "EACCES" || code === "EPERM" || code === "EROFS";
  const status = isDenied ? EXIT_NO_PERMISSION : EXIT_IO_ERROR;
  return new FileRefused(`Cannot write ${path}: ${code}`, status);
}

/** Counts what was captured and says so now and then. */
class Progress {
  #packets = 0;
  #lost = 0;
  #bytes = 0;
  #statistics = 0;
  #interfaces = 0;
  #toldMs = 0;

  /** True when the end of the capture was seen: the statistics of each interface. */
  get isComplete(): boolean {
    return this.#interfaces > 0 && this.#statistics === this.#interfaces;
  }

  take(blocks: readonly StreamBlock[], bytes: number): void {
    this.#bytes += bytes;
    for (const block of blocks) {
      if (block.kind === "packet") this.#packets++;
      else if (block.kind === "interface") this.#interfaces++;
      else if (block.kind === "statistics") {
        this.#statistics++;
        this.#lost += block.dropped;
      }
    }
    const nowMs = performance.now();
    if (!process.stderr.isTTY || nowMs - this.#toldMs < PROGRESS_MS) return;
    this.#toldMs = nowMs;
    process.stderr.write(`\r${this.#packets} packets, ${megabytes(this.#bytes)} MB `);
  }

  end(): void {
    const start = process.stderr.isTTY ? "\r" : "";
    const size = `${megabytes(this.#bytes)} MB`;
    process.stderr.write(
      `${start}${this.#packets} packets captured, ${this.#lost} lost, ${size}\n`,
    );
  }
}

function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(bytes < 1e7 ? 2 : 0);
}
