/**
 * A real mapper over a store in memory, with the mappings of a vector's configuration. Those that a
 * hosts file may contain are installed as its records; the others, which a mapper has allocated,
 * are put into the store and restored from it.
 */

import { type IpAddress, isUnspecified } from "../../base/ip.js";
import type { RandomSource } from "../../base/random.js";
import { referenceSecondByte, writeReferenceInto } from "../../base/reference.js";
import { Committer } from "../../mapper/committer.js";
import { LIFETIME_SECONDS, type MapperConfig } from "../../mapper/config.js";
import type { HostsRecord } from "../../mapper/hosts-file.js";
import { Mapper } from "../../mapper/mapper.js";
import { MemoryStore } from "../../mapper/memory-store.js";
import {
  PAGE_BYTES,
  PAGE_HEADER_BYTES,
  RECORDS_PER_PAGE,
  STORE_FORMAT_VERSION,
  STORED_CONTEXT,
  STORED_KIND,
  STORED_LOCAL,
  STORED_MARK,
  STORED_RECORD_BYTES,
  STORED_REFERENCE,
  type StoreChange,
} from "../../mapper/store.js";
import {
  type AddressTableShape,
  addressTableBytes,
  KIND_LOCAL,
  KIND_REMOTE,
} from "../../tables/address-table.js";
import { AddressTableWriter } from "../../tables/address-table-writer.js";
import { writeU16 } from "./adopt.js";
import type { VectorConfig } from "./vector-file.js";

/** Far more than the mappings of any vector. */
const RECORDS_MAX = 4096;
const HASH_SEED = 7;
/** spec/mapper.md 3.4: a hosts file may use values below this. */
const DYNAMIC_SECOND_BYTE_MIN = 16;
/** Name of the owner of the configured mappings. */
const HOSTS_PATH = "/vectors/hosts";

type Mapping = VectorConfig["mappings"][number];

/** The mapper and its store. */
export interface VectorMapper {
  readonly mapper: Mapper;
  /** Resolves when everything that waited for the store has gone on. */
  settle(): Promise<void>;
}

/** What the surroundings of the mapper provide. */
export interface VectorMapperOptions {
  readonly config: VectorConfig;
  readonly random: RandomSource;
  readonly nowSeconds: () => number;
  readonly onSettled: (token: number, isStored: boolean) => void;
}

/** Builds a mapper that knows the configured mappings. */
export function startVectorMapper(options: VectorMapperOptions): VectorMapper {
  const { config, nowSeconds } = options;
  const store = new MemoryStore();
  const allocated = config.mappings.filter((each) => secondByte(each) >= DYNAMIC_SECOND_BYTE_MIN);
  store.apply(storedPages(allocated, nowSeconds() + LIFETIME_SECONDS));
  let mapper: Mapper | undefined;
  const committer = new Committer(store, () => mapper!);
  mapper = new Mapper({
    config: mapperConfig(config),
    table: emptyTable(config),
    random: options.random,
    nowSeconds,
    timeBaseMs: 0,
    onChangesWaiting: committer.kick,
    onSettled: options.onSettled,
    onEvent: () => undefined,
  });
  mapper.restore(store.load());
  const published = config.mappings.filter((each) => !allocated.includes(each));
  mapper.installHosts(HOSTS_PATH, published.map(hostsRecord));
  return { mapper, settle: () => committer.drain() };
}

function mapperConfig(config: VectorConfig): MapperConfig {
  return {
    encodeNet: config.ea_net,
    ownEncoded: config.ea_ip,
    publicAddress: config.gw_pub,
    gatewayReference: config.gw_ref,
  };
}

function emptyTable(config: VectorConfig): AddressTableWriter {
  const shape: AddressTableShape = {
    recordsMax: RECORDS_MAX,
    localVersion: config.local_version,
    tunnelVersion: config.tunnel_version,
    hashSeed: HASH_SEED,
  };
  return new AddressTableWriter(new ArrayBuffer(addressTableBytes(shape)), 0, shape);
}

function localAddress(mapping: Mapping): IpAddress {
  return mapping.kind === "our" ? mapping.ip : mapping.ea;
}

/** The octet that tells allocated values from published ones (spec/mapper.md 3.4). */
function secondByte(mapping: Mapping): number {
  return mapping.kind === "our" ? referenceSecondByte(mapping.ref) : mapping.ea.bytes.at(-2)!;
}

function hostsRecord(mapping: Mapping, index: number): HostsRecord {
  return {
    kind: mapping.kind === "our" ? "local" : "remote",
    address: localAddress(mapping),
    gateway: isUnspecified(mapping.gw) ? undefined : mapping.gw,
    reference: mapping.ref,
    line: index + 1,
    column: 1,
  };
}

/** Pages of a store that hold these mappings; record numbers begin with 1. */
function storedPages(mappings: readonly Mapping[], mark: number): StoreChange[] {
  const pages = new Map<number, Uint8Array>();
  for (const [index, mapping] of mappings.entries()) {
    const number = index + 1;
    const key = Math.floor(number / RECORDS_PER_PAGE);
    const page = pages.get(key) ?? new Uint8Array(PAGE_BYTES);
    pages.set(key, page);
    page[0] = STORE_FORMAT_VERSION;
    const at = PAGE_HEADER_BYTES + (number % RECORDS_PER_PAGE) * STORED_RECORD_BYTES;
    page[at + STORED_KIND] = mapping.kind === "our" ? KIND_LOCAL : KIND_REMOTE;
    writeU16(page, at + STORED_MARK, mark >>> 16);
    writeU16(page, at + STORED_MARK + 2, mark & 0xffff);
    page.set(localAddress(mapping).bytes, at + STORED_LOCAL);
    if (mapping.kind === "their") page.set(mapping.gw.bytes, at + STORED_CONTEXT);
    writeReferenceInto(page, at + STORED_REFERENCE, mapping.ref);
  }
  return [...pages].map(([key, value]) => ({ shelf: "page", key, value }));
}
