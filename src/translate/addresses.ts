/**
 * Addresses of packets through the mapper, by role (spec/tunnel.md 0, 3.1, 3.3, 5). The gateway's
 * own address never reaches the mapper: `OWN` and (`pub`, `gwref`) stand for each other.
 */

import type { Lookup } from "../base/address-lookup.js";
import { type IpAddress, isUnspecified, prefixContains, sameAddress } from "../base/ip.js";
import type { IprefAddress } from "../base/reference.js";
import type { ContextHints, Role, TranslationScope } from "./settings.js";

/** What tells the gateway's own addresses. */
type OwnScope = Pick<TranslationScope, "settings" | "publicAddress">;

/** The gateway's own IPREF address. */
export function gatewayAddress({ settings, publicAddress }: OwnScope): IprefAddress {
  return { context: publicAddress, reference: settings.gatewayReference };
}

/** True for the gateway's own encoded address. */
export function isOwnEncoded({ settings }: OwnScope, address: IpAddress): boolean {
  return sameAddress(address, settings.ownEncoded);
}

/** True for the gateway's own (public address, reference). */
export function isGatewayAddress(scope: OwnScope, address: IprefAddress): boolean {
  return (
    address.reference === scope.settings.gatewayReference &&
    sameAddress(address.context, scope.publicAddress)
  );
}

/**
 * IPREF address of a native address. `peer` is the other, encoded address of the packet: it decides
 * between several references of one host.
 */
export function nativeToIpref(
  scope: TranslationScope,
  address: IpAddress,
  role: Role,
  mayCreate: boolean,
  peer: IpAddress,
): Lookup<IprefAddress> {
  if (isOwnEncoded(scope, address)) return { status: "found", value: gatewayAddress(scope) };
  const isEncoded = prefixContains(scope.settings.encodeNet, address);
  if (role === "theirs") {
    if (!isEncoded) return { status: "refused", reason: "local-destination-unknown" };
    return scope.lookup.theirsToIpref(address);
  }
  if (isEncoded) return { status: "refused", reason: "local-source-encoded" };
  return scope.lookup.oursToIpref(address, mayCreate, peer);
}

/** Native address of an IPREF address whose context is resolved. */
export function iprefToNative(
  scope: TranslationScope,
  address: IprefAddress,
  role: Role,
  mayCreate: boolean,
): Lookup<IpAddress> {
  if (isGatewayAddress(scope, address)) {
    return { status: "found", value: scope.settings.ownEncoded };
  }
  if (role === "theirs") return scope.lookup.iprefToTheirs(address, mayCreate);
  if (!sameAddress(address.context, scope.publicAddress)) {
    return { status: "refused", reason: "tunnel-reference-unknown" };
  }
  return scope.lookup.iprefToOurs(address);
}

/**
 * Fills in a context that is all zero (spec/tunnel.md 3.3 steps 4 and 8, 4.6): theirs is the
 * remote gateway, ours is `pub`. With `pub` unknown, the context by which the remote side called
 * us is ours as well.
 */
export function resolveContext(
  scope: TranslationScope,
  address: IprefAddress,
  role: Role,
  hints: ContextHints,
): IprefAddress {
  const { context, reference } = address;
  if (role === "theirs") {
    return isUnspecified(context) ? { context: hints.remote, reference } : address;
  }
  const isCalledByHint =
    isUnspecified(scope.publicAddress) &&
    hints.local !== undefined &&
    sameAddress(context, hints.local);
  if (!isUnspecified(context) && !isCalledByHint) return address;
  return { context: scope.publicAddress, reference };
}
