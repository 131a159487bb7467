/**
 * Judges of the way to other gateways: the own public address, answers of remote gateways, and
 * path MTU. Facts in, findings out. Pure.
 */

import { formatIp, type IpAddress, isUnspecified } from "../../base/ip.js";
import { type Finding, judgeOf, shellWord } from "./finding.js";

/** The public address and how it gets here. */
export interface PublicAddressFacts {
  /** All-zero: unknown. */
  readonly publicAddress: IpAddress;
  readonly port: number;
  /** Interface that has it. */
  readonly device: string | undefined;
  /** Address of this machine towards the Internet, where a router has to send the port. */
  readonly ownAddress: string | undefined;
  /** Reference of the gateway itself. */
  readonly reference: string;
  /** Remote gateways that have begun to talk to this one, without having been asked. */
  readonly callers: readonly string[];
  /** False: the gateway does not run, or does not tell. */
  readonly isCallersKnown: boolean;
  readonly command: string;
}

/** Can others reach the gateway first? */
export function judgePublicAddress(facts: PublicAddressFacts): Finding {
  const { publicAddress, port, device, ownAddress, reference, callers, command } = facts;
  if (isUnspecified(publicAddress)) {
    const judge = judgeOf("public-address", "gateway.public");
    return judge.pass("not set: client mode, others are reached and cannot begin");
  }
  const text = formatIp(publicAddress);
  const judge = judgeOf("public-address", text);
  if (device !== undefined) return judge.pass(`is on ${device}; UDP ${port} arrives here`);
  if (callers.length > 0) {
    return judge.pass(`is that of a router, which forwards UDP ${port}: ${callers[0]} came first`);
  }
  const inside = ownAddress ?? "ADDRESS-OF-THIS-MACHINE";
  const target = publicAddress.version === 4 ? `${inside}:${port}` : `[${inside}]:${port}`;
  const family = publicAddress.version === 4 ? "ip" : "ip6";
  const table = `${family} ipref`;
  const forward = [
    `nft add table ${table}`,
    `nft add chain ${table} prerouting '{ type nat hook prerouting priority dstnat; }'`,
    `nft add rule ${table} prerouting ${family} daddr ${text} udp dport ${port} dnat to ${target}`,
  ].join(" && ");
  const evidence = facts.isCallersKnown
    ? `is on no interface, so a router has to forward UDP ${port}; no remote gateway came first yet`
    : `is on no interface, so a router has to forward UDP ${port} to ${inside}`;
  return judge.warn(
    evidence,
    { command: forward, note: `on the router, if it runs Linux` },
    {
      command: `${command} ping -c 3 ${shellWord(`${text} + ${reference}`)}`,
      note: "then test from another network with IPREF",
    },
  );
}

/** What came of echo requests to reference 1 of a remote gateway (spec/tunnel.md 8.1). */
export interface PeerFacts {
  readonly address: string;
  readonly result:
    | { readonly kind: "answered"; readonly ms: number | undefined }
    | { readonly kind: "silent" }
    /** The request could not be sent. */
    | { readonly kind: "failed"; readonly reason: string };
  /** Seconds since the last packet from it; undefined when none came. */
  readonly lastSeenSeconds: number | undefined;
  readonly command: string;
  /** " --run DIR", or nothing. */
  readonly runOption: string;
}

/** Does a remote gateway answer? */
export function judgePeer(facts: PeerFacts): Finding {
  const { address, result, lastSeenSeconds, command } = facts;
  const judge = judgeOf("peers", `${address} + 1`);
  if (result.kind === "failed") return judge.skip(result.reason);
  if (result.kind === "answered") {
    return judge.pass(`answers${result.ms === undefined ? "" : ` after ${result.ms} ms`}`);
  }
  const seen =
    lastSeenSeconds === undefined
      ? "nothing has come from it"
      : `its last packet came ${Math.round(lastSeenSeconds)} s ago`;
  return judge.fail(
    `does not answer to echo requests; ${seen}`,
    {
      command: `${command} doctor --only tunnel-port,firewall,public-address`,
      note: `on that gateway, ${address}`,
    },
    {
      command: `${command} traceroute ${shellWord(`${address} + 1`)}`,
      note: "shows how far it is",
    },
  );
}

/** Sizes of echo requests with "don't fragment" that were answered. */
export interface PathMtuFacts {
  readonly address: string;
  readonly tunName: string;
  /** Size of whole packets on the TUN interface. */
  readonly tunMtuBytes: number;
  /** The largest packet that was answered; undefined: none was. */
  readonly answeredBytes: number | undefined;
  /** A packet that was too large came back as an error with this MTU. */
  readonly reportedBytes: number | undefined;
}

/** TCP needs this much beside its data. */
const TCP_HEADERS_4 = 40;
/** Smallest packet that an IPv4 network has to carry whole (RFC 791). */
const MTU_MIN = 576;

/** Do full-size packets reach a gateway, or at least an error that names the MTU? */
export function judgePathMtu(facts: PathMtuFacts): Finding {
  const { address, tunName, tunMtuBytes, answeredBytes, reportedBytes } = facts;
  const judge = judgeOf("path-mtu", `${tunName} to ${address}`);
  if (answeredBytes === undefined)
    return judge.skip("the gateway does not answer to small packets");
  if (answeredBytes >= tunMtuBytes) {
    const segment = tunMtuBytes - TCP_HEADERS_4;
    return judge.pass(`packets of ${tunMtuBytes} octets, the MTU, are answered (MSS ${segment})`);
  }
  if (reportedBytes !== undefined) {
    return judge.pass(`up to ${answeredBytes} octets pass, and larger ones are reported back`);
  }
  const size = Math.max(MTU_MIN, answeredBytes);
  return judge.fail(
    `packets of ${answeredBytes} octets are answered, those of ${tunMtuBytes} vanish: ` +
      "a router on the way drops them and its ICMP errors do not arrive",
    `ip link set dev ${shellWord(tunName)} mtu ${size}`,
  );
}
