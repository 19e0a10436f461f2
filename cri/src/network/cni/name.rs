//! Names that the specification restricts. What has one of these types is safe in a path, in the environment and in an error.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

/// A name that is none: what it was meant to be, and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {found:?}: {allowed}")]
pub struct NameError {
    what: &'static str,
    found: String,
    allowed: &'static str,
}

const WORD: &str = "1 to 100 letters, digits and _ . -, beginning with a letter or a digit, are allowed";
const INTERFACE: &str =
    "1 to 15 printable characters other than / : and blanks are allowed, and neither \".\" nor \"..\"";

fn is_word(text: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    (1..=100).contains(&text.len()) && text.as_bytes()[0].is_ascii_alphanumeric() && text.bytes().all(good)
}

/// What dev_valid_name() of the kernel takes, without what would not survive in a file name or a line of text.
fn is_interface(text: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'/' | b':');
    (1..=15).contains(&text.len()) && !matches!(text, "." | "..") && text.bytes().all(good)
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident, $what:literal, $valid:path, $allowed:path;)*) => { $(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                if $valid(text) {
                    return Ok(Self(text.to_owned()));
                }
                let found = text.chars().take(160).collect();
                Err(NameError { what: $what, found, allowed: $allowed })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )* };
}

names! {
    /// Name of a container as plugins get it, CNI_CONTAINERID. For Kubernetes: the id of the pod's sandbox.
    ContainerId, "container id", is_word, WORD;
    /// Name of a network, unique on the host.
    NetworkName, "network name", is_word, WORD;
    /// Name of a plugin's program in the plugin directories. Source: CVE-2021-20206.
    PluginType, "plugin type", is_word, WORD;
    /// Name of an interface inside the container, CNI_IFNAME.
    InterfaceName, "interface name", is_interface, INTERFACE;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        let long = "a".repeat(101);
        for bad in ["", ".", "..", "-a", "_a", "a/b", "../a", "a b", "a\0", "ä", "a:b", "a\n", &long] {
            assert!(bad.parse::<PluginType>().is_err(), "{bad:?}");
            assert!(bad.parse::<NetworkName>().is_err(), "{bad:?}");
            assert!(bad.parse::<ContainerId>().is_err(), "{bad:?}");
        }
        for good in ["a", "host-local", "0", "k8s.pod_network", &long[1..]] {
            assert_eq!(good.parse::<PluginType>().unwrap().as_str(), good);
        }
    }

    #[test]
    fn interfaces() {
        for bad in ["", ".", "..", "a/b", "a:b", "a b", "0123456789abcdef", "a\t", "ä"] {
            assert!(bad.parse::<InterfaceName>().is_err(), "{bad:?}");
        }
        for good in ["eth0", "net1.100", "0123456789abcde", "a@b", "-"] {
            assert_eq!(good.parse::<InterfaceName>().unwrap().as_str(), good);
        }
    }

    #[test]
    fn errors_say_what_is_allowed() {
        assert_eq!(
            "../../bin/sh".parse::<PluginType>().unwrap_err().to_string(),
            "plugin type \"../../bin/sh\": 1 to 100 letters, digits and _ . -, beginning with a letter or a digit, are allowed"
        );
    }
}
