/**
 * What a capture has written and its client has not taken yet: bounded, and read as an async
 * iterable. The writer never waits; a reader that stops closes the queue.
 */

/** Octets that may wait for the client. */
const WAITING_BYTES_MAX = 8 * 2 ** 20;

type Chunk = string | Uint8Array;

/** A queue with one writer and one reader. */
export class ChunkQueue implements AsyncIterable<Chunk> {
  #chunks: Chunk[] = [];
  #bytes = 0;
  #isEnded = false;
  #wake: (() => void) | undefined;

  /** Appends a chunk; false, and nothing is kept, when too much waits or the queue has ended. */
  push(chunk: Chunk): boolean {
    if (this.#isEnded || this.#bytes + chunk.length > WAITING_BYTES_MAX) return false;
    this.pushLast(chunk);
    return true;
  }

  /** Appends one of the few chunks of the end, however much waits. */
  pushLast(chunk: Chunk): void {
    if (this.#isEnded) return;
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
  }

  /** Lets the reader see what was pushed. */
  flush(): void {
    if (this.#chunks.length === 0 && !this.#isEnded) return;
    this.#wake?.();
    this.#wake = undefined;
  }

  /** Nothing more will be pushed. */
  end(): void {
    this.#isEnded = true;
    this.flush();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Chunk> {
    try {
      for (;;) {
        const chunks = this.#chunks;
        this.#chunks = [];
        this.#bytes = 0;
        if (chunks.length > 0) yield joined(chunks);
        else if (this.#isEnded) return;
        else {
          await new Promise<void>((resolve) => {
            this.#wake = resolve;
          });
        }
      }
    } finally {
      this.#isEnded = true;
      this.#chunks = [];
    }
  }
}

/** Chunks of one kind as one. */
function joined(chunks: readonly Chunk[]): Chunk {
  if (chunks.every((chunk) => typeof chunk === "string")) return chunks.join("");
  const pieces = chunks.map((chunk) =>
    typeof chunk === "string" ? new TextEncoder().encode(chunk) : chunk,
  );
  const bytes = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}
