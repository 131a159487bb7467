/**
 * Which published records may be installed (spec/mapper.md 3.8, 5.2): the checks that depend on the
 * record and the gateway alone, in the order of 5.2.
 */

import {
  addressLength,
  type IpAddress,
  isGlobalUnicast,
  isUnspecified,
  prefixContains,
  sameAddress,
} from "../base/ip.js";
import { type Reference, referenceSecondByte } from "../base/reference.js";
import { DYNAMIC_SECOND_BYTE_MIN } from "./allocator.js";
import type { MapperConfig } from "./config.js";

/** A record that somebody publishes: a local host, or an encoded address chosen by hand. */
export interface PublishedRecord {
  readonly kind: "local" | "remote";
  readonly address: IpAddress;
  readonly gateway: IpAddress | undefined;
  readonly reference: Reference | undefined;
}

/** Why a record is not installed. */
export interface Refusal {
  readonly found: string;
  readonly wanted: string;
}

type RuleConfig = Pick<
  MapperConfig,
  "encodeNet" | "ownEncoded" | "publicAddress" | "gatewayReference"
>;

/** The refusal of a record, or undefined when it may be installed. */
export function refusalOf(record: PublishedRecord, config: RuleConfig): Refusal | undefined {
  return refusalOfAddress(record, config) ?? refusalOfReference(record, config);
}

function refusalOfAddress(record: PublishedRecord, config: RuleConfig): Refusal | undefined {
  const { kind, address } = record;
  const isInside = prefixContains(config.encodeNet, address);
  if (!isGlobalUnicast(address)) return refuse("a non-unicast address", "a unicast address");
  if (kind === "remote" && !isInside) {
    return refuse("an address outside the encode net", "an encoded address");
  }
  if (kind === "local" && isInside) {
    return refuse("an address inside the encode net", "the address of a local host");
  }
  if (kind === "local" && sameAddress(address, config.publicAddress)) {
    return refuse("the gateway's own address", "the address of another host");
  }
  const isReserved =
    sameAddress(address, config.ownEncoded) || sameAddress(address, config.encodeNet.address);
  if (isReserved) return refuse("an address of the gateway itself", "another encoded address");
  return undefined;
}

function refusalOfReference(record: PublishedRecord, config: RuleConfig): Refusal | undefined {
  const { kind, address, gateway, reference } = record;
  if (reference === undefined || reference === 0n) {
    return refuse("no reference", "+ and a reference other than 0");
  }
  const secondByte =
    kind === "remote"
      ? address.bytes[addressLength(address.version) - 2]!
      : referenceSecondByte(reference);
  if (secondByte >= DYNAMIC_SECOND_BYTE_MIN) {
    const what = kind === "remote" ? "an address" : "a reference";
    return refuse(
      `${what} whose second to last byte is ${secondByte}`,
      `one below ${DYNAMIC_SECOND_BYTE_MIN}: the others are given out by the gateway`,
    );
  }
  if (address.version !== config.encodeNet.address.version) {
    return refuse(`an IPv${address.version} address`, `IPv${config.encodeNet.address.version}`);
  }
  if (gateway !== undefined && gateway.version !== config.publicAddress.version) {
    return refuse(
      `an IPv${gateway.version} gateway`,
      `a gateway of IPv${config.publicAddress.version}`,
    );
  }
  return refusalOfGateway(record, config);
}

function refusalOfGateway(record: PublishedRecord, config: RuleConfig): Refusal | undefined {
  const { kind, gateway, reference } = record;
  const isOwnKnown = !isUnspecified(config.publicAddress);
  const isZero = gateway === undefined || isUnspecified(gateway);
  if (kind === "remote") {
    const isOwn = isZero || sameAddress(gateway, config.publicAddress);
    return isOwn ? refuse("this gateway", "the address of a remote gateway") : undefined;
  }
  if (!isZero && isOwnKnown && !sameAddress(gateway, config.publicAddress)) {
    return refuse("the address of another gateway", "this gateway's own address or none");
  }
  if (reference === config.gatewayReference) {
    return refuse("the gateway's own reference", "another reference");
  }
  return undefined;
}

function refuse(found: string, wanted: string): Refusal {
  return { found, wanted };
}
