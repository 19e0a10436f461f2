//! One test: its own mount and network namespace, folder and cgroup, a watchdog, and the leak oracle.

use std::ffi::CStr;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::process::{WaitId, WaitIdOptions, WaitOptions, waitid, waitpid};
use serde_json::Value;

use crate::bundle::{self, Bundle};
use crate::cgroup::Cgroups;
use crate::container::Container;
use crate::leak::Snapshot;
use crate::output::Output;
use crate::programs::{kind, program};
use crate::{Kind, leak, network};

/// What a test works with. Everything made through it has [`Test::marker`] in its name.
#[derive(Debug)]
pub struct Test {
    name: String,
    marker: String,
    /// The test's folder, removed at its end. The path is short: sockets are made below it.
    pub dir: PathBuf,
    /// The cgroup mounts.
    pub cgroups: Cgroups,
    next: AtomicU32,
}

/// Tests run one at a time: what is left behind belongs to the one that ran.
static ONE: Mutex<()> = Mutex::new(());

/// Runs the body of a test that needs root.
///
/// # Panics
/// When the body does, when it takes longer than `RT_TEST_TIMEOUT` seconds, and when it left anything behind.
pub fn test(body: impl FnOnce(&Test)) {
    let guard = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let name = thread::current().name().unwrap_or("main").to_owned();
    if !rustix::process::geteuid().is_root() {
        record_skip(&name, "needs root");
        return;
    }
    // Orphans of the programs under test become our children: nothing they start gets out of sight.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
    // A shared tree as systemd makes it, but our own: mounts that spread to it are seen by the oracle and by nobody else.
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE).unwrap();
    mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::SHARED).unwrap();
    // What a package put there is not the test's.
    let plugins = Path::new("/etc/cni/net.d");
    if plugins.is_dir() {
        mount("none", plugins, "tmpfs", MountFlags::empty(), None::<&CStr>).unwrap();
    }

    network::enter();

    let (marker, dir) = folder();
    let test = Test { name, marker, dir, cgroups: Cgroups::detect(), next: AtomicU32::new(0) };
    bundle::template(&test.dir.join("programs"));
    fs::create_dir(test.dir.join("root")).unwrap();

    let before = Snapshot::take(&test.marker, &test.dir);
    let watchdog = watch(test.name.clone());
    let result = catch_unwind(AssertUnwindSafe(|| body(&test)));
    drop(watchdog);
    let leaks = if result.is_ok() { test.leaks(&before) } else { Vec::new() };
    test.clean_up();
    drop(guard);
    match result {
        Err(panic) => resume_unwind(panic),
        Ok(()) => assert!(leaks.is_empty(), "the test passed, but:\n{}", leaks.join("\n")),
    }
}

/// A new marker and its folder. Process ids would not do: suites run side by side, some in a pid namespace of their own.
fn folder() -> (String, PathBuf) {
    loop {
        let mut number = [0; 4];
        rustix::rand::getrandom(&mut number, rustix::rand::GetRandomFlags::empty()).unwrap();
        let marker = format!("rtt{:08x}", u32::from_ne_bytes(number));
        let dir = PathBuf::from("/tmp").join(&marker);
        match fs::create_dir(&dir) {
            Ok(()) => return (marker, dir),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => panic!("mkdir {}: {error}", dir.display()),
        }
    }
}

impl Test {
    /// Part of every name that the test makes.
    pub fn marker(&self) -> &str {
        &self.marker
    }

    /// A new name.
    pub fn id(&self) -> String {
        format!("{}-{}", self.marker, self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// A new bundle that runs `true`.
    pub fn bundle(&self) -> Bundle {
        let id = self.id();
        Bundle::new(self.dir.join(&id), &self.dir.join("programs"), &format!("/{}/{id}", self.marker), &self.marker)
    }

    /// The runtime under test with its own state folder; nothing on standard input.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(program("rt-runtime"));
        command.arg("--root").arg(self.dir.join("root")).args(args);
        command.env("RT_TEST", &self.marker).stdin(Stdio::null());
        command
    }

    /// Runs the runtime under test to its end.
    pub fn runtime(&self, args: &[&str]) -> Output {
        let mut command = self.command(args);
        command.output().unwrap_or_else(|error| panic!("{command:?}: {error}")).into()
    }

    /// Runs a command whose standard output and error stay open in the process that it leaves behind.
    pub fn detached(&self, args: &[&str]) -> Output {
        let path = self.dir.join(format!("{}.out", self.id()));
        let file = fs::File::create_new(&path).unwrap();
        let mut command = self.command(args);
        let status = command.stdout(file.try_clone().unwrap()).stderr(file).status().unwrap();
        process::Output { status, stdout: Vec::new(), stderr: fs::read(&path).unwrap() }.into()
    }

    /// `run` in the foreground under a new id.
    pub fn run(&self, bundle: &Bundle) -> Output {
        bundle.write();
        self.runtime(&["run", "--bundle", bundle.dir.to_str().unwrap(), &self.id()])
    }

    /// [`Test::run`] of `payload facts`: what the kernel says about the container's process.
    #[track_caller]
    pub fn facts(&self, bundle: Bundle) -> Value {
        self.run(&bundle.args(&["/bin/payload", "facts"])).json()
    }

    /// `create` under a new id, standard output and error of the container on a pipe.
    ///
    /// # Panics
    /// When it is refused.
    #[track_caller]
    pub fn create<'t>(&'t self, bundle: &Bundle) -> Container<'t> {
        let id = self.id();
        Container::create(self, bundle, id, &[]).unwrap_or_else(|output| panic!("create: {output}"))
    }

    /// [`Test::create`] with more arguments; the output of a `create` that failed is the error.
    ///
    /// # Errors
    /// What the command said.
    pub fn try_create<'t>(&'t self, bundle: &Bundle, args: &[&str]) -> Result<Container<'t>, Output> {
        Container::create(self, bundle, self.id(), args)
    }

    /// [`Test::create`] and `start`, with `payload hold` as the program, which is waited for.
    #[track_caller]
    pub fn hold<'t>(&'t self, bundle: Bundle) -> Container<'t> {
        let mut container = self.create(&bundle.args(&["/bin/payload", "hold"]));
        container.start().ok();
        assert_eq!(container.line(), "ready");
        container
    }

    /// Records that the test, or the rest of it, cannot run here.
    pub fn skip(&self, reason: &str) {
        record_skip(&self.name, reason);
    }

    /// Waits for an orphan of a program under test (its parent is gone, so it is ours) and returns its exit code.
    #[track_caller]
    pub fn wait_pid(&self, pid: i32) -> i32 {
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        loop {
            match waitpid(Some(pid), WaitOptions::empty()) {
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => panic!("wait for {pid:?}: {error}"),
                Ok(result) => {
                    let (_, status) = result.unwrap();
                    return status.exit_status().unwrap_or_else(|| 128 + status.terminating_signal().unwrap());
                }
            }
        }
    }

    /// [`Test::wait_pid`], but waits for the other orphans that end before it as well.
    pub(crate) fn wait_for_all_until(&self, pid: i32) -> i32 {
        let wanted = rustix::process::Pid::from_raw(pid);
        loop {
            let (pid, status) = rustix::process::wait(WaitOptions::empty()).unwrap().unwrap();
            if Some(pid) == wanted {
                return status.exit_status().unwrap_or_else(|| 128 + status.terminating_signal().unwrap());
            }
        }
    }

    fn leaks(&self, before: &Snapshot) -> Vec<String> {
        reap_orphans();
        self.remove_cgroups();
        let mut leaks = before.compare(&Snapshot::take(&self.marker, &self.dir));
        if leaks.iter().any(|leak| leak.contains("process ")) {
            // A process that was killed needs a moment to be gone: waited for by an event, not by time, as it is our child.
            leaks = self.leaks_after_exits(before);
        }
        leaks.extend(state_left(&self.dir.join("root")));
        leaks
    }

    /// Waits up to a second for descendants to end.
    fn leaks_after_exits(&self, before: &Snapshot) -> Vec<String> {
        let until = Instant::now() + Duration::from_secs(1);
        loop {
            reap_orphans();
            self.remove_cgroups();
            let leaks = before.compare(&Snapshot::take(&self.marker, &self.dir));
            if Instant::now() > until || !leaks.iter().any(|leak| leak.contains("process ")) {
                return leaks;
            }
            thread::yield_now();
        }
    }

    /// The group that holds the test's containers is the test's own; those below it are the runtime's to remove.
    fn remove_cgroups(&self) {
        for group in self.cgroups.find(&self.marker) {
            if group.file_name().is_some_and(|name| name == self.marker.as_str()) {
                // Not empty: the oracle tells.
                let _ = fs::remove_dir(&group);
            }
        }
    }

    /// Kills and removes what a failed test left, as far as possible.
    fn clean_up(&self) {
        kill_descendants();
        for group in self.cgroups.find(&self.marker) {
            let _ = fs::remove_dir(&group);
        }
        let text = fs::read_to_string("/proc/thread-self/mountinfo").unwrap_or_default();
        for at in text
            .lines()
            .rev()
            .filter_map(|line| line.split(' ').nth(4))
            .filter(|at| Path::new(at).starts_with(&self.dir))
        {
            let _ = rustix::mount::unmount(at, rustix::mount::UnmountFlags::DETACH);
        }
        fs::remove_dir_all(&self.dir).unwrap();
    }
}

/// Files below a state folder: a runtime that has deleted its containers keeps none there. Empty folders and caches shared by all containers may stay.
fn state_left(root: &Path) -> Vec<String> {
    let shared = |path: &Path| kind() == Kind::Crun && path.ends_with(".cache");
    let entries = fs::read_dir(root).unwrap().flatten().map(|entry| entry.path());
    entries.filter(|path| !shared(path)).map(|path| format!("left behind: state {}", path.display())).collect()
}

fn reap_orphans() {
    while let Ok(Some(_)) = waitid(WaitId::All, WaitIdOptions::EXITED | WaitIdOptions::NOHANG) {}
}

fn kill_descendants() {
    for _ in 0..10 {
        let pids = leak::descendants();
        if pids.is_empty() {
            return;
        }
        for pid in pids {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        reap_orphans();
        thread::yield_now();
    }
}

/// Kills what the test started when it takes too long; waits then end and the test fails. Dropping the sender calls the watchdog off.
fn watch(name: String) -> Sender<()> {
    let seconds = std::env::var("RT_TEST_TIMEOUT").ok().and_then(|text| text.parse().ok()).unwrap_or(60);
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut late = 0;
        while receiver.recv_timeout(Duration::from_secs(seconds)) == Err(RecvTimeoutError::Timeout) {
            late += 1;
            eprintln!(
                "{name}: still running after {} s; processes:\n{}",
                seconds * late,
                leak::describe_descendants().join("\n")
            );
            kill_descendants();
            if late > 2 {
                eprintln!("{name}: stuck");
                std::process::abort();
            }
        }
    });
    sender
}

fn record_skip(name: &str, reason: &str) {
    println!("skipped: {reason}");
    if let Some(path) = std::env::var_os("RT_TEST_SKIPS") {
        let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
        writeln!(file, "{name}: {reason}").unwrap();
    }
}

/// Whether the file system of a folder can map ids on this kernel: hostfs cannot, tmpfs since KERNEL(6.3).
pub fn maps_ids(folder: &Path) -> bool {
    const HOSTFS: i64 = 0x00c0_ffee;
    const TMPFS: i64 = 0x0102_1994;
    let kind = rustix::fs::statfs(folder).unwrap().f_type;
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(['.', '-']).map(|number| number.parse().unwrap_or(0));
    let kernel: (u32, u32) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    kind != HOSTFS && (kind != TMPFS || kernel >= (6, 3))
}
