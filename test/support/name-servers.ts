/** The parts of name servers' configurations that are the same in every test. */

/** Knot DNS: server, database and log sections; files live in `folder`. */
export function knotServer(folder: string, listen: readonly string[]): string {
  return `server:
  rundir: ${folder}
  listen: [${listen.map((each) => `"${each}"`).join(", ")}]
  udp-workers: 1
  tcp-workers: 1
  background-workers: 1
database:
  storage: ${folder}
log:
  - target: stdout
    any: info
`;
}

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
