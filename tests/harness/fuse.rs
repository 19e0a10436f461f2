//! A file system in user space that answers until it is told not to, and then never again: what a dead network disk is to its users. They wait
//! in the kernel, and no signal ends them.
//!
//! It is an empty directory in which every name that ends in `.log` is a file that takes what is written and keeps none of it. Source:
//! linux/fuse.h, protocol 7.31.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use rustix::fs::{Mode, OFlags, open};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

/// A mounted one; dropped, it is gone.
#[derive(Debug)]
pub struct Fuse {
    /// Where it is mounted.
    pub dir: PathBuf,
    mute: Arc<AtomicBool>,
    unanswered: Receiver<()>,
    server: Option<JoinHandle<()>>,
    /// Something that uses the mount.
    user: Option<OwnedFd>,
}

impl Fuse {
    /// Mounts one. `None`: there is no FUSE here.
    #[must_use]
    pub fn mount(dir: &Path) -> Option<Fuse> {
        let device = OpenOptions::new().read(true).write(true).open("/dev/fuse").ok()?;
        std::fs::create_dir(dir).unwrap();
        let options = format!("fd={},rootmode=40000,user_id=0,group_id=0,allow_other", device.as_raw_fd());
        let options = std::ffi::CString::new(options).unwrap();
        mount("rt-test", dir, "fuse", MountFlags::NODEV | MountFlags::NOSUID, options.as_c_str()).unwrap();
        let user = open(dir, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
        let mute = Arc::new(AtomicBool::new(false));
        let (asked, unanswered) = channel();
        let (ready, begun) = channel();
        let server = std::thread::spawn({
            let mute = Arc::clone(&mute);
            move || serve(device, &mute, &ready, &asked)
        });
        // Before its first answer nobody waits for it in the way that is meant.
        begun.recv().unwrap();
        Some(Fuse { dir: dir.to_owned(), mute, unanswered, server: Some(server), user: Some(user) })
    }

    /// From now on it answers nothing.
    pub fn hang(&self) {
        self.mute.store(true, Ordering::SeqCst);
    }

    /// Waits until somebody waits for it in vain.
    pub fn asked(&self) {
        self.unanswered.recv().unwrap();
    }

    /// Ends it: whoever waits for it is told that there is no connection. It stays mounted.
    pub fn abort(&mut self) {
        // Forced, it is ended before the kernel sees that it is in use.
        unmount(&self.dir, UnmountFlags::FORCE).unwrap_err();
        if let Some(server) = self.server.take() {
            server.join().unwrap();
        }
    }
}

impl Drop for Fuse {
    fn drop(&mut self) {
        self.abort();
        self.user = None;
        unmount(&self.dir, UnmountFlags::DETACH).unwrap();
    }
}

const ROOT: u64 = 1;
const LOG: u64 = 2;

/// Answers requests until the file system is ended.
fn serve(mut device: File, mute: &AtomicBool, ready: &Sender<()>, asked: &Sender<()>) {
    let mut request = vec![0; 1 << 20];
    while let Ok(size) = device.read(&mut request) {
        let request = &request[..size];
        let word = |at: usize| u32::from_le_bytes(request[at..at + 4].try_into().unwrap());
        let long = |at: usize| u64::from_le_bytes(request[at..at + 8].try_into().unwrap());
        let (opcode, unique, node) = (word(4), long(8), long(16));
        let wanted = !matches!(opcode, FORGET | BATCH_FORGET | INTERRUPT);
        if mute.load(Ordering::SeqCst) {
            // After the end nobody listens.
            let _ = wanted.then(|| asked.send(()));
            continue;
        }
        let answer = match opcode {
            LOOKUP if request[40..].ends_with(b".log\0") => Ok(entry()),
            LOOKUP => Err(nix::libc::ENOENT),
            _ if !wanted => continue,
            GETATTR | SETATTR => Ok([&[0; 16][..], &attributes(node)].concat()),
            OPEN | OPENDIR => Ok(vec![0; 16]),
            WRITE => Ok([&word(40 + 16).to_le_bytes()[..], &[0; 4]].concat()),
            STATFS => Ok(vec![0; 80]),
            READ | READDIR | RELEASE | RELEASEDIR | FLUSH | FSYNC | DESTROY => Ok(Vec::new()),
            INIT => Ok(init()),
            _ => Err(nix::libc::ENOSYS),
        };
        let (error, body) = match answer {
            Ok(body) => (0, body),
            Err(error) => (-error, Vec::new()),
        };
        let length = u32::try_from(16 + body.len()).unwrap();
        let head = [&length.to_le_bytes()[..], &error.to_le_bytes(), &unique.to_le_bytes()].concat();
        // Whoever asked may have been killed: then nobody wants the answer.
        let _ = device.write(&[head, body].concat());
        if opcode == INIT {
            ready.send(()).unwrap();
        }
    }
}

const LOOKUP: u32 = 1;
const FORGET: u32 = 2;
const GETATTR: u32 = 3;
const SETATTR: u32 = 4;
const OPEN: u32 = 14;
const READ: u32 = 15;
const WRITE: u32 = 16;
const STATFS: u32 = 17;
const RELEASE: u32 = 18;
const FSYNC: u32 = 20;
const FLUSH: u32 = 25;
const INIT: u32 = 26;
const OPENDIR: u32 = 27;
const READDIR: u32 = 28;
const RELEASEDIR: u32 = 29;
const INTERRUPT: u32 = 36;
const DESTROY: u32 = 38;
const BATCH_FORGET: u32 = 42;

/// struct `fuse_init_out`.
fn init() -> Vec<u8> {
    let mut out = Vec::new();
    for word in [7_u32, 31, 0, 0, 12 | 9 << 16, 128 << 10, 1, 0] {
        out.extend(word.to_le_bytes());
    }
    out.resize(64, 0);
    out
}

/// struct `fuse_entry_out`; nothing of it may be kept.
fn entry() -> Vec<u8> {
    let mut out = LOG.to_le_bytes().to_vec();
    out.resize(40, 0);
    out.extend(attributes(LOG));
    out
}

/// struct `fuse_attr`.
fn attributes(node: u64) -> Vec<u8> {
    let mut out = node.to_le_bytes().to_vec();
    out.resize(60, 0);
    let (mode, links) = if node == ROOT { (0o040_755_u32, 2_u32) } else { (0o100_644, 1) };
    out.extend(mode.to_le_bytes());
    out.extend(links.to_le_bytes());
    out.resize(88, 0);
    out
}
