//! Names: of networks, interfaces, containers and of containers among each other.

use super::error::Error;

/// The name of the network that containers are on by default.
pub const DEFAULT: &str = "bridge";

/// Words that `--network` gives another meaning.
const RESERVED: [&str; 8] = ["none", "host", "container", "ns", "private", "default", "slirp4netns", "pasta"];
/// Longest interface name: IFNAMSIZ without its NUL.
const INTERFACE: usize = 15;

fn is_name(text: &str, bound: usize) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    text.len() <= bound
        && text.bytes().all(inner)
        && text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
}

/// Checks the name of a network.
pub(crate) fn network(name: &str) -> Result<(), Error> {
    if !is_name(name, 128) {
        let reason = "must be 1 to 128 letters, digits, '_', '.' and '-', the first a letter or a digit";
        return Err(Error::invalid("network name", name, reason));
    }
    if RESERVED.contains(&name) {
        return Err(Error::invalid("network name", name, "means something else to --network"));
    }
    if name.len() >= 12 && name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(Error::invalid("network name", name, "looks like the id of a network"));
    }
    Ok(())
}

/// Checks the name of an interface, dev_valid_name() of the kernel and a little more.
pub(crate) fn interface(name: &str) -> Result<(), Error> {
    if !is_name(name, INTERFACE) || name == "lo" {
        let reason = "must be 1 to 15 letters, digits, '_', '.' and '-', the first a letter or a digit, and not lo";
        return Err(Error::invalid("interface name", name, reason));
    }
    Ok(())
}

/// Checks the id of a container.
pub(crate) fn container(id: &str) -> Result<(), Error> {
    if is_name(id, 128) {
        return Ok(());
    }
    let reason = "must be 1 to 128 letters, digits, '_', '.' and '-', the first a letter or a digit";
    Err(Error::invalid("container id", id, reason))
}

/// Checks a name under which other containers find one. It becomes a word of their /etc/hosts.
pub(crate) fn alias(name: &str) -> Result<(), Error> {
    if is_name(name, 253) {
        return Ok(());
    }
    let reason = "must be 1 to 253 letters, digits, '_', '.' and '-', the first a letter or a digit";
    Err(Error::invalid("network alias", name, reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks() {
        for good in ["bridge", "a", "my_net-1.2", "0", "abc123"] {
            network(good).unwrap();
        }
        for bad in
            ["", "-a", ".", "a/b", "a b", "none", "host", "container", "0123456789ab", "ü", &"a".repeat(129), "a\n"]
        {
            assert!(network(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn others() {
        interface("eth0").unwrap();
        for bad in ["", "lo", "..", "a/b", "a:b", "0123456789abcdef", "%d"] {
            assert!(interface(bad).is_err(), "{bad}");
        }
        container(&"a".repeat(64)).unwrap();
        assert!(container("../x").is_err());
        alias("db.internal").unwrap();
        for bad in ["", "a b", "a\n1.2.3.4 b", "#x", "::1"] {
            assert!(alias(bad).is_err(), "{bad}");
        }
    }
}
