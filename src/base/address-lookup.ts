/**
 * The four calls of the address mapper as translation sees them (spec/tunnel.md 0). Translation
 * calls them, the mapper answers; an interface keeps the two apart.
 */

import type { DropReason } from "./drop-reason.js";
import type { IpAddress } from "./ip.js";
import type { IprefAddress } from "./reference.js";

/**
 * `found`: use the value. `pending`: a new mapping was made and is being stored; nobody may see it
 * yet, so keep the packet and try again after the store has answered. `refused`: no mapping.
 */
export type Lookup<Value> =
  | { readonly status: "found"; readonly value: Value }
  | { readonly status: "pending" }
  | { readonly status: "refused"; readonly reason: DropReason };

/**
 * Addresses handed out are never changed by either side. `mayCreate` is false for packets quoted
 * inside ICMP errors (spec/tunnel.md 4.6). The gateway's own encoded address and its own
 * (public address, reference) are not the mapper's concern: translation handles them first.
 */
export interface AddressLookup {
  /** IPREF address of one of our hosts; may create a reference. */
  oursToIpref(host: IpAddress, mayCreate: boolean, peer?: IpAddress): Lookup<IprefAddress>;
  /** IPREF address behind an encoded address; never creates. */
  theirsToIpref(encoded: IpAddress): Lookup<IprefAddress>;
  /** Encoded address of a remote host; may create one. */
  iprefToTheirs(remote: IprefAddress, mayCreate: boolean): Lookup<IpAddress>;
  /** Address of one of our hosts, by reference alone (spec/mapper.md 6.4); never creates. */
  iprefToOurs(address: IprefAddress): Lookup<IpAddress>;
}
