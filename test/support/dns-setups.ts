// The set-ups of the IPREF documents (spec/resolver.md 2.8) as Corefiles. Zone files are beside the
// Corefile; a peer of the test has the addresses of the public resolvers.

/** `ipref` with all four properties, `forward` to two addresses, `log`. */
export const CLIENT = `. {
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

/** Block `internal` beside the client block. */
export const SERVER = `internal {
    file internal.db
    transfer {
        to *
    }
    log
}
${CLIENT}`;

/** As server, with `debug` in both and lines commented out. */
export const README = `internal:53 {
    # bind 192.168.1.1
    debug
    file internal.db   # the zone
    transfer {
        to *
    }
    log
}
. {
    # bind 192.168.1.1
    debug
    ipref {
        upstream 8.8.8.8
        ea-ipver 4
        gw-ipver 4
        mapper unix:///run/ipref/mapper.sock
    }
    # forward . 8.8.8.8
    log
}
`;

/** Without `forward`: SERVFAIL for everything that is not IPREF. */
export const INSTALLER = `internal {
    file internal.db
    transfer {
        to *
    }
    log
}
. {
    ipref {
        upstream 8.8.8.8
        ea-ipver 4
        gw-ipver 4
        mapper /run/ipref/mapper.sock
    }
    log
}
`;

/** Two local zones without transfer. */
export const TWO_ZONES = `internal {
    file internal.db
    log
}
dmz {
    file dmz.db
    log
}
`;

/** Bare IPv6 addresses, versions 6 and 6. */
export const IPV6 = `. {
    ipref {
        upstream 2001:4860:4860::8888
        ea-ipver 6
        gw-ipver 6
        mapper /run/ipref/mapper.sock
    }
    forward . 2001:4860:4860::8888 2001:4860:4860::8844
    log
}
`;

/** A stub resolver has 127.0.0.53. */
export const BESIDE_STUB = `. {
    bind 127.0.0.2   # 127.0.0.53 is taken
    ipref {
        upstream 8.8.8.8
    }
}
`;

/** Example of the plugin: only one domain, with exceptions. */
export const EXAMPLE = `. {
    ipref example.com {
        except www.example.com mail.example.com
        upstream 8.8.8.8
    }
    forward . 8.8.8.8
}
`;
