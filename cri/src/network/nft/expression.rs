//! Expressions of rules. They work on registers; here register 0 is the first of sixteen with four bytes each, as concatenated
//! keys lie in them one after the other, each at a multiple of four bytes.

use super::encode::Attributes;

/// A packet's property that is not in the packet.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Meta {
    /// The number of the transport protocol, one byte.
    Transport,
    /// The number of the protocol in the Ethernet header, two bytes in network order.
    Protocol,
    /// AF_INET or AF_INET6, one byte.
    Family,
    /// Name of the interface that it came in by, 16 bytes.
    InName,
    /// Name of the interface that it goes out by, 16 bytes.
    OutName,
}

/// Bytes of a packet.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Field {
    /// Bytes of the Ethernet header.
    Link(u32, u32),
    /// Bytes of the IP or ARP header.
    Network(u32, u32),
    /// Bytes of the transport header.
    Transport(u32, u32),
}

/// What is connection tracking's.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Key {
    /// Bits of the state.
    State,
    /// Bits of the status.
    Status,
}

/// How a register is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compare {
    /// Equal.
    Is,
    /// Not equal.
    IsNot,
}

/// What becomes of a packet.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Verdict {
    /// No further chain of this hook and priority sees it.
    Accept,
    /// It is gone.
    Drop,
    /// Back to where the chain was called.
    Return,
    /// Another chain, then back.
    Jump(&'static str),
}

/// A step of a rule; the rule goes on as long as its steps match.
#[derive(Debug, Clone)]
pub(crate) enum Expression {
    /// Loads a property into a register.
    Meta(Meta, u32),
    /// Loads bytes of the packet into registers.
    Payload(Field, u32),
    /// Loads bits of connection tracking into register 0.
    Tracked(Key),
    /// Masks register 0, a number in the host's order, and compares it with zero.
    Bits(u32, Compare),
    /// Compares registers from a register on.
    Compare(u32, Compare, Vec<u8>),
    /// Looks up the registers from 0 on in a set.
    Lookup(&'static str, Compare),
    /// Looks up the registers from 0 on in a map, whose value comes into the registers from 0 on.
    Map(&'static str),
    /// Puts the kind of the destination address, as a route would have it, into register 0: RTN_LOCAL is 2.
    DestinationKind,
    /// The same for addresses of the interface that it came in by.
    DestinationKindHere,
    /// Translates the destination to the address in the registers from 0 on and the port in the register after it.
    Destination {
        /// AF_INET or AF_INET6.
        family: u8,
        /// Register of the port.
        port: u32,
    },
    /// Translates the source to an address of the interface that it goes out by.
    Masquerade,
    /// Ends the rule.
    Verdict(Verdict),
}

/// NFT_REG32_00.
const REGISTERS: u32 = 8;
const MASKED: usize = 4;

impl Expression {
    /// Writes it as an element of a list of expressions.
    pub(super) fn put(&self, list: &mut Attributes) {
        const ELEMENT: u16 = 1; // NFTA_LIST_ELEM
        if let Expression::Bits(mask, compare) = self {
            return bits(list, *mask, *compare);
        }
        list.nest(ELEMENT, |expression| {
            expression.text(1, self.name()); // NFTA_EXPR_NAME
            expression.nest(2, |data| self.data(data)); // NFTA_EXPR_DATA
        });
    }

    fn name(&self) -> &'static str {
        match self {
            Expression::Meta(..) => "meta",
            Expression::Payload(..) => "payload",
            Expression::Tracked(_) => "ct",
            Expression::Bits(..) => "bitwise",
            Expression::Compare(..) => "cmp",
            Expression::Lookup(..) | Expression::Map(_) => "lookup",
            Expression::DestinationKind | Expression::DestinationKindHere => "fib",
            Expression::Destination { .. } => "nat",
            Expression::Masquerade => "masq",
            Expression::Verdict(_) => "immediate",
        }
    }

    fn data(&self, data: &mut Attributes) {
        match self {
            Expression::Meta(meta, register) => {
                let key = match meta {
                    Meta::Protocol => 1,   // NFT_META_PROTOCOL
                    Meta::InName => 6,     // NFT_META_IIFNAME
                    Meta::OutName => 7,    // NFT_META_OIFNAME
                    Meta::Family => 15,    // NFT_META_NFPROTO
                    Meta::Transport => 16, // NFT_META_L4PROTO
                };
                data.number(1, REGISTERS + register).number(2, key);
            }
            Expression::Payload(field, register) => {
                let (base, offset, length) = match *field {
                    Field::Link(offset, length) => (0, offset, length),
                    Field::Network(offset, length) => (1, offset, length),
                    Field::Transport(offset, length) => (2, offset, length),
                };
                data.number(1, REGISTERS + register).number(2, base).number(3, offset).number(4, length);
            }
            Expression::Tracked(key) => {
                let key = match key {
                    Key::State => 0,  // NFT_CT_STATE
                    Key::Status => 2, // NFT_CT_STATUS
                };
                data.number(1, REGISTERS).number(2, key);
            }
            Expression::Compare(register, compare, value) => {
                data.number(1, REGISTERS + register).number(2, u32::from(*compare == Compare::IsNot));
                data.nest(3, |inner| {
                    inner.bytes(1, value); // NFTA_DATA_VALUE
                });
            }
            Expression::Lookup(set, compare) => {
                data.text(1, set).number(2, REGISTERS);
                if *compare == Compare::IsNot {
                    data.number(5, 1); // NFTA_LOOKUP_FLAGS: NFT_LOOKUP_F_INV
                }
            }
            Expression::Map(map) => {
                data.text(1, map).number(2, REGISTERS).number(3, REGISTERS);
            }
            // NFTA_FIB_RESULT: NFT_FIB_RESULT_ADDRTYPE; NFTA_FIB_FLAGS: NFTA_FIB_F_DADDR, with NFTA_FIB_F_IIF
            Expression::DestinationKind => {
                data.number(1, REGISTERS).number(2, 3).number(3, 2);
            }
            Expression::DestinationKindHere => {
                data.number(1, REGISTERS).number(2, 3).number(3, 2 | 8);
            }
            Expression::Destination { family, port } => {
                // NFT_NAT_DNAT, family, address from, port from
                data.number(1, 1).number(2, u32::from(*family)).number(3, REGISTERS).number(5, REGISTERS + port);
            }
            Expression::Masquerade | Expression::Bits(..) => {}
            Expression::Verdict(verdict) => {
                let (code, chain) = match verdict {
                    Verdict::Drop => (0, None),
                    Verdict::Accept => (1, None),
                    Verdict::Jump(chain) => (-3, Some(chain)),
                    Verdict::Return => (-5, None),
                };
                data.number(1, 0); // NFT_REG_VERDICT
                data.nest(2, |inner| {
                    inner.nest(2, |verdict| {
                        verdict.bytes(1, &i32::to_be_bytes(code));
                        if let Some(chain) = chain {
                            verdict.text(2, chain);
                        }
                    });
                });
            }
        }
    }
}

/// `register & mask`, compared with zero.
fn bits(list: &mut Attributes, mask: u32, compare: Compare) {
    list.nest(1, |expression| {
        expression.text(1, "bitwise");
        expression.nest(2, |data| {
            // source, destination, length, mask, xor
            data.number(1, REGISTERS).number(2, REGISTERS).number(3, MASKED as u32);
            data.nest(4, |inner| {
                inner.bytes(1, &mask.to_ne_bytes());
            });
            data.nest(5, |inner| {
                inner.bytes(1, &[0; MASKED]);
            });
        });
    });
    Expression::Compare(0, compare, vec![0; MASKED]).put(list);
}
