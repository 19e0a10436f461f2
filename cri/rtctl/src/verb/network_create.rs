//! `rtctl network create`

use std::collections::BTreeMap;
use std::net::IpAddr;

use anyhow::{Result, bail};
use cri::network::{NewNetwork, Subnet};

use crate::flag::network::network_name;
use crate::output::say;
use crate::store::network;
use crate::store::roots::Roots;

/// Make a network; prints its id
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Kind of network; there is bridge
    #[arg(short, long, value_name = "DRIVER", default_value = "bridge", value_parser = driver)]
    driver: String,
    /// Addresses of the network, such as 10.1.0.0/24; one of each family
    #[arg(long, value_name = "SUBNET", value_parser = subnet)]
    subnet: Vec<Subnet>,
    /// The host's address on the network; otherwise its first
    #[arg(long, value_name = "ADDRESS")]
    gateway: Vec<IpAddr>,
    /// Part of the subnet that addresses are given out of
    #[arg(long, value_name = "SUBNET", value_parser = subnet)]
    ip_range: Vec<Subnet>,
    /// IPv6, too; a subnet is chosen if none is given
    #[arg(long)]
    ipv6: bool,
    /// IPv4; --ipv4=false for a network of IPv6 alone
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "true", default_missing_value = "true")]
    #[arg(action = clap::ArgAction::Set, hide_possible_values = true)]
    ipv4: bool,
    /// No way out of the network and none in
    #[arg(long)]
    internal: bool,
    /// Any container may be connected later, which is always so
    #[arg(long, hide = true)]
    attachable: bool,
    /// An option: mtu, icc, isolate, masquerade, guard, host_ip, or docker's com.docker.network.* name of it
    #[arg(short, long, visible_alias = "option", value_name = "NAME=VALUE", value_parser = pair)]
    opt: Vec<(String, String)>,
    /// Add a label
    #[arg(long, value_name = "NAME[=VALUE]", value_parser = label)]
    label: Vec<(String, String)>,
    /// Address management; there is default
    #[arg(long, value_name = "DRIVER", default_value = "default", value_parser = ipam, hide = true)]
    ipam_driver: String,
    /// Name of the network
    #[arg(value_parser = network_name)]
    name: String,
}

const EXAMPLES: &str = "\
Containers of a network find each other by their names. The default network, bridge, has no names.

Examples:
  rtctl network create mine
  rtctl run -d --network mine --name db busybox sleep 1000
  rtctl run --rm --network mine busybox ping -c 1 db
  rtctl network create --subnet 10.1.0.0/24 --subnet fd00:1::/64 --internal closed";

fn driver(text: &str) -> Result<String, String> {
    match text {
        "bridge" => Ok(text.to_owned()),
        "host" | "none" | "null" => Err(format!("{text}: there is one such network: --network {text}")),
        "macvlan" | "ipvlan" | "overlay" => Err(format!("{text} is not built yet; bridge is")),
        _ => Err(format!("there is no driver {text:?}; bridge is")),
    }
}

fn ipam(text: &str) -> Result<String, String> {
    if text == "default" { Ok(text.to_owned()) } else { Err(format!("there is no address management {text:?}")) }
}

fn subnet(text: &str) -> Result<Subnet, String> {
    text.parse().map_err(|error: cri::network::Error| error.to_string())
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        Some(_) | None => Err(format!("{text:?}: write it as NAME=VALUE")),
    }
}

fn label(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    if name.is_empty() {
        Err(format!("{text:?}: a label needs a name"))
    } else {
        Ok((name.to_owned(), value.to_owned()))
    }
}

impl Args {
    pub(crate) fn run(self, roots: &Roots) -> Result<u8> {
        let mut options = BTreeMap::new();
        for (name, value) in self.opt {
            if let Some(before) = options.insert(name.clone(), value.clone())
                && before != value
            {
                bail!("--opt {name}: given twice, as {before:?} and {value:?}");
            }
        }
        let has_ipv6 = self.subnet.iter().any(|subnet| subnet.first().is_ipv6());
        let new = NewNetwork {
            name: self.name,
            subnets: self.subnet,
            gateways: self.gateway,
            ip_ranges: self.ip_range,
            ipv6: self.ipv6 || has_ipv6,
            without_ipv4: !self.ipv4,
            internal: self.internal,
            options,
            labels: self.label.into_iter().collect(),
        };
        roots.prepare()?;
        let network = network::open(roots)?.create(&new)?;
        say(&network.id)?;
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        assert_eq!(driver("bridge").as_deref(), Ok("bridge"));
        for text in ["macvlan", "overlay", "host", "fast"] {
            assert!(driver(text).unwrap_err().contains(text), "{text}");
        }
        assert_eq!(pair("mtu=1400"), Ok(("mtu".to_owned(), "1400".to_owned())));
        assert!(pair("mtu").is_err() && pair("=x").is_err());
        assert_eq!(label("tier"), Ok(("tier".to_owned(), String::new())));
        assert!(label("=x").is_err());
    }
}
