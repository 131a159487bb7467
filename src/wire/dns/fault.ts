/**
 * What can be wrong with a DNS message. Reading never throws: it ends with one of these names,
 * which selects the reply (spec/resolver.md 1.2) and the counter.
 */

/** Every fault with its meaning; names are stable, they label counters. */
const FAULTS = [
  // No reply (spec/resolver.md 1.2)
  ["message-too-short", "A message is shorter than the DNS header"],
  ["message-is-response", "A response arrived where a request was expected"],
  // NOTIMP
  ["opcode-unknown", "The opcode is neither QUERY nor NOTIFY"],
  // FORMERR
  ["question-count", "The message does not have exactly one question"],
  ["record-count", "A request carries more records than any request needs"],
  ["counts-exceed-length", "The announced records cannot fit the message"],
  ["name-truncated", "A name runs past the end of the message"],
  ["name-label-type", "A label has a reserved type (RFC 1035 4.1.4)"],
  ["name-pointer-forward", "A compression pointer does not point backwards"],
  ["name-pointer-header", "A compression pointer points into the header"],
  ["name-too-long", "A name exceeds 255 octets"],
  ["question-truncated", "The question runs past the end of the message"],
  ["record-truncated", "A record runs past the end of the message"],
  ["record-data", "The data of a record does not match its type or length"],
  ["opt-misplaced", "An OPT record is outside the additional section or not at the root"],
  ["opt-repeated", "More than one OPT record"],
  ["opt-data", "The options of an OPT record do not fit its length"],
  ["trailing-octets", "Octets follow the last record"],
] as const satisfies readonly (readonly [string, string])[];

/** Name of a fault. */
export type DnsFault = (typeof FAULTS)[number][0];

/** All faults, for counters and documentation. */
export const DNS_FAULTS: readonly { readonly name: DnsFault; readonly meaning: string }[] =
  FAULTS.map(([name, meaning]) => ({ name, meaning }));
