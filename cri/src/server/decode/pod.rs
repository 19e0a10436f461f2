//! A pod.

use std::collections::BTreeMap;
use std::net::IpAddr;

use proto::v1;

use super::namespace;
use super::resources::resources;
use super::security::{apparmor, groups, groups_policy, seccomp, selinux, user};
use super::syntax::{absolute, absolute_down, given, text};
use super::{Invalid, each};
use crate::pod::config::{Dns, Namespaces, PodConfig, PodMetadata, Port, Profile, Protocol, Resources};
use crate::selinux::Context;

/// Longest host name: `__NEW_UTS_LEN`, uname(2).
const HOSTNAME_LENGTH: usize = 64;

/// The pod that RunPodSandbox asks for. CRI: PodSandboxConfig
///
/// # Errors
/// The field, from `config` on, and what it may be.
pub(crate) fn pod(config: v1::PodSandboxConfig, handler: String) -> Result<PodConfig, Invalid> {
    config_of(config, handler).map_err(|error| error.within("config"))
}

fn config_of(message: v1::PodSandboxConfig, handler: String) -> Result<PodConfig, Invalid> {
    let v1::PodSandboxConfig {
        metadata,
        hostname,
        log_directory,
        dns_config,
        port_mappings,
        labels,
        annotations,
        linux,
    } = message;
    let linux = self::linux(linux.unwrap_or_default()).map_err(|error| error.within("linux"))?;
    Ok(PodConfig {
        metadata: self::metadata(metadata)?,
        hostname: self::hostname(hostname)?,
        log_directory: match log_directory.as_str() {
            "" => None,
            _ => Some(absolute_down("log_directory", log_directory)?),
        },
        dns: dns(dns_config).map_err(|error| error.within("dns_config"))?,
        ports: each("port_mappings", port_mappings, port)?,
        labels: labels.into_iter().collect(),
        annotations: annotations.into_iter().collect(),
        handler,
        cgroup_parent: linux.cgroup_parent,
        sysctls: linux.sysctls,
        overhead: linux.overhead,
        resources: linux.resources,
        namespaces: linux.security.namespaces,
        privileged: linux.security.privileged,
        selinux: linux.security.selinux,
        seccomp: linux.security.seccomp,
        apparmor: linux.security.apparmor,
    })
}

fn metadata(message: Option<v1::PodSandboxMetadata>) -> Result<PodMetadata, Invalid> {
    let Some(v1::PodSandboxMetadata { name, uid, namespace, attempt }) = message else {
        return Err(Invalid::new("metadata", "must be given: it names the pod"));
    };
    Ok(PodMetadata {
        name: given("metadata.name", name)?,
        uid: given("metadata.uid", uid)?,
        namespace: given("metadata.namespace", namespace)?,
        attempt,
    })
}

/// It is written into files of lines and words.
fn hostname(name: String) -> Result<String, Invalid> {
    if name.len() > HOSTNAME_LENGTH {
        let problem = format!("is {} bytes long; the kernel takes at most {HOSTNAME_LENGTH}", name.len());
        return Err(Invalid::new("hostname", problem));
    }
    if name.contains(|c: char| c == '/' || c == '\0' || c.is_whitespace() || c.is_control()) {
        return Err(Invalid::new("hostname", format!("{name:?} must be a name without spaces and slashes")));
    }
    Ok(name)
}

/// A resolver; with nothing in it, the node's own.
fn dns(message: Option<v1::DnsConfig>) -> Result<Option<Dns>, Invalid> {
    let v1::DnsConfig { servers, searches, options } = message.unwrap_or_default();
    let dns = Dns { servers, searches, options };
    for (field, list) in [("servers", &dns.servers), ("searches", &dns.searches), ("options", &dns.options)] {
        for (index, word) in list.iter().enumerate() {
            if word.is_empty() || word.contains(|c: char| c.is_whitespace() || c.is_control()) {
                return Err(Invalid::new(&format!("{field}[{index}]"), format!("{word:?} must be one word")));
            }
        }
    }
    Ok(Some(dns).filter(|dns| *dns != Dns::default()))
}

fn port(message: v1::PortMapping) -> Result<Port, Invalid> {
    let v1::PortMapping { protocol, container_port, host_port, host_ip } = message;
    let protocol = match v1::Protocol::try_from(protocol) {
        Ok(v1::Protocol::Tcp) => Protocol::Tcp,
        Ok(v1::Protocol::Udp) => Protocol::Udp,
        Ok(v1::Protocol::Sctp) => Protocol::Sctp,
        Err(_) => {
            return Err(Invalid::new("protocol", format!("{protocol} is no protocol; they are TCP, UDP and SCTP")));
        }
    };
    let number = |field: &str, value: i32| {
        u16::try_from(value).map_err(|_| Invalid::new(field, format!("{value} must be a port, at most 65535")))
    };
    let container_port = match number("container_port", container_port)? {
        0 => return Err(Invalid::new("container_port", "must be a port from 1 to 65535")),
        port => port,
    };
    let host_port = Some(number("host_port", host_port)?).filter(|port| *port != 0);
    let host_ip = match host_ip.as_str() {
        "" => None,
        address => Some(address.parse::<IpAddr>().map_err(|_| {
            Invalid::new("host_ip", format!("{address:?} must be an IPv4 or IPv6 address of the node"))
        })?),
    };
    Ok(Port { protocol, container_port, host_port, host_ip })
}

struct Linux {
    cgroup_parent: String,
    sysctls: BTreeMap<String, String>,
    overhead: Option<Resources>,
    resources: Option<Resources>,
    security: Security,
}

fn linux(message: v1::LinuxPodSandboxConfig) -> Result<Linux, Invalid> {
    let v1::LinuxPodSandboxConfig { cgroup_parent, security_context, sysctls, overhead, resources: limits } = message;
    Ok(Linux {
        cgroup_parent: self::cgroup_parent(cgroup_parent)?,
        sysctls: self::sysctls(sysctls)?,
        overhead: overhead.map(resources).transpose().map_err(|error| error.within("overhead"))?,
        resources: limits.map(resources).transpose().map_err(|error| error.within("resources"))?,
        security: security(security_context.unwrap_or_default()).map_err(|error| error.within("security_context"))?,
    })
}

/// A path of the cgroup tree, or a slice of systemd by its name alone.
fn cgroup_parent(value: String) -> Result<String, Invalid> {
    let field = "cgroup_parent";
    if value.is_empty() {
        return Ok(value);
    }
    if !value.contains('/') {
        if value.strip_suffix(".slice").is_none_or(str::is_empty) {
            return Err(Invalid::new(
                field,
                format!("{value:?} must be an absolute path, or a slice such as name.slice"),
            ));
        }
        return text(field, value);
    }
    let value = absolute(field, value)?;
    if value.split('/').any(|part| part == "." || part == "..") {
        return Err(Invalid::new(field, format!("{value:?} must not contain \".\" or \"..\"")));
    }
    Ok(value)
}

/// Kernel parameters by dotted names. As sysctl(8) has it, a name may also be written with slashes, and then its dots are no separators.
fn sysctls(map: std::collections::HashMap<String, String>) -> Result<BTreeMap<String, String>, Invalid> {
    let mut all = BTreeMap::new();
    for (name, value) in map {
        let field = format!("sysctls[{name:?}]");
        let separator = name.find(['.', '/']).map(|at| name.as_bytes()[at]);
        let dotted: String = match separator {
            Some(b'/') => name
                .chars()
                .map(|c| {
                    if c == '/' {
                        '.'
                    } else if c == '.' {
                        '/'
                    } else {
                        c
                    }
                })
                .collect(),
            Some(_) | None => name.clone(),
        };
        let good = |part: &str| !part.is_empty() && !part.contains(|c: char| c.is_control() || c.is_whitespace());
        if separator.is_none() || !dotted.split('.').all(good) || dotted.split(['.', '/']).any(str::is_empty) {
            return Err(Invalid::new(&field, "must be a kernel parameter such as net.ipv4.ip_forward"));
        }
        let value = text(&field, value)?;
        if all.insert(dotted, value).is_some() {
            return Err(Invalid::new(&field, "is given twice, with dots and with slashes"));
        }
    }
    Ok(all)
}

struct Security {
    namespaces: Namespaces,
    privileged: bool,
    selinux: Option<Context>,
    seccomp: Option<Profile>,
    apparmor: Option<Profile>,
}

/// What the pod's own processes may do. There are none, so user, groups and root are checked and left.
#[allow(deprecated, reason = "callers of before 1.19 fill the old field")]
fn security(message: v1::LinuxSandboxSecurityContext) -> Result<Security, Invalid> {
    let v1::LinuxSandboxSecurityContext {
        namespace_options,
        selinux_options,
        run_as_user,
        run_as_group,
        readonly_rootfs: _,
        supplemental_groups,
        supplemental_groups_policy,
        privileged,
        seccomp: profile,
        apparmor: apparmor_profile,
        seccomp_profile_path,
    } = message;
    user(run_as_user, run_as_group, String::new())?;
    groups(&supplemental_groups)?;
    groups_policy(supplemental_groups_policy)?;
    Ok(Security {
        namespaces: namespace::of_pod(namespace_options).map_err(|error| error.within("namespace_options"))?,
        privileged,
        selinux: selinux(selinux_options)?,
        seccomp: seccomp(profile, &seccomp_profile_path)?,
        apparmor: apparmor(apparmor_profile, "")?,
    })
}
