/**
 * The ends of a flow that is to be explained: which hosts its texts name, and by which addresses
 * the two networks know them. Creates nothing.
 */

import { formatIp, type IpAddress, prefixContains, sameAddress } from "../../base/ip.js";
import { formatIprefAddress, type IprefAddress } from "../../base/reference.js";
import type { MapperPreview } from "../../mapper/preview.js";
import { type End, QuestionRefused } from "./explain-question.js";
import type { TraceParts } from "./explain-trace.js";

/** Finds ends; what they name and cannot be is a QuestionRefused. */
export class FlowEnds {
  readonly #parts: TraceParts;
  readonly #preview: MapperPreview;

  constructor(parts: TraceParts, preview: MapperPreview) {
    this.#parts = parts;
    this.#preview = preview;
  }

  /** The remote host that an end names, if it names one. */
  remoteOf(end: End): IprefAddress | undefined {
    if (end.kind === "ipref") return this.#isOwn(end.ipref) ? undefined : end.ipref;
    const { encodeNet } = this.#parts.settings;
    if (!prefixContains(encodeNet, end.address) || this.#isGatewayHost(end.address)) {
      return undefined;
    }
    const found = this.#preview.theirsToIpref(end.address);
    if (found.status === "found") return found.value;
    throw new QuestionRefused(
      `No remote host has the encoded address ${formatIp(end.address)}; ipref maps lists them`,
    );
  }

  localOf(end: End): IpAddress {
    if (end.kind === "native") return end.address;
    const { settings } = this.#parts;
    if (end.ipref.reference === settings.gatewayReference) return this.#ownEncoded();
    const found = this.#preview.iprefToOurs(end.ipref);
    if (found.status === "found") return found.value;
    throw new QuestionRefused(
      `No local host has the reference of ${formatIprefAddress(end.ipref)}`,
    );
  }

  /** Where a local host sends to; `isDirect`: past the gateway. */
  targetOf(end: End): { address: IpAddress; isDirect: boolean } {
    if (end.kind === "native") {
      const { encodeNet } = this.#parts.settings;
      const isEncoded = prefixContains(encodeNet, end.address);
      return { address: end.address, isDirect: !isEncoded };
    }
    if (this.#isOwn(end.ipref)) return { address: this.localOf(end), isDirect: true };
    this.checkTunnelVersion(end.ipref.context);
    const found = this.#preview.forResolver(end.ipref);
    if (found.status === "found") return { address: found.value, isDirect: false };
    throw new QuestionRefused(
      `${formatIprefAddress(end.ipref)} cannot be a remote host: its context is no unicast ` +
        "address, or its reference is 0",
    );
  }

  #isOwn({ context }: IprefAddress): boolean {
    return sameAddress(context, this.#parts.settings.publicAddress);
  }

  #isGatewayHost(address: IpAddress): boolean {
    return sameAddress(address, this.#ownEncoded());
  }

  #ownEncoded(): IpAddress {
    return this.#parts.desk.ownEncoded;
  }

  checkVersion(name: string, { version }: IpAddress): void {
    const { localVersion } = this.#parts.settings;
    if (version === localVersion) return;
    throw new QuestionRefused(
      `The ${name} is an IPv${version} address; the local network of this gateway is IPv${localVersion}`,
    );
  }

  checkTunnelVersion({ version }: IpAddress): void {
    const { tunnelVersion } = this.#parts.settings;
    if (version === tunnelVersion) return;
    throw new QuestionRefused(
      `The remote gateway has an IPv${version} address; the tunnel of this gateway is IPv${tunnelVersion}`,
    );
  }

  /** By which IPREF address a remote host reaches one of ours; undefined when by none. */
  referenceOf(end: End, source: IprefAddress): IprefAddress | undefined {
    if (end.kind === "ipref") return end.ipref;
    const { settings } = this.#parts;
    if (this.#isGatewayHost(end.address)) {
      return { context: settings.publicAddress, reference: settings.gatewayReference };
    }
    this.checkVersion("destination", end.address);
    const peer = this.#preview.iprefToTheirs(source, false);
    const encoded = peer.status === "found" ? peer.value : undefined;
    const found = this.#preview.oursToIpref(end.address, false, encoded);
    return found.status === "found" ? found.value : undefined;
  }
}
