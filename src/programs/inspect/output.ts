/** Standard output that may be closed by its reader, as `head` does, and the end by a signal. */

/** Writes text as fast as it is read. */
export interface LineWriter {
  /** False when the reader has gone: there is nothing more to do. */
  write(text: string): Promise<boolean>;
}

/** A writer for standard output. */
export function lineWriter(stream: NodeJS.WriteStream = process.stdout): LineWriter {
  let isClosed = false;
  stream.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error;
    isClosed = true;
  });
  return {
    write(text) {
      if (isClosed) return Promise.resolve(false);
      return new Promise((resolve) => {
        stream.write(text, (error) => resolve(error === undefined || error === null));
      });
    },
  };
}

/** The wish to end. */
export interface Ending {
  /** True as soon as there is the wish, false when it does not come within the time. */
  within(timeMs: number): Promise<boolean>;
}

/** Waits for SIGINT or SIGTERM, which then do not end the process by themselves. */
export function untilSignal(): Ending {
  let hasCome = false;
  let tell = (): void => undefined;
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.on(signal, () => {
      hasCome = true;
      tell();
    });
  }
  return {
    within(timeMs) {
      if (hasCome) return Promise.resolve(true);
      return new Promise((resolve) => {
        const timer = setTimeout(() => resolve(false), timeMs);
        tell = () => {
          clearTimeout(timer);
          resolve(true);
        };
      });
    },
  };
}
