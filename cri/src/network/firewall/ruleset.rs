//! The chains. Pure; `nft list table inet rt` shows them.

use std::net::Ipv6Addr;

use crate::network::nft::{Chain, Compare, Expression, Field, Hook, Key, Meta, Rule, Set, Type, Verdict};

/// Bridges of networks.
pub(super) const BRIDGES: &str = "bridges";
/// Those of internal networks.
pub(super) const INTERNAL: &str = "internal";
/// Those whose containers do not reach each other.
pub(super) const QUIET: &str = "quiet";
/// Those that containers of other networks do not reach.
pub(super) const ISOLATED: &str = "isolated";
/// Those behind the host's address.
pub(super) const MASQUERADED: &str = "masqueraded";
/// Each bridge with itself: rules cannot compare two interfaces.
pub(super) const SAME: &str = "same";
/// Published ports of one of the host's addresses, of each family.
pub(super) const HOST4: &str = "published4";
pub(super) const HOST6: &str = "published6";
/// Published ports of all of the host's addresses.
pub(super) const ANY4: &str = "published_any4";
pub(super) const ANY6: &str = "published_any6";
/// Ports of bridges whose containers send from their own addresses alone.
pub(super) const PORTS: &str = "ports";
/// Their Ethernet addresses.
pub(super) const STATIONS: &str = "stations";
/// Their IP addresses, of each family.
pub(super) const OWN4: &str = "own4";
pub(super) const OWN6: &str = "own6";

/// Everything in a table that does not change.
#[derive(Debug)]
pub(super) struct Ruleset {
    pub(super) sets: &'static [Set],
    pub(super) chains: &'static [Chain],
    pub(super) rules: Vec<Rule>,
}

const INTERFACE: &[Type] = &[Type::Interface];
const SERVICE: &[Type] = &[Type::Transport, Type::Port];
const SERVICE4: &[Type] = &[Type::V4, Type::Transport, Type::Port];
const SERVICE6: &[Type] = &[Type::V6, Type::Transport, Type::Port];
const TARGET4: &[Type] = &[Type::V4, Type::Port];
const TARGET6: &[Type] = &[Type::V6, Type::Port];

const PACKET_SETS: &[Set] = &[
    Set { name: BRIDGES, key: INTERFACE, value: &[] },
    Set { name: INTERNAL, key: INTERFACE, value: &[] },
    Set { name: QUIET, key: INTERFACE, value: &[] },
    Set { name: ISOLATED, key: INTERFACE, value: &[] },
    Set { name: MASQUERADED, key: INTERFACE, value: &[] },
    Set { name: SAME, key: &[Type::Interface, Type::Interface], value: &[] },
    Set { name: HOST4, key: SERVICE4, value: TARGET4 },
    Set { name: ANY4, key: SERVICE, value: TARGET4 },
    Set { name: HOST6, key: SERVICE6, value: TARGET6 },
    Set { name: ANY6, key: SERVICE, value: TARGET6 },
];

const fn base(name: &'static str, kind: &'static str, number: u32, priority: i32) -> Chain {
    Chain { name, hook: Some(Hook { kind, number, priority }) }
}

// NF_INET_PRE_ROUTING 0, LOCAL_IN 1, FORWARD 2, LOCAL_OUT 3, POST_ROUTING 4; priorities NF_IP_PRI_RAW -300, NAT_DST -100, FILTER 0,
// NAT_SRC 100.
const PACKET_CHAINS: &[Chain] = &[
    Chain { name: "publish", hook: None },
    Chain { name: "traffic", hook: None },
    base("raw", "filter", 0, -300),
    base("prerouting", "nat", 0, -100),
    base("output", "nat", 3, -100),
    base("input", "filter", 1, 0),
    base("forward", "filter", 2, 0),
    base("postrouting", "nat", 4, 100),
];

const FRAME_SETS: &[Set] = &[
    Set { name: PORTS, key: INTERFACE, value: &[] },
    Set { name: STATIONS, key: &[Type::Interface, Type::Mac], value: &[] },
    Set { name: OWN4, key: &[Type::Interface, Type::Mac, Type::V4], value: &[] },
    Set { name: OWN6, key: &[Type::Interface, Type::Mac, Type::V6], value: &[] },
];

// NF_BR_PRE_ROUTING; priority NF_BR_PRI_NAT_DST_BRIDGED.
const FRAME_CHAINS: &[Chain] = &[Chain { name: "check", hook: None }, base("prerouting", "filter", 0, -300)];

const IPV4: u8 = 2;
const IPV6: u8 = 10;
/// ct(8) state bits: 1 is invalid, 2 established, 4 related. Status bit 32: the destination was translated.
const INVALID: u32 = 1;
const KNOWN: u32 = 2 | 4;
const TRANSLATED: u32 = 32;
const RTN_LOCAL: u32 = 2;

fn came_in(set: &'static str) -> Vec<Expression> {
    vec![Expression::Meta(Meta::InName, 0), Expression::Lookup(set, Compare::Is)]
}

fn goes_out(set: &'static str, compare: Compare) -> Vec<Expression> {
    vec![Expression::Meta(Meta::OutName, 0), Expression::Lookup(set, compare)]
}

fn within(compare: Compare) -> Vec<Expression> {
    vec![Expression::Meta(Meta::InName, 0), Expression::Meta(Meta::OutName, 4), Expression::Lookup(SAME, compare)]
}

fn tracked(key: Key, bits: u32) -> Vec<Expression> {
    vec![Expression::Tracked(key), Expression::Bits(bits, Compare::IsNot)]
}

fn family(family: u8) -> Vec<Expression> {
    vec![Expression::Meta(Meta::Family, 0), Expression::Compare(0, Compare::Is, vec![family])]
}

fn interface_is(compare: Compare, name: &str) -> Vec<Expression> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.resize(16, 0);
    vec![Expression::Meta(Meta::InName, 0), Expression::Compare(0, compare, bytes)]
}

fn field(field: Field, compare: Compare, value: &[u8]) -> Vec<Expression> {
    vec![Expression::Payload(field, 0), Expression::Compare(0, compare, value.to_vec())]
}

fn to_host() -> Vec<Expression> {
    vec![Expression::DestinationKind, Expression::Compare(0, Compare::Is, RTN_LOCAL.to_ne_bytes().to_vec())]
}

fn rule(chain: &'static str, comment: &'static str, steps: &[Vec<Expression>], last: Expression) -> Rule {
    Rule { chain, comment, steps: steps.concat().into_iter().chain([last]).collect() }
}

fn verdict(chain: &'static str, comment: &'static str, steps: &[Vec<Expression>], verdict: Verdict) -> Rule {
    rule(chain, comment, steps, Expression::Verdict(verdict))
}

/// The table of IP packets.
pub(super) fn packets() -> Ruleset {
    use Compare::{Is, IsNot};
    use Verdict::{Accept, Drop, Jump};
    let source = Field::Network(12, 1);
    let destination = Field::Network(16, 1);
    let loopback = |at| [interface_is(IsNot, "lo"), family(IPV4), field(at, Is, &[127])];
    let not_here =
        vec![Expression::DestinationKindHere, Expression::Compare(0, IsNot, RTN_LOCAL.to_ne_bytes().to_vec())];
    let mut rules = vec![
        // Bridges take packets for 127.0.0.1, so that their answers come back (route_localnet). Nobody else may send such.
        verdict("raw", "127.0.0.0/8 is this host's own", &loopback(destination), Drop),
        verdict("raw", "127.0.0.0/8 is this host's own", &loopback(source), Drop),
        verdict("prerouting", "", &[to_host()], Jump("publish")),
        verdict("output", "", &[to_host()], Jump("publish")),
        verdict(
            "input",
            "internal networks see this host as their gateway alone",
            &[came_in(INTERNAL), not_here],
            Drop,
        ),
        verdict("forward", "", &[came_in(BRIDGES)], Jump("traffic")),
        verdict("forward", "", &[goes_out(BRIDGES, Is)], Jump("traffic")),
        verdict("traffic", "", &[tracked(Key::State, KNOWN)], Accept),
        verdict("traffic", "would leave with the container's address", &[tracked(Key::State, INVALID)], Drop),
        verdict("traffic", "internal networks have no way out", &[came_in(INTERNAL), within(IsNot)], Drop),
        verdict("traffic", "internal networks have no way in", &[goes_out(INTERNAL, Is), within(IsNot)], Drop),
        verdict("traffic", "published ports", &[tracked(Key::Status, TRANSLATED)], Accept),
        verdict("traffic", "icc=false", &[within(Is), came_in(QUIET)], Drop),
        verdict("traffic", "within a network", &[within(Is)], Accept),
        verdict("traffic", "between networks", &[came_in(ISOLATED), goes_out(BRIDGES, Is)], Drop),
        verdict("traffic", "between networks", &[came_in(BRIDGES), goes_out(ISOLATED, Is)], Drop),
        verdict("traffic", "out, or to a network that is open", &[came_in(BRIDGES)], Accept),
        verdict("traffic", "in from outside, past published ports", &[], Drop),
        rule("postrouting", "out", &[came_in(MASQUERADED), goes_out(BRIDGES, IsNot)], Expression::Masquerade),
        rule(
            "postrouting",
            "containers by published ports",
            &[came_in(BRIDGES), goes_out(BRIDGES, Is), tracked(Key::Status, TRANSLATED)],
            Expression::Masquerade,
        ),
        rule(
            "postrouting",
            "this host by 127.0.0.1",
            &[goes_out(BRIDGES, Is), family(IPV4), field(source, Is, &[127])],
            Expression::Masquerade,
        ),
    ];
    rules.extend(publish());
    Ruleset { sets: PACKET_SETS, chains: PACKET_CHAINS, rules }
}

/// Rules that send published ports to containers.
fn publish() -> Vec<Rule> {
    let service = |register| {
        vec![Expression::Meta(Meta::Transport, register), Expression::Payload(Field::Transport(2, 2), register + 1)]
    };
    let v4 = || vec![Expression::Payload(Field::Network(16, 4), 0)];
    let v6 = || vec![Expression::Payload(Field::Network(24, 16), 0)];
    // From ::1 no packet ever leaves an interface: a connection is refused by the socket that keeps the port, at once.
    let own = field(Field::Network(24, 16), Compare::Is, &Ipv6Addr::LOCALHOST.octets());
    let to = |number, port| Expression::Destination { family: number, port };
    let map = |name| vec![Expression::Map(name)];
    vec![
        rule("publish", "", &[family(IPV4), v4(), service(1), map(HOST4)], to(IPV4, 1)),
        rule("publish", "", &[family(IPV4), service(0), map(ANY4)], to(IPV4, 1)),
        verdict("publish", "nothing leads on from ::1", &[family(IPV6), own], Verdict::Return),
        rule("publish", "", &[family(IPV6), v6(), service(4), map(HOST6)], to(IPV6, 4)),
        rule("publish", "", &[family(IPV6), service(0), map(ANY6)], to(IPV6, 4)),
    ]
}

/// The table of frames: a container sends from its own addresses.
pub(super) fn frames() -> Ruleset {
    use Compare::{Is, IsNot};
    use Verdict::{Accept, Drop, Jump};
    let protocol = |number: u16| {
        vec![Expression::Meta(Meta::Protocol, 0), Expression::Compare(0, Is, number.to_be_bytes().to_vec())]
    };
    // Interface, Ethernet source and an address further on, as the sets have them.
    let station = || vec![Expression::Meta(Meta::InName, 0), Expression::Payload(Field::Link(6, 6), 4)];
    let own = |field, set| [station(), vec![Expression::Payload(field, 6), Expression::Lookup(set, Is)]].concat();
    let stranger = [station(), vec![Expression::Lookup(STATIONS, IsNot)]].concat();
    // What an ARP packet says about its sender: Ethernet address at 8, IPv4 address at 14.
    let arp = [
        vec![Expression::Meta(Meta::InName, 0), Expression::Payload(Field::Network(8, 6), 4)],
        vec![Expression::Payload(Field::Network(14, 4), 6), Expression::Lookup(OWN4, Is)],
    ]
    .concat();
    let icmp6 =
        |kind: u8| [field(Field::Network(6, 1), Is, &[58]), field(Field::Transport(0, 1), Is, &[kind])].concat();
    let link_local = |at: u32| field(Field::Network(at, 1), Is, &[0xfe]);
    let rules = vec![
        verdict("prerouting", "", &[came_in(PORTS)], Jump("check")),
        verdict("check", "another one's Ethernet address", &[stranger], Drop),
        verdict("check", "", &[protocol(0x0800), own(Field::Network(12, 4), OWN4)], Accept),
        verdict("check", "", &[protocol(0x0806), arp], Accept),
        verdict("check", "no IPv6, or nothing known", &[not_protocol(0x86dd)], Drop),
        verdict("check", "containers are no routers", &[icmp6(134)], Drop),
        verdict("check", "containers are no routers", &[icmp6(137)], Drop),
        // What a neighbour advertisement is about: the target at 8.
        verdict("check", "", &[icmp6(136), own(Field::Transport(8, 16), OWN6)], Accept),
        verdict("check", "", &[icmp6(136), field(Field::Transport(8, 1), Is, &[0xfe]), link_local(8)], Accept),
        verdict("check", "another one's IPv6 address", &[icmp6(136)], Drop),
        verdict("check", "", &[own(Field::Network(8, 16), OWN6)], Accept),
        verdict("check", "", &[link_local(8)], Accept),
        verdict("check", "duplicate address detection", &[field(Field::Network(8, 16), Is, &[0; 16])], Accept),
        verdict("check", "another one's address", &[], Drop),
    ];
    Ruleset { sets: FRAME_SETS, chains: FRAME_CHAINS, rules }
}

fn not_protocol(number: u16) -> Vec<Expression> {
    vec![Expression::Meta(Meta::Protocol, 0), Expression::Compare(0, Compare::IsNot, number.to_be_bytes().to_vec())]
}
