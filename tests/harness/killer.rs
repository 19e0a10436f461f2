//! Kills a program between any two of its steps: all of its threads are stopped at their system calls, and before the Nth one that changes
//! something it ends by SIGKILL. What it starts is let go.
//!
//! A step is a call that makes, renames, removes or mounts something, writes a file, starts a process, or sends a message to a shim or the kernel.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// It watches a program.
#[derive(Debug)]
pub struct Killer {
    let_go: Arc<AtomicBool>,
    steps: Arc<AtomicU32>,
    tracer: JoinHandle<()>,
}

impl Killer {
    /// Watches all threads of `pid` from now on; it is killed before step `at` (the first is 1). Steps in files count below `dir`.
    #[must_use]
    pub fn watch(pid: i32, at: u32, dir: &Path) -> Killer {
        let (let_go, steps) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let (ready, watching) = channel();
        let (pid, dir) = (Pid::from_raw(pid), dir.to_owned());
        let tracer = Tracer { pid, at, dir, let_go: Arc::clone(&let_go), steps: Arc::clone(&steps) };
        // At its end the kernel lets go of whoever still lives.
        let tracer = std::thread::spawn(move || tracer.run(&ready));
        watching.recv().unwrap();
        Killer { let_go, steps, tracer }
    }

    /// Waits until it has ended, killed or not; how many steps it has made. Its exit code may be lost by that.
    #[must_use]
    pub fn ended(self) -> u32 {
        self.tracer.join().unwrap();
        self.steps.load(Ordering::SeqCst)
    }

    /// Lets it go; how many steps it has made. One that was not killed has to make some call, so that this is seen.
    pub async fn end(self, wake: impl Future<Output = ()>) -> u32 {
        self.let_go.store(true, Ordering::SeqCst);
        if !self.tracer.is_finished() {
            wake.await;
        }
        self.tracer.join().unwrap();
        self.steps.load(Ordering::SeqCst)
    }
}

/// Who watches: one thread, as ptrace(2) wants it.
struct Tracer {
    pid: Pid,
    at: u32,
    dir: PathBuf,
    let_go: Arc<AtomicBool>,
    steps: Arc<AtomicU32>,
}

impl Tracer {
    fn run(&self, ready: &Sender<()>) {
        // Whether a thread is in a system call.
        let mut inside = self.seize();
        ready.send(()).unwrap();
        // Of this thread's tracees only: what others start is for them to wait for.
        let flags = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
        while let Ok(status) = waitpid(None, Some(flags)) {
            let (thread, signal) = match status {
                WaitStatus::PtraceSyscall(thread) => {
                    let inside = inside.entry(thread).or_default();
                    *inside = !*inside;
                    if *inside && self.comes_to_the_end(thread) {
                        kill(self.pid, Signal::SIGKILL).unwrap();
                        return;
                    }
                    (thread, None)
                }
                WaitStatus::Stopped(thread, signal) => (thread, Some(signal)),
                WaitStatus::PtraceEvent(thread, ..) => (thread, None),
                _ => continue,
            };
            if self.let_go.load(Ordering::SeqCst) {
                return;
            }
            // It may have ended.
            let _ = ptrace::syscall(thread, signal);
        }
    }

    /// Stops all threads. Some may be made meanwhile; those of ones that are watched are, too.
    fn seize(&self) -> HashMap<Pid, bool> {
        let options = Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_TRACECLONE;
        let mut threads = HashMap::new();
        loop {
            let before = threads.len();
            for entry in fs::read_dir(format!("/proc/{}/task", self.pid)).unwrap() {
                let thread = Pid::from_raw(entry.unwrap().file_name().to_str().unwrap().parse().unwrap());
                if !threads.contains_key(&thread) && ptrace::seize(thread, options).is_ok() {
                    ptrace::interrupt(thread).unwrap();
                    threads.insert(thread, false);
                }
            }
            if threads.len() == before {
                return threads;
            }
        }
    }

    /// Whether a thread that is at the beginning of a system call is about to make the step before which all ends.
    fn comes_to_the_end(&self, thread: Pid) -> bool {
        is_step(self.pid, thread, &self.dir) && self.steps.fetch_add(1, Ordering::SeqCst) + 1 == self.at
    }
}

/// Whether a thread that is at the beginning of a system call is about to change something.
fn is_step(pid: Pid, thread: Pid, dir: &Path) -> bool {
    let Ok(text) = fs::read_to_string(format!("/proc/{pid}/task/{thread}/syscall")) else { return false };
    let mut words = text.split(' ');
    let number: i64 = words.next().and_then(|word| word.parse().ok()).unwrap_or(-1);
    let mut argument = |skip| {
        let word: Option<&str> = words.by_ref().nth(skip);
        word.and_then(|word| u64::from_str_radix(word.trim_start_matches("0x"), 16).ok()).unwrap_or_default()
    };
    match number {
        libc::SYS_mkdir
        | libc::SYS_mkdirat
        | libc::SYS_rmdir
        | libc::SYS_unlink
        | libc::SYS_unlinkat
        | libc::SYS_rename
        | libc::SYS_renameat
        | libc::SYS_renameat2
        | libc::SYS_symlink
        | libc::SYS_symlinkat
        | libc::SYS_link
        | libc::SYS_linkat
        | libc::SYS_chmod
        | libc::SYS_fchmod
        | libc::SYS_chown
        | libc::SYS_fchown
        | libc::SYS_ftruncate
        | libc::SYS_mount
        | libc::SYS_umount2
        | libc::SYS_move_mount
        | libc::SYS_setns
        | libc::SYS_fork
        | libc::SYS_vfork
        | libc::SYS_sendmsg
        | libc::SYS_openat2 => true,
        // Not those that make threads.
        libc::SYS_clone => argument(0) & CLONE_THREAD == 0,
        // Not for reading.
        libc::SYS_openat => argument(2) & CREATES != 0,
        libc::SYS_write | libc::SYS_pwrite64 | libc::SYS_writev => {
            let number = argument(0);
            fs::read_link(format!("/proc/{pid}/fd/{number}")).is_ok_and(|path| path.starts_with(dir))
        }
        _ => false,
    }
}

const CLONE_THREAD: u64 = 0x10000;
const CREATES: u64 = 0o100;
