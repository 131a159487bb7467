/** A machine alone in a network: 10.1.0.2 on a link whose other end nobody uses. */

import type { Namespaces } from "../../src/programs/demo/namespaces.js";

/** Adds the machine; its namespace. */
export async function addLanMachine(namespaces: Namespaces): Promise<string> {
  const machine = await namespaces.add("machine");
  await namespaces.ip(machine, [
    "link add name lan type veth peer name other",
    "link set other up",
    "link set lan up",
    "addr add 10.1.0.2/24 dev lan",
  ]);
  return machine;
}
