//! Making an init process, and starting the program in it.

use std::os::fd::OwnedFd;

use super::birth::{Birth, Bridge, clone};
use super::error::{During, Error};
use super::id_map::{UserNamespaces, write_maps};
use super::sync::{Channel, Message, pair};
use super::{Create, Created, Lifetime, StartMode, Stdio, open};
use crate::hooks::{self, State, Status};
use crate::init::{self, Streams, Wait};
use crate::plan::{Plan, Source};
use crate::seccomp;
use crate::spec::NamespaceKind;
use crate::sys::Call;
use crate::sys::clone::Clone3;
use crate::sys::process::{Block, close_many, pidfd_send_signal, wait};

/// Makes a container's init process. Everything of the configuration is checked before the first effect; when it fails,
/// nothing is left of it.
///
/// # Errors
/// [`Error`]; [`Error::kind`] tells missing programs apart.
pub fn create(mut create: Create<'_>) -> Result<Created, Error> {
    let plan = Plan::new(create.spec)?;
    let seccomp = create.spec.linux.as_ref().and_then(|linux| linux.seccomp.as_ref());
    let filter = seccomp.map(seccomp::compile).transpose().map_err(Error::Seccomp)?;
    let bundle = open::directory(create.bundle).during(|| "bundle".to_owned())?;
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
    let rootfs = Some(open::rootfs(&create.rootfs, &plan, &bundle, &mut users)?);
    let sources = open::sources(&plan, &bundle, create.shm.take(), &create.images, &mut users)?;
    drop(users);
    let (ours, theirs) = pair().during(|| "sync".to_owned())?;
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
        filter: filter.as_ref(),
        hooks: create.spec.hooks.as_ref(),
        plan: &plan,
        channel: theirs,
        state,
    };
    let into = create.cgroup.and_then(|cgroup| cgroup.clone_into());
    let (pid, pidfd) = match clone(birth(&joined, &child.procs), plan.namespaces.clone_flags(), into)? {
        Clone3::Child => {
            // Closed as all that is not the child's.
            std::mem::forget(ours);
            child.run()
        }
        Clone3::Parent(pid, pidfd) => (pid, pidfd),
    };
    // The child's end must be open in the child alone, or its end of file would never come.
    close_many(child.into_descriptors()).call(|| "close_range()".to_owned()).during(|| "clone".to_owned())?;
    let mut created = Created { pid, pidfd, console: None, warnings: Vec::new(), channel: None };
    match supervise(&plan, &mut created, &ours, &State { pid: pid.as_raw(), ..state }, create.spec.hooks.as_ref()) {
        Ok(()) => {
            created.channel = paired.then_some(ours);
            Ok(created)
        }
        Err(error) => Err(bury(&created.pidfd, error)),
    }
}

impl Created {
    /// Lets the program run; returns when execve has succeeded.
    ///
    /// # Errors
    /// The step that failed after the start; the process has ended then.
    pub fn start(&mut self) -> Result<(), Error> {
        let Some(channel) = self.channel.take() else { return Ok(()) };
        channel.go().during(|| "start".to_owned())?;
        executed(&channel, &mut self.warnings)
    }
}

/// Lets the program of a container run that another process made with [`StartMode::Listener`]; `connection` is a connection to
/// its socket. Returns when execve has succeeded.
///
/// # Errors
/// The step that failed after the start.
pub fn start(connection: OwnedFd) -> Result<(), Error> {
    let channel = Channel::new(connection);
    channel.go().during(|| "start".to_owned())?;
    executed(&channel, &mut Vec::new())
}

/// Waits for execve: end of file, or a failure.
pub(super) fn executed(channel: &Channel, warnings: &mut Vec<String>) -> Result<(), Error> {
    loop {
        match channel.next().during(|| "start".to_owned())? {
            Message::Ended => return Ok(()),
            Message::Failed(failure) => return Err(Error::Init(failure)),
            Message::Warning(text) => warnings.push(text),
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
                if let Some(hooks) = hooks {
                    hooks::run(&hooks.prestart, "prestart", state)?;
                    hooks::run(&hooks.create_runtime, "createRuntime", state)?;
                }
                channel.go().during(|| "hooks".to_owned())?;
            }
            Message::Console(master) => created.console = Some(master),
            Message::Warning(text) => created.warnings.push(text),
            Message::Created => return Ok(()),
            Message::Born(_) => {}
            Message::Failed(failure) => return Err(Error::Init(failure)),
            Message::Ended => return Err(Error::Killed(how(&created.pidfd))),
        }
    }
}

/// A user namespace that is joined must own the new pid namespace: only a process inside of it can make that.
fn birth<'a>(joined: &'a open::Joined, procs: &'a [OwnedFd]) -> Birth<'a> {
    match (&joined.user, &joined.pid) {
        (None, None) => Birth::Here,
        (None, Some(pid)) => Birth::In(pid),
        (Some(user), pid) => Birth::Bridged(Bridge { user: Some(user), pid: pid.as_ref(), procs }),
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
