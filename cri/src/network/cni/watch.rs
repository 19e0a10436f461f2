//! Telling that the configurations may have changed.
//!
//! ```text
//!  /  ·  /etc  ·  /etc/cni       is the next part of the path made, renamed or removed? then all is watched anew
//!  /etc/cni/net.d                is a file written, renamed, linked, removed?
//!  /etc/cni/net.d/<folder>       the same, for plugins of a network
//! ```
//!
//! The directory may be missing, and may be removed and made again.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};
use runtime::sys::{Call, CallError};

/// Most folders of networks that are watched.
const FOLDERS: usize = 64;

/// Watches a directory of configurations. It is readable (poll(2), as a descriptor) when something has happened.
#[derive(Debug)]
pub struct Watcher {
    inotify: Inotify,
    dir: PathBuf,
    watches: HashMap<WatchDescriptor, Watch>,
}

#[derive(Debug)]
struct Watch {
    path: PathBuf,
    role: Role,
}

#[derive(Debug)]
enum Role {
    /// On the way to the directory; the name is its next part.
    Way(OsString),
    /// The directory: a folder in it is one to watch, too.
    Directory,
    /// A folder of a network.
    Folder,
}

impl Watcher {
    /// Watches `dir` from now on: read it after this.
    ///
    /// # Errors
    /// EMFILE, ENOSPC: limits of inotify(7), `fs.inotify.max_user_instances` and `max_user_watches`.
    pub fn new(dir: &Path) -> Result<Self, CallError> {
        let inotify =
            Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC).call(|| "inotify_init1()".into())?;
        let mut watcher = Self { inotify, dir: dir.to_owned(), watches: HashMap::new() };
        watcher.arm()?;
        Ok(watcher)
    }

    /// Whether the configurations may have changed since the last call. Does not wait.
    ///
    /// # Errors
    /// The kernel's answer.
    pub fn changed(&mut self) -> Result<bool, CallError> {
        let (mut changed, mut arm) = (false, false);
        loop {
            let events = match self.inotify.read_events() {
                Ok(events) => events,
                Err(Errno::EAGAIN) => break,
                Err(Errno::EINTR) => continue,
                Err(errno) => return Err(errno).call(|| "read(<inotify>)".into()),
            };
            for event in events {
                let (relevant, moved) = self.judge(&event);
                changed |= relevant;
                arm |= moved;
            }
        }
        if arm {
            self.arm()?;
        }
        Ok(changed)
    }

    /// Waits until the configurations may have changed, at most for `timeout`; whether they may have.
    ///
    /// # Errors
    /// The kernel's answer.
    pub fn wait(&mut self, timeout: Duration) -> Result<bool, CallError> {
        let deadline = Instant::now() + timeout;
        loop {
            if self.changed()? {
                return Ok(true);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            let left = PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
            match poll(&mut [PollFd::new(self.inotify.as_fd(), PollFlags::POLLIN)], left) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno).call(|| "poll(<inotify>)".into()),
            }
        }
    }

    /// Whether an event is about configurations, and whether something else is to be watched from now on.
    fn judge(&self, event: &InotifyEvent) -> (bool, bool) {
        if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
            return (true, true);
        }
        let Some(watch) = self.watches.get(&event.wd) else { return (false, false) };
        let name = event.name.as_deref();
        match &watch.role {
            Role::Way(next) => {
                let ours = name.is_none_or(|name| name == next);
                (ours, ours)
            }
            Role::Directory | Role::Folder if name.is_none() => (true, true),
            Role::Directory | Role::Folder => {
                let folder = event.mask.contains(AddWatchFlags::IN_ISDIR);
                let whole = !event.mask.contains(AddWatchFlags::IN_CREATE) || is_whole(&watch.path, name);
                (whole, folder && matches!(watch.role, Role::Directory))
            }
        }
    }

    /// Watches what there is to watch now.
    fn arm(&mut self) -> Result<(), CallError> {
        for (watch, _) in self.watches.drain() {
            // EINVAL: it went with its directory.
            let _ = self.inotify.rm_watch(watch);
        }
        let changes = AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_MOVED_FROM
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE_SELF;
        let dir = self.dir.clone();
        let mut ancestors: Vec<&Path> = dir.ancestors().collect();
        ancestors.reverse();
        for pair in ancestors.windows(2) {
            let next = pair[1].file_name().unwrap_or_default().to_owned();
            if !self.watch(pair[0], changes, Role::Way(next))? {
                return Ok(());
            }
        }
        let writes = changes | AddWatchFlags::IN_CLOSE_WRITE | AddWatchFlags::IN_ATTRIB;
        if !self.watch(&dir, writes, Role::Directory)? {
            return Ok(());
        }
        let Ok(entries) = std::fs::read_dir(&dir) else { return Ok(()) };
        let folders = entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir());
        for folder in folders.take(FOLDERS) {
            self.watch(&folder, writes, Role::Folder)?;
        }
        Ok(())
    }

    /// Watches a directory; false: there is none.
    fn watch(&mut self, path: &Path, mask: AddWatchFlags, role: Role) -> Result<bool, CallError> {
        match self.inotify.add_watch(path, mask | AddWatchFlags::IN_ONLYDIR) {
            Ok(watch) => {
                self.watches.insert(watch, Watch { path: path.to_owned(), role });
                Ok(true)
            }
            Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(false),
            Err(errno) => Err(errno).call(|| format!("inotify_add_watch({path:?})")),
        }
    }
}

/// Whether what was just made is complete: a link or a folder. A file is told about when its writer closes it.
fn is_whole(dir: &Path, name: Option<&OsStr>) -> bool {
    let metadata = name.and_then(|name| dir.join(name).symlink_metadata().ok());
    metadata.is_some_and(|metadata| !metadata.is_file() || metadata.nlink() > 1)
}

impl AsFd for Watcher {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn files() {
        let base = tempfile::tempdir().unwrap();
        let dir = base.path().join("net.d");
        fs::create_dir(&dir).unwrap();
        let mut watcher = Watcher::new(&dir).unwrap();
        assert!(!watcher.changed().unwrap());
        fs::write(dir.join("a.conf"), "{}").unwrap();
        assert!(watcher.wait(LONG).unwrap());
        assert!(!watcher.changed().unwrap());
        fs::rename(dir.join("a.conf"), dir.join("b.conf")).unwrap();
        assert!(watcher.changed().unwrap());
        symlink("b.conf", dir.join("c.conf")).unwrap();
        assert!(watcher.changed().unwrap());
        fs::hard_link(dir.join("b.conf"), dir.join("d.conf")).unwrap();
        assert!(watcher.changed().unwrap());
        fs::remove_file(dir.join("b.conf")).unwrap();
        assert!(watcher.changed().unwrap());
        fs::write(base.path().join("other"), "").unwrap();
        assert!(!watcher.changed().unwrap());
        assert!(!watcher.wait(Duration::from_millis(5)).unwrap());
    }

    #[test]
    fn a_file_counts_when_it_is_closed() {
        let dir = tempfile::tempdir().unwrap();
        let mut watcher = Watcher::new(dir.path()).unwrap();
        let file = fs::File::options().create_new(true).write(true).open(dir.path().join("a.conf")).unwrap();
        assert!(!watcher.changed().unwrap());
        drop(file);
        assert!(watcher.changed().unwrap());
    }

    #[test]
    fn the_directory_goes_and_comes() {
        let base = tempfile::tempdir().unwrap();
        let dir = base.path().join("etc/cni/net.d");
        let mut watcher = Watcher::new(&dir).unwrap();
        for round in 0..3 {
            fs::create_dir_all(&dir).unwrap();
            assert!(watcher.changed().unwrap(), "{round}");
            fs::write(dir.join("a.conf"), "{}").unwrap();
            assert!(watcher.changed().unwrap(), "{round}");
            match round {
                0 => fs::remove_dir_all(&dir).unwrap(),
                1 => fs::rename(base.path().join("etc"), base.path().join("old")).unwrap(),
                _ => fs::remove_dir_all(base.path().join("etc")).unwrap(),
            }
            assert!(watcher.changed().unwrap(), "{round}");
        }
        fs::write(base.path().join("old/cni/net.d/a.conf"), "[]").unwrap();
        assert!(!watcher.changed().unwrap());
    }

    #[test]
    fn a_directory_that_is_a_link() {
        let base = tempfile::tempdir().unwrap();
        for name in ["one", "two"] {
            fs::create_dir(base.path().join(name)).unwrap();
        }
        symlink("one", base.path().join("net.d")).unwrap();
        let mut watcher = Watcher::new(&base.path().join("net.d")).unwrap();
        symlink("two", base.path().join("new")).unwrap();
        assert!(!watcher.changed().unwrap());
        fs::rename(base.path().join("new"), base.path().join("net.d")).unwrap();
        assert!(watcher.changed().unwrap());
        fs::write(base.path().join("two/a.conf"), "{}").unwrap();
        assert!(watcher.changed().unwrap());
    }

    #[test]
    fn folders_of_networks() {
        let dir = tempfile::tempdir().unwrap();
        let mut watcher = Watcher::new(dir.path()).unwrap();
        fs::create_dir(dir.path().join("lab")).unwrap();
        assert!(watcher.changed().unwrap());
        fs::write(dir.path().join("lab/10.conf"), "{}").unwrap();
        assert!(watcher.changed().unwrap());
        fs::remove_file(dir.path().join("lab/10.conf")).unwrap();
        assert!(watcher.changed().unwrap());
    }
}
