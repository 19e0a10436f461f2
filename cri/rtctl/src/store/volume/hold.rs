//! Making a volume, and keeping it from being removed.

use std::fs::DirBuilder;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, Flock, FlockArg, OFlag, RenameFlags, open, renameat2};
use nix::sys::stat::{Mode, fstat, stat};

use super::record::{Record, VERSION};
use super::{Volume, attach, dir, missing};
use crate::events;
use crate::flag::time;
use crate::flag::volume::NewVolume;
use crate::store::roots::Roots;
use crate::store::{create, id};

/// A volume that nobody can remove as long as this lives.
pub(crate) struct Held {
    _lock: Flock<OwnedFd>,
    dir: PathBuf,
    plain: bool,
}

impl Held {
    /// Where its content is.
    pub(crate) fn data(&self) -> PathBuf {
        self.dir.join("_data")
    }

    /// Whether its content is its own, and not something that its options have mounted there.
    pub(crate) fn is_plain(&self) -> bool {
        self.plain
    }

    /// The right to fill the volume or to mount what is behind it.
    pub(super) fn alone(&self) -> Result<Flock<OwnedFd>> {
        let path = self.dir.join("lock");
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        let shown = || format!("{}", path.display());
        let file = open(&path, flags, Mode::from_bits_truncate(0o600)).with_context(shown)?;
        Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno).with_context(shown)
    }
}

/// Who owns the top directory of a new volume: user and group of the host.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TopOwner(pub(crate) u32, pub(crate) u32);

/// Makes a volume; one that is there with the same options is done.
pub(crate) fn create(roots: &Roots, name: &str, new: &NewVolume) -> Result<()> {
    find_or_make(roots, name, new, TopOwner(0, 0)).map(drop)
}

/// Holds a volume, making it if it is not there; with what is behind it mounted.
///
/// # Errors
/// When it is there with other labels or options than those asked for.
pub(crate) fn hold(roots: &Roots, name: &str, new: &NewVolume, owner: TopOwner) -> Result<Held> {
    let (mut held, record) = find_or_make(roots, name, new, owner)?;
    held.plain = record.options.is_empty();
    attach::attach(&held, name, &record.options)?;
    Ok(held)
}

fn find_or_make(roots: &Roots, name: &str, new: &NewVolume, owner: TopOwner) -> Result<(Held, Record)> {
    let record = || Record {
        version: VERSION,
        created: time::since_epoch(SystemTime::now()),
        anonymous: new.anonymous,
        labels: new.labels.clone(),
        options: new.options.clone(),
    };
    let mut made = false;
    loop {
        if let Some(held) = try_hold(roots, name)? {
            let volume = Volume::load(roots, name)?.with_context(|| format!("volume {name} is gone"))?;
            let old = volume.record.map_err(|problem| anyhow::anyhow!("volume {name}: {problem}"))?;
            if !made && !new.options.is_empty() && new.options != old.options {
                bail!("volume {name} is there with other options; rtctl volume inspect {name} shows them");
            }
            return Ok((held, old));
        }
        made = make(roots, name, &record(), owner)?;
        if made {
            events::record(roots, "volume", "create", name, [("driver", "local")]);
        }
    }
}

/// Holds a volume that must be there.
pub(crate) fn hold_existing(roots: &Roots, name: &str) -> Result<Held> {
    let Some(mut held) = try_hold(roots, name)? else { return Err(missing(roots, name).into()) };
    let volume = Volume::load(roots, name)?.with_context(|| format!("volume {name} is gone"))?;
    let record = volume.record.map_err(|problem| anyhow::anyhow!("volume {name}: {problem}"))?;
    held.plain = record.options.is_empty();
    attach::attach(&held, name, &record.options)?;
    Ok(held)
}

/// Opens a volume's directory; `None` when there is none.
pub(super) fn open_dir(path: &Path) -> Result<Option<OwnedFd>> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
    match open(path, flags, Mode::empty()) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::ENOENT) => Ok(None),
        Err(errno) => Err(errno).with_context(|| format!("open({}, O_DIRECTORY)", path.display())),
    }
}

/// Whether the directory is still the one of that name: whoever held the lock before may have removed it.
pub(super) fn is_still(fd: &OwnedFd, path: &Path) -> Result<bool> {
    let own = fstat(fd).with_context(|| format!("fstat({})", path.display()))?;
    match stat(path) {
        Ok(now) => Ok((own.st_dev, own.st_ino) == (now.st_dev, now.st_ino)),
        Err(Errno::ENOENT) => Ok(false),
        Err(errno) => Err(errno).with_context(|| format!("stat({})", path.display())),
    }
}

fn try_hold(roots: &Roots, name: &str) -> Result<Option<Held>> {
    let dir = dir(roots, name);
    loop {
        let Some(fd) = open_dir(&dir)? else { return Ok(None) };
        let lock = Flock::lock(fd, FlockArg::LockShared).map_err(|(_, errno)| errno);
        let lock = lock.with_context(|| format!("flock({}, LOCK_SH)", dir.display()))?;
        if is_still(&lock, &dir)? {
            return Ok(Some(Held { _lock: lock, dir, plain: true }));
        }
    }
}

/// Makes a volume, whole; `false` when somebody else made one of that name meanwhile.
fn make(roots: &Roots, name: &str, record: &Record, owner: TopOwner) -> Result<bool> {
    let volumes = roots.volumes();
    let temp = volumes.join(format!(".new-{}", id::new()?));
    let shown = |what: &str, path: &Path| format!("{what}({})", path.display());
    DirBuilder::new().mode(0o700).create(&temp).with_context(|| shown("mkdir", &temp))?;
    // Held from now on; who sweeps in between takes it away, and the next round makes another.
    let Some(fd) = open_dir(&temp)? else { return Ok(false) };
    let Ok(lock) = Flock::lock(fd, FlockArg::LockExclusiveNonblock) else { return Ok(false) };
    if !is_still(&lock, &temp)? {
        return Ok(false);
    }
    let data = temp.join("_data");
    let filled = (|| {
        DirBuilder::new().mode(0o755).create(&data).with_context(|| shown("mkdir", &data))?;
        if (owner.0, owner.1) != (0, 0) {
            chown(&data, Some(owner.0), Some(owner.1)).with_context(|| shown("chown", &data))?;
        }
        create::write(&temp.join("volume.json"), &serde_json::to_string(record)?, 0o600)?;
        match renameat2(AT_FDCWD, &temp, AT_FDCWD, &volumes.join(name), RenameFlags::RENAME_NOREPLACE) {
            Ok(()) => Ok(true),
            Err(Errno::EEXIST) => Ok(false),
            Err(errno) => Err(errno).with_context(|| format!("renameat2({}, {name:?})", temp.display())),
        }
    })();
    if !matches!(filled, Ok(true)) {
        let _swept_later = shim::remove::tree(&temp);
    }
    filled
}
