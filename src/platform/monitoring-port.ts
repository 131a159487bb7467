/** The HTTP port for monitoring. */

import type { ListenAddress } from "../control/metrics/listen-address.js";
import { HttpEndpoint, type HttpPaths } from "./http-endpoint.js";

/** Listens; rejects with a SystemCallError when the address is not to be had. */
export function openMonitoringPort(
  { address, port }: ListenAddress,
  paths: HttpPaths,
): Promise<HttpEndpoint> {
  return HttpEndpoint.open({ address, port }, paths, () => true);
}
