//! `/etc/hosts` and `/etc/resolv.conf` of a container, for each kind of network.
//!
//! | network | hosts | resolv.conf |
//! |---|---|---|
//! | host | the host's | the host's |
//! | none, ns:PATH | loopback | the host's, without name servers on loopback |
//! | networks | loopback; its addresses and other containers are added by [`super::hosts`] | the same |
//!
//! With `container:NAME` both are that container's own files, and nothing here is asked.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use cri::spec::{BEHIND_RESOLVED, Families, HostEntry, RESOLV_CONF_LIMIT, ResolvConf, Resolver};

use crate::flag::network::{ExtraHost, NetworkMode};

/// Largest `/etc/hosts` that is kept current, in bytes: the container may write to it.
const HOSTS_LIMIT: usize = 1 << 20;

/// What the files of a container depend on.
pub(crate) struct Names<'a> {
    pub(crate) mode: &'a NetworkMode,
    pub(crate) hostname: &'a str,
    pub(crate) domainname: Option<&'a str>,
    pub(crate) extra: &'a [ExtraHost],
    pub(crate) resolver: &'a Resolver,
}

impl Names<'_> {
    /// `/etc/hosts`; `gateway` is the host, as the container reaches it, once that is known.
    pub(crate) fn hosts(&self, gateway: Option<IpAddr>) -> Result<String> {
        let mut entries = Vec::new();
        for ExtraHost { name, address } in self.extra {
            let address = match (address, self.mode) {
                (Some(address), _) => Some(*address),
                (None, NetworkMode::Host) => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
                (None, NetworkMode::Networks(_)) => gateway,
                (None, mode) => {
                    bail!("--add-host {name}:host-gateway: with --network {} there is no way to the host", mode.show())
                }
            };
            // Before it has a network nobody knows, and nobody asks.
            entries.extend(address.map(|address| HostEntry { name: name.clone(), address }));
        }
        match self.mode {
            NetworkMode::Host => {
                let mut text = host_file("/etc/hosts", HOSTS_LIMIT)?;
                for HostEntry { name, address } in entries {
                    text.push_str(&format!("{address}\t{name}\n"));
                }
                Ok(text)
            }
            NetworkMode::Networks(_) => Ok(cri::spec::hosts(&entries)),
            // Programs look their own name up; without another address it is on the loopback interface.
            NetworkMode::None | NetworkMode::Container(_) | NetworkMode::Path(_) => {
                let name = cri::spec::own_names(self.hostname, self.domainname);
                entries.push(HostEntry { name, address: IpAddr::V4(Ipv4Addr::LOCALHOST) });
                Ok(cri::spec::hosts(&entries))
            }
        }
    }

    /// `/etc/resolv.conf`, and the name servers of the host that are left out when no other one remains.
    pub(crate) fn resolv_conf(&self, families: Families) -> Result<(String, Vec<String>)> {
        let own = host_file("/etc/resolv.conf", RESOLV_CONF_LIMIT)?;
        if *self.mode == NetworkMode::Host {
            return Ok((cri::spec::resolv_conf(&own, self.resolver), Vec::new()));
        }
        let mut conf = ResolvConf::parse(&own);
        if conf.is_resolved_stub() {
            let behind = ResolvConf::parse(&host_file(BEHIND_RESOLVED, RESOLV_CONF_LIMIT)?);
            // Search domains and options are the administrator's, the servers systemd-resolved's.
            conf.servers = behind.servers;
            if conf.search.is_empty() || conf.search == ["."] {
                conf.search = behind.search;
            }
        }
        // Our own dot means what it means there: no search.
        conf.search.retain(|domain| domain != ".");
        let left_out = conf.retain_reachable(families);
        conf.set(self.resolver);
        let left_out = if conf.servers.is_empty() { left_out } else { Vec::new() };
        Ok((conf.to_string(), left_out))
    }
}

/// A file of the host, bounded; one that is missing is empty.
fn host_file(path: &str, limit: usize) -> Result<String> {
    match std::fs::File::open(path) {
        Ok(file) => bounded(file, limit).with_context(|| path.to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error).with_context(|| format!("open({path:?})")),
    }
}

fn bounded(file: std::fs::File, limit: usize) -> Result<String> {
    let mut bytes = Vec::new();
    file.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > limit {
        bail!("larger than {limit} bytes");
    }
    // Another encoding in a comment is no reason to do without the file.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// How a file is opened that the container may change: without waiting for a process in it that holds a lease, fcntl(2)
/// `F_SETLEASE`.
const UNTRUSTED: i32 = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK;

/// The content of a container's file. It is the container's to change, so it is bounded.
pub(crate) fn read(path: &Path) -> Result<String> {
    let shown = || format!("open({})", path.display());
    let file = std::fs::OpenOptions::new().read(true).custom_flags(UNTRUSTED).open(path);
    bounded(file.with_context(shown)?, HOSTS_LIMIT).with_context(|| path.display().to_string())
}

/// Writes a file over where it is: it is mounted in the container, and its owner stays.
pub(crate) fn overwrite(path: &Path, text: &str) -> Result<()> {
    try_overwrite(path, text).with_context(|| format!("write({})", path.display()))
}

/// The same for a file of a container that runs; one that its processes keep from being written stays as it is.
pub(crate) fn overwrite_if_left(path: &Path, text: &str) -> Result<()> {
    match try_overwrite(path, text) {
        Err(error) if is_kept(&error) => Ok(()),
        written => written.with_context(|| format!("write({})", path.display())),
    }
}

/// Whether processes of the container see to it that nobody writes to a file: one holds a lease on it, executes it, or has made
/// it immutable.
fn is_kept(error: &std::io::Error) -> bool {
    use nix::libc::{EPERM, ETXTBSY, EWOULDBLOCK};
    matches!(error.raw_os_error(), Some(EWOULDBLOCK | ETXTBSY | EPERM))
}

fn try_overwrite(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = std::fs::OpenOptions::new().write(true).custom_flags(UNTRUSTED).open(path)?;
    // One call for what fits in one, and only then the end: a reader never sees less than the old or the new text's beginning.
    file.write_all(text.as_bytes())?;
    file.set_len(text.len() as u64)
}

/// Host name of the host.
pub(crate) fn host_name() -> Result<String> {
    let name = nix::unistd::gethostname().context("gethostname")?;
    name.into_string().map_err(|name| anyhow!("host name {}: not UTF-8", name.display()))
}

/// Says that names will not be looked up, and what helps.
pub(crate) fn warn_of_servers(left_out: &[String]) {
    if !left_out.is_empty() {
        eprintln!(
            "rtctl: the host's name servers ({}) cannot be reached from the container's network, so it looks up no names; give it \
             one with --dns ADDRESS",
            left_out.join(", ")
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_by_a_name() {
        let extra = [ExtraHost { name: "me".to_owned(), address: None }];
        let resolver = Resolver::default();
        let names = |mode| Names { mode, hostname: "box", domainname: None, extra: &extra, resolver: &resolver };
        let joined = NetworkMode::Networks("bridge".to_owned());
        let text = names(&joined).hosts("10.1.0.1".parse().ok()).unwrap();
        assert!(text.ends_with("10.1.0.1\tme\n"), "{text}");
        assert!(names(&joined).hosts(None).unwrap().ends_with("ip6-allrouters\n"));
        let error = names(&NetworkMode::None).hosts(None).unwrap_err();
        assert!(error.to_string().contains("no way to the host"));
        assert!(names(&NetworkMode::Host).hosts(None).unwrap().ends_with("127.0.0.1\tme\n"));
    }

    #[test]
    fn files_are_written_in_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hosts");
        std::fs::write(&path, "long text\n").unwrap();
        overwrite(&path, "short\n").unwrap();
        assert_eq!(read(&path).unwrap(), "short\n");
        std::fs::write(&path, vec![b'x'; HOSTS_LIMIT + 1]).unwrap();
        assert!(read(&path).is_err());
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("link")).unwrap();
        assert!(read(&dir.path().join("link")).is_err());
        assert!(overwrite(&dir.path().join("link"), "").is_err());
    }
}
