//! The verbs, one file each.

mod create;
mod delete;
mod events;
mod exec;
mod features;
mod foreground;
mod kill;
mod list;
mod notify;
mod pause;
mod place;
mod ps;
mod resume;
mod run;
mod spec;
mod start;
mod state;
mod update;

use std::fmt::Write as _;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, open};
use nix::sys::stat::Mode;
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::Pid;
use runtime::cgroup::{self, Cgroup};
use runtime::hooks::Status;
use runtime::launch;
use runtime::root::magic_link;
use runtime::rootless;
use runtime::spec::{Namespace, NamespaceKind};
use runtime::state::{self as kept, Access, ContainerId, Init, Record, StateDir};
use runtime::sys::mount::{Attributes, Depth, attr, open_tree_attr};
use runtime::sys::process::{Argv, CloseRange, close_range, execveat, is_inherited};
use runtime::sys::{Call, CallError, own_program};

use crate::args::{Flag, GLOBAL, Parsed};
use crate::log::Log;

use place::Driver;

/// Version of the OCI runtime specification that is implemented.
pub(crate) const SPEC_VERSION: &str = "1.3.0";

/// A verb of the command line.
pub(crate) struct Verb {
    /// Its name.
    pub(crate) name: &'static str,
    /// Name and arguments.
    pub(crate) usage: &'static str,
    /// What it does, in a line.
    pub(crate) summary: &'static str,
    /// Its options.
    pub(crate) flags: &'static [Flag],
    /// Fewest positionals.
    pub(crate) least: usize,
    /// Most positionals.
    pub(crate) most: usize,
    /// Whether everything after the first positional belongs to another program.
    pub(crate) passes_arguments: bool,
    /// Whether a process of this program gets into a container.
    pub(crate) enters_containers: bool,
    /// Whether sockets of systemd's are handed on to the container's program.
    pub(crate) activation: bool,
    /// Carries it out.
    pub(crate) run: fn(&Context<'_>, &Parsed) -> Result<u8, Failure>,
}

const VERBS: &[&Verb] = &[
    &create::VERB,
    &start::VERB,
    &run::VERB,
    &exec::VERB,
    &state::VERB,
    &kill::VERB,
    &delete::VERB,
    &list::VERB,
    &ps::VERB,
    &pause::VERB,
    &resume::VERB,
    &update::VERB,
    &events::VERB,
    &spec::VERB,
    &features::VERB,
];

/// The verb of a name.
pub(crate) fn find(name: &str) -> Option<&'static Verb> {
    VERBS.iter().copied().find(|verb| verb.name == name)
}

/// What a verb ends with when it does not succeed.
#[derive(Debug)]
pub(crate) struct Failure {
    /// Exit code.
    pub(crate) code: u8,
    /// What to say.
    pub(crate) message: String,
}

impl Failure {
    /// A failure with the ordinary exit code.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { code: 1, message: message.into() }
    }
}

macro_rules! failures {
    ($($error:ty),*) => { $(impl From<$error> for Failure {
        fn from(error: $error) -> Self {
            Self::new(error.to_string())
        }
    })* };
}
failures!(
    CallError,
    kept::Error,
    cgroup::Error,
    runtime::spec::LoadError,
    runtime::hooks::Error,
    runtime::systemd::Error,
    runtime::plan::PlanError,
    String
);

/// docker's exit codes for a program that is missing or cannot be executed.
impl From<launch::Error> for Failure {
    fn from(error: launch::Error) -> Self {
        let code = match error.kind() {
            launch::Kind::CommandNotFound => 127,
            launch::Kind::CommandNotExecutable => 126,
            launch::Kind::Invalid | launch::Kind::Other => 1,
        };
        Self { code, message: error.to_string() }
    }
}

/// What the global options say.
pub(crate) struct Context<'a> {
    /// Directory of the containers' directories.
    pub(crate) root: PathBuf,
    /// Where messages go.
    pub(crate) log: &'a Log,
    /// What makes cgroups.
    pub(crate) driver: Driver,
    /// Whether a container may do without a cgroup that must not be made.
    pub(crate) rootless: bool,
}

impl<'a> Context<'a> {
    pub(crate) fn new(global: &Parsed, log: &'a Log) -> Result<Self, Failure> {
        let hosts_root = rootless::is_hosts_root();
        let rootless = match global.value("rootless") {
            None | Some("auto") => !hosts_root,
            Some("true") => true,
            Some("false") => false,
            Some(other) => return Err(Failure::new(format!("--rootless: {other:?} is none of auto, true, false"))),
        };
        let driver = if global.is_set("systemd-cgroup") { Driver::Systemd } else { Driver::FileSystem };
        let root = match (global.value("root"), std::env::var_os("XDG_RUNTIME_DIR")) {
            (Some(root), _) => PathBuf::from(root),
            (None, Some(directory)) if !hosts_root => Path::new(&directory).join("rt-runtime"),
            (None, _) => PathBuf::from("/run/rt-runtime"),
        };
        Ok(Self { root, log, driver, rootless })
    }

    /// The container that the first positional names.
    pub(crate) fn open(&self, parsed: &Parsed, access: Access) -> Result<Container, Failure> {
        self.container(&parsed.positionals[0].parse()?, access)
    }

    /// The container of an id.
    pub(crate) fn container(&self, id: &ContainerId, access: Access) -> Result<Container, Failure> {
        self.examine(StateDir::open(&self.root, id, access)?)
    }

    /// What the container of a directory is doing.
    pub(crate) fn examine(&self, directory: StateDir) -> Result<Container, Failure> {
        let record = directory.read()?;
        let (status, init) = kept::status(&directory, record.as_ref())?;
        let cgroup = match record.as_ref().filter(|record| !record.cgroup.is_empty()) {
            Some(record) => Cgroup::open(&cgroup::Host::detect()?, &cgroup::Path::from_str(&record.cgroup)?)?,
            None => None,
        };
        let frozen = match (&cgroup, status) {
            (Some(cgroup), Status::Created | Status::Running) => cgroup.frozen()?,
            _ => false,
        };
        Ok(Container { directory, record, status, frozen, init, cgroup })
    }
}

/// A container and what it is doing.
pub(crate) struct Container {
    pub(crate) directory: StateDir,
    pub(crate) record: Option<Record>,
    pub(crate) status: Status,
    pub(crate) frozen: bool,
    pub(crate) init: Option<Init>,
    pub(crate) cgroup: Option<Cgroup>,
}

impl Container {
    /// Status in the words of the specification, with runc's addition for a frozen one.
    pub(crate) fn status_word(&self) -> &'static str {
        match self.status {
            Status::Creating => "creating",
            Status::Created | Status::Running if self.frozen => "paused",
            Status::Created => "created",
            Status::Running => "running",
            Status::Stopped => "stopped",
        }
    }

    /// The record and init of a container that has processes.
    pub(crate) fn alive(&self, what: &str) -> Result<(&Record, &Init), Failure> {
        match (&self.record, &self.init) {
            (Some(record), Some(init)) => Ok((record, init)),
            // Callers look for these words.
            _ => Err(Failure::new(format!(
                "container not running: {} is {}; {what}",
                self.directory.id(),
                self.status_word()
            ))),
        }
    }

    /// The cgroup of a container that has one.
    pub(crate) fn cgroup(&self, what: &str) -> Result<&Cgroup, Failure> {
        let missing = || Failure::new(format!("container {} has no cgroup; {what}", self.directory.id()));
        self.cgroup.as_ref().ok_or_else(missing)
    }

    /// Whether what is in its group is somebody else's. With the init of a pid namespace all of it has ended: what is in the group of a
    /// container that had one of its own and whose init is gone came later, to a container that was given the same path.
    pub(crate) fn cgroup_is_anothers(&self) -> Result<bool, Failure> {
        let (Some(record), Some(cgroup), None) = (&self.record, &self.cgroup, &self.init) else { return Ok(false) };
        let Some((pid, start)) = record.init.filter(|_| owns_pids(record)) else { return Ok(false) };
        // One whose first thread has ended lives on in the others.
        let lives_on = kept::process_stat(Pid::from_raw(pid)).is_some_and(|stat| stat.start_time == start);
        Ok(!lives_on && !cgroup.processes()?.is_empty())
    }
}

/// Whether a container has a pid namespace of its own, which ends with its init. In one that it shares the others would live on.
pub(crate) fn owns_pids(record: &Record) -> bool {
    let own = |namespace: &Namespace| {
        namespace.kind == NamespaceKind::Pid && namespace.path.as_deref().is_none_or(str::is_empty)
    };
    record.spec.linux.as_ref().is_some_and(|linux| linux.namespaces.iter().any(own))
}

/// Has this process run from a read-only mount of its own file, unless it already does: a container that gets hold of the program by
/// /proc/PID/exe of a process that enters it cannot write to it (CVE-2019-5736). The mount is attached nowhere and goes with the process.
/// Where the kernel does not let the file be exchanged under a process, the program is executed once more.
pub(crate) fn protect_own_program(preserved: u32) -> Result<(), Failure> {
    close_range(3 + preserved, CloseRange::OnExec)
        .call(|| format!("close_range({}, CLOSE_RANGE_CLOEXEC)", 3 + preserved))?;
    nix::sys::prctl::set_dumpable(false).call(|| "prctl(PR_SET_DUMPABLE, 0)".to_owned())?;
    let readonly = Attributes { set: attr::RDONLY, ..Attributes::default() };
    let copy = match open_tree_attr(AT_FDCWD, c"/proc/self/exe", Depth::Single, readonly) {
        // An ordinary user makes no mounts, but copies, which nobody can mount.
        Err(Errno::EPERM | Errno::EINVAL) if is_read_only()? || rootless::is_sealed()? => return Ok(()),
        Err(Errno::EPERM) => rootless::sealed_copy()?,
        copy => {
            let copy = copy.call(|| "open_tree_attr(\"/proc/self/exe\", OPEN_TREE_CLONE, RDONLY)".to_owned())?;
            if exchanged(&copy) || is_read_only()? {
                return Ok(());
            }
            copy
        }
    };
    execute_again(&copy)
}

/// Whether this program's file is on a read-only mount: one of those above, when it was executed once more.
fn is_read_only() -> Result<bool, Failure> {
    let found = statvfs("/proc/self/exe").call(|| "statfs(\"/proc/self/exe\")".to_owned())?;
    Ok(found.flags().contains(FsFlags::ST_RDONLY))
}

/// Whether this process runs from the mount now.
fn exchanged(mount: &OwnedFd) -> bool {
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    let file = open(magic_link(mount).as_str(), flags, Mode::empty());
    file.and_then(own_program::run_from).is_ok()
}

fn execute_again(copy: &OwnedFd) -> Result<(), Failure> {
    let args = Argv::new(std::env::args_os().map(std::os::unix::ffi::OsStringExt::into_vec));
    let env = Argv::new(std::env::vars_os().map(|(name, value)| {
        use std::os::unix::ffi::OsStrExt;
        [name.as_bytes(), b"=", value.as_bytes()].concat()
    }));
    let (Some(args), Some(env)) = (args, env) else { return Err(Failure::new("an argument has a NUL byte")) };
    let errno = execveat(copy, &args, &env);
    Err(Failure::new(format!("execveat(<own program>): {errno}")))
}

/// How many descriptors from 3 on belong to the container's program (`--preserve-fds`), those of socket activation included
/// where the verb takes them.
pub(crate) fn preserved_fds(parsed: &Parsed, activation: bool) -> Result<u32, Failure> {
    let count: u32 = parsed.parsed("preserve-fds", "a number of descriptors")?.unwrap_or(0);
    if count > 1 << 20 {
        return Err(Failure::new(format!("--preserve-fds: {count} is more than there can be")));
    }
    Ok(count + if activation { listen_fds()? } else { 0 })
}

/// Refuses for a descriptor that the container's program is to have and the caller has not given.
pub(crate) fn check_preserved(count: u32) -> Result<(), Failure> {
    let missing = (3..3 + count).find(|number| !is_inherited(number.cast_signed()));
    missing.map_or(Ok(()), |number| {
        Err(Failure::new(format!("--preserve-fds: descriptor {number} (of 3 to {}) is not open", 2 + count)))
    })
}

/// How many descriptors from 3 on are sockets of systemd's for this very process, sd_listen_fds(3).
pub(crate) fn listen_fds() -> Result<u32, Failure> {
    let own = |pid: String| pid.parse() == Ok(std::process::id());
    let Ok(text) = std::env::var("LISTEN_FDS") else { return Ok(0) };
    if !std::env::var("LISTEN_PID").is_ok_and(own) {
        return Ok(0);
    }
    let count = text.parse().ok().filter(|count: &u32| *count <= 1 << 16);
    count.ok_or_else(|| Failure::new(format!("LISTEN_FDS: {text:?} is no number of descriptors")))
}

/// Writes a process id where a caller waits for it: temp + rename, so that it is never seen in part. What is planted under the
/// temporary name is replaced, never written through.
pub(crate) fn write_pid_file(path: &Path, pid: i32) -> Result<(), CallError> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    match std::fs::remove_file(&temporary) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).call(|| format!("--pid-file: unlink({temporary:?})"));
        }
        Ok(()) | Err(_) => {}
    }
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(&temporary)
        .call(|| format!("--pid-file: open({temporary:?}, O_CREAT|O_EXCL)"))?;
    let written = file.write_all(pid.to_string().as_bytes()).call(|| format!("--pid-file: write({temporary:?})"));
    let renamed = || std::fs::rename(&temporary, path).call(|| format!("--pid-file: rename({temporary:?}, {path:?})"));
    written.and_then(|()| renamed()).inspect_err(|_| {
        // What went wrong first is what counts.
        let _ = std::fs::remove_file(&temporary);
    })
}

/// Help for the whole program.
pub(crate) fn help() -> String {
    let mut text =
        "rt-runtime: creates and runs containers from OCI bundles\n\nusage: rt-runtime [options] COMMAND\n\n"
            .to_owned();
    text += "commands:\n";
    for verb in VERBS {
        let _ = writeln!(text, "  {:<10}{}", verb.name, verb.summary);
    }
    text += "\noptions:\n";
    flags_help(&mut text, GLOBAL);
    text += "\nexample:\n  mkdir -p bundle/rootfs && cd bundle && rt-runtime spec && rt-runtime run c1\n";
    text
}

impl Verb {
    /// Help for one verb.
    pub(crate) fn help(&self) -> String {
        let mut text = format!("{}\n\nusage: rt-runtime {}\n", self.summary, self.usage);
        if !self.flags.is_empty() {
            text += "\noptions:\n";
            flags_help(&mut text, self.flags);
        }
        text
    }
}

fn flags_help(text: &mut String, flags: &[Flag]) {
    for flag in flags {
        let short = flag.short.map_or_else(|| "    ".to_owned(), |short| format!("-{short}, "));
        let value = flag.value.map(|value| format!(" {value}")).unwrap_or_default();
        let _ = writeln!(text, "  {short}--{:<24}{}", format!("{}{value}", flag.name), flag.help);
    }
}
