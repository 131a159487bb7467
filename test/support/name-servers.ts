/** The part of NSD's configuration that is the same in every test. */

/** NSD: server and remote-control sections; without `listen` it answers everywhere. */
export function nsdServer(folder: string, listen?: string): string {
  return `server:
  username: ""
${listen === undefined ? "" : `  ip-address: ${listen}\n`}  zonesdir: "${folder}"
  pidfile: "${folder}/nsd.pid"
  xfrdfile: "${folder}/xfrd.state"
  xfrdir: "${folder}"
  zonelistfile: "${folder}/zone.list"
  database: ""
  logfile: ""
  server-count: 1
  verbosity: 2
remote-control:
  control-enable: no
`;
}
