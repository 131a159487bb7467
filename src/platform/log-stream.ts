/** Who reads a program's log: the journal, a terminal or a program. systemd.exec(5). */

import { fstatSync, writeSync } from "node:fs";
import { isatty } from "node:tty";
import type { LogFormat, LogFormatChoice } from "../control/log-format.js";

/** Writes to standard error at once; a log that nobody can take is lost and stops nothing. */
export function writeLogLine(line: string): void {
  try {
    writeSync(process.stderr.fd, line);
  } catch {
    // EAGAIN of a full pipe, EPIPE of a closed one
  }
}

/** True when the descriptor leads to the journal: $JOURNAL_STREAM names its device and inode. */
export function isJournal(fd: number, { JOURNAL_STREAM: stream } = process.env): boolean {
  const match = /^([0-9]+):([0-9]+)$/.exec(stream ?? "");
  if (match === null) return false;
  try {
    const { dev, ino } = fstatSync(fd, { bigint: true });
    return dev === BigInt(match[1]!) && ino === BigInt(match[2]!);
  } catch {
    return false;
  }
}

/** The form for a descriptor. Programs of old write text unless the journal reads them. */
export function logFormatFor(choice: LogFormatChoice, fd: number): LogFormat {
  if (choice !== "auto") return choice;
  return isJournal(fd) ? "journal" : "text";
}

/** The form for the supervisor, which a program reads more often than not. */
export function supervisorLogFormat(choice: LogFormatChoice, fd: number): LogFormat {
  if (choice !== "auto") return choice;
  if (isJournal(fd)) return "journal";
  return isatty(fd) ? "text" : "json";
}
