/** Who reads a program's log: the journal, a terminal or a program. systemd.exec(5). */

import { fstatSync } from "node:fs";
import { isatty } from "node:tty";
import type { LogFormat, LogFormatChoice } from "../control/log-format.js";

/** True when the descriptor leads to the journal: $JOURNAL_STREAM names its device and inode. */
export function isJournal(fd: number, stream: string | undefined): boolean {
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
  return isJournal(fd, process.env["JOURNAL_STREAM"]) ? "journal" : "text";
}

/** The form for the supervisor, which a program reads more often than not. */
export function supervisorLogFormat(choice: LogFormatChoice, fd: number): LogFormat {
  if (choice !== "auto") return choice;
  if (isJournal(fd, process.env["JOURNAL_STREAM"])) return "journal";
  return isatty(fd) ? "text" : "json";
}
