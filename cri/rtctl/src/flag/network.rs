//! `--network` and what goes with it: which networks a container is in, and as what.
//!
//! ```text
//!  none | host | container:NAME | ns:PATH                        alone
//!  NETWORK[:alias=NAME][,ip=ADDRESS][,ip6=ADDRESS][,mac=MAC]     any number; podman's form
//!  name=NETWORK[,alias=NAME][,ip=...][,mac-address=...]          the same in docker's
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use cri::network::Mac;
use serde::{Deserialize, Serialize};

use super::namespace::{self, Mode};

/// Name of the network that a container is in when nothing is said.
pub(crate) const DEFAULT: &str = "bridge";

/// Where the network of a container comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum NetworkMode {
    /// A namespace of its own with loopback alone.
    #[default]
    #[serde(rename = "private")]
    None,
    /// The host's.
    Host,
    /// That of another container, by what the user calls it, later by its id.
    Container(String),
    /// A file.
    Path(String),
    /// Networks that are joined; this is the first one when the container was made.
    Networks(String),
}

impl NetworkMode {
    /// As docker shows it.
    pub(crate) fn show(&self) -> String {
        match self {
            NetworkMode::None => "none".to_owned(),
            NetworkMode::Host => "host".to_owned(),
            NetworkMode::Container(id) => format!("container:{id}"),
            NetworkMode::Path(path) => format!("ns:{path}"),
            NetworkMode::Networks(name) => name.clone(),
        }
    }
}

/// What a container is to be in one network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Endpoint {
    /// The network's name, or what the user calls it.
    pub(crate) network: String,
    /// More names for it there.
    #[serde(default)]
    pub(crate) aliases: Vec<String>,
    /// Its address; absent means one that is free.
    #[serde(default)]
    pub(crate) ip: Option<Ipv4Addr>,
    #[serde(default)]
    pub(crate) ip6: Option<Ipv6Addr>,
    #[serde(default)]
    pub(crate) mac: Option<Mac>,
}

/// One `--network`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NetworkFlag {
    /// No network that is joined; never [`NetworkMode::Networks`].
    Mode(NetworkMode),
    /// A network that is joined.
    Endpoint(Endpoint),
}

/// `--mac-address`
pub(crate) fn mac(text: &str) -> Result<Mac, String> {
    text.parse().map_err(|error: cri::network::Error| error.to_string())
}

/// `--network`
pub(crate) fn network(text: &str) -> Result<NetworkFlag, String> {
    if let Some(mode) = namespace::shared(text) {
        return Ok(NetworkFlag::Mode(match mode? {
            Mode::Private => NetworkMode::None,
            Mode::Host => NetworkMode::Host,
            Mode::Container(name) => NetworkMode::Container(name),
            Mode::Path(path) => NetworkMode::Path(path),
        }));
    }
    if text == "none" {
        return Ok(NetworkFlag::Mode(NetworkMode::None));
    }
    let mut endpoint = Endpoint::default();
    let (name, options) = if text.contains('=') && !text.split('=').next().unwrap_or("").contains(':') {
        (None, text)
    } else {
        let (name, options) = text.split_once(':').unwrap_or((text, ""));
        (Some(name), options)
    };
    for option in options.split(',').filter(|option| !option.is_empty()) {
        let (key, value) = option.split_once('=').ok_or_else(|| format!("{option:?}: write it as KEY=VALUE"))?;
        match key {
            "name" if name.is_none() && endpoint.network.is_empty() => value.clone_into(&mut endpoint.network),
            "name" => return Err(format!("{text:?}: names the network twice")),
            "alias" => endpoint.aliases.push(alias(value)?),
            "ip" => set(&mut endpoint.ip, key, ip(value)?)?,
            "ip6" => set(&mut endpoint.ip6, key, ip6(value)?)?,
            "mac" | "mac-address" => set(&mut endpoint.mac, key, mac(value)?)?,
            "interface_name" | "driver-opt" | "link-local-ip" | "gw-priority" => {
                return Err(format!("{key} is not built yet; interfaces are eth0, eth1 and so on"));
            }
            _ => return Err(format!("{key:?} is none of name, alias, ip, ip6 and mac")),
        }
    }
    let name = match name {
        Some(name) => name.to_owned(),
        None if endpoint.network.is_empty() => return Err(format!("{text:?}: name the network: name=NETWORK")),
        None => endpoint.network,
    };
    endpoint.network = match name.as_str() {
        "default" => DEFAULT.to_owned(),
        "host" | "none" => return Err(format!("{name} is not a network that is joined and takes no options")),
        _ => network_name(&name)?,
    };
    Ok(NetworkFlag::Endpoint(endpoint))
}

fn set<T>(place: &mut Option<T>, key: &str, value: T) -> Result<(), String> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(format!("{key} is given twice")),
    }
}

/// A name of a network, or an id: `[a-zA-Z0-9][a-zA-Z0-9_.-]*`, as docker's.
pub(crate) fn network_name(text: &str) -> Result<String, String> {
    let good =
        |(index, byte): (usize, u8)| byte.is_ascii_alphanumeric() || (index > 0 && matches!(byte, b'_' | b'.' | b'-'));
    if text.is_empty() || text.len() > 128 || !text.bytes().enumerate().all(good) {
        return Err(format!("{text:?} is no name of a network, only [a-zA-Z0-9][a-zA-Z0-9_.-]* is allowed"));
    }
    Ok(text.to_owned())
}

/// `--network-alias`: what `/etc/hosts` can hold.
pub(crate) fn alias(text: &str) -> Result<String, String> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    if text.is_empty() || text.len() > 253 || !text.bytes().all(good) || text.starts_with(['.', '-']) {
        return Err(format!("{text:?} is no host name: letters, digits, '.', '_' and '-' are allowed"));
    }
    Ok(text.to_owned())
}

/// `--ip`
pub(crate) fn ip(text: &str) -> Result<Ipv4Addr, String> {
    text.parse().map_err(|_| match text.parse::<IpAddr>() {
        Ok(_) => format!("{text:?} is an IPv6 address: give it with ip6"),
        Err(_) => format!("{text:?} is no IPv4 address"),
    })
}

/// `--ip6`
pub(crate) fn ip6(text: &str) -> Result<Ipv6Addr, String> {
    text.parse().map_err(|_| match text.parse::<IpAddr>() {
        Ok(_) => format!("{text:?} is an IPv4 address: give it with ip"),
        Err(_) => format!("{text:?} is no IPv6 address"),
    })
}

/// A container whose address another one knows by a name: `--link`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Link {
    /// The other container, by what the user calls it, later by its id.
    pub(crate) container: String,
    /// Its name here.
    pub(crate) alias: String,
}

/// `--link NAME[:ALIAS]`
pub(crate) fn link(text: &str) -> Result<Link, String> {
    let (container, name) = text.split_once(':').unwrap_or((text, text));
    let container = container.trim_start_matches('/');
    if container.is_empty() || container.contains(char::is_whitespace) {
        return Err(format!("{text:?}: write it as CONTAINER[:ALIAS]"));
    }
    Ok(Link { container: container.to_owned(), alias: alias(name.trim_start_matches('/'))? })
}

/// A line of `/etc/hosts` that the user asked for: `--add-host`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ExtraHost {
    pub(crate) name: String,
    /// Absent means the host, as the container reaches it.
    pub(crate) address: Option<IpAddr>,
}

impl ExtraHost {
    /// `NAME:ADDRESS`, or with `=`; an IPv6 address with or without brackets.
    pub(crate) fn parse(text: &str) -> Result<ExtraHost, String> {
        let wrong = || format!("{text:?}: write it as NAME:ADDRESS, or NAME:host-gateway for the host");
        let (name, address) = text.split_once([':', '=']).ok_or_else(wrong)?;
        let plain = address.strip_prefix('[').and_then(|address| address.strip_suffix(']')).unwrap_or(address);
        let address = match plain {
            "host-gateway" => None,
            _ => Some(plain.parse().map_err(|_| wrong())?),
        };
        Ok(ExtraHost { name: alias(name)?, address })
    }
}

impl std::fmt::Display for ExtraHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.address {
            Some(address) => write!(f, "{}:{address}", self.name),
            None => write!(f, "{}:host-gateway", self.name),
        }
    }
}

/// `--dns-search`: a domain, or a dot for none.
pub(crate) fn domain(text: &str) -> Result<String, String> {
    if text == "." {
        return Ok(text.to_owned());
    }
    alias(text.strip_suffix('.').unwrap_or(text)).map(|_| text.to_owned())
}

/// `--dns-option`: one word.
pub(crate) fn resolver_option(text: &str) -> Result<String, String> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!("{text:?} is no option of resolv.conf(5) such as ndots:2"));
    }
    Ok(text.to_owned())
}

/// Puts the flags together: one mode, or the networks that are joined with what `--ip`, `--network-alias` and so on say about the
/// first.
pub(crate) fn combine(flags: &[NetworkFlag], first: &Endpoint) -> Result<(NetworkMode, Vec<Endpoint>), String> {
    let mut endpoints: Vec<Endpoint> = Vec::new();
    for flag in flags {
        match flag {
            NetworkFlag::Mode(mode) => {
                if flags.len() > 1 {
                    return Err(format!("--network {} cannot be combined with another network", mode.show()));
                }
                refuse_endpoint(mode, first)?;
                return Ok((mode.clone(), Vec::new()));
            }
            NetworkFlag::Endpoint(endpoint) => {
                if endpoints.iter().any(|other| other.network == endpoint.network) {
                    return Err(format!("--network {}: given twice", endpoint.network));
                }
                endpoints.push(endpoint.clone());
            }
        }
    }
    if endpoints.is_empty() {
        endpoints.push(Endpoint { network: DEFAULT.to_owned(), ..Endpoint::default() });
    }
    let wanted = &mut endpoints[0];
    for (flag, wanted, given) in [
        ("--ip", wanted.ip.is_some(), first.ip.is_some()),
        ("--ip6", wanted.ip6.is_some(), first.ip6.is_some()),
        ("--mac-address", wanted.mac.is_some(), first.mac.is_some()),
    ] {
        if wanted && given {
            return Err(format!("{flag} and --network both say it; leave one out"));
        }
    }
    wanted.ip = wanted.ip.or(first.ip);
    wanted.ip6 = wanted.ip6.or(first.ip6);
    wanted.mac = wanted.mac.or(first.mac);
    wanted.aliases.extend(first.aliases.iter().cloned());
    for endpoint in &endpoints {
        if endpoint.network == DEFAULT && !endpoint.aliases.is_empty() {
            return Err(format!(
                "an alias needs a network with names, which {DEFAULT} is not: rtctl network create mine, and --network mine"
            ));
        }
    }
    let name = endpoints[0].network.clone();
    Ok((NetworkMode::Networks(name), endpoints))
}

fn refuse_endpoint(mode: &NetworkMode, first: &Endpoint) -> Result<(), String> {
    let given = [
        ("--ip", first.ip.is_some()),
        ("--ip6", first.ip6.is_some()),
        ("--mac-address", first.mac.is_some()),
        ("--network-alias", !first.aliases.is_empty()),
    ];
    match given.iter().find(|(_, given)| *given) {
        Some((flag, _)) => Err(format!("{flag} needs a network that is joined, --network {} is none", mode.show())),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn endpoint(text: &str) -> Endpoint {
        match network(text) {
            Ok(NetworkFlag::Endpoint(endpoint)) => endpoint,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn modes() {
        for (text, mode) in [
            ("none", NetworkMode::None),
            ("host", NetworkMode::Host),
            ("container:web", NetworkMode::Container("web".to_owned())),
            ("ns:/proc/1/ns/net", NetworkMode::Path("/proc/1/ns/net".to_owned())),
        ] {
            assert_eq!(network(text), Ok(NetworkFlag::Mode(mode)), "{text}");
        }
    }

    #[test]
    fn endpoints() {
        let plain = |name: &str| Endpoint { network: name.to_owned(), ..Endpoint::default() };
        assert_eq!(endpoint("bridge"), plain("bridge"));
        assert_eq!(endpoint("default"), plain("bridge"));
        assert_eq!(endpoint("name=mine"), plain("mine"));
        let full = Endpoint {
            aliases: vec!["db".to_owned(), "sql".to_owned()],
            ip: Some("10.1.0.5".parse().unwrap()),
            ip6: Some("fd00::5".parse().unwrap()),
            mac: Some("02:42:00:00:00:ff".parse().unwrap()),
            ..plain("mine")
        };
        let options = "ip=10.1.0.5,alias=db,alias=sql,ip6=fd00::5,mac=02:42:00:00:00:FF";
        assert_eq!(endpoint(&format!("mine:{options}")), full);
        assert_eq!(endpoint(&format!("name=mine,{options}")), full);
    }

    #[test]
    fn refused() {
        for (text, problem) in [
            ("", "no name of a network"),
            ("my net", "no name"),
            ("../x", "no name"),
            ("-x", "no name"),
            ("container:", "name the container"),
            ("ns:x", "absolute"),
            ("mine:ip=x", "no IPv4 address"),
            ("mine:ip=::1", "IPv6"),
            ("mine:ip6=10.0.0.1", "IPv4"),
            ("mine:ip=10.0.0.1,ip=10.0.0.2", "twice"),
            ("mine:mac=1", "six pairs"),
            ("mine:mac=01:00:00:00:00:00", "multicast"),
            ("mine:alias=a b", "host name"),
            ("mine:name=x", "twice"),
            ("mine:speed=9", "none of"),
            ("mine:ip", "KEY=VALUE"),
            ("alias=x", "name the network"),
            ("name=host,ip=10.0.0.1", "takes no options"),
        ] {
            let error = network(text).unwrap_err();
            assert!(error.contains(problem), "{text}: {error}");
        }
    }

    #[test]
    fn combined() {
        let none = Endpoint::default();
        let flags = |texts: &[&str]| texts.iter().map(|text| network(text).unwrap()).collect::<Vec<_>>();
        assert_eq!(combine(&[], &none), Ok((NetworkMode::Networks("bridge".to_owned()), vec![endpoint("bridge")])));
        assert_eq!(combine(&flags(&["host"]), &none), Ok((NetworkMode::Host, vec![])));
        let ip = Endpoint { ip: Some("10.1.0.5".parse().unwrap()), ..Endpoint::default() };
        let both = combine(&flags(&["one", "two"]), &ip);
        assert_eq!(
            both,
            Ok((NetworkMode::Networks("one".to_owned()), vec![endpoint("one:ip=10.1.0.5"), endpoint("two")]))
        );
        let alias = Endpoint { aliases: vec!["db".to_owned()], ..Endpoint::default() };
        for (networks, first, problem) in [
            (&["none", "host"] as &[&str], &none, "cannot be combined"),
            (&["one", "host"], &none, "cannot be combined"),
            (&["one", "one"], &none, "given twice"),
            (&["one:ip=10.1.0.6"], &ip, "--ip and --network"),
            (&["host"], &ip, "--ip needs a network"),
            (&["container:x"], &alias, "--network-alias needs"),
            (&["bridge"], &alias, "network create"),
            (&[], &alias, "network create"),
        ] {
            let error = combine(&flags(networks), first).unwrap_err();
            assert!(error.contains(problem), "{networks:?}: {error}");
        }
    }

    #[test]
    fn extra_hosts() {
        for (text, name, address) in [
            ("db:10.0.0.9", "db", Some("10.0.0.9")),
            ("db=10.0.0.9", "db", Some("10.0.0.9")),
            ("db:::1", "db", Some("::1")),
            ("db:[fd00::1]", "db", Some("fd00::1")),
            ("host.docker.internal:host-gateway", "host.docker.internal", None),
        ] {
            let address = address.map(|text| text.parse().unwrap());
            let entry = ExtraHost { name: name.to_owned(), address };
            assert_eq!(ExtraHost::parse(text).as_ref(), Ok(&entry), "{text}");
            assert_eq!(ExtraHost::parse(&entry.to_string()), Ok(entry), "{text}");
        }
        for text in ["", "db", "db:", ":10.0.0.9", "a b:10.0.0.9", "db:x", "db:[::1", "db\n:1.1.1.1"] {
            assert!(ExtraHost::parse(text).is_err(), "{text}");
        }
        assert!(domain(".").is_ok() && domain("a.example.").is_ok() && domain("a b").is_err());
        assert!(resolver_option("ndots:2").is_ok() && resolver_option("a b").is_err() && resolver_option("").is_err());
    }

    #[test]
    fn links() {
        let parsed =
            |container: &str, alias: &str| Ok(Link { container: container.to_owned(), alias: alias.to_owned() });
        assert_eq!(link("db"), parsed("db", "db"));
        assert_eq!(link("/db:sql"), parsed("db", "sql"));
        for text in ["", ":x", "db:", "a b", "db:x y"] {
            assert!(link(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text(text in "\\PC{0,60}") {
            let _ = network(&text);
            let _ = mac(&text);
            let _ = link(&text);
            let _ = ExtraHost::parse(&text);
        }
    }
}
