/**
 * The TUN device: creation, addresses, MTU and the interface settings that translation needs.
 * Main thread, at start. Kernel: Documentation/networking/tuntap.rst, linux/if_tun.h,
 * netdevice(7), Documentation/networking/ip-sysctl.rst.
 *
 * Packets that arrive from the tunnel are written to the device with the encoded address as
 * source, and replies of the gateway itself carry the device's own address, so the kernel must
 * accept its own address as source (accept_local=1) and must not check reverse paths here
 * (rp_filter=0). The kernel takes the maximum of conf/all/rp_filter and the interface's value, so
 * a strict conf/all/rp_filter wins; that is reported, not changed.
 */

import { existsSync, readFileSync, writeFileSync } from "node:fs";
import type { IpAddress } from "../base/ip.js";
import type { Offloads } from "../forward/offloads.js";
import * as libc from "./libc.js";
import { allocateMemory, cStringInto, type SystemMemory } from "./memory.js";
import { lastRefusal, refused, SystemCallError } from "./system-error.js";
import { steerQueues } from "./tun-steering.js";

// linux/if_tun.h
export const IFF_TUN = 0x0001;
export const IFF_NO_PI = 0x1000;
export const IFF_VNET_HDR = 0x4000;
export const IFF_MULTI_QUEUE = 0x0100;
const TUNSETIFF = 0x400454ca;
const TUNSETOFFLOAD = 0x400454d0;
const TUNSETVNETHDRSZ = 0x400454d8;
const TUN_F_CSUM = 0x01;
const TUN_F_TSO4 = 0x02;
const TUN_F_TSO6 = 0x04;
const TUN_F_TSO_ECN = 0x08;
const TUN_F_USO4 = 0x20;
const TUN_F_USO6 = 0x40;

// linux/sockios.h
const SIOCGIFFLAGS = 0x8913;
const SIOCSIFFLAGS = 0x8914;
const SIOCSIFADDR = 0x8916;
const SIOCSIFNETMASK = 0x891c;
const SIOCSIFMTU = 0x8922;
const SIOCGIFINDEX = 0x8933;
const SIOCSIFTXQLEN = 0x8943;

// net/if.h
const IFF_UP = 0x1;
const IFF_MULTICAST = 0x1000;

// struct ifreq, netdevice(7): name 16, union 24.
const IFREQ_NAME_LENGTH = 16;
const IFREQ_UNION = 16;
const IFREQ_LENGTH = 40;

// struct in6_ifreq, linux/ipv6.h: address 16, prefix length 4, interface index 4.
const IN6_IFREQ_PREFIX = 16;
const IN6_IFREQ_INDEX = 20;

const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const O_RDWR = 2;
const O_NONBLOCK = 0o4000;
const O_CLOEXEC = 0o2000000;

/** Room for bursts between two wake-ups of a worker: about 1.4 MB of packets of 1,400 bytes. */
const QUEUE_LENGTH_DEFAULT = 1000;

/** What to create. */
export interface TunOptions {
  /** Interface name; "%d" lets the kernel choose the number. Default "ipref%d". */
  readonly name?: string;
  readonly address: IpAddress;
  /** Prefix length of the address; the prefix is routed to the device. */
  readonly prefixBits: number;
  readonly mtuBytes: number;
  /** Flags beside IFF_TUN and IFF_NO_PI, such as IFF_VNET_HDR or IFF_MULTI_QUEUE. */
  readonly flags?: number;
  readonly queueLengthPackets?: number;
  /** Offloads to ask for; none by default. */
  readonly offloads?: TunOffloads;
  /** Queues to ask for; the kernel keeps the packets of one flow in one queue. Default 1. */
  readonly queues?: number;
  /** Asks for a side queue as well; the seed is that of the known addresses. */
  readonly side?: { readonly seed: number };
}

/** Offloads of the device. */
export type TunOffloads = Pick<Offloads, "csum" | "tso" | "uso">;

/** The queue of packets that are not simple, and the buckets of known addresses to fill. */
export interface SideQueueDevice {
  readonly fd: number;
  readonly known: Uint8Array;
}

/** A configured device that is up. Closing the last descriptor destroys it. */
export interface TunDevice {
  /** Nonblocking; one packet or super-packet per read or write. */
  readonly fd: number;
  /** All queues, `fd` first; fewer than asked for when the kernel refuses more. */
  readonly queueFds: readonly number[];
  /** The side queue (tun-steering.ts), unless the kernel refuses it. */
  readonly side: SideQueueDevice | undefined;
  readonly name: string;
  readonly mtuBytes: number;
  /** Settings of this machine that may stop traffic, one sentence each. */
  readonly warnings: readonly string[];
  /** What the kernel has granted. With `csum` each packet has a device header in front. */
  readonly offloads: TunOffloads;
  /** Flags to open a further queue of the device with. */
  readonly queueFlags: number;
  close(): void;
}

/** Creates the device, configures it and brings it up. Throws SystemCallError. */
export function openTun(options: TunOptions): TunDevice {
  const asked = options.offloads ?? NO_TUN_OFFLOADS;
  const { fd, name, queueFlags } = openFirstQueue(options, asked.csum);
  try {
    const hasHeader = (queueFlags & IFF_VNET_HDR) !== 0;
    const offloads = hasHeader ? setOffloads(fd, asked) : NO_TUN_OFFLOADS;
    const warnings = [
      ...applySettings(name, options.address.version),
      ...forwardingWarnings(options.address.version),
    ];
    configure(name, options);
    const queueFds = [fd, ...openFurtherQueues(name, queueFlags, options.queues ?? 1)];
    const side = openSideQueue(name, queueFlags, queueFds, options, warnings);
    const close = (): void => {
      for (const queue of queueFds) libc.close(queue);
      if (side !== undefined) libc.close(side.fd);
    };
    const { mtuBytes } = options;
    return { fd, queueFds, side, name, mtuBytes, warnings, offloads, queueFlags, close };
  } catch (error) {
    libc.close(fd);
    throw error;
  }
}

const NO_TUN_OFFLOADS: TunOffloads = { csum: false, tso: false, uso: false };

/** The first queue, with device headers if they are wanted and the kernel has them. */
function openFirstQueue(
  options: TunOptions,
  wantsHeader: boolean,
): { fd: number; name: string; queueFlags: number } {
  const name = options.name ?? "ipref%d";
  const isMultiple = (options.queues ?? 1) > 1 || options.side !== undefined;
  const queueFlag = isMultiple ? IFF_MULTI_QUEUE : 0;
  const flags = (options.flags ?? 0) | queueFlag;
  if (wantsHeader) {
    try {
      const queueFlags = flags | IFF_VNET_HDR;
      return { ...openTunQueue(name, queueFlags), queueFlags };
    } catch (error) {
      if (!(error instanceof SystemCallError) || error.code !== "EINVAL") throw error;
    }
  }
  return { ...openTunQueue(name, flags), queueFlags: flags };
}

/** Queues two and up, as many as the kernel gives. */
function openFurtherQueues(name: string, queueFlags: number, count: number): number[] {
  const fds: number[] = [];
  try {
    while (fds.length < count - 1) fds.push(openTunQueue(name, queueFlags).fd);
  } catch (error) {
    // E2BIG: more queues than the kernel's limit.
    if (!(error instanceof SystemCallError)) throw error;
  }
  return fds;
}

/**
 * Opens the side queue behind the others and has the kernel sort packets. Where it refuses, floods
 * share the queues with established flows, and a warning says so.
 */
function openSideQueue(
  name: string,
  queueFlags: number,
  queueFds: readonly number[],
  { side, address }: TunOptions,
  warnings: string[],
): SideQueueDevice | undefined {
  if (side === undefined) return undefined;
  const [fd] = openFurtherQueues(name, queueFlags, 2);
  if (fd === undefined) return undefined;
  try {
    const { version } = address;
    const known = steerQueues(queueFds[0]!, { version, lanes: queueFds.length, seed: side.seed });
    return { fd, known };
  } catch (error) {
    libc.close(fd);
    if (!(error instanceof SystemCallError)) throw error;
    warnings.push(
      `A flood can crowd out established flows in the queue of ${name}: ${error.message}`,
    );
    return undefined;
  }
}

/** The longest device header of any kernel is longer; ours has the first ten octets only. */
const VNET_HEADER_BYTES = 10;

/**
 * Switches offloads on. Kernels know different sets (USO since Linux 6.2) and refuse a set as a
 * whole, so the newest are left out one after the other until the rest is taken.
 */
function setOffloads(fd: number, asked: TunOffloads): TunOffloads {
  const memory = allocateMemory(8);
  memory.view.setInt32(0, VNET_HEADER_BYTES, true);
  libc.ioctl(fd, TUNSETVNETHDRSZ, memory.address);
  const tso = asked.tso ? TUN_F_TSO4 | TUN_F_TSO6 : 0;
  const ecn = asked.tso ? TUN_F_TSO_ECN : 0;
  const uso = asked.uso ? TUN_F_USO4 | TUN_F_USO6 : 0;
  for (const bits of [tso | ecn | uso, tso | ecn, tso, 0]) {
    if (libc.ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | bits) < 0) continue;
    return { csum: true, tso: (bits & TUN_F_TSO4) !== 0, uso: (bits & TUN_F_USO4) !== 0 };
  }
  return { csum: true, tso: false, uso: false };
}

/** Opens one queue of a device (a new one, or a further queue with IFF_MULTI_QUEUE). */
export function openTunQueue(name: string, flags: number): { fd: number; name: string } {
  const memory = allocateMemory(64);
  cStringInto(memory, 0, "/dev/net/tun");
  const fd = libc.open(memory.address, O_RDWR | O_NONBLOCK | O_CLOEXEC, 0);
  if (fd < 0) throw openRefusal(libc.lastErrorName());
  memory.bytes.fill(0);
  cStringInto(memory, 0, name.slice(0, IFREQ_NAME_LENGTH - 1));
  memory.view.setUint16(IFREQ_UNION, IFF_TUN | IFF_NO_PI | flags, true);
  if (libc.ioctl(fd, TUNSETIFF, memory.address) < 0) {
    const code = libc.lastErrorName();
    libc.close(fd);
    throw createRefusal(name, code);
  }
  const end = memory.bytes.indexOf(0);
  return { fd, name: new TextDecoder().decode(memory.bytes.subarray(0, end)) };
}

function openRefusal(code: string): SystemCallError {
  const missing = ["ENOENT", "ENODEV", "ENXIO"].includes(code);
  const advice = missing
    ? "load the driver (modprobe tun), or give the container the device (--device /dev/net/tun)"
    : "";
  return refused("open /dev/net/tun", "open", code, advice);
}

function createRefusal(name: string, code: string): SystemCallError {
  const advice = code === "EBUSY" ? `another process uses ${name}; choose another name` : "";
  return refused(`create the TUN device ${name}`, "ioctl TUNSETIFF", code, advice);
}

function configure(name: string, options: TunOptions): void {
  const { version } = options.address;
  const fd = libc.socket(version === 4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) throw lastRefusal(`configure ${name}`, "socket");
  try {
    const request = new InterfaceRequest(fd, name);
    request.setInteger("SIOCSIFMTU", SIOCSIFMTU, options.mtuBytes);
    const queueLength = options.queueLengthPackets ?? QUEUE_LENGTH_DEFAULT;
    request.setInteger("SIOCSIFTXQLEN", SIOCSIFTXQLEN, queueLength);
    if (version === 4) request.setIpv4(options.address.bytes, options.prefixBits);
    request.bringUp();
    if (version === 6) request.setIpv6(options.address.bytes, options.prefixBits);
  } finally {
    libc.close(fd);
  }
}

/** One interface and the memory for requests about it. */
class InterfaceRequest {
  private readonly fd: number;
  private readonly interfaceName: string;
  private readonly memory: SystemMemory = allocateMemory(IFREQ_LENGTH);

  constructor(fd: number, interfaceName: string) {
    this.fd = fd;
    this.interfaceName = interfaceName;
  }

  setInteger(what: string, request: number, value: number): void {
    this.prepare();
    this.memory.view.setInt32(IFREQ_UNION, value, true);
    this.call(what, request);
  }

  setIpv4(address: Uint8Array, prefixBits: number): void {
    this.setSockaddr("SIOCSIFADDR", SIOCSIFADDR, address);
    const mask = new DataView(new ArrayBuffer(4));
    mask.setUint32(0, prefixBits === 0 ? 0 : -(2 ** (32 - prefixBits)) >>> 0);
    this.setSockaddr("SIOCSIFNETMASK", SIOCSIFNETMASK, new Uint8Array(mask.buffer));
  }

  setIpv6(address: Uint8Array, prefixBits: number): void {
    this.prepare();
    this.call("SIOCGIFINDEX", SIOCGIFINDEX);
    const index = this.memory.view.getInt32(IFREQ_UNION, true);
    this.memory.bytes.fill(0);
    this.memory.bytes.set(address, 0);
    this.memory.view.setUint32(IN6_IFREQ_PREFIX, prefixBits, true);
    this.memory.view.setInt32(IN6_IFREQ_INDEX, index, true);
    this.call("SIOCSIFADDR", SIOCSIFADDR);
  }

  /**
   * Up, and without multicast. A forwarding IPv6 kernel still sends one multicast listener report
   * (for ff02::2) into the device; it is dropped there like any other link-local multicast.
   */
  bringUp(): void {
    this.prepare();
    this.call("SIOCGIFFLAGS", SIOCGIFFLAGS);
    const flags = this.memory.view.getUint16(IFREQ_UNION, true);
    this.memory.view.setUint16(IFREQ_UNION, (flags | IFF_UP) & ~IFF_MULTICAST, true);
    this.call("SIOCSIFFLAGS", SIOCSIFFLAGS);
  }

  private setSockaddr(what: string, request: number, ipv4: Uint8Array): void {
    this.prepare();
    this.memory.view.setUint16(IFREQ_UNION, AF_INET, true);
    this.memory.bytes.set(ipv4, IFREQ_UNION + 4);
    this.call(what, request);
  }

  private prepare(): void {
    this.memory.bytes.fill(0);
    cStringInto(this.memory, 0, this.interfaceName);
  }

  private call(what: string, request: number): void {
    if (libc.ioctl(this.fd, request, this.memory.address) < 0) {
      throw lastRefusal(`configure ${this.interfaceName}`, `ioctl ${what}`);
    }
  }
}

/** Per-interface settings, before the device comes up; returns a sentence for each refused one. */
function applySettings(name: string, version: 4 | 6): string[] {
  const wanted: [string, string][] = [];
  if (version === 4) {
    wanted.push([`ipv4/conf/${name}/accept_local`, "1"], [`ipv4/conf/${name}/rp_filter`, "0"]);
    wanted.push([`ipv6/conf/${name}/disable_ipv6`, "1"]); // no router solicitations
  } else {
    wanted.push([`ipv6/conf/${name}/disable_ipv6`, "0"], [`ipv6/conf/${name}/addr_gen_mode`, "1"]);
    wanted.push([`ipv6/conf/${name}/accept_ra`, "0"], [`ipv6/conf/${name}/autoconf`, "0"]);
    wanted.push([`ipv6/conf/${name}/accept_dad`, "0"]); // usable at once
    wanted.push([`ipv6/conf/${name}/router_solicitations`, "0"]);
  }
  return wanted.flatMap(([key, value]) => writeSetting(key, value));
}

function writeSetting(key: string, value: string): string[] {
  const path = `/proc/sys/net/${key}`;
  if (!existsSync(path)) return []; // the kernel has no IPv6
  try {
    if (readFileSync(path, "utf8").trim() !== value) writeFileSync(path, value);
    return [];
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? String(error);
    return [`Cannot set ${path} to ${value} (${code}); set it outside the container`];
  }
}

/** Forwarding and reverse-path settings that would stop traffic; they are read, never changed. */
export function forwardingWarnings(version: 4 | 6): string[] {
  if (version === 6) {
    return settingIs("ipv6/conf/all/forwarding", "0")
      ? [
          "IPv6 forwarding is off: only this machine itself can reach the other side; " +
            "set net.ipv6.conf.all.forwarding=1",
        ]
      : [];
  }
  const warnings: string[] = [];
  if (settingIs("ipv4/ip_forward", "0")) {
    warnings.push(
      "IPv4 forwarding is off: only this machine itself can reach the other side; " +
        "set net.ipv4.ip_forward=1",
    );
  }
  if (settingIs("ipv4/conf/all/rp_filter", "1")) {
    warnings.push(
      "Strict reverse-path filtering is on for all interfaces and drops packets from the tunnel; " +
        "set net.ipv4.conf.all.rp_filter=0",
    );
  }
  return warnings;
}

function settingIs(key: string, value: string): boolean {
  try {
    return readFileSync(`/proc/sys/net/${key}`, "utf8").trim() === value;
  } catch {
    return false;
  }
}
