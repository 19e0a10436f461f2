//! Making an init process, and starting the program in it.

use std::cell::Cell;
use std::os::fd::{AsFd, OwnedFd};

use nix::unistd::Pid;

use super::birth::{Birth, Bridge, Group, clone};
use super::error::{During, Error};
use super::id_map::{UserNamespaces, write_maps};
use super::notify::{Notify, pass_on};
use super::sync::{Channel, Message, pair};
use super::{Create, Created, Lifetime, StartMode, Stdio, links, open};
use crate::hooks::{self, State, Status};
use crate::init::{self, Bounds, Groups, Streams, Wait};
use crate::plan::{Plan, PlanError, Source};
use crate::rootless;
use crate::seccomp;
use crate::spec::{NamespaceKind, Spec};
use crate::sys::Call;
use crate::sys::clone::Clone3;
use crate::sys::process::{Block, close_many, pidfd_send_signal, wait};

/// An init process that makes itself into the container's, while its parent can do something else.
pub struct Making<'a> {
    plan: Plan,
    spec: &'a Spec,
    state: State<'a>,
    created: Created,
    channel: Channel,
}

/// Makes a container's init process. Everything of the configuration is checked before the first effect; when it fails,
/// nothing is left of it.
///
/// # Errors
/// [`Error`]; [`Error::kind`] tells missing programs apart.
pub fn create(create: Create<'_>) -> Result<Created, Error> {
    begin(create)?.complete()
}

/// The part of [`create`] that ends with the birth of the process. [`Making::complete`] must follow, or it is left behind.
///
/// # Errors
/// As there.
pub fn begin(mut create: Create<'_>) -> Result<Making<'_>, Error> {
    let plan = match create.plan.take() {
        Some(plan) => plan,
        None => Plan::new(create.spec)?,
    };
    let seccomp = create.spec.linux.as_ref().and_then(|linux| linux.seccomp.as_ref());
    let filter = seccomp.map(seccomp::compile).transpose().map_err(Error::Seccomp)?;
    let bundle = match create.directory.take() {
        Some(bundle) => bundle,
        None => open::directory(create.bundle).during(|| "bundle".to_owned())?,
    };
    let mut joined = open::namespaces(&plan)?;
    let mut users = UserNamespaces::new(&plan, joined.user.as_ref());
    let state = State {
        oci_version: &create.spec.oci_version,
        id: create.id,
        status: Status::Creating,
        pid: 0,
        bundle: create.bundle,
        annotations: &create.spec.annotations,
    };
    if plan.mount_label.is_some() && !std::path::Path::new("/sys/fs/selinux").is_dir() {
        let problem = "SELinux is not active on this host (there is no /sys/fs/selinux)".to_owned();
        return Err(Error::Plan(PlanError { at: "linux.mountLabel".to_owned(), problem }));
    }
    // Before all else that is the child's: what both sides close is a range then.
    let (ours, theirs) = pair().during(|| "sync".to_owned())?;
    let rootfs = open::rootfs(&create.rootfs, &plan, &bundle, &mut users)?;
    let sources = open::sources(&plan, &bundle, create.shm.take(), &create.images, &mut users)?;
    drop(users);
    let paired = matches!(create.start, StartMode::Paired);
    let child = init::Create {
        join: std::mem::take(&mut joined.others),
        procs: create.cgroup.map(|cgroup| cgroup.procs_files()).transpose()?.unwrap_or_default(),
        rootfs,
        sources,
        cgroups: cgroups(&create, &plan)?,
        null: open::null(&plan)?,
        devices: open::devices(&plan)?,
        streams: streams(create.stdio),
        wait: match create.start {
            StartMode::Paired => Wait::Parent,
            StartMode::Listener(listener) => Wait::Listener(listener),
        },
        die_with_parent: create.lifetime == Lifetime::Parent,
        process_one: create.process_one,
        preserve_fds: create.preserve_fds,
        bounds: Bounds { filter: filter.as_ref(), landlock: plan.landlock.as_ref() },
        joined: Cell::new(0),
        sharing: create.sharing,
        groups: Groups::of_caller(),
        hooks: create.spec.hooks.as_ref(),
        plan: &plan,
        channel: theirs,
        state,
    };
    let into = Group {
        group: create.cgroup.and_then(|cgroup| cgroup.clone_into()),
        unit: create.unit.zip(create.cgroup.and_then(|cgroup| cgroup.unified_path())),
    };
    // The maps of a new user namespace are written by this user, who must be let.
    let maps = plan.namespaces.makes(NamespaceKind::User) && !nix::unistd::geteuid().is_root();
    if maps {
        rootless::seen(true).during(|| "user namespace".to_owned())?;
    }
    let (pid, pidfd) = match clone(birth(&joined, &child), plan.namespaces.clone_flags(), into)? {
        Clone3::Child => {
            // Closed as all that is not the child's.
            std::mem::forget(ours);
            child.run()
        }
        Clone3::Parent(pid, pidfd) => (pid, pidfd),
    };
    if maps {
        rootless::seen(false).during(|| "user namespace".to_owned())?;
    }
    // The child's end must be open in the child alone, or its end of file would never come.
    close_many(child.into_descriptors()).call(|| "close_range()".to_owned()).during(|| "clone".to_owned())?;
    let state = State { pid: pid.as_raw(), ..state };
    let warnings = plan.process.warnings.clone();
    let created = Created { pid, pidfd, console: None, warnings, channel: None, paired, notify: None };
    Ok(Making { plan, spec: create.spec, state, created, channel: ours })
}

impl Making<'_> {
    /// The process.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.created.pid
    }

    /// Waits until it is made.
    ///
    /// # Errors
    /// [`Error`]: it has ended, and nothing is left of it.
    pub fn complete(self) -> Result<Created, Error> {
        let Self { plan, spec, state, mut created, channel } = self;
        match supervise(&plan, &mut created, &channel, &state, spec.hooks.as_ref()) {
            Ok(()) => {
                created.notify = Notify::new(spec, &state, state.pid);
                created.channel = Some(channel);
                Ok(created)
            }
            Err(error) => Err(bury(&created.pidfd, error)),
        }
    }
}

impl Created {
    /// One that another runtime has made, and starts.
    #[must_use]
    pub fn elsewhere(pid: Pid, pidfd: OwnedFd, console: Option<OwnedFd>) -> Self {
        Self { pid, pidfd, console, warnings: Vec::new(), channel: None, paired: false, notify: None }
    }

    /// Lets it outlive this process, where another one starts it ([`StartMode::Listener`]): it is on record now. Nobody would find one that is
    /// not, so until then it ends with its maker.
    ///
    /// # Errors
    /// It has ended.
    pub fn let_go(&mut self) -> Result<(), Error> {
        if self.paired {
            return Ok(());
        }
        self.channel.take().map_or(Ok(()), |channel| channel.go()).during(|| "init".to_owned())
    }

    /// Lets the program run; returns when execve has succeeded.
    ///
    /// # Errors
    /// The step that failed after the start; the process has ended then.
    pub fn start(&mut self) -> Result<(), Error> {
        let Some(channel) = self.channel.take() else { return Ok(()) };
        channel.go().during(|| "start".to_owned())?;
        executed(&channel, &mut self.warnings, self.notify.as_ref())
    }
}

/// Lets the program of a container run that another process made with [`StartMode::Listener`]; `connection` is a connection to
/// its socket; `notify` is where the listener of its filter goes. Returns when execve has succeeded.
///
/// # Errors
/// The step that failed after the start.
pub fn start(connection: OwnedFd, notify: Option<&Notify>) -> Result<(), Error> {
    let channel = Channel::new(connection);
    channel.go().during(|| "start".to_owned())?;
    executed(&channel, &mut Vec::new(), notify)
}

/// Waits for execve: end of file, or a failure.
fn executed(channel: &Channel, warnings: &mut Vec<String>, notify: Option<&Notify>) -> Result<(), Error> {
    loop {
        match channel.next().during(|| "start".to_owned())? {
            Message::Ended => return Ok(()),
            Message::Failed(failure) => return Err(Error::Init(failure)),
            Message::Warning(text) => warnings.push(text),
            Message::Listener(listener) => pass_on(notify, &listener, channel)?,
            Message::Born(_) | Message::Namespaces | Message::Console(_) | Message::Created => {}
        }
    }
}

/// The parent's side of the protocol until the child is created, or has executed the program.
fn supervise(
    plan: &Plan,
    created: &mut Created,
    channel: &Channel,
    state: &State<'_>,
    hooks: Option<&crate::spec::Hooks>,
) -> Result<(), Error> {
    if plan.namespaces.makes(NamespaceKind::User) {
        write_maps(created.pid, &plan.namespaces.uid_map, &plan.namespaces.gid_map)
            .during(|| "user namespace".to_owned())?;
        channel.go().during(|| "user namespace".to_owned())?;
    }
    loop {
        match channel.next().during(|| "init".to_owned())? {
            Message::Namespaces => {
                links::give(&plan.links, created.pid)?;
                if let Some(hooks) = hooks {
                    let init = created.pidfd.as_fd();
                    hooks::run_for(init, &hooks.prestart, "prestart", state)?;
                    hooks::run_for(init, &hooks.create_runtime, "createRuntime", state)?;
                }
                channel.go().during(|| "hooks".to_owned())?;
            }
            Message::Console(master) => created.console = Some(master),
            Message::Warning(text) => created.warnings.push(text),
            Message::Created => return Ok(()),
            Message::Born(_) | Message::Listener(_) => {}
            Message::Failed(failure) => return Err(Error::Init(failure)),
            Message::Ended => return Err(Error::Killed(how(&created.pidfd))),
        }
    }
}

/// A user namespace that is joined must own the new pid namespace: only a process inside of it can make that. Namespaces of the host
/// can be joined only before one is in a user namespace that does not own them.
fn birth<'a>(joined: &'a open::Joined, child: &'a init::Create<'_>) -> Birth<'a> {
    let user = joined.user.as_ref();
    let new_user = child.plan.namespaces.makes(NamespaceKind::User) && (joined.pid.is_some() || !child.join.is_empty());
    match &joined.pid {
        pid if user.is_some() || new_user => Birth::Bridged(Bridge {
            user,
            pid: pid.as_ref(),
            procs: &child.procs,
            others: &child.join,
            joined: &child.joined,
        }),
        Some(pid) => Birth::In(pid),
        None => Birth::Here,
    }
}

/// Kills what is left of a failed child, and reaps it.
pub(super) fn bury(pidfd: &OwnedFd, error: Error) -> Error {
    // It may have ended by itself; either way it is reaped next.
    let _ = pidfd_send_signal(pidfd, libc::SIGKILL);
    let _ = wait(pidfd, Block::Yes);
    error
}

pub(super) fn how(pidfd: &OwnedFd) -> String {
    match wait(pidfd, Block::Yes) {
        Ok(Some(ended)) => format!("{ended:?}"),
        Ok(None) => "still alive".to_owned(),
        Err(errno) => format!("waitid: {errno}"),
    }
}

pub(super) fn streams(stdio: Stdio) -> Streams {
    match stdio {
        Stdio::Inherit => Streams::Inherit,
        Stdio::Files(files) => Streams::Files(files),
        Stdio::Terminal => Streams::Terminal(None),
        Stdio::ConsoleSocket(socket) => Streams::Terminal(Some(socket)),
    }
}

fn cgroups(create: &Create<'_>, plan: &Plan) -> Result<Vec<(std::path::PathBuf, OwnedFd)>, Error> {
    let Some(index) = plan.mounts.iter().position(|mount| mount.source == Source::Cgroup) else {
        return Ok(Vec::new());
    };
    // All of the hierarchy would let root of a user namespace change the groups of the user that it is (CVE-2023-25809).
    let own = plan.namespaces.own(NamespaceKind::Cgroup) || plan.namespaces.own(NamespaceKind::User);
    let view = if own { open::CgroupView::Private } else { open::CgroupView::Host };
    open::cgroups(create.cgroup, view, &plan.mounts[index], index)
}
