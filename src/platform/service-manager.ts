/**
 * Notices to the service manager, sd_notify(3) and systemd.service(5) of systemd 252: datagrams of
 * lines NAME=VALUE to the UNIX socket named by NOTIFY_SOCKET, and the watchdog of
 * sd_watchdog_enabled(3). Main thread. Without a service manager every call does nothing.
 *
 * A notice that cannot be sent is lost without a word: the service manager may be restarting, and
 * nothing here depends on it.
 */

import * as libc from "./libc.js";
import { allocateMemory } from "./memory.js";

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const MSG_NOSIGNAL = 0x4000;
const SOL_SOCKET = 1;
const SO_SNDTIMEO = 21;
/** struct timeval: seconds 8, microseconds 8. */
const TIMEVAL_LENGTH = 16;
/** A full queue of the service manager may hold the main thread up this long, and no longer. */
const SEND_TIME_MAX_MS = 100;
/** sun_path of unix(7) has 108 bytes; a path ends with a zero byte, an abstract name does not. */
const SUN_PATH = 2;
const SUN_PATH_BYTES = 108;
/** The status of `systemctl status` is one line. */
const STATUS_LENGTH_MAX = 256;

/** What the service manager is told. */
export interface ServiceManager {
  /** False: nobody listens. */
  readonly isPresent: boolean;
  /** Time after which the service manager ends a silent service; undefined: it does not. */
  readonly watchdogMs: number | undefined;
  /** Started, or done with reloading. */
  ready(status: string): void;
  /** What `systemctl status` shows. */
  status(text: string): void;
  /** A reload begins; `ready` ends it. */
  reloading(status: string): void;
  /** The service is about to end. */
  stopping(status: string): void;
  /** The service is alive. */
  feedWatchdog(): void;
}

/** Environment of a process; `process.env` has this form. */
export type Environment = Record<string, string | undefined>;

/**
 * The service manager of this process. Takes its variables out of `environment`, so that programs
 * started later do not speak in this one's name.
 */
export function takeServiceManager(environment: Environment, pid: number): ServiceManager {
  const { NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID } = environment;
  for (const name of ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"]) delete environment[name];
  const address = socketAddress(NOTIFY_SOCKET ?? "");
  const tell = (...lines: string[]): void => {
    if (address !== undefined) sendNotice(address, lines.join("\n"));
  };
  const isOurs = WATCHDOG_PID === undefined || WATCHDOG_PID === String(pid);
  const watchdogMs = isOurs && address !== undefined ? millisecondsOf(WATCHDOG_USEC) : undefined;
  return {
    isPresent: address !== undefined,
    watchdogMs,
    ready: (status) => tell("READY=1", statusLine(status)),
    status: (text) => tell(statusLine(text)),
    reloading: (status) => tell("RELOADING=1", monotonicLine(), statusLine(status)),
    stopping: (status) => tell("STOPPING=1", statusLine(status)),
    feedWatchdog: () => tell("WATCHDOG=1"),
  };
}

/** One line without control characters, cut where it is too long. */
function statusLine(text: string): string {
  const plain = text.replaceAll(/\p{Cc}/gu, " ");
  return `STATUS=${plain.slice(0, STATUS_LENGTH_MAX)}`;
}

/** CLOCK_MONOTONIC in microseconds, which is what `hrtime` counts on Linux. */
function monotonicLine(): string {
  return `MONOTONIC_USEC=${process.hrtime.bigint() / 1000n}`;
}

function millisecondsOf(microseconds: string | undefined): number | undefined {
  if (microseconds === undefined || !/^[1-9][0-9]{0,15}$/.test(microseconds)) return undefined;
  return Number(microseconds) / 1000;
}

/**
 * struct sockaddr_un of a path, or of an abstract name behind `@`; undefined for anything else, as
 * sd_notify(3) refuses it.
 */
function socketAddress(name: string): Uint8Array | undefined {
  const bytes = new TextEncoder().encode(name);
  const isAbstract = name.startsWith("@");
  const room = SUN_PATH_BYTES - (isAbstract ? 0 : 1);
  if (!(isAbstract || name.startsWith("/")) || bytes.length < 2 || bytes.length > room) {
    return undefined;
  }
  const address = new Uint8Array(SUN_PATH + bytes.length + (isAbstract ? 0 : 1));
  new DataView(address.buffer).setUint16(0, AF_UNIX, true);
  address.set(bytes, SUN_PATH);
  if (isAbstract) address[SUN_PATH] = 0;
  return address;
}

/** A socket for each notice: they are rare, and no descriptor is kept for them. */
function sendNotice(address: Uint8Array, text: string): void {
  const notice = new TextEncoder().encode(text);
  const memory = allocateMemory(TIMEVAL_LENGTH + address.length + notice.length);
  const to = memory.address + TIMEVAL_LENGTH;
  const from = to + address.length;
  memory.view.setUint32(8, SEND_TIME_MAX_MS * 1000, true);
  memory.bytes.set(address, TIMEVAL_LENGTH);
  memory.bytes.set(notice, TIMEVAL_LENGTH + address.length);
  const fd = libc.socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return;
  libc.setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, memory.address, TIMEVAL_LENGTH);
  libc.sendto(fd, from, notice.length, MSG_NOSIGNAL, to, address.length);
  libc.close(fd);
}
