/** Checks of the way to other gateways: public address, echo, path MTU. */

import { formatIp, type IpAddress, isUnspecified, parseIp } from "../../base/ip.js";
import { formatReference } from "../../base/reference.js";
import { type Finding, judgeOf } from "../../control/doctor/finding.js";
import { interfaceWith } from "../../control/doctor/network.js";
import { judgePathMtu, judgePeer, judgePublicAddress } from "../../control/doctor/peers.js";
import type { CallerEntry } from "../../control/inspection/callers.js";
import type { Check } from "./check.js";
import type { DoctorContext } from "./context.js";
import { type Echo, echo, encodedGateways } from "./echo.js";
import { routeSource } from "./network-checks.js";
import { hasProgram } from "./tools.js";

const SHORT_MS = 4000;
const ECHO_MS = 9000;
/** A packet that passes everywhere. */
const SMALL_BYTES = 64;
/** What common links take from an MTU of 1500: PPPoE, GRE, IPsec, WireGuard, mobile networks. */
const MISSING_BYTES = [0, 4, 8, 20, 28, 40, 52, 60, 72, 80, 100, 120, 160, 200, 220, 300] as const;
/** Smallest MTU tried. */
const MTU_MIN = { 4: 576, 6: 1280 } as const;
const FAR_ADDRESS = { 4: "192.0.2.1", 6: "2001:db8::1" } as const;

export const PEER_CHECKS: readonly Check[] = [
  {
    id: "public-address",
    looksAt: "the public address and how it gets here",
    isQuick: false,
    timeoutMs: SHORT_MS,
    examine: async (context) => [await publicAddress(context)],
  },
  {
    id: "peers",
    looksAt: "answers of remote gateways to echo requests",
    isQuick: false,
    timeoutMs: ECHO_MS,
    examine: peers,
  },
  {
    id: "path-mtu",
    looksAt: "full-size packets to remote gateways",
    isQuick: false,
    timeoutMs: ECHO_MS,
    examine: pathMtu,
  },
];

async function publicAddress(context: DoctorContext): Promise<Finding> {
  const { gateway, command } = context;
  if (!hasProgram("ip")) {
    const judge = judgeOf("public-address", formatIp(gateway.publicAddress));
    return judge.skip("ip is not installed: apt-get install iproute2");
  }
  const { publicAddress: address, bind, tunnelVersion } = gateway;
  const callers = isUnspecified(address)
    ? undefined
    : await context.ask<CallerEntry[]>("gateway", "/callers");
  const own = isUnspecified(bind) ? await routeSource(FAR_ADDRESS[tunnelVersion]) : formatIp(bind);
  return judgePublicAddress({
    publicAddress: address,
    port: gateway.port,
    device: interfaceWith(await context.interfaces(), address)?.name,
    ownAddress: own,
    reference: formatReference(gateway.gatewayReference),
    callers: callers?.state === "answered" ? callers.value.map((each) => each.address) : [],
    isCallersKnown: callers?.state === "answered",
    command,
  });
}

/** A remote gateway with its encoded address and the answer to a small packet. */
interface Asked {
  readonly address: string;
  readonly lastSeenSeconds: number | undefined;
  /** A text says why there is none. */
  readonly encoded: IpAddress | string;
  readonly small: Echo | undefined;
}

const askedBefore = new WeakMap<DoctorContext, Promise<Asked[] | Finding[]>>();

/** Asks each known gateway once, for both checks; findings when none can be asked. */
function askAll(context: DoctorContext): Promise<Asked[] | Finding[]> {
  const known = askedBefore.get(context);
  if (known !== undefined) return known;
  const asked = askGateways(context);
  askedBefore.set(context, asked);
  return asked;
}

async function askGateways(context: DoctorContext): Promise<Asked[] | Finding[]> {
  const { gateway, gatewayProcess, request } = context;
  const judge = judgeOf("peers", "remote gateways");
  if (gatewayProcess === undefined) return [judge.skip("the gateway does not run")];
  if (!hasProgram("ping")) {
    return [judge.skip("ping is not installed: apt-get install iputils-ping")];
  }
  const known = await context.peers();
  const names = [...new Set([...request.peers, ...known.map(({ address }) => address)])];
  if (names.length === 0) return [judge.skip("none is known yet; name one with --peer ADDRESS")];
  const addresses = names.map((name) => parseIp(name)!);
  const encoded = await encodedGateways(gateway.mapperSocket, addresses, gateway.localVersion);
  return Promise.all(
    names.map(async (address, index): Promise<Asked> => {
      const target = encoded[index]!;
      const entry = known.find((peer) => peer.address === address);
      return {
        address,
        lastSeenSeconds: entry?.lastReceivedSecondsAgo ?? undefined,
        encoded: target,
        small: typeof target === "string" ? undefined : await echoTwice(target),
      };
    }),
  );
}

/** The first packet to a new address may be lost while others do the same. */
async function echoTwice(address: IpAddress): Promise<Echo> {
  const first = await echo(address, SMALL_BYTES);
  return first.isAnswered || first.failure !== undefined ? first : echo(address, SMALL_BYTES);
}

function areFindings(list: readonly (Asked | Finding)[]): list is Finding[] {
  return list.length > 0 && "verdict" in list[0]!;
}

async function peers(context: DoctorContext): Promise<Finding[]> {
  const asked = await askAll(context);
  if (areFindings(asked)) return asked;
  return asked.map(({ address, lastSeenSeconds, encoded, small }) => {
    const failure = typeof encoded === "string" ? encoded : small?.failure;
    return judgePeer({
      address,
      result:
        failure !== undefined
          ? { kind: "failed", reason: failure }
          : small!.isAnswered
            ? { kind: "answered", ms: small!.ms }
            : { kind: "silent" },
      lastSeenSeconds,
      command: context.command,
      runOption: context.runOption,
    });
  });
}

async function pathMtu(context: DoctorContext): Promise<Finding[]> {
  const asked = await askAll(context);
  const tun = await context.tun();
  if (areFindings(asked) || tun === undefined) return [];
  const answering = asked.filter(({ small }) => small?.isAnswered === true);
  return Promise.all(
    answering.map(async ({ address, encoded }) => {
      const target = encoded as IpAddress;
      const { answeredBytes, reportedBytes } = await largestEcho(target, tun.mtuBytes);
      const tunMtuBytes = tun.mtuBytes;
      return judgePathMtu({
        address,
        tunName: tun.name,
        tunMtuBytes,
        answeredBytes,
        reportedBytes,
      });
    }),
  );
}

/** The largest packet that is answered; sizes are tried side by side when the full one is lost. */
async function largestEcho(
  target: IpAddress,
  mtuBytes: number,
): Promise<{ answeredBytes: number | undefined; reportedBytes: number | undefined }> {
  const full = await echo(target, mtuBytes);
  if (full.isAnswered) return { answeredBytes: mtuBytes, reportedBytes: undefined };
  if (full.tooBigMtu !== undefined) {
    const retry = await echo(target, full.tooBigMtu);
    if (retry.isAnswered) return { answeredBytes: full.tooBigMtu, reportedBytes: full.tooBigMtu };
  }
  const minimum = MTU_MIN[target.version];
  const sizes = MISSING_BYTES.map((missing) => mtuBytes - missing).filter((size) => size > minimum);
  const echoes = await Promise.all(
    [...sizes, minimum].map(async (size) => ({ size, result: await echo(target, size) })),
  );
  const answered = echoes.filter(({ result }) => result.isAnswered).map(({ size }) => size);
  return {
    answeredBytes: answered.length === 0 ? SMALL_BYTES : Math.max(...answered),
    reportedBytes: echoes.find(({ result }) => result.tooBigMtu !== undefined)?.result.tooBigMtu,
  };
}
