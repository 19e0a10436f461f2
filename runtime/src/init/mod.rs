//! The child of clone3(2): a new process makes itself into the container's, one named step after the other.
//!
//! ```text
//!  create:  join ▸ [clocks] ▸ cgroup ▸ ids ▸ session ▸ [hooks, interfaces] ▸ loopback ▸ host name ▸ root ▸ mounts ▸ devices ▸ sysctls ▸ console ▸ [hooks]
//!           ▸ pivot ▸ masks ▸ working directory ▸ identity ▸ program ▸ created … start ▸ [hooks] ▸ [landlock] ▸ seccomp ▸ execve
//!  exec:    cgroup ▸ join ▸ session ▸ [terminal] ▸ working directory ▸ identity ▸ program ▸ [landlock] ▸ seccomp ▸ execve
//! ```
//!
//! It carries out a [`Plan`] and what the parent has opened for it; it reads no configuration. A step that fails is reported
//! as a [`Failure`] and ends the process.

mod clocks;
mod console;
mod copy_up;
mod devices;
mod identity;
mod landlock;
mod listener;
mod masks;
mod mounts;
mod program;
mod reaper;
mod sandbox;
mod scheduling;

pub(crate) use identity::Groups;
pub(crate) use masks::empty_directory;
pub(crate) use mounts::{is_link, set_recursive};
pub(crate) use sandbox::Sandbox;

use std::cell::Cell;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{chdir, chroot, fchdir, getcwd, pivot_root, setsid};

use crate::hooks;
use crate::launch::{Channel, Keyring, ProcessOne, RootChange, Sharing};
use crate::plan::{self, Plan};
use crate::root::{Links, Root};
use crate::seccomp;
use crate::spec::{self, NamespaceKind};
use crate::sys::mount::{Attributes, Depth, attr, mount_setattr, move_mount_to_root};
use crate::sys::process::{CloseRange, close_range, exit_now};
use crate::sys::{self, Call, CallError};

/// Exit code of a child that reported a failure; nobody looks at it.
const FAILED: i32 = 125;

macro_rules! steps {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// A step of the child, for errors.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Step { $($(#[$doc])* $name,)* }

        impl Step {
            const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Its name in errors.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

steps! {
    /// Joining existing namespaces.
    Join = "namespaces",
    /// Entering cgroups and making a cgroup namespace.
    Cgroup = "cgroup",
    /// Becoming root of a user namespace.
    UserNamespace = "user namespace",
    /// Making a time namespace.
    Clocks = "time namespace",
    /// A session and keyring of its own.
    Session = "session",
    /// Hooks.
    Hooks = "hooks",
    /// The loopback interface.
    Network = "network",
    /// Host and domain name.
    Hostname = "hostname",
    /// The root mount.
    Root = "rootfs",
    /// Mounts.
    Mounts = "mounts",
    /// Device nodes.
    Devices = "devices",
    /// Kernel parameters.
    Sysctl = "sysctl",
    /// Pseudo terminal and standard streams.
    Console = "console",
    /// Masked and read-only paths.
    Masks = "masked paths",
    /// Working directory.
    Cwd = "process.cwd",
    /// Limits, user, groups, capabilities.
    Identity = "process.user",
    /// Security labels.
    Label = "security label",
    /// Finding the program.
    Program = "exec",
    /// Waiting for the start.
    Start = "start",
    /// Rules of Landlock.
    Landlock = "landlock",
    /// The system call filter.
    Seccomp = "seccomp",
    /// execve(2).
    Exec = "exec",
}

impl Step {
    /// Its number on the wire.
    #[must_use]
    pub fn number(self) -> u8 {
        let index = Self::ALL.iter().position(|step| *step == self);
        u8::try_from(index.expect("every step is listed")).expect("there are few steps")
    }

    /// The step of a number; an unknown one cannot come, as parent and child are one program.
    #[must_use]
    pub fn from_number(number: u8) -> Self {
        Self::ALL.get(usize::from(number)).copied().unwrap_or(Self::Exec)
    }
}

/// Why a child could not go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The step.
    pub step: Step,
    /// The kernel's answer.
    pub errno: Errno,
    /// The object and the call.
    pub text: String,
}

/// Puts the step around an error.
pub(crate) trait At<T> {
    fn at(self, step: Step) -> Result<T, Failure>;
}

impl<T> At<T> for Result<T, CallError> {
    fn at(self, step: Step) -> Result<T, Failure> {
        self.map_err(|error| Failure { step, errno: error.errno, text: error.to_string() })
    }
}

/// Standard streams of the new process.
pub(crate) enum Streams {
    /// The parent's own.
    Inherit,
    /// These.
    Files([OwnedFd; 3]),
    /// A new pseudo terminal; the master goes to the parent or to a console socket.
    Terminal(Option<OwnedFd>),
}

impl Streams {
    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        match self {
            Self::Inherit => Vec::new(),
            Self::Files(files) => files.iter().map(AsFd::as_fd).collect(),
            Self::Terminal(socket) => socket.iter().map(AsFd::as_fd).collect(),
        }
    }

    fn into_descriptors(self) -> Vec<OwnedFd> {
        match self {
            Self::Inherit => Vec::new(),
            Self::Files(files) => files.into(),
            Self::Terminal(socket) => socket.into_iter().collect(),
        }
    }
}

/// How the child learns that it may run the program.
pub(crate) enum Wait {
    /// By the parent.
    Parent,
    /// By a connection to this socket.
    Listener(OwnedFd),
}

/// A container's init process: the plan, and what the parent opened for it.
pub(crate) struct Create<'a> {
    pub plan: &'a Plan,
    pub channel: Channel,
    /// Namespaces to join.
    pub join: Vec<(CloneFlags, OwnedFd)>,
    /// v1 `cgroup.procs` files.
    pub procs: Vec<OwnedFd>,
    /// Detached mount of the root file system.
    pub rootfs: Option<OwnedFd>,
    /// Detached mounts of the bind sources, by index of the plan's mounts.
    pub sources: Vec<Option<OwnedFd>>,
    /// Detached mounts of the container's cgroups, with the directory they go to below the mount's destination; a single one
    /// with an empty directory on a unified hierarchy.
    pub cgroups: Vec<(PathBuf, OwnedFd)>,
    /// Detached mount of the host's null device, for masks.
    pub null: Option<OwnedFd>,
    /// Detached mounts of host devices by index of the plan's devices, where nodes cannot be made.
    pub devices: Vec<Option<OwnedFd>>,
    pub streams: Streams,
    pub wait: Wait,
    pub die_with_parent: bool,
    pub process_one: ProcessOne,
    pub preserve_fds: u32,
    pub bounds: Bounds<'a>,
    /// Which of the namespaces to join a bridge has joined, a bit each.
    pub joined: Cell<u64>,
    pub sharing: Sharing,
    pub groups: Groups,
    pub hooks: Option<&'a spec::Hooks>,
    pub state: hooks::State<'a>,
}

/// One more process of a container.
pub(crate) struct Exec<'a> {
    pub process: &'a plan::Process,
    pub personality: Option<u64>,
    pub channel: Channel,
    /// pidfd of the container's init, and the namespaces to take over from it.
    pub target: (OwnedFd, CloneFlags),
    /// v1 `cgroup.procs` files.
    pub procs: Vec<OwnedFd>,
    /// Whether a bridge enters the container.
    pub bridged: bool,
    pub streams: Streams,
    pub preserve_fds: u32,
    pub keyring: Keyring,
    pub memory_policy: Option<plan::MemoryPolicy>,
    /// The container's root directory, where its mount namespace does not say.
    pub root: Option<OwnedFd>,
    pub groups: Groups,
    pub bounds: Bounds<'a>,
}

/// What the program is kept within, and all it starts.
#[derive(Clone, Copy)]
pub(crate) struct Bounds<'a> {
    pub filter: Option<&'a seccomp::Program>,
    pub landlock: Option<&'a plan::Landlock>,
}

impl Create<'_> {
    /// All that the parent opened for the child.
    pub(crate) fn into_descriptors(self) -> Vec<OwnedFd> {
        let mut all = vec![OwnedFd::from(self.channel)];
        all.extend(self.rootfs);
        all.extend(self.join.into_iter().map(|(_, namespace)| namespace));
        all.extend(self.procs);
        all.extend(self.sources.into_iter().flatten());
        all.extend(self.cgroups.into_iter().map(|(_, group)| group));
        all.extend(self.null);
        all.extend(self.devices.into_iter().flatten());
        all.extend(self.streams.into_descriptors());
        match self.wait {
            Wait::Parent => {}
            Wait::Listener(listener) => all.push(listener),
        }
        all
    }

    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let mut all = vec![self.channel.as_fd()];
        all.extend(self.rootfs.as_ref().map(AsFd::as_fd));
        all.extend(self.join.iter().map(|(_, namespace)| namespace.as_fd()));
        all.extend(self.procs.iter().map(AsFd::as_fd));
        all.extend(self.sources.iter().flatten().map(AsFd::as_fd));
        all.extend(self.cgroups.iter().map(|(_, group)| group.as_fd()));
        all.extend(self.null.as_ref().map(AsFd::as_fd));
        all.extend(self.devices.iter().flatten().map(AsFd::as_fd));
        all.extend(self.streams.descriptors());
        match &self.wait {
            Wait::Parent => {}
            Wait::Listener(listener) => all.push(listener.as_fd()),
        }
        all
    }

    /// Becomes the container's init process.
    pub(crate) fn run(mut self) -> ! {
        let Err(failure) = self.steps();
        self.channel.failed(&failure);
        exit_now(FAILED)
    }

    fn steps(&mut self) -> Result<std::convert::Infallible, Failure> {
        let plan = self.plan;
        close_others(&self.descriptors(), self.preserve_fds).at(Step::Session)?;
        umask(Mode::empty());
        if self.die_with_parent {
            identity::die_with_parent().at(Step::Session)?;
        }
        let labels = identity::Labels::prepare(&plan.process).at(Step::Label)?;
        let reaper = match self.process_one {
            ProcessOne::Program => None,
            ProcessOne::Reaper => Some(identity::Labels::beside(&plan.process).at(Step::Label)?),
        };
        identity::oom_score(&plan.process, &self.channel).at(Step::Identity)?;
        self.join().at(Step::Join)?;
        if plan.namespaces.makes(NamespaceKind::User) {
            self.channel.wait().at(Step::UserNamespace)?;
        }
        if plan.namespaces.makes(NamespaceKind::Time) {
            // Before a change of user, after which /proc/self may be somebody else's.
            clocks::enter(&plan.clock_offsets).at(Step::Clocks)?;
        }
        if plan.namespaces.joins(NamespaceKind::User) {
            // The bridge has entered the groups.
            sys::process::set_ids(0, 0).call(|| "setresuid(0, 0, 0)".to_owned()).at(Step::UserNamespace)?;
        } else {
            enter_cgroups(&self.procs).at(Step::Cgroup)?;
        }
        if plan.namespaces.makes(NamespaceKind::User) {
            crate::rootless::seen(false).at(Step::UserNamespace)?;
            sys::process::set_ids(0, 0).call(|| "setresuid(0, 0, 0)".to_owned()).at(Step::UserNamespace)?;
        }
        scheduling::processors(None).at(Step::Cgroup)?;
        scheduling::memory(plan.memory_policy.as_ref()).at(Step::Cgroup)?;
        if plan.namespaces.makes(NamespaceKind::Cgroup) {
            unshare(CloneFlags::CLONE_NEWCGROUP).call(|| "unshare(CLONE_NEWCGROUP)".to_owned()).at(Step::Cgroup)?;
        }
        setsid().call(|| "setsid()".to_owned()).at(Step::Session)?;
        if self.sharing.keyring == Keyring::Own {
            identity::hide_keyring().at(Step::Session)?;
        }
        set_personality(plan.personality).at(Step::Session)?;
        if self.hooks.is_some_and(hooks::runs_in_runtime) || !plan.links.is_empty() {
            self.channel.namespaces().at(Step::Hooks)?;
            self.channel.wait().at(Step::Hooks)?;
        }
        if plan.namespaces.makes(NamespaceKind::Network) {
            sys::network::loopback_up().call(|| "ioctl(lo, SIOCSIFFLAGS, IFF_UP)".to_owned()).at(Step::Network)?;
        }
        names(plan.hostname.as_deref(), plan.domainname.as_deref()).at(Step::Hostname)?;
        let root = self.file_systems()?;
        if plan.process.cwd != Path::new("/") {
            let cwd = crate::root::clean(&plan.process.cwd);
            leave(root.make_directory(&cwd, Links::InRoot).at(Step::Cwd)?);
        }
        if plan.readonly_root {
            let readonly = Attributes { set: attr::RDONLY, ..Attributes::default() };
            mount_setattr(&root, Depth::Single, readonly)
                .call(|| "mount_setattr(<rootfs>, RDONLY)".to_owned())
                .at(Step::Root)?;
        }
        leave(root.into());
        let identity = identity::assume(&plan.process, labels, self.bounds, self.groups)?;
        if self.die_with_parent {
            // A change of user clears it.
            identity::die_with_parent().at(Step::Session)?;
        }
        let program = program::find(&plan.process, &identity)?;
        let channel = self.wait_for_start().at(Step::Start)?;
        let finished = self.finish(&identity, &program, reaper, channel.as_ref().unwrap_or(&self.channel));
        let Err(failure) = finished;
        // A `start` by another process waits for the answer there, the parent here.
        if let Some(channel) = channel {
            channel.failed(&failure);
        }
        Err(failure)
    }

    fn finish(
        &self,
        identity: &identity::Identity,
        program: &program::Program<'_>,
        reaper: Option<identity::Labels>,
        starter: &Channel,
    ) -> Result<std::convert::Infallible, Failure> {
        if let Some(hooks) = self.hooks {
            self.run_hooks(&hooks.start_container, "startContainer", hooks::Status::Created)?;
        }
        confine(self.bounds, starter, self.preserve_fds)?;
        finish(identity, program, reaper)
    }

    /// The root directory, with all that is mounted and made below it.
    fn file_systems(&mut self) -> Result<Root, Failure> {
        let plan = self.plan;
        if !plan.namespaces.makes(NamespaceKind::Mount) {
            return self.foreign_root();
        }
        let root = self.root().at(Step::Root)?;
        let made = mounts::make(self, &root)?;
        devices::make(self, &root, made.dev()).at(Step::Devices)?;
        mounts::sysctls(plan, made.proc.as_ref()).at(Step::Sysctl)?;
        console::connect(self, &root, made.devpts.as_ref()).at(Step::Console)?;
        if let Some(hooks) = self.hooks {
            self.run_hooks(&hooks.create_container, "createContainer", hooks::Status::Creating)?;
        }
        match self.sharing.root {
            RootChange::Pivot => pivot(&root).at(Step::Root)?,
            RootChange::Chroot => change_root(&root).at(Step::Root)?,
        }
        self.propagation(&root).at(Step::Root)?;
        masks::apply(plan, &root, self.null.take()).at(Step::Masks)?;
        made.leave();
        Ok(root)
    }

    /// A directory of a mount namespace that is somebody else's, in which nothing is mounted.
    fn foreign_root(&mut self) -> Result<Root, Failure> {
        let root = match self.rootfs.take() {
            Some(root) => root,
            None => {
                let slash = open_slash().at(Step::Root)?;
                let path = crate::root::clean(&self.plan.root);
                Root::new(slash).open(&path, OFlag::O_PATH | OFlag::O_DIRECTORY, Links::InRoot).at(Step::Root)?
            }
        };
        mounts::sysctls(self.plan, None).at(Step::Sysctl)?;
        let root = Root::new(root);
        console::connect(self, &root, None).at(Step::Console)?;
        if let Some(hooks) = self.hooks {
            self.run_hooks(&hooks.create_container, "createContainer", hooks::Status::Creating)?;
        }
        change_root(&root).at(Step::Root)?;
        Ok(root)
    }

    fn join(&self) -> Result<(), CallError> {
        let rest = self.join.iter().enumerate().filter(|(index, _)| self.joined.get() & 1 << index == 0);
        for (_, (kind, namespace)) in rest {
            setns(namespace, *kind).call(|| format!("setns(<namespace>, {kind:?})"))?;
        }
        Ok(())
    }

    /// Attaches the detached root over the old one, out of reach of every other mount namespace.
    fn root(&mut self) -> Result<Root, CallError> {
        let none: Option<&str> = None;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
            .call(|| "mount(\"/\", MS_REC|MS_PRIVATE)".to_owned())?;
        let detached = self.rootfs.as_ref().expect("the parent opened the root");
        move_mount_to_root(detached).call(|| "move_mount(<rootfs>, \"/\")".to_owned())?;
        let root = self.rootfs.take().expect("the root is attached once");
        Ok(Root::new(root))
    }

    /// Propagation of the root that could not be set before pivot_root(2).
    fn propagation(&self, root: &Root) -> Result<(), CallError> {
        let (propagation, depth) = self.plan.root_propagation;
        if propagation == libc::MS_PRIVATE || propagation == libc::MS_SLAVE {
            return Ok(());
        }
        mount_setattr(root, depth, Attributes { propagation, ..Attributes::default() })
            .call(|| "mount_setattr(<rootfs>, propagation)".to_owned())
    }

    fn run_hooks(&self, list: &[spec::Hook], name: &str, status: hooks::Status) -> Result<(), Failure> {
        let state = hooks::State { status, pid: nix::unistd::getpid().as_raw(), ..self.state };
        hooks::run(list, name, &state).map_err(|error| Failure {
            step: Step::Hooks,
            errno: Errno::ECANCELED,
            text: error.to_string(),
        })
    }

    /// Says that the container is created and waits for the word; gives the connection that the word came by, where that is
    /// not the parent's.
    fn wait_for_start(&mut self) -> Result<Option<Channel>, CallError> {
        match std::mem::replace(&mut self.wait, Wait::Parent) {
            Wait::Parent => {
                self.channel.created()?;
                self.channel.wait()?;
                Ok(None)
            }
            Wait::Listener(listener) => {
                self.channel.created()?;
                // The parent has put this process on record.
                self.channel.wait()?;
                loop {
                    let connection =
                        nix::sys::socket::accept4(listener.as_raw_fd(), nix::sys::socket::SockFlag::SOCK_CLOEXEC)
                            .call(|| "accept4(<start socket>)".to_owned())?;
                    let channel = Channel::new(sys::adopt(connection));
                    // A starter that went away before it said the word starts nothing.
                    if channel.wait().is_ok() {
                        return Ok(Some(channel));
                    }
                }
            }
        }
    }
}

impl Exec<'_> {
    /// All that the parent opened for the child.
    pub(crate) fn into_descriptors(self) -> Vec<OwnedFd> {
        let mut all = vec![self.channel.into(), self.target.0];
        all.extend(self.procs);
        all.extend(self.root);
        all.extend(self.streams.into_descriptors());
        all
    }

    /// All descriptors that the steps work on.
    pub(crate) fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let mut all = vec![self.channel.as_fd(), self.target.0.as_fd()];
        all.extend(self.procs.iter().map(AsFd::as_fd));
        all.extend(self.root.as_ref().map(AsFd::as_fd));
        all.extend(self.streams.descriptors());
        all
    }

    /// Becomes a process of the container.
    pub(crate) fn run(mut self) -> ! {
        let Err(failure) = self.steps();
        self.channel.failed(&failure);
        exit_now(FAILED)
    }

    fn steps(&mut self) -> Result<std::convert::Infallible, Failure> {
        umask(Mode::empty());
        if !self.bridged {
            self.enter(self.channel.as_fd())?;
        }
        let (_, kinds) = &self.target;
        if kinds.contains(CloneFlags::CLONE_NEWUSER) {
            sys::process::set_ids(0, 0).call(|| "setresuid(0, 0, 0)".to_owned()).at(Step::UserNamespace)?;
        }
        setsid().call(|| "setsid()".to_owned()).at(Step::Session)?;
        if self.keyring == Keyring::Own {
            identity::hide_keyring().at(Step::Session)?;
        }
        set_personality(self.personality).at(Step::Session)?;
        console::connect_exec(self).at(Step::Console)?;
        let identity = identity::assume(self.process, identity::Labels::none(), self.bounds, self.groups)?;
        let program = program::find(self.process, &identity)?;
        confine(self.bounds, &self.channel, self.preserve_fds)?;
        finish(&identity, &program, None)
    }

    /// Leaves the host: groups, what is written to the host's procfs (a child inherits it), descriptors but `keep` and those of
    /// the steps, namespaces. Children are born into the container.
    pub(crate) fn enter(&self, keep: BorrowedFd<'_>) -> Result<(), Failure> {
        close_others(&[&self.descriptors()[..], &[keep]].concat(), self.preserve_fds).at(Step::Session)?;
        enter_cgroups(&self.procs).at(Step::Cgroup)?;
        scheduling::processors(self.process.affinity[1].as_deref()).at(Step::Cgroup)?;
        scheduling::memory(self.memory_policy.as_ref()).at(Step::Cgroup)?;
        identity::Labels::prepare(self.process).and_then(identity::Labels::apply).at(Step::Label)?;
        identity::oom_score(self.process, &self.channel).at(Step::Identity)?;
        let groups = self.procs.iter().map(AsRawFd::as_raw_fd);
        sys::process::close_numbers(groups.collect()).call(|| "close_range()".to_owned()).at(Step::Join)?;
        let (target, kinds) = &self.target;
        setns(target, *kinds).call(|| format!("setns(<container>, {kinds:?})")).at(Step::Join)?;
        self.root.as_ref().map_or(Ok(()), change_root).at(Step::Root)
    }
}

/// Puts the program's bounds around this process: nothing of ours stays open (CVE-2024-21626), the filter comes last.
fn confine(bounds: Bounds<'_>, starter: &Channel, preserve_fds: u32) -> Result<(), Failure> {
    close_range(3 + preserve_fds, CloseRange::OnExec)
        .call(|| format!("close_range({}, CLOSE_RANGE_CLOEXEC)", 3 + preserve_fds))
        .at(Step::Exec)?;
    bounds.landlock.map_or(Ok(()), landlock::apply).at(Step::Landlock)?;
    match bounds.filter {
        None => Ok(()),
        Some(filter) if filter.notifies() => listener::load(filter, starter),
        Some(filter) => sys::seccomp::load(filter).map(drop).call(|| "seccomp(SECCOMP_SET_MODE_FILTER)".to_owned()),
    }
    .at(Step::Seccomp)
}

/// The last steps, after which only the program runs, below a process 1 with these labels if there are any.
fn finish(
    identity: &identity::Identity,
    program: &program::Program<'_>,
    reaper: Option<identity::Labels>,
) -> Result<std::convert::Infallible, Failure> {
    identity.complete().at(Step::Identity)?;
    if let Some(labels) = reaper {
        reaper::fork(labels)?;
    }
    Err(program.execute())
}

/// Closes what is the parent's: its locks, its other containers' streams, and what nobody in the container is to see
/// (CVE-2016-9962). Whoever owns them here is never dropped.
fn close_others(own: &[BorrowedFd<'_>], preserve_fds: u32) -> Result<(), CallError> {
    let keep = own.iter().map(AsRawFd::as_raw_fd).collect();
    sys::process::close_all_but(keep, 3 + preserve_fds).call(|| "close_range()".to_owned())
}

fn set_personality(domain: Option<u64>) -> Result<(), CallError> {
    domain.map_or(Ok(()), |domain| sys::process::set_personality(domain).call(|| format!("personality({domain:#x})")))
}

/// Numbers below this are left open by the child.
const LEFT_OPEN: i32 = 256;

/// Leaves a descriptor to execve(2), which closes it: one call less for each. Not so where there are very many of them.
fn leave(fd: OwnedFd) {
    if fd.as_raw_fd() < LEFT_OPEN {
        let _ = fd.into_raw_fd();
    }
}

/// Enters v1 groups; the unified one was entered at birth.
pub(crate) fn enter_cgroups(procs: &[OwnedFd]) -> Result<(), CallError> {
    for file in procs {
        nix::unistd::write(file, b"0").call(|| "write(<cgroup.procs>, \"0\")".to_owned())?;
    }
    Ok(())
}

/// Host and domain name of the uts namespace.
fn names(hostname: Option<&str>, domainname: Option<&str>) -> Result<(), CallError> {
    if let Some(name) = hostname {
        nix::unistd::sethostname(name).call(|| format!("sethostname({name:?})"))?;
    }
    if let Some(name) = domainname {
        sys::process::set_domainname(name).call(|| format!("setdomainname({name:?})"))?;
    }
    Ok(())
}

/// Makes the attached root the root directory and lets go of the old one.
fn pivot(root: &Root) -> Result<(), CallError> {
    fchdir(root).call(|| "fchdir(<rootfs>)".to_owned())?;
    pivot_root(".", ".").call(|| "pivot_root(\".\", \".\")".to_owned())?;
    umount2(".", MntFlags::MNT_DETACH).call(|| "umount2(\".\", MNT_DETACH)".to_owned())?;
    chdir("/").call(|| "chdir(\"/\")".to_owned())
}

/// Makes a directory the root directory where the old one cannot be let go of, or is that of somebody else's mount namespace. One that is mounted over
/// the old one is where setns(2) leads, too.
fn change_root(root: impl AsFd) -> Result<(), CallError> {
    fchdir(&root).call(|| "fchdir(<rootfs>)".to_owned())?;
    chroot(".").call(|| "chroot(\".\")".to_owned())?;
    chdir("/").call(|| "chdir(\"/\")".to_owned())
}

fn open_slash() -> Result<OwnedFd, CallError> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    openat(AT_FDCWD, "/", flags, Mode::empty()).call(|| "open(\"/\", O_PATH)".to_owned())
}

/// Goes to the working directory, and makes sure that it is one of the container (CVE-2024-21626).
fn enter_directory(path: &Path) -> Result<(), CallError> {
    // Where pivot_root(2) and setns(2) have led.
    if path == Path::new("/") {
        return Ok(());
    }
    chdir(path).call(|| format!("chdir({path:?})"))?;
    let inside = getcwd().is_ok_and(|cwd| cwd.is_absolute());
    if inside { Ok(()) } else { Err(Errno::ENOENT).call(|| format!("chdir({path:?}): outside of the container")) }
}

/// Writes a small file below a root, which must be of the same mount.
fn write_below(root: impl AsFd, path: &str, value: &[u8]) -> Result<(), CallError> {
    use nix::fcntl::{OpenHow, ResolveFlag, openat2};
    let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_XDEV;
    let how = OpenHow::new().flags(OFlag::O_WRONLY | OFlag::O_CLOEXEC).resolve(resolve);
    let file = openat2(root, path, how).call(|| format!("openat2(<proc>, {path:?}, O_WRONLY, {resolve:?})"))?;
    nix::unistd::write(&file, value)
        .map(|_| ())
        .call(|| format!("write(<proc>/{path}, {:?})", String::from_utf8_lossy(value)))
}
