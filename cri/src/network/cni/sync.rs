//! One wait for the disk for all who ask at the same time.
//!
//! The first who asks syncs; who asks meanwhile waits for the next round, which is for all of them together: their files, then
//! the directory. File systems that keep a log commit the name of a new file along with the file: there one wait is enough.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use nix::sys::statfs::{BTRFS_SUPER_MAGIC, EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC, fstatfs};
use nix::unistd::{fdatasync, fsync};
use runtime::rooted::Shown;
use runtime::sys::{Call, CallError};

#[derive(Debug)]
pub(crate) struct GroupSync {
    dir: OwnedFd,
    queue: Mutex<Queue>,
    done: Condvar,
    /// Whether fsync(2) of a file brings its name to the disk, too.
    names_follow: bool,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Vec<Arc<Request>>,
    syncing: bool,
}

#[derive(Debug)]
struct Request {
    file: File,
    result: Mutex<Option<Result<(), CallError>>>,
}

impl GroupSync {
    /// For files of the directory `dir`.
    pub(crate) fn new(dir: OwnedFd) -> Self {
        // The change of the name and the file's other metadata are in one log, whose commits keep their order, and fsync(2) of the file
        // waits for the last of them (ext4_sync_file, xfs_file_fsync, btrfs_sync_file: a new name is logged with the inode).
        let kinds = [EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC, BTRFS_SUPER_MAGIC];
        let names_follow = fstatfs(&dir).is_ok_and(|found| kinds.contains(&found.filesystem_type()));
        Self { dir, queue: Mutex::default(), done: Condvar::new(), names_follow }
    }

    /// Waits until the bytes and the name of a file are on the disk.
    pub(crate) fn sync(&self, file: File) -> Result<(), CallError> {
        let request = Arc::new(Request { file, result: Mutex::default() });
        let mut queue = lock(&self.queue);
        queue.waiting.push(Arc::clone(&request));
        loop {
            if let Some(result) = lock(&request.result).take() {
                return result;
            }
            if queue.syncing {
                queue = self.done.wait(queue).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            queue.syncing = true;
            let batch = std::mem::take(&mut queue.waiting);
            drop(queue);
            self.round(&batch);
            queue = lock(&self.queue);
            queue.syncing = false;
            self.done.notify_all();
        }
    }

    fn round(&self, batch: &[Arc<Request>]) {
        let sync = |request: &Arc<Request>| match self.names_follow {
            // All of it: what fdatasync(2) waits for leaves out the name.
            true => fsync(&request.file).call(|| format!("fsync({})", Shown(&request.file))),
            false => fdatasync(&request.file).call(|| format!("fdatasync({})", Shown(&request.file))),
        };
        let files: Vec<Result<(), CallError>> = batch.iter().map(sync).collect();
        let names = match self.names_follow {
            true => Ok(()),
            false => fsync(&self.dir).call(|| format!("fsync({})", Shown(&self.dir))),
        };
        for (request, file) in batch.iter().zip(files) {
            *lock(&request.result) = Some(file.and_then(|()| names.clone()));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn everyone_gets_an_answer() {
        let folder = tempfile::tempdir().unwrap();
        let sync = GroupSync::new(File::open(folder.path()).unwrap().into());
        std::thread::scope(|scope| {
            for number in 0..32 {
                let (sync, folder) = (&sync, folder.path());
                scope.spawn(move || {
                    let file = File::options().create_new(true).write(true).open(folder.join(format!("{number}")));
                    sync.sync(file.unwrap()).unwrap();
                });
            }
        });
        assert_eq!(folder.path().metadata().unwrap().nlink(), 2);
        assert!(lock(&sync.queue).waiting.is_empty());
    }

    #[test]
    fn an_error_goes_to_its_own_file() {
        let folder = tempfile::tempdir().unwrap();
        let sync = GroupSync::new(File::open(folder.path()).unwrap().into());
        let (_reader, pipe) = nix::unistd::pipe().unwrap();
        let error = sync.sync(File::from(pipe)).unwrap_err().to_string();
        assert!(error.contains("sync(") && error.contains("EINVAL"), "{error}");
        sync.sync(File::options().create_new(true).write(true).open(folder.path().join("a")).unwrap()).unwrap();
    }
}
