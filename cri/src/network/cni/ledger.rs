//! The records on disk.
//!
//! ```text
//! <state>/                                     0700
//!     lock                                     flock(2) of the process that uses the records
//!     <container>@<network>@<interface>.json   Record: on the disk before the first plugin is run
//!     <container>@<network>@<interface>.result Outcome: after each plugin; never synced, for it says nothing after a reboot
//! ```
//!
//! A record goes when DEL has succeeded, and never before. What cannot be read is kept and told.

use runtime::json;
use std::collections::BTreeMap;
use std::fs::{DirBuilder, File};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag, renameat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};
use runtime::rooted::{self, Shown};
use runtime::sys::{Call, CallError};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::config::Network;
use super::error::Error;
use super::name::{ContainerId, InterfaceName, NetworkName};
use super::record::{Key, Outcome, Record, VERSION, to_network};
use super::sync::GroupSync;

/// Largest file, in bytes.
const LIMIT: u64 = 8 << 20;

/// The records of attachments.
#[derive(Debug)]
pub(crate) struct Ledger {
    path: PathBuf,
    dir: OwnedFd,
    _lock: Flock<File>,
    sync: GroupSync,
    entries: Mutex<BTreeMap<Key, Arc<Entry>>>,
    damaged: Vec<(String, String)>,
}

/// One attachment.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) key: Key,
    pub(crate) record: Record,
    pub(crate) network: Network,
}

impl Ledger {
    /// Opens the records, for this process alone.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let made = DirBuilder::new().mode(0o700).recursive(true).create(path);
        made.call(|| format!("mkdir({path:?}, 0700)"))?;
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let dir = nix::fcntl::open(path, flags, Mode::empty()).call(|| format!("open({path:?}, O_DIRECTORY)"))?;
        let dir = File::from(dir);
        let mode = dir.metadata().call(|| format!("fstat({path:?})"))?.mode() & 0o7777;
        if mode & 0o077 != 0 {
            let reason = format!("{} has mode {mode:04o}: others may enter it; chmod 0700 it", path.display());
            return Err(Error::Setting { setting: "state", reason });
        }
        let dir = OwnedFd::from(dir);
        let lock = lock(&dir, path)?;
        let sync = GroupSync::new(dir.try_clone().call(|| format!("dup({path:?})"))?);
        let mut ledger =
            Self { path: path.to_owned(), dir, _lock: lock, sync, entries: Mutex::default(), damaged: Vec::new() };
        ledger.load()?;
        Ok(ledger)
    }

    fn load(&mut self) -> Result<(), Error> {
        let mut entries = BTreeMap::new();
        for name in self.names()? {
            if name.ends_with(".new") {
                // Of a process that was killed before it went on.
                self.unlink(&name)?;
                continue;
            }
            let Some(stem) = name.strip_suffix(".json") else { continue };
            match self.entry(stem, &name) {
                Ok(Some(entry)) => drop(entries.insert(entry.key.clone(), Arc::new(entry))),
                Ok(None) => self.unlink(&name)?,
                Err(reason) => self.damaged.push((name, reason)),
            }
        }
        *self.lock_entries() = entries;
        Ok(())
    }

    /// Reads a record. `None`: its bytes never reached the disk, so nothing was done after it.
    fn entry(&self, stem: &str, name: &str) -> Result<Option<Entry>, String> {
        let bytes = match self.read(name).map_err(|error| error.to_string())? {
            None => return Ok(None),
            Some(bytes) if bytes.is_empty() => return Ok(None),
            Some(bytes) => bytes,
        };
        let record: Record = parse(&bytes)?;
        let network = to_network(&record.network).map_err(|error| format!("network: {error}"))?;
        let key = Key {
            container: record.container.clone(),
            network: network.name.clone(),
            interface: record.interface.clone(),
        };
        match Key::of_stem(stem) {
            Some(named) if named == key => Ok(Some(Entry { key, record, network })),
            _ => Err(format!("is about {}", key.stem())),
        }
    }

    /// Records that cannot be read: path and reason.
    pub(crate) fn damaged(&self) -> impl Iterator<Item = Error> {
        let path = |name: &String| self.path.join(name).display().to_string();
        self.damaged.iter().map(move |(name, reason)| Error::Record { path: path(name), reason: reason.clone() })
    }

    /// The attachments of a network that records are about that cannot be read, by the names of the files.
    pub(crate) fn damaged_keys(&self, network: &NetworkName) -> Vec<(ContainerId, InterfaceName)> {
        let keys = self.damaged.iter().filter_map(|(name, _)| Key::of_stem(name.strip_suffix(".json")?));
        keys.filter(|key| key.network == *network).map(|key| (key.container, key.interface)).collect()
    }

    /// All attachments, or those of a container, oldest first.
    pub(crate) fn list(&self, container: Option<&ContainerId>) -> Vec<Arc<Entry>> {
        let entries = self.lock_entries();
        let wanted = |entry: &&Arc<Entry>| container.is_none_or(|id| entry.key.container == *id);
        let mut list: Vec<Arc<Entry>> = entries.values().filter(wanted).cloned().collect();
        list.sort_by_key(|entry| entry.record.created);
        list
    }

    pub(crate) fn get(&self, key: &Key) -> Option<Arc<Entry>> {
        self.lock_entries().get(key).cloned()
    }

    /// Writes the record of an attachment that is about to be made, and waits until it is on the disk.
    ///
    /// # Errors
    /// [`Error::Attached`]: there is one already.
    pub(crate) fn begin(&self, entry: Entry) -> Result<Arc<Entry>, Error> {
        let name = format!("{}.json", entry.key.stem());
        let damaged = self.damaged.iter().any(|(damaged, _)| *damaged == name);
        if damaged || self.lock_entries().contains_key(&entry.key) {
            return Err(Error::Attached { subject: entry.key.subject() });
        }
        let file = self.write(&name, &entry.record)?;
        if let Err(error) = self.sync.sync(file) {
            self.unlink(&name)?;
            return Err(error.into());
        }
        let entry = Arc::new(entry);
        self.lock_entries().insert(entry.key.clone(), Arc::clone(&entry));
        Ok(entry)
    }

    /// Keeps what ADD has answered so far.
    pub(crate) fn keep(&self, key: &Key, outcome: &Outcome) -> Result<(), Error> {
        self.write(&format!("{}.result", key.stem()), outcome)?;
        Ok(())
    }

    /// What ADD had answered. `None`: nothing, or nothing that can be read: DEL does without.
    pub(crate) fn outcome(&self, key: &Key) -> Option<Outcome> {
        let bytes = self.read(&format!("{}.result", key.stem())).ok()??;
        parse(&bytes).ok()
    }

    /// Forgets an attachment that was undone. The disk need not know at once: undoing it again does no harm.
    pub(crate) fn end(&self, key: &Key) -> Result<(), Error> {
        self.unlink(&format!("{}.result", key.stem()))?;
        self.unlink(&format!("{}.json", key.stem()))?;
        self.lock_entries().remove(key);
        Ok(())
    }

    fn names(&self) -> Result<Vec<String>, CallError> {
        let call = || format!("getdents64({})", Shown(&self.dir));
        let own = rooted::open(&self.dir, b".", OFlag::O_RDONLY | OFlag::O_DIRECTORY, Mode::empty())?;
        let mut dir = nix::dir::Dir::from_fd(own).call(call)?;
        let mut names = Vec::new();
        for entry in dir.iter() {
            names.extend(entry.call(call)?.file_name().to_str().ok().map(str::to_owned));
        }
        Ok(names)
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let file = match rooted::open(&self.dir, name.as_bytes(), OFlag::O_RDONLY | OFlag::O_NONBLOCK, Mode::empty()) {
            Ok(fd) => File::from(fd),
            Err(CallError { errno: Errno::ENOENT, .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut bytes = Vec::new();
        (&file).take(LIMIT + 1).read_to_end(&mut bytes).call(|| format!("read({})", Shown(&file)))?;
        match bytes.len() as u64 > LIMIT {
            true => {
                Err(Error::Record { path: format!("{}", Shown(&file)), reason: format!("more than {LIMIT} bytes") })
            }
            false => Ok(Some(bytes)),
        }
    }

    /// Replaces a file as a whole.
    fn write(&self, name: &str, value: &impl Serialize) -> Result<File, Error> {
        let bytes = serde_json::to_vec(value).expect("records are plain data");
        let temporary = format!("{name}.new");
        self.unlink(&temporary)?;
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW;
        let fd = rooted::open(&self.dir, temporary.as_bytes(), flags, Mode::S_IRUSR | Mode::S_IWUSR)?;
        let mut file = File::from(fd);
        let written = file.write_all(&bytes).call(|| format!("write({}, {} bytes)", Shown(&file), bytes.len()));
        let renamed = written.and_then(|()| {
            renameat(&self.dir, temporary.as_str(), &self.dir, name)
                .call(|| format!("renameat({}, {temporary:?}, {name:?})", Shown(&self.dir)))
        });
        if let Err(error) = renamed {
            self.unlink(&temporary)?;
            return Err(error.into());
        }
        Ok(file)
    }

    fn unlink(&self, name: &str) -> Result<(), CallError> {
        match unlinkat(&self.dir, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(CallError { call: format!("unlinkat({}, {name:?})", Shown(&self.dir)), errno }),
        }
    }

    fn lock_entries(&self) -> MutexGuard<'_, BTreeMap<Key, Arc<Entry>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn lock(dir: &OwnedFd, path: &Path) -> Result<Flock<File>, Error> {
    let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_NOFOLLOW;
    let fd = rooted::open(dir, b"lock", flags, Mode::S_IRUSR | Mode::S_IWUSR)?;
    match Flock::lock(File::from(fd), FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(lock),
        Err((_, Errno::EWOULDBLOCK)) => {
            let reason = format!("{} is in use by another process", path.display());
            Err(Error::Setting { setting: "state", reason })
        }
        Err((_, errno)) => Err(CallError { call: format!("flock({:?})", path.join("lock")), errno }.into()),
    }
}

/// Reads a record of this version.
fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    #[derive(serde::Deserialize)]
    struct Head {
        version: u32,
    }
    let head: Head = json::from_slice(bytes).map_err(|error| error.to_string())?;
    if head.version != VERSION {
        return Err(format!("version {} is not {VERSION}, the one this program knows", head.version));
    }
    json::from_slice(bytes).map_err(|error| error.to_string())
}
