/** The set-ups of the IPREF documents (spec/resolver.md 2.8) and of 1.15, 2.6 and 4.1. */

import assert from "node:assert/strict";
import { test } from "node:test";
import type { ForwardSettings } from "../../../src/dns/plugins/forward/setup.js";
import type { IprefSettings } from "../../../src/dns/plugins/ipref/settings.js";
import { complaintsOf, configure } from "../world.js";

const CLIENT = `. {
    ipref {
        upstream 8.8.8.8
        ea-ipver 4
        gw-ipver 4
        mapper /run/ipref/mapper.sock
    }
    forward . 8.8.8.8 8.8.4.4
    log
}
`;

const SERVER = `internal {
    file /etc/coredns/internal.db
    transfer {
        to *
    }
    log
}
${CLIENT}`;

const SETUPS: Record<string, string> = {
  client: CLIENT,
  server: SERVER,
  "read-me": `internal:53 {
    # bind 192.168.1.1
    debug
    file /etc/coredns/internal.db   # the zone
    transfer {
        to *
    }
    log
}
. {
    # bind 192.168.1.1
    debug
    ipref {
        upstream 1.1.1.1
        ea-ipver 4
        gw-ipver 4
        mapper unix:///run/ipref/mapper.sock
    }
    # forward . 1.1.1.1
    log
}
`,
  "installer script": `internal {
    file internal.db
    transfer {
        to *
    }
    log
}
. {
    ipref {
        upstream 9.9.9.9
        ea-ipver 4
        gw-ipver 4
        mapper /run/ipref/mapper.sock
    }
    log
}
`,
  "two zones": `internal {
    file internal.db
    log
}
dmz {
    file dmz.db
    log
}
`,
  IPv6: `. {
    ipref {
        upstream 2001:4860:4860::8888
        ea-ipver 6
        gw-ipver 6
        mapper /run/ipref/mapper.sock
    }
    forward . 2001:4860:4860::8888 2001:4860:4860::8844
    log
}
`,
  "beside a stub": `. {
    bind 127.0.0.2   # 127.0.0.53 is taken
    ipref {
        upstream 8.8.8.8
    }
}
`,
  "plugin example": `. {
    ipref example.com {
        except www.example.com mail.example.com
        upstream 8.8.8.8
    }
    forward . 8.8.8.8
}
`,
  "every addition": `. {
    ipref example.com example.net {
        except a.example.com
        except b.example.com
        upstream 8.8.8.8:53 [2001:db8::1] tls://9.9.9.9%dns.quad9.net /etc/resolv.conf
        on-failure servfail
        ttl 600
        max-records 4
        encode-net 10.240.0.0/12 fd00::/64
        svcb strip
        parallel off
    }
    forward example.org 10.0.0.1:1053 {
        except internal.example.org
        force_tcp
        expire 20s
        max_fails 3
        policy round_robin
        health_check 1s no_rec domain example.org
        max_concurrent 100
        failfast_all_unhealthy_upstreams
        next NXDOMAIN SERVFAIL
    }
    forward . tls://1.1.1.1 {
        tls_servername cloudflare-dns.com
        tls
        prefer_udp
        policy sequential
    }
    cache 600 example.org {
        success 5000 3600 10
        denial 1000 60
        prefetch 10 1m 20%
        serve_stale 1h verify
        servfail 10s
        disable denial example.net
        keepttl
    }
    acl {
        allow type A net 10.0.0.0/8 192.0.2.1
        block type ANY
        filter net 198.51.100.0/24
        drop
    }
    hosts /etc/hosts example.org {
        10.0.0.1 a.example.org a
        ttl 60
        no_reverse
        reload 0
        fallthrough
    }
    auto example.org {
        directory /zones (.*)\\.db {1}
        reload 30s
    }
    log example.org "{combined}" {
        class denial error
    }
    errors {
        stacktrace
        consolidate 5m ".* timeout$" warning
    }
    any
    bufsize 1400
    health :8080 {
        lameduck 5s
    }
    ready 127.0.0.1:8181
    prometheus
    reload 10s 5s
    root /etc/coredns
    loop
    whoami
    loadbalance round_robin
    minimal
    timeouts {
        read 3s
        idle 20s
    }
}
`,
};

for (const [name, text] of Object.entries(SETUPS)) {
  test(`the set-up '${name}' is read without complaint`, async () => {
    const configuration = await configure(text);
    assert.deepEqual(complaintsOf(configuration), []);
    for (const { settings } of configuration.blocks) {
      for (const [directive, value] of settings) assert.notEqual(value, undefined, directive);
    }
  });
}

test("the settings of the client set-up are those of the text", async () => {
  const [block] = (await configure(CLIENT)).blocks;
  const ipref = block!.settings.get("ipref") as IprefSettings;
  assert.equal(ipref.upstreams.length, 1);
  assert.deepEqual([ipref.encodedVersion, ipref.gatewayVersion], [4, 4]);
  assert.equal(ipref.mapperPath, "/run/ipref/mapper.sock");
  assert.deepEqual(ipref.from.map(String), ["."]);
  const [forward] = block!.settings.get("forward") as ForwardSettings;
  assert.equal(forward!.to.length, 2);
});

test("mistakes in ipref and forward are named", async () => {
  const inBlock = async (text: string) =>
    complaintsOf(await configure(`. {\n${text}\n}`)).join("\n");
  const ipref = (line: string) => inBlock(`ipref {\nupstream 1.1.1.1\n${line}\n}`);
  assert.match(await ipref("ea-ipver 5"), /Found '5', expected one of 4, 6/);
  assert.match(
    await ipref("upstream dns.example.org"),
    /Found 'dns.example.org', expected an IP address/,
  );
  assert.match(await ipref("ea_ipver 4"), /did you mean 'ea-ipver'/);
  assert.match(await ipref("mapper"), /expected 1 more argument/);
  assert.match(await ipref("ttl 100000"), /expected a number from 1 to 3600/);
  assert.match(await inBlock("forward ."), /expected 1 more argument/);
  assert.match(await inBlock("forward . 1.1.1.1 {\nnext NXDOMAIN\n}"), /in the last 'forward'/);
  assert.match(await inBlock("forward . 1.1.1.1 {\nexpire 5\n}"), /expected a duration/);
  assert.match(await inBlock(`forward . ${"1.1.1.1 ".repeat(16)}`), /at most 16 arguments/);
  assert.match(await inBlock("transfer {\n}"), /Found no 'to'/);
  assert.match(await inBlock("transfer {\nto example.org\n}"), /expected '\*' or an IP address/);
  assert.match(await inBlock("reload 1s"), /at least 2000 ms/);
  assert.match(await inBlock("debug x"), /expected no argument after 'debug'/);
  assert.match(
    await inBlock("file"),
    /expected 1 more argument after 'file'|expected 1 more argument/,
  );
});
