//! `/etc/hosts`, `/etc/hostname` and `/etc/resolv.conf` of a pod, mounted into its containers.

use std::io::{Read, Write};
use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::{Mode, fchmod, mkdirat};
use runtime::rooted;
use runtime::sys::Call;

use super::config::{PodConfig, Scope};
use super::error::{Error, Io};
use crate::spec::{BEHIND_RESOLVED, Families, HostEntry, RESOLV_CONF_LIMIT, ResolvConf, hosts};

/// Largest `/etc/hosts` of the node that is copied, in bytes.
const HOSTS_LIMIT: usize = 1 << 20;

/// What they are called.
pub(super) const NAMES: [&str; 3] = ["hosts", "hostname", "resolv.conf"];

/// Writes the files. `hostname` is what the pod's programs see.
pub(super) fn write(dir: &Path, config: &PodConfig, hostname: &str, ips: &[IpAddr]) -> Result<(), Error> {
    let node = config.namespaces.network == Scope::Node;
    let hosts = match node {
        true => host_file("/etc/hosts", HOSTS_LIMIT)?,
        false => hosts(&ips.iter().map(|ip| HostEntry { name: hostname.to_owned(), address: *ip }).collect::<Vec<_>>()),
    };
    let texts = [hosts, format!("{hostname}\n"), resolv_conf(config, ips)?];
    NAMES.iter().zip(&texts).try_for_each(|(name, text)| file(&dir.join(name), text))
}

/// The kubelet's words, or the node's file: without name servers that cannot be reached from the pod.
fn resolv_conf(config: &PodConfig, ips: &[IpAddr]) -> Result<String, Error> {
    if let Some(dns) = config.dns.as_ref().filter(|dns| **dns != super::config::Dns::default()) {
        let conf = ResolvConf {
            servers: dns.servers.clone(),
            search: dns.searches.clone(),
            options: dns.options.clone(),
            others: Vec::new(),
        };
        return Ok(conf.to_string());
    }
    let own = host_file("/etc/resolv.conf", RESOLV_CONF_LIMIT)?;
    if config.namespaces.network == Scope::Node {
        return Ok(own);
    }
    let mut conf = ResolvConf::parse(&own);
    if conf.is_resolved_stub() {
        conf.servers = ResolvConf::parse(&host_file(BEHIND_RESOLVED, RESOLV_CONF_LIMIT)?).servers;
    }
    let families = if ips.iter().any(IpAddr::is_ipv6) { Families::Both } else { Families::Ipv4 };
    let left_out = conf.retain_reachable(families);
    if conf.servers.is_empty() && !left_out.is_empty() {
        tracing::warn!(
            "pod {}/{}: no name server of the node's /etc/resolv.conf can be reached from a pod: {}",
            config.metadata.namespace,
            config.metadata.name,
            left_out.join(", ")
        );
    }
    Ok(conf.to_string())
}

/// A file of the node, bounded; one that is missing is empty.
fn host_file(path: &str, limit: usize) -> Result<String, Error> {
    let file = match std::fs::File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(String::new()),
        file => file.io(|| format!("open({path:?})"))?,
    };
    let mut bytes = Vec::new();
    file.take(limit as u64 + 1).read_to_end(&mut bytes).io(|| format!("read({path:?})"))?;
    if bytes.len() > limit {
        let problem = format!("larger than {limit} bytes");
        return Err(Error::Invalid { field: path.to_owned(), problem });
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Makes a directory, and those above it that are missing, that programs of any user may read, whatever the umask is.
pub(super) fn public_dir(path: &Path) -> Result<(), Error> {
    let missing: Vec<&Path> = path.ancestors().take_while(|dir| std::fs::symlink_metadata(dir).is_err()).collect();
    for dir in missing.into_iter().rev() {
        match std::fs::create_dir(dir) {
            // Another call makes it.
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            made => {
                made.io(|| format!("mkdir({dir:?})"))?;
                let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
                std::fs::set_permissions(dir, mode).io(|| format!("chmod({dir:?})"))?;
            }
        }
    }
    Ok(())
}

/// Makes the directories of a path below a directory in which containers may write: no link is followed.
pub(super) fn public_dirs_below(top: &Path, path: &Path) -> Result<(), Error> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mut dir = open(top, flags, Mode::empty()).call(|| format!("open({top:?}, O_DIRECTORY)"))?;
    for name in path {
        let made = match mkdirat(&dir, name, Mode::from_bits_truncate(0o755)) {
            Err(Errno::EEXIST) => false,
            made => made.map(|()| true).call(|| format!("mkdirat({top:?}, {path:?} at {name:?})"))?,
        };
        dir = rooted::open(&dir, name.as_bytes(), flags, Mode::empty())?;
        if made {
            fchmod(&dir, Mode::from_bits_truncate(0o755)).call(|| format!("fchmod({name:?})"))?;
        }
    }
    Ok(())
}

fn file(path: &Path, text: &str) -> Result<(), Error> {
    let mut options = std::fs::OpenOptions::new();
    let made = options.write(true).create_new(true).mode(0o644).open(path);
    let mut file = made.io(|| format!("open({path:?}, O_CREAT|O_EXCL)"))?;
    // Whatever the umask is: programs of any user read it.
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    file.set_permissions(mode).io(|| format!("fchmod({path:?})"))?;
    file.write_all(text.as_bytes()).io(|| format!("write({path:?})"))
}
