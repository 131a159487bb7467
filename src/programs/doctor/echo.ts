/**
 * Echo requests to reference 1 of remote gateways (spec/tunnel.md 8.1), the way any local host
 * would send them: the mapper gives the encoded address, ping(8) of iputils sends. The gateway
 * machine's own address in the encode net is the source.
 */

import type { IpAddress, IpVersion } from "../../base/ip.js";
import { formatIp } from "../../base/ip.js";
import { Reactor } from "../../platform/reactor.js";
import { mapperQuestions } from "../mapper-question.js";
import { runProgram } from "./tools.js";

const GATEWAY_REFERENCE = 1n;
const WAIT_SECONDS = 1;
/** ping(8) itself takes a moment to start. */
const PING_TIMEOUT_MS = 4000;
/** IP and ICMP headers in front of the data. */
const HEADERS = { 4: 28, 6: 48 } as const;

/** Encoded addresses of remote gateways' own references, or why there is none. */
export async function encodedGateways(
  mapperSocket: string,
  gateways: readonly IpAddress[],
  version: IpVersion,
): Promise<(IpAddress | string)[]> {
  const reactor = new Reactor();
  const client = mapperQuestions(reactor, mapperSocket);
  try {
    return await Promise.all(
      gateways.map(async (gateway) => {
        const result = await client.getEncodedAddress(gateway, GATEWAY_REFERENCE, "", version);
        if (result.kind === "address") return result.address;
        return result.kind === "refused"
          ? "the mapper has no encoded address for it"
          : `the mapper cannot be asked: ${result.detail}`;
      }),
    );
  } finally {
    client.close();
    reactor.close();
  }
}

/** What came of one echo request. */
export interface Echo {
  readonly isAnswered: boolean;
  readonly ms: number | undefined;
  /** An error told that the packet is too large, with this MTU. */
  readonly tooBigMtu: number | undefined;
  /** It could not be sent. */
  readonly failure: string | undefined;
}

/** Sends a packet of `bytes` octets, IP header included, that no router may fragment. */
export async function echo(address: IpAddress, bytes: number): Promise<Echo> {
  const data = Math.max(16, bytes - HEADERS[address.version]);
  const { status, stdout, stderr } = await runProgram(
    "ping",
    [
      "-n",
      "-c",
      "1",
      "-W",
      String(WAIT_SECONDS),
      "-M",
      "do",
      "-s",
      String(data),
      formatIp(address),
    ],
    PING_TIMEOUT_MS,
  );
  const text = stdout + stderr;
  const mtu = /mtu\s*[=:]\s*(\d+)/i.exec(text)?.[1];
  const ms = /time=([\d.]+) ms/.exec(stdout)?.[1];
  const hasFailed = status !== 0 && status !== 1 && mtu === undefined;
  return {
    isAnswered: status === 0,
    ms: ms === undefined ? undefined : Number(ms),
    tooBigMtu: mtu === undefined ? undefined : Number(mtu),
    failure: hasFailed ? (stderr.trim().split("\n")[0] ?? "ping fails") : undefined,
  };
}
