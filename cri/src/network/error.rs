//! What can go wrong with networks: which network, container, address or port, and what to do next.

use std::net::IpAddr;

use nix::errno::Errno;
use runtime::sys::CallError;

/// The errors of [`cri::network`](crate::network).
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel refused a system call.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The kernel refused a netlink request.
    #[error("{what}: {errno}{}", Hint(*.errno))]
    Netlink {
        /// The message with its objects, such as `RTM_NEWLINK(bridge rt0)`.
        what: String,
        /// The kernel's answer.
        errno: Errno,
    },
    /// The kernel answered with something that is no answer.
    #[error("{what}: the kernel's answer is malformed: {reason}")]
    Answer {
        /// The request.
        what: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// This kernel lacks something that networks need.
    #[error("this kernel has no {missing}: {what}: {errno}; it is needed for {purpose}; load or build {option}")]
    Missing {
        /// What is missing, such as `bridge devices`.
        missing: &'static str,
        /// What it is for.
        purpose: &'static str,
        /// The module or option.
        option: &'static str,
        /// The request that was refused.
        what: String,
        /// The kernel's answer.
        errno: Errno,
    },
    /// A value that was given is not allowed.
    #[error("{field} {value:?}: {reason}")]
    Invalid {
        /// The field, in the user's terms.
        field: &'static str,
        /// What was given.
        value: String,
        /// The rule.
        reason: String,
    },
    /// No network has that name or id.
    #[error("no such network: {name}; rtctl network ls shows what there is")]
    NoNetwork {
        /// The name or id asked for.
        name: String,
    },
    /// A short id that several networks share.
    #[error("network id {query} is ambiguous: {}", .matches.join(", "))]
    Ambiguous {
        /// The prefix asked for.
        query: String,
        /// The networks that begin so.
        matches: Vec<String>,
    },
    /// The name is taken.
    #[error("network {name} exists already")]
    Exists {
        /// The name.
        name: String,
    },
    /// A network with containers on it cannot be removed.
    #[error("network {name} is in use by {}; disconnect or remove them first", .containers.join(", "))]
    InUse {
        /// The network.
        name: String,
        /// The containers.
        containers: Vec<String>,
    },
    /// The default network cannot be removed.
    #[error("network {name} is made by rt itself and cannot be removed")]
    Predefined {
        /// The network.
        name: String,
    },
    /// No private subnet is free on this host.
    #[error("no free subnet is left in {pools}; give one by --subnet, or remove networks that are not used")]
    NoSubnet {
        /// The pools that were tried.
        pools: String,
    },
    /// The subnet that was given is used.
    #[error("subnet {subnet} overlaps {what}; choose another one by --subnet")]
    Overlap {
        /// What was asked for.
        subnet: String,
        /// A network, route, address or name server.
        what: String,
    },
    /// An interface of that name belongs to somebody else.
    #[error(
        "interface {interface} exists and is not of network {network}; remove it, or create the network with another name"
    )]
    ForeignInterface {
        /// The interface.
        interface: String,
        /// The network.
        network: String,
    },
    /// All addresses are given out.
    #[error("network {network} has no free address in {range}: {used} of {total} are in use")]
    Exhausted {
        /// The network.
        network: String,
        /// The range that addresses come from.
        range: String,
        /// Addresses in use.
        used: u128,
        /// Addresses there are.
        total: u128,
    },
    /// The address that was asked for is used.
    #[error("address {address} of network {network} is in use by {by}")]
    AddressInUse {
        /// The address.
        address: IpAddr,
        /// The network.
        network: String,
        /// The container that has it.
        by: String,
    },
    /// The container is on that network already.
    #[error("container {container} is on network {network} already")]
    Attached {
        /// The container.
        container: String,
        /// The network.
        network: String,
    },
    /// The interface that was asked for is there already.
    #[error("interface {interface} exists in the network namespace of container {container}; choose another name")]
    InterfaceInUse {
        /// The interface.
        interface: String,
        /// The container.
        container: String,
    },
    /// A port that another container publishes.
    #[error("port {port} is published by container {by}; publish another port, or stop that container")]
    PortPublished {
        /// Address, port and protocol.
        port: String,
        /// The container.
        by: String,
    },
    /// A port that a program of the host uses.
    #[error("port {port} is used by a program of this host ({call}); publish another port, or stop that program")]
    PortInUse {
        /// Address, port and protocol.
        port: String,
        /// The call that told.
        call: String,
    },
    /// No host port is free.
    #[error("no host port is free in {range} for {protocol}")]
    NoPort {
        /// The range that was tried.
        range: String,
        /// The protocol.
        protocol: &'static str,
    },
    /// A file of networks is not as we write it.
    #[error("{path}: {reason}")]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong.
        reason: String,
    },
}

/// What to do about an answer of the kernel, where that is known.
struct Hint(Errno);

impl std::fmt::Display for Hint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Errno::EPERM => f.write_str(" (CAP_NET_ADMIN is needed; run as root)"),
            _ => Ok(()),
        }
    }
}

impl Error {
    /// The kernel's answer, when there was one.
    #[must_use]
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Error::Call(error) => Some(error.errno),
            Error::Netlink { errno, .. } | Error::Missing { errno, .. } => Some(*errno),
            _ => None,
        }
    }

    /// A value that is not allowed.
    pub(crate) fn invalid(field: &'static str, value: impl ToString, reason: impl Into<String>) -> Error {
        Error::Invalid { field, value: value.to_string(), reason: reason.into() }
    }

    /// Turns the kernel's "I do not know that" into what is missing.
    pub(crate) fn or_missing(self, missing: &'static str, purpose: &'static str, option: &'static str) -> Error {
        match self {
            Error::Netlink {
                what,
                errno: errno @ (Errno::EOPNOTSUPP | Errno::EPROTONOSUPPORT | Errno::EAFNOSUPPORT),
            } => Error::Missing { missing, purpose, option, what, errno },
            other => other,
        }
    }
}
