/**
 * Tells the client its own address, port and transport, as CoreDNS does: an A or AAAA record and an
 * SRV record `_udp.NAME` or `_tcp.NAME` in the additional section.
 */

import { Name } from "../../../wire/dns/name.js";
import { FLAG_AA, TYPE_A, TYPE_AAAA, TYPE_SRV } from "../../../wire/dns/numbers.js";
import { recordOf } from "../../../wire/dns/record.js";
import { answerOf, type Reply } from "../../answer.js";
import type { Handler } from "../../plugin.js";
import type { Query } from "../../query.js";

export class WhoamiHandler implements Handler {
  readonly name = "whoami";

  handle(query: Query): Reply {
    const { address, port } = query.client;
    const type = address.version === 4 ? TYPE_A : TYPE_AAAA;
    const additional = [recordOf(query.name, type, 0, address.bytes)];
    const label = Uint8Array.from([...`_${query.transport}`], (char) => char.charCodeAt(0));
    const service = query.name.prepend(label);
    if (service !== undefined) {
      const data = Uint8Array.of(0, 0, 0, 0, port >> 8, port & 255, ...Name.ROOT.wire);
      additional.push(recordOf(service, TYPE_SRV, 0, data));
    }
    return answerOf({ flags: FLAG_AA, additional });
  }
}
