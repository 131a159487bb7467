/**
 * What usually stands behind each drop reason, and what to do about it: for `ipref explain`, status
 * and the documentation. The reasons themselves are in drop-reason.ts; the compiler sees to it that
 * none is missing here.
 */

import type { DropReason } from "./drop-reason.js";

/** Advice about one drop reason, in plain English. */
export interface DropAdvice {
  /** What usually causes it. */
  readonly causes: string;
  /** What to do; starts with a verb, or says that there is nothing to do. */
  readonly fix: string;
}

const HARMLESS = "Nothing, while the count is small";
const HOSTILE = "Nothing for a few; a steady flow of them is an attack or a broken peer";
const SENDER_BROKEN = "Look at the sender: it, or a device on the way, builds broken packets";

const ADVICE: Readonly<Record<DropReason, readonly [causes: string, fix: string]>> = {
  "local-too-short": ["A broken or hostile program on a local host", SENDER_BROKEN],
  "local-bad-version": [
    "IPv6 chatter of the kernel on the device of an IPv4 encode net, or the other way round",
    "Nothing; if hosts shall reach others by that version, choose an encode net of that version",
  ],
  "local-ip-options": [
    "A program asks for a source route, or builds broken options",
    "Send without IP options; routers drop them nowadays as well",
  ],
  "local-bad-length": ["A broken or hostile program on a local host", SENDER_BROKEN],
  "local-bad-fragment": ["A broken or hostile program on a local host", SENDER_BROKEN],
  "local-extension-header": [
    "Hop-by-hop options, a routing header or destination options, or a ping of multicast listeners",
    "Send without extension headers; only the fragment header can be carried",
  ],
  "local-source-link-local": [
    "The host has no other address: its DHCP has failed, or IPv6 is only half configured",
    "Give the host an address that is not link-local",
  ],
  "local-source-encoded": [
    "A host uses an address of the encode net for itself, or a packet has come back by a loop",
    "Take the encode net out of all address pools, and look for a route that turns packets around",
  ],
  "local-source-not-unicast": [
    "A host sends from 0.0.0.0, loopback, multicast or 240.0.0.0/4",
    "Give the host a unicast address",
  ],
  "local-destination-self": [
    "Somebody uses the gateway's own encoded address, which stands for no remote host",
    "Use the gateway's ordinary local address instead",
  ],
  "local-destination-not-unicast": [
    "Multicast or broadcast of the kernel or of a service on the device",
    "Nothing; the tunnel carries unicast only",
  ],
  "local-destination-unknown": [
    "A host remembers an encoded address that has expired, its DNS cache is older than the " +
      "mapping, or the address was typed in by hand",
    "Look the name up again (ipref maps lists what is mapped); for a fixed address add a line to " +
      "the hosts file",
  ],
  "local-bad-offload": ["A defect of the kernel's TUN driver", "Run with -offload none"],
  "local-bad-segment-size": ["A defect of the kernel's TUN driver", "Run with -offload none"],
  "local-bad-checksum-place": ["A defect of the kernel's TUN driver", "Run with -offload none"],
  "local-congestion-mark": [
    "A router in the local network is congested and marks packets instead of dropping them",
    "Relieve that router, or turn ECN off at the sender (net.ipv4.tcp_ecn=0)",
  ],
  "tunnel-empty": ["Somebody scans the port, or keeps a NAT open with empty datagrams", HARMLESS],
  "tunnel-too-short": ["Somebody scans the port, or sends another protocol there", HOSTILE],
  "tunnel-too-long": [
    "A datagram above 65,536 octets cannot exist: the receive buffer was misused",
    "Run with -offload none, and report it",
  ],
  "tunnel-bad-control": ["A defect of the kernel's receive path", "Run with -offload none"],
  "tunnel-bad-segment-size": ["A defect of the kernel's receive path", "Run with -offload none"],
  "tunnel-bad-version": [
    "Somebody scans the port, or the peer speaks a newer format of the tunnel",
    "Compare the versions of both gateways; for scans there is nothing to do",
  ],
  "tunnel-bad-reference-length": [
    "A newer or broken peer",
    "Compare the versions of both gateways",
  ],
  "tunnel-reserved-bits": ["A newer or broken peer", "Compare the versions of both gateways"],
  "tunnel-context-version": [
    "The peer knows this gateway by an address of the other IP version",
    "Publish AA records with the address of the version that the tunnel uses",
  ],
  "tunnel-source-mismatch": [
    "The peer is behind a NAT and says another public address than the one it is seen by, or " +
      "somebody forges contexts",
    "Let the peer set -gateway-pub to the address of its NAT, or 0.0.0.0 if it is unknown",
  ],
  "tunnel-destination-mismatch": [
    "Packets meant for another gateway, or the own public address has changed",
    "Compare -gateway-pub with the address in the AA records and with that of the NAT",
  ],
  "tunnel-source-own": [
    "Somebody forges this gateway's own address, or a NAT turns packets around",
    "Nothing for forgeries; otherwise look for hairpin NAT on the router",
  ],
  "tunnel-source-not-unicast": ["A forged or broken datagram", HOSTILE],
  "tunnel-bad-fragment": ["A broken or hostile peer", HOSTILE],
  "tunnel-reference-unknown": [
    "A remote host still uses a reference that has expired or was taken back, its DNS cache holds " +
      "an old AA record, or somebody guesses references",
    "Publish the host (ipref publish, or a line #= pub + reference in the hosts file), and wait " +
      "until the old record has left the caches",
  ],
  "tunnel-to-gateway": [
    "Somebody tries services of the gateway host at reference 1, which is not open",
    "Publish the service under a reference of its own",
  ],
  "tunnel-echo-reply-unknown": [
    "An answer that came after its probe was given up, or a forged one",
    HARMLESS,
  ],
  "tunnel-echo-limited": ["A monitor or an attacker pings the gateway often", "Ping less often"],
  "tunnel-bad-echo": ["A broken peer, or damage on the way", HOSTILE],
  "tunnel-native-too-long": [
    "A peer with another IP version sent the largest packet there is",
    "Send packets of less than 65,000 octets",
  ],
  "ttl-expired": [
    "A traceroute, or a routing loop; only with -dec-ttl",
    "Nothing for a traceroute; otherwise look for the loop with ipref traceroute",
  ],
  "protocol-not-supported": [
    "A protocol other than TCP, UDP and ICMP, such as SCTP, GRE or IPsec ESP",
    "Use TCP or UDP, for IPsec its encapsulation in UDP",
  ],
  "protocol-wrong-version": ["A broken or hostile program", SENDER_BROKEN],
  "tcp-too-short": ["A broken or hostile program", SENDER_BROKEN],
  "udp-too-short": ["A broken or hostile program", SENDER_BROKEN],
  "udp-bad-length": ["A broken or hostile program", SENDER_BROKEN],
  "udp-fragment-no-checksum": [
    "A program turns UDP checksums off and sends large datagrams towards an IPv6 network",
    "Turn UDP checksums on at the sender, or send smaller datagrams",
  ],
  "icmp-too-short": ["A broken or hostile program", SENDER_BROKEN],
  "icmp-type-not-supported": [
    "Redirects, router and neighbour discovery and timestamps mean nothing beyond a network",
    "Nothing; echoes and errors are carried",
  ],
  "icmp-error-fragment": ["A broken router, or an attack", HOSTILE],
  "icmp-nested-too-deep": ["An attack: errors about errors about errors", HOSTILE],
  "icmp-bad-mtu": [
    "A router announces an MTU below 68 (IPv4) or one that no link has",
    "Look for the router that sends it (ipref capture icmp)",
  ],
  "icmp-quote-malformed": ["A router quotes too little or damages the quote", HARMLESS],
  "icmp-quote-unknown": [
    "The error is about a packet whose mapping has expired, or is forged",
    HARMLESS,
  ],
  "icmp-quote-mismatch": [
    "A router on the way names itself by an address that is not part of the flow, or a forgery",
    HARMLESS,
  ],
  "icmp-fragment-refused": [
    "The first part of the message was dropped for another reason",
    "Look at the other drop reasons of the same time",
  ],
  "icmp-fragment-held-full": [
    "Many large pings at a time, or an attack with first fragments",
    "Ping with less than 1,400 octets",
  ],
  "icmp-fragment-expired": ["Loss on the way: the last fragment never came", HARMLESS],
  "reference-exhausted": [
    "More local hosts than the table has room for, or many forged local sources",
    "Look for a scan or a host that forges sources (ipref maps --kind local)",
  ],
  "encoded-address-exhausted": [
    "More remote hosts at a time than the encode net has addresses",
    "Choose a larger encode net (-encode-net 10.240.0.0/12 has a million)",
  ],
  "mapping-quota": [
    "One remote gateway brings in more hosts than its share, a quarter of the encode net and at " +
      "most 4,096: a scan with changing references, or a very large site",
    "Choose a larger encode net for a large site; otherwise nothing, old ones expire by themselves",
  ],
  "mapping-rate": [
    "More than 50 new remote hosts a second from one gateway or 500 from all: a scan, or the rush " +
      "after a restart",
    "Nothing; senders repeat, and the next attempt succeeds",
  ],
  "mapping-storage": [
    "The disk is full, read-only or failing",
    "Free space in the data directory (-data, /var/lib/ipref) and look at the log for the error",
  ],
  "mapping-pending-full": [
    "Very many first packets while the disk is slow",
    "Put the data directory on a faster disk; senders repeat",
  ],
  "packet-too-big": [
    "The path to the remote gateway is narrower than the packet, and it may not be fragmented; its " +
      "sender learns the right size",
    "Nothing if connections work; otherwise let ICMP errors through to the sender, or lower " +
      "-gateway-ifc-mtu",
  ],
  "fragment-no-room": [
    "The path MTU is smaller than the tunnel header and 8 octets",
    "Look for a broken MTU on the way to the remote gateway (ipref peers shows it)",
  ],
  "send-source-mismatch": [
    "The public address was changed while mappings of the old one were in use",
    "Restart the gateway with the right -gateway-pub",
  ],
  "send-failed": [
    "No route to the remote gateway, a firewall on this machine, or full buffers",
    "Try ip route get ADDRESS of the remote gateway, and look at the rules for outgoing UDP",
  ],
  "write-failed": [
    "The TUN device is down or was removed",
    "Look at ip link show; restart the gateway",
  ],
  "remote-gateways-full": [
    "No room for another remote gateway, and none can be put aside",
    "Raise -max-remote-gateways",
  ],
  "icmp-not-answered": [
    "The packet is itself an error, a fragment or not from one host: answering could make a storm",
    HARMLESS,
  ],
  "icmp-limited": ["Many packets in error at a time: a scan, or a loop", HARMLESS],
  "slow-path-full": [
    "A flood of first packets, fragments, echoes or unknown addresses",
    "Look who sends it (ipref capture); established flows are not affected",
  ],
};

/** What usually causes a drop and what to do about it. */
export function dropAdvice(reason: DropReason): DropAdvice {
  const [causes, fix] = ADVICE[reason];
  return { causes, fix };
}
