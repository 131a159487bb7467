/**
 * The mappings as a capture sees them: read from the shared table like the forwarding workers do,
 * so that looking creates nothing and refreshes nothing. Main thread.
 */

import { copyAddress, type IpAddress, sameAddress } from "../../base/ip.js";
import {
  type IprefAddress,
  readReference,
  sameIprefAddress,
  writeReferenceInto,
} from "../../base/reference.js";
import type { MappingView } from "../../capture/describe.js";
import {
  AddressTableReader,
  KIND_REMOTE,
  RECORD_CONTEXT,
  RECORD_LOCAL,
  RECORD_REFERENCE,
} from "../../tables/address-table.js";
import type { GatewaySettings } from "../gateway-flags.js";
import { ownEncodedAddress } from "../packet-desk.js";
import type { SharedState } from "../shared-state.js";

const REFERENCE_OFFSET = 16;

/** Looks mappings up, those of the gateway itself among them. */
export class SharedMappings implements MappingView {
  readonly #table: AddressTableReader;
  readonly #bytes: Uint8Array;
  readonly #settings: GatewaySettings;
  readonly #ownEncoded: IpAddress;
  readonly #own: IprefAddress;
  /** An address, and a reference behind it. */
  readonly #key = new Uint8Array(REFERENCE_OFFSET + 16);
  readonly #keyView = new DataView(this.#key.buffer);

  constructor({ memory, plan }: Pick<SharedState, "memory" | "plan">, settings: GatewaySettings) {
    this.#table = new AddressTableReader(memory, plan.addressesOffset, plan.options);
    this.#bytes = new Uint8Array(memory);
    this.#settings = settings;
    this.#ownEncoded = ownEncodedAddress(settings.encodeNet);
    this.#own = { context: settings.publicAddress, reference: settings.gatewayReference };
  }

  iprefOf(address: IpAddress): IprefAddress | undefined {
    if (address.version !== this.#settings.localVersion) return undefined;
    if (sameAddress(address, this.#ownEncoded)) return this.#own;
    this.#key.set(address.bytes);
    const record = this.#table.findByLocal(this.#keyView, 0);
    if (record === 0) return undefined;
    const isRemote = this.#table.kind(record) === KIND_REMOTE;
    const { tunnelVersion, publicAddress } = this.#settings;
    const context = isRemote
      ? copyAddress(this.#bytes, record + RECORD_CONTEXT, tunnelVersion)
      : publicAddress;
    return { context, reference: readReference(this.#bytes, record + RECORD_REFERENCE) };
  }

  nativeOf(ipref: IprefAddress): IpAddress | undefined {
    const { tunnelVersion, localVersion, publicAddress } = this.#settings;
    if (ipref.context.version !== tunnelVersion) return undefined;
    if (sameIprefAddress(ipref, this.#own)) return this.#ownEncoded;
    this.#key.set(ipref.context.bytes);
    writeReferenceInto(this.#key, REFERENCE_OFFSET, ipref.reference);
    const record = sameAddress(ipref.context, publicAddress)
      ? this.#table.findLocalByReference(this.#keyView, REFERENCE_OFFSET)
      : this.#table.findRemote(this.#keyView, 0, REFERENCE_OFFSET);
    return record === 0 ? undefined : copyAddress(this.#bytes, record + RECORD_LOCAL, localVersion);
  }
}
