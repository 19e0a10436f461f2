//! Mounting what is behind a volume. It stays mounted until the volume is removed or the host restarts; the next container
//! finds it there, or mounts it again.

use std::collections::BTreeMap;
use std::net::ToSocketAddrs;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::Mode;

use super::backing::{self, Backing, Mount};
use super::hold::{Held, open_dir};

/// Mounts what is behind a volume, if that is not done yet.
pub(super) fn attach(held: &Held, name: &str, options: &BTreeMap<String, String>) -> Result<()> {
    let backing = backing::backing(options).map_err(|problem| anyhow!("volume {name}: {problem}"))?;
    let Backing::Mount(plan) = backing else { return Ok(()) };
    let _alone = held.alone()?;
    let data = held.data();
    if is_mounted(data.parent().context("_data has a parent")?)? {
        return Ok(());
    }
    call(&plan, &data).with_context(|| format!("volume {name}"))
}

/// Takes it away again.
pub(super) fn detach(dir: &Path, name: &str) -> Result<()> {
    // Mounts may lie upon each other: another mount namespace's spread here.
    while is_mounted(dir)? {
        let data = dir.join("_data");
        match umount2(&data, MntFlags::UMOUNT_NOFOLLOW) {
            Ok(()) | Err(Errno::EINVAL) => {}
            Err(Errno::EBUSY) => {
                bail!("volume {name}: umount({}): EBUSY: a program on the host has files open there", data.display())
            }
            Err(errno) => return Err(errno).with_context(|| format!("volume {name}: umount({})", data.display())),
        }
    }
    Ok(())
}

/// Whether something is mounted on `_data`: then the look-up leaves the file system of its parent.
fn is_mounted(dir: &Path) -> Result<bool> {
    let Some(fd) = open_dir(dir)? else { return Ok(false) };
    match runtime::rooted::open(&fd, b"_data", OFlag::O_PATH | OFlag::O_DIRECTORY, Mode::empty()) {
        Ok(_) => Ok(false),
        Err(error) if error.errno == Errno::EXDEV => Ok(true),
        Err(error) => Err(error.into()),
    }
}

fn call(plan: &Mount, target: &Path) -> Result<()> {
    let Mount { kind, device, flags, data } = plan;
    let data = match kind.as_str() {
        "nfs" | "nfs4" | "cifs" | "smb3" => resolved(data)?,
        _ => data.clone(),
    };
    let nothing = None::<&str>;
    let data = Some(data.as_str()).filter(|data| !data.is_empty());
    let bind = flags.contains(MsFlags::MS_BIND);
    let (first, kind_given) =
        if bind { (*flags & (MsFlags::MS_BIND | MsFlags::MS_REC), nothing) } else { (*flags, Some(kind.as_str())) };
    let answer = mount(Some(device.as_str()), target, kind_given, first, data);
    answer.map_err(|errno| explain(plan, errno))?;
    let rest = *flags - (MsFlags::MS_BIND | MsFlags::MS_REC);
    if bind && !rest.is_empty() {
        let again = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | rest;
        if let Err(errno) = mount(nothing, target, nothing, again, nothing) {
            let _as_before = umount2(target, MntFlags::MNT_DETACH);
            return Err(explain(plan, errno));
        }
    }
    Ok(())
}

fn explain(plan: &Mount, errno: Errno) -> anyhow::Error {
    let Mount { kind, device, data, .. } = plan;
    let hint = match errno {
        Errno::ENODEV => "; the kernel has no such file system (/proc/filesystems lists them; a module may be missing)",
        Errno::ENOENT => "; the device does not exist",
        Errno::ENOTBLK => "; this file system needs a block device",
        Errno::EPERM => "; needs CAP_SYS_ADMIN",
        Errno::EINVAL => "; an option is wrong, or there is no such file system on the device",
        _ => "",
    };
    // What follows password= and the like is nobody's business.
    let shown: Vec<&str> = data.split(',').map(|word| if word.starts_with("pass") { "pass…" } else { word }).collect();
    anyhow!("mount({device:?}, type {kind}, o={}): {errno}{hint}", shown.join(","))
}

/// The kernel takes addresses only: `addr=NAME` is looked up.
fn resolved(data: &str) -> Result<String> {
    let mut words = Vec::new();
    for word in data.split(',') {
        match word.strip_prefix("addr=") {
            Some(host) if host.parse::<std::net::IpAddr>().is_err() => {
                let mut found = (host, 0).to_socket_addrs().with_context(|| format!("option o=addr={host}"))?;
                let address = found.next().ok_or_else(|| anyhow!("option o=addr={host}: no address"))?;
                words.push(format!("addr={}", address.ip()));
            }
            Some(_) | None => words.push(word.to_owned()),
        }
    }
    Ok(words.join(","))
}
