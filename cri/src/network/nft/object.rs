//! Tables, chains, sets, rules, elements: as values, and as messages.

use super::encode::Attributes;
use super::expression::Expression;
use crate::network::netlink::{Reply, Request, attributes};

/// NFPROTO_*.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    /// IPv4 and IPv6.
    Inet,
    /// Frames between ports of a bridge.
    Bridge,
    /// Everything, in requests that list.
    Any,
}

impl Family {
    fn number(self) -> u8 {
        match self {
            Family::Any => 0,
            Family::Inet => 1,
            Family::Bridge => 7,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Family::Any => "all",
            Family::Inet => "inet",
            Family::Bridge => "bridge",
        }
    }
}

/// A table.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    pub(crate) family: Family,
    pub(crate) name: String,
}

/// Where packets come into a chain.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hook {
    /// `filter` or `nat`.
    pub(crate) kind: &'static str,
    /// NF_INET_*, NF_BR_*.
    pub(crate) number: u32,
    pub(crate) priority: i32,
}

/// A chain.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Chain {
    pub(crate) name: &'static str,
    /// Absent: it is called by rules.
    pub(crate) hook: Option<Hook>,
}

/// Types of fields of a set; nft(8) shows elements by them.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Type {
    V4,
    V6,
    Mac,
    Transport,
    Port,
    Interface,
}

impl Type {
    /// Number that nft(8) has for it.
    fn number(self) -> u32 {
        match self {
            Type::V4 => 7,
            Type::V6 => 8,
            Type::Mac => 9,
            Type::Transport => 12,
            Type::Port => 13,
            Type::Interface => 41,
        }
    }

    /// Bytes in a key.
    fn length(self) -> u32 {
        match self {
            Type::V4 | Type::Transport | Type::Port => 4,
            Type::Mac => 8,
            Type::V6 | Type::Interface => 16,
        }
    }
}

/// A set, or a map when it has values.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Set {
    pub(crate) name: &'static str,
    pub(crate) key: &'static [Type],
    pub(crate) value: &'static [Type],
}

/// A rule, with a comment that nft(8) shows.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    pub(crate) chain: &'static str,
    pub(crate) comment: &'static str,
    pub(crate) steps: Vec<Expression>,
}

/// An element of a set; of a map with its value.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Element {
    pub(crate) set: &'static str,
    pub(crate) key: Vec<u8>,
    pub(crate) value: Vec<u8>,
}

/// Most elements of one message, which bounds its size.
const ELEMENTS: usize = 200;

const CREATE: u16 = 0x400; // NLM_F_CREATE
const APPEND: u16 = 0x800; // NLM_F_APPEND

/// Starts a message: NFNL_SUBSYS_NFTABLES, struct nfgenmsg.
fn message(kind: u16, flags: u16, family: Family, what: String, attributes: &Attributes) -> Request {
    let mut body = vec![family.number(), 0, 0, 0];
    body.extend(&attributes.0);
    Request { kind: 10 << 8 | kind, flags, body, what, fine: &[] }
}

impl Table {
    fn show(&self) -> String {
        format!("{} {}", self.family.name(), self.name)
    }

    /// Makes the table; one that is there is fine.
    pub(crate) fn add(&self) -> Request {
        let mut attributes = Attributes::default();
        attributes.text(1, &self.name).number(2, 0);
        message(0, CREATE, self.family, format!("NFT_MSG_NEWTABLE({})", self.show()), &attributes)
    }

    /// Removes the table with everything in it.
    pub(crate) fn delete(&self) -> Request {
        let mut attributes = Attributes::default();
        attributes.text(1, &self.name);
        message(2, 0, self.family, format!("NFT_MSG_DELTABLE({})", self.show()), &attributes)
    }

    pub(crate) fn add_chain(&self, chain: &Chain) -> Request {
        let mut attributes = Attributes::default();
        attributes.text(1, &self.name).text(3, chain.name);
        if let Some(hook) = chain.hook {
            attributes.nest(4, |inner| {
                inner.number(1, hook.number).bytes(2, &hook.priority.to_be_bytes());
            });
            // The policy: to accept.
            attributes.number(5, 1).text(7, hook.kind);
        }
        message(3, CREATE, self.family, format!("NFT_MSG_NEWCHAIN({} {})", self.show(), chain.name), &attributes)
    }

    pub(crate) fn add_set(&self, set: &Set, id: u32) -> Request {
        const MAP: u32 = 8; // NFT_SET_MAP
        let kind = |types: &[Type]| types.iter().fold(0, |all, part| all << 6 | part.number());
        let length = |types: &[Type]| match types {
            [Type::Mac] => 6,
            [Type::Transport] => 1,
            [Type::Port] => 2,
            types => types.iter().map(|part| part.length()).sum(),
        };
        let mut attributes = Attributes::default();
        attributes.text(1, &self.name).text(2, set.name);
        attributes.number(3, if set.value.is_empty() { 0 } else { MAP });
        attributes.number(4, kind(set.key)).number(5, length(set.key));
        if !set.value.is_empty() {
            attributes.number(6, kind(set.value)).number(7, length(set.value));
        }
        attributes.number(10, id);
        if matches!(set.key, [Type::Interface]) {
            // NFTNL_UDATA_SET_KEYBYTEORDER: type, length, the host's order. nft(8) shows names by it.
            let mut order = vec![0, 4];
            order.extend(1u32.to_ne_bytes());
            attributes.bytes(13, &order);
        }
        message(9, CREATE, self.family, format!("NFT_MSG_NEWSET({} {})", self.show(), set.name), &attributes)
    }

    pub(crate) fn add_rule(&self, rule: &Rule) -> Request {
        let mut attributes = Attributes::default();
        attributes.text(1, &self.name).text(2, rule.chain);
        attributes.nest(4, |list| rule.steps.iter().for_each(|step| step.put(list)));
        if !rule.comment.is_empty() {
            // NFTNL_UDATA_RULE_COMMENT: type, length, text with its NUL.
            let mut comment = vec![0, u8::try_from(rule.comment.len() + 1).unwrap_or(u8::MAX)];
            comment.extend(rule.comment.bytes());
            comment.push(0);
            attributes.bytes(7, &comment);
        }
        let what = format!("NFT_MSG_NEWRULE({} {}, \"{}\")", self.show(), rule.chain, rule.comment);
        message(6, CREATE | APPEND, self.family, what, &attributes)
    }

    /// Adds elements; those that are there with the same value are fine.
    pub(crate) fn add_elements(&self, elements: &[Element]) -> Vec<Request> {
        self.elements(12, CREATE, "NFT_MSG_NEWSETELEM", elements)
    }

    /// Removes elements.
    pub(crate) fn delete_elements(&self, elements: &[Element]) -> Vec<Request> {
        self.elements(14, 0, "NFT_MSG_DELSETELEM", elements)
    }

    fn elements(&self, kind: u16, flags: u16, name: &str, elements: &[Element]) -> Vec<Request> {
        let same_set = |one: &Element, other: &Element| one.set == other.set;
        let parts = elements.chunk_by(same_set).flat_map(|part| part.chunks(ELEMENTS));
        let request = |part: &[Element]| {
            let set = part.first().map_or("", |element| element.set);
            let mut attributes = Attributes::default();
            attributes.text(1, &self.name).text(2, set);
            attributes.nest(3, |list| {
                for element in part {
                    list.nest(1, |inner| {
                        inner.nest(1, |key| {
                            key.bytes(1, &element.key);
                        });
                        if !element.value.is_empty() {
                            inner.nest(2, |value| {
                                value.bytes(1, &element.value);
                            });
                        }
                    });
                }
            });
            message(kind, flags, self.family, format!("{name}({} {set})", self.show()), &attributes)
        };
        parts.map(request).collect()
    }
}

/// Asks for all chains of all tables.
pub(crate) fn list_chains() -> Request {
    message(4, 0, Family::Any, "NFT_MSG_GETCHAIN(dump)".to_owned(), &Attributes::default())
}

/// A chain where packets come in, of anybody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Base {
    /// Such as `ip filter FORWARD`.
    pub(crate) name: String,
    pub(crate) table: String,
    pub(crate) hook: u32,
    /// Whether it drops what no rule accepts.
    pub(crate) drops: bool,
}

impl Base {
    /// Reads an NFT_MSG_NEWCHAIN of IP packets.
    pub(crate) fn parse(reply: &Reply) -> Option<Base> {
        const NEWCHAIN: u16 = 10 << 8 | 3;
        let family = match (reply.kind, reply.body.first()?) {
            (NEWCHAIN, 1) => "inet",
            (NEWCHAIN, 2) => "ip",
            (NEWCHAIN, 10) => "ip6",
            _ => return None,
        };
        let (mut table, mut chain, mut hook, mut drops) = ("", "", None, false);
        for attribute in attributes(reply.body.get(4..)?) {
            match attribute.kind {
                1 => table = attribute.text()?,
                3 => chain = attribute.text()?,
                4 => hook = attribute.nested().find(|inner| inner.kind == 1).and_then(|number| number.be32()),
                5 => drops = attribute.be32() == Some(0),
                _ => {}
            }
        }
        Some(Base { name: format!("{family} {table} {chain}"), table: table.to_owned(), hook: hook?, drops })
    }
}
