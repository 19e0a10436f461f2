//! nftables by netlink: tables, chains, sets, rules and elements, changed all together or not at all.
//!
//! Source: linux/netfilter/nf_tables.h, linux/netfilter/nfnetlink.h; `nft --debug=netlink` shows rules in these terms.

mod batch;
mod encode;
mod expression;
mod object;

pub(crate) use batch::Batch;
pub(crate) use expression::{Compare, Expression, Field, Key, Meta, Verdict};
pub(crate) use object::{Base, Chain, Element, Family, Hook, Rule, Set, Table, Type, list_chains};
