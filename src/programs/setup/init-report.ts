/** What `ipref init` tells: the choices in short, what to know, what to do next. Pure. */

import { formatIp, formatPrefix, prefixOf } from "../../base/ip.js";
import { printable } from "../../base/printable.js";
import type { Choices } from "./init-types.js";
import type { MachineFacts } from "./machine-facts.js";
import { realAddresses } from "./machine-view.js";

/** The chosen values, one line each, and the notes. */
export function choicesText({ choices, notes }: Choices): string {
  const rows = choices
    .filter(({ reasons }) => reasons.length > 0)
    .map(({ name, value, reasons }) => {
      const shown = value === undefined ? "(default)" : JSON.stringify(value);
      return [
        `  ${name} = ${shown}`,
        ...reasons.map((reason) => `      ${printable(reason)}`),
      ].join("\n");
    });
  const hints = notes.map((note) => `  * ${printable(note)}`);
  return [
    "Chosen:",
    ...rows,
    ...(hints.length === 0 ? [] : ["", "Please note:", ...hints]),
    "",
  ].join("\n");
}

/** The steps after the file has been written. */
export function nextStepsText(
  facts: MachineFacts,
  { choices, encodeNet, uplink }: Choices,
  file: string,
  isDefaultFile: boolean,
): string {
  const flag = isDefaultFile ? "" : ` --config ${file}`;
  const hasPublic = choices.some(
    ({ name, value }) => name === "gateway.public" && value !== undefined,
  );
  const steps = [
    `Start the system:              sudo ipref up${flag}`,
    `Look whether all is well:      sudo ipref doctor${flag}`,
    ...routeStep(facts, formatPrefix(encodeNet), uplink),
    ...(hasPublic ? [`Publish a host:                sudo ipref publish NAME ADDRESS${flag}`] : []),
  ];
  return ["Next:", ...steps.map((step, index) => `  ${index + 1}. ${step}`), ""].join("\n");
}

/** A machine with one interface is not on its neighbours' way. */
function routeStep(
  facts: MachineFacts,
  encodeNet: string,
  uplink: Choices["uplink"],
): readonly string[] {
  if (uplink?.address === undefined || uplink.kind === "public") return [];
  const local = realAddresses(facts).filter(
    ({ interfaceName }) => interfaceName === uplink.route.interfaceName,
  );
  const own = local.find(({ address }) => address.version === (encodeNet.includes(":") ? 6 : 4));
  if (own === undefined) return [];
  const net = formatPrefix(prefixOf(own.address, own.prefixBits));
  const address = formatIp(own.address);
  return [
    `For the other hosts of ${net}: give the router a route for ${encodeNet} via ${address}, and ` +
      `let its DHCP server name ${address} as DNS server`,
  ];
}
