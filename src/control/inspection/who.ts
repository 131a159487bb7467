/**
 * `GET /who`: which IPREF address an address stands for, and back; without an address only what the
 * gateway itself is. Creates nothing.
 */

import { formatIp, formatPrefix, prefixContains, sameAddress } from "../../base/ip.js";
import { formatIprefAddress } from "../../base/reference.js";
import type { PreviewFinding } from "../../mapper/preview.js";
import { type ControlHandler, jsonReply, refusal } from "./api.js";
import { type End, QuestionRefused, readEnd } from "./explain-question.js";
import type { WhoReport } from "./explain-report.js";
import { routeOf } from "./explain-steps.js";
import type { InspectionParts } from "./gateway-routes.js";

/** Answers `GET /who` and `GET /who?address=...`. */
export function whoHandler(parts: InspectionParts): ControlHandler {
  return ({ query }) => {
    const text = query.get("address");
    if (text === null) return jsonReply({ address: "", role: "unknown", own: ownOf(parts) });
    try {
      return jsonReply(whoIs(parts, readEnd("address", text)));
    } catch (error) {
      if (!(error instanceof QuestionRefused)) throw error;
      return refusal(400, error.message);
    }
  };
}

function whoIs(parts: InspectionParts, end: End): WhoReport {
  const { settings, mapper, desk } = parts;
  const findings: PreviewFinding[] = [];
  const preview = mapper.preview((finding) => void findings.push(finding));
  const own = ownOf(parts);
  if (end.kind === "native" && desk !== undefined && sameAddress(end.address, desk.ownEncoded)) {
    return { address: own.encoded, role: "gateway", ipref: own.ipref, own };
  }
  if (end.kind === "native") {
    if (prefixContains(settings.encodeNet, end.address)) preview.theirsToIpref(end.address);
    else preview.oursToIpref(end.address, false);
  } else if (sameAddress(end.ipref.context, settings.publicAddress)) {
    if (formatIprefAddress(end.ipref) === own.ipref) {
      return { address: own.encoded, role: "gateway", ipref: own.ipref, own };
    }
    preview.iprefToOurs(end.ipref);
  } else preview.iprefToTheirs(end.ipref, false);
  return { ...foundIn(parts, end, findings.at(-1)), own };
}

function ownOf({ settings, desk }: InspectionParts): WhoReport["own"] {
  const { publicAddress, gatewayReference, encodeNet, tunnelVersion, bind, mapperSocket } =
    settings;
  return {
    ipref: formatIprefAddress({ context: publicAddress, reference: gatewayReference }),
    encoded: desk === undefined ? "" : formatIp(desk.ownEncoded),
    encodeNet: formatPrefix(encodeNet),
    tunnelVersion,
    bind: formatIp(bind),
    mapperSocket,
  };
}

function foundIn(
  { desk }: InspectionParts,
  end: End,
  finding: PreviewFinding | undefined,
): Omit<WhoReport, "own"> {
  const native = finding?.native ?? (end.kind === "native" ? end.address : undefined);
  const address = native === undefined ? "" : formatIp(native);
  const asked = end.kind === "ipref" ? formatIprefAddress(end.ipref) : undefined;
  if (finding === undefined || finding.outcome === "refused") {
    return { address, role: "unknown", ipref: asked };
  }
  const { ipref, mapping, role } = finding;
  const context = role === "theirs" ? ipref?.context : undefined;
  const route = context && desk?.previewRoute(context);
  return {
    address,
    role: role === "theirs" ? "remote" : "local",
    ipref: ipref && formatIprefAddress(ipref),
    owner: mapping?.owner,
    state: mapping?.state,
    route: context && route ? routeOf(formatIp(context), route) : undefined,
  };
}
