/** Whether this process may do what `ipref up` does: judged by capabilities, not by the user. */

import { accessSync, constants, readFileSync } from "node:fs";
import type { UpConfiguration } from "../control/config/settings.js";
import {
  CAP_NET_ADMIN,
  CAP_NET_BIND_SERVICE,
  missingCapabilities,
} from "../platform/capabilities.js";

const TUN_DEVICE = "/dev/net/tun";
/** The first port that needs no privilege, ip_unprivileged_port_start of ip-sysctl.rst. */
const FIRST_FREE_PORT = "/proc/sys/net/ipv4/ip_unprivileged_port_start";
const FIRST_FREE_PORT_USUAL = 1024;

/** What is missing and what to do about it; undefined when nothing is. */
export function privilegeComplaint({ gateway, resolver }: UpConfiguration): string | undefined {
  const ports = [gateway.port, ...(resolver.enabled ? [resolver.port] : [])];
  const needsPort = Math.min(...ports) < firstFreePort();
  const missing = missingCapabilities([
    CAP_NET_ADMIN,
    ...(needsPort ? [CAP_NET_BIND_SERVICE] : []),
  ]);
  if (missing.length > 0) {
    return (
      "ipref up creates a network interface and needs root, " +
      `or a service with ${missing.join(" and ")}: sudo ipref up`
    );
  }
  return deviceComplaint();
}

/** A device that is not there is the gateway's to complain of: it says how to get it. */
function deviceComplaint(): string | undefined {
  try {
    accessSync(TUN_DEVICE, constants.R_OK | constants.W_OK);
    return undefined;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== "EACCES") return undefined;
    return `ipref up cannot open ${TUN_DEVICE}: permission denied; sudo chmod 666 ${TUN_DEVICE}`;
  }
}

function firstFreePort(): number {
  try {
    return Number(readFileSync(FIRST_FREE_PORT, "utf8"));
  } catch {
    return FIRST_FREE_PORT_USUAL;
  }
}
