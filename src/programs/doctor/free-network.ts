/** A command that sets an encode net which no route of this machine meets. */

import { formatPrefix, parsePrefix } from "../../base/ip.js";
import { setSetting } from "../../control/doctor/configuration-fix.js";
import { areOverlapping, type Route } from "../../control/doctor/network.js";
import type { DoctorContext } from "./context.js";
import { readText } from "./tools.js";

/** Private networks that few sites use; the default first (RFC 1918, RFC 4193). */
const CANDIDATES = {
  4: ["10.240.0.0/12", "172.24.0.0/13", "10.192.0.0/12", "10.64.0.0/12", "172.16.0.0/14"],
  6: ["fd00:240::/64", "fd3a:9e2c:240::/64", "fdf4:1c6b:240::/64"],
} as const;

/** The command; undefined when all candidates are taken. */
export function freeNetworkFix(
  { gateway, request }: DoctorContext,
  routes: readonly Route[],
): string | undefined {
  const free = CANDIDATES[gateway.localVersion]
    .map((text) => parsePrefix(text)!)
    .find((net) => routes.every(({ prefix }) => prefix.bits === 0 || !areOverlapping(prefix, net)));
  if (free === undefined) return undefined;
  const { file: path } = request;
  const value = `"${formatPrefix(free)}"`;
  return setSetting({ path, text: readText(path) }, "gateway", "encode-net", value);
}
