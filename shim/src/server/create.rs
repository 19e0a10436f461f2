//! Create and Start, by request and by the restart policy.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path};
use std::time::{Duration, Instant};

use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sys::stat::Mode;
use runtime::cgroup::{self, Cgroup};
use runtime::hooks;
use runtime::launch::{self, Kind, Lifetime, ProcessOne, Rootfs, StartMode};
use runtime::root::magic_link;
use runtime::spec::Spec;
use runtime::sys::{Call, CallError};

use super::container::{Container, Home, Phase, not_found};
use super::poller::{Interest, Token};
use super::process::{Process, Role, streams};
use super::timers::Timer;
use super::{Failure, Server, tracers};
use crate::layout::{self, State, Status, Task};
use crate::local;
use crate::log::{Log, Stream};
use crate::protocol::{FailureKind, Reply};
use crate::record;
use crate::remove;
use crate::restart;
use crate::verbs::Verb;

/// Exit code that the restart policy sees when a container cannot be started again.
const NOT_STARTED: i32 = 128;

impl Failure {
    pub(super) fn launch(error: &launch::Error) -> Self {
        let kind = match error.kind() {
            Kind::CommandNotFound => FailureKind::CommandNotFound,
            Kind::CommandNotExecutable => FailureKind::CommandNotExecutable,
            Kind::Invalid => FailureKind::Invalid,
            Kind::Other => FailureKind::Internal,
        };
        Self::new(kind, error.to_string())
    }
}

impl Server {
    /// Create: reads the configuration and makes the init process.
    pub(super) fn create(&mut self, id: &str, dir: &str, given: Vec<OwnedFd>) -> Result<Reply, Failure> {
        self.refuse_stopping()?;
        if self.containers.contains_key(id) {
            self.container(id, Verb::Create)?;
        }
        let container = self.load(id, dir, given)?;
        self.containers.insert(id.to_owned(), container);
        match self.make(id) {
            Ok(pid) => Ok(Reply::Created { pid }),
            Err(failure) => Err(self.give_up(id, failure)),
        }
    }

    /// Start: lets the init process run the program.
    pub(super) fn start(&mut self, id: &str) -> Result<Reply, Failure> {
        self.refuse_stopping()?;
        self.refuse_tracer(id)?;
        let container = self.container(id, Verb::Start)?;
        let started = match container.phase {
            Phase::Restarting(_) => {
                container.pause = None;
                self.timers.cancel(&Timer::Restart(id.to_owned()));
                self.make(id).and_then(|_| self.launch(id))
            }
            Phase::Creating
            | Phase::Created(_)
            | Phase::Running(_)
            | Phase::Paused(_)
            | Phase::Ending(_)
            | Phase::Releasing
            | Phase::Exited => self.launch(id),
        };
        match started {
            Ok(pid) => Ok(Reply::Started { pid }),
            Err(failure) => Err(self.give_up(id, failure)),
        }
    }

    /// The pause after a run is over: starts the container again.
    pub(super) fn restart_due(&mut self, id: &str) {
        let Some(container) = self.containers.get_mut(id) else { return };
        if !matches!(container.phase, Phase::Restarting(_)) {
            return;
        }
        container.restart_count = container.restart_count.saturating_add(1);
        if let Err(failure) = self.refuse_tracer(id).and_then(|()| self.make(id)).and_then(|_| self.launch(id)) {
            self.undo(id, &failure);
            let Some(container) = self.containers.get_mut(id) else { return };
            container.error = Some(failure.message);
            // A start that fails counts as a short run that failed: what is missing now may be there later.
            let run = restart::Run {
                code: NOT_STARTED,
                lasted: Duration::ZERO,
                stopped: container.stopped,
                restarts: container.restart_count,
                pause: container.pause,
            };
            let pause = restart::pause(container.task.restart, run);
            self.end_or_restart(id, pause);
            self.tell_if_exited(id);
            self.remove_if_due(id);
        }
    }

    /// Reads what is in a container's directory.
    fn load(&mut self, id: &str, dir: &str, mut given: Vec<OwnedFd>) -> Result<Container, Failure> {
        let plain = Path::new(dir).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        if !plain || dir.is_empty() {
            return Err(invalid(format!("dir {dir:?} must be a relative path without \"..\"")));
        }
        let here = Path::new(dir).components().all(|part| part == Component::CurDir);
        let (home, top, base) = match (given.pop(), here) {
            (_, _) if !given.is_empty() => {
                return Err(invalid("create: more than one descriptor came with it".to_owned()));
            }
            (Some(given), _) => {
                let link = magic_link(&given);
                let path =
                    std::fs::read_link(&link).call(|| format!("readlink({link:?})")).map_err(Failure::internal)?;
                (Home::Own, Some(given), path)
            }
            (None, true) => (Home::Shim, None, self.path.clone()),
            (None, false) => (Home::Below, None, self.path.clone()),
        };
        let path = if here { base } else { base.join(dir) };
        let dir = open_below(top.as_ref().unwrap_or(&self.dir), dir).map_err(Failure::internal)?;
        let mut spec =
            runtime::spec::load(&dir, Path::new("config.json")).map_err(|error| invalid(error.to_string()))?;
        if spec.process.is_none() {
            return Err(invalid("config.json: process: missing; a container needs a program".to_owned()));
        }
        let malformed = |error: record::Error| match error {
            record::Error::Call(error) => Failure::internal(error),
            error @ (record::Error::Malformed(_) | record::Error::Newer { .. }) => invalid(error.to_string()),
        };
        let task: Task =
            record::read(&dir).map_err(malformed)?.ok_or_else(|| invalid("shim.json: missing".to_owned()))?;
        let traces = tracers::may_trace(&spec);
        let shares_shm = self.give_namespaces(&mut spec, &task.sandbox)?;
        let joined = hold_namespaces(&mut spec);
        let entered = tracers::entered(&spec);
        let before: Option<Status> = record::read(&dir).map_err(malformed)?;
        if before.as_ref().is_some_and(|status| status.state == State::Removing) {
            let message = "container is being removed; remove it again to finish that";
            return Err(Failure::new(FailureKind::WrongState, message));
        }
        let before = before.map(|status| local::truth(status, &self.boot_id, record::now()));
        let cgroup_path = local::cgroup_path(&spec, id).to_owned();
        Ok(Container {
            dir,
            path,
            home,
            spec,
            joined,
            task,
            shares_shm,
            entered,
            traces,
            cgroup: None,
            left: Vec::new(),
            cgroup_path,
            log: None,
            phase: Phase::Creating,
            started_at: before.as_ref().map_or(0, |status| status.started_at),
            started: None,
            last_exit: before.and_then(|status| status.last_exit),
            restart_count: 0,
            pause: None,
            stopped: false,
            oom_kills: 0,
            oom: None,
            oom_kills_seen: 0,
            health: None,
            check: None,
            again: false,
            error: None,
            log_problem_told: false,
        })
    }

    /// Makes the init process; it waits for the start.
    fn make(&mut self, id: &str) -> Result<i32, Failure> {
        let Some(container) = self.containers.get_mut(id) else { return Err(not_found(id)) };
        container.phase = Phase::Creating;
        container.error = None;
        self.freeze_tracers(id)?;
        self.record(id)?;
        self.make_cgroup(id)?;
        self.clean_work(id)?;
        let inherited = self.inherited;
        let Some(container) = self.containers.get_mut(id) else { return Err(not_found(id)) };
        if let Some(target) = container.task.log.as_ref().filter(|_| container.log.is_none()) {
            container.log = Some(Log::open(target).map_err(Failure::internal)?);
        }
        if let Some(process) = &mut container.spec.process {
            inherited.give(process);
        }
        let shm = if container.shares_shm { self.sandbox.copy_shm().map_err(Failure::internal)? } else { None };
        let Some(process) = &container.spec.process else { return Err(not_found(id)) };
        let stdin = container.task.stdin;
        let (stdio, mut ends) = streams(process, &container.spec, stdin).map_err(Failure::internal)?;
        let mut created = if container.task.program.is_some() {
            self.create_by_program(id, stdio, &ends, shm)?
        } else {
            launch::create(launch::Create {
                id,
                bundle: &container.path,
                directory: None,
                spec: &container.spec,
                plan: None,
                rootfs: rootfs(&container.task),
                images: container.task.image_mounts.iter().map(image_mount).collect(),
                cgroup: container.cgroup.as_ref(),
                unit: None,
                stdio,
                start: StartMode::Paired,
                lifetime: Lifetime::Parent,
                process_one: if container.task.init { ProcessOne::Reaper } else { ProcessOne::Program },
                preserve_fds: 0,
                sharing: launch::Sharing::default(),
                shm,
            })
            .map_err(|error| Failure::launch(&error))?
        };
        let connected = ends.connect(created.console.take(), stdin);
        let pid = created.pid;
        let start_time = record::start_time(pid.as_raw());
        let process = Process {
            container: id.to_owned(),
            role: Role::Init(Box::new(created)),
            pid,
            // Without it, and if it has ended already, no other process is taken for it.
            start_time: start_time.ok().flatten().unwrap_or(0),
            ends,
            attachments: Vec::new(),
            exit: None,
        };
        let number = self.add_process(process);
        self.watch_memory(id, number);
        if let Some(container) = self.containers.get_mut(id) {
            container.phase = Phase::Created(number);
        }
        connected.map_err(Failure::internal)?;
        self.write_pid_file(id, pid.as_raw())?;
        self.record(id)?;
        Ok(pid.as_raw())
    }

    /// Lets the program run.
    fn launch(&mut self, id: &str) -> Result<i32, Failure> {
        let Some(container) = self.containers.get_mut(id) else { return Err(not_found(id)) };
        let Phase::Created(number) = container.phase else { return Err(not_found(id)) };
        if container.stopped {
            return Err(Failure::new(FailureKind::WrongState, "container was stopped before it started"));
        }
        self.call_program(id, "start", &[], &[])?;
        let Some(container) = self.containers.get_mut(id) else { return Err(not_found(id)) };
        let Some(process) = self.processes.get_mut(&number) else { return Err(not_found(id)) };
        let Role::Init(created) = &mut process.role else { return Err(not_found(id)) };
        created.start().map_err(|error| Failure::launch(&error))?;
        container.started_at = record::now();
        container.started = Some(Instant::now());
        container.phase = Phase::Running(number);
        let pid = process.pid.as_raw();
        self.health_begin(id);
        self.record(id)?;
        self.event(id, "start", &[]);
        self.run_hooks(id, pid, Moment::Poststart)?;
        Ok(pid)
    }

    /// Watches a new process.
    pub(super) fn add_process(&mut self, process: Process) -> u64 {
        let number = self.next_id();
        for stream in [Stream::Stdout, Stream::Stderr] {
            if let Some(output) = &process.ends.outputs[stream as usize] {
                // epoll_ctl(2) fails only for lack of memory; the output is then read when the process has ended.
                let _ = self.poller.watch(&output.fd, Token::Output(number, stream), Interest::Read);
            }
        }
        self.processes.insert(number, process);
        number
    }

    /// An overlay that was mounted `volatile` says so in its work directory and refuses to be mounted again: after a crash of the
    /// host its files may be damaged. Within one boot they are what the last run wrote; after another, what reached the disk.
    fn clean_work(&self, id: &str) -> Result<(), Failure> {
        let layers = self.containers.get(id).and_then(|container| container.task.layers.as_ref());
        let Some((_, work)) = layers.and_then(|layers| layers.upper.as_ref()) else { return Ok(()) };
        remove::tree(&work.join("work")).map_err(|errors| Failure::internal(&errors[0]))
    }

    fn make_cgroup(&mut self, id: &str) -> Result<(), Failure> {
        let Some(container) = self.containers.get(id) else { return Err(not_found(id)) };
        let resources = container.spec.linux.as_ref().and_then(|linux| linux.resources.clone());
        if container.cgroup.is_none() {
            let path = container.cgroup_path.parse().map_err(|error: cgroup::Error| invalid(error.to_string()))?;
            let cgroup = self.host().and_then(|host| Cgroup::create(host, &path)).map_err(Failure::internal)?;
            let Some(container) = self.containers.get_mut(id) else { return Err(not_found(id)) };
            let cgroup = container.cgroup.insert(cgroup);
            if let Some(resources) = resources {
                cgroup.apply(&resources).map_err(Failure::internal)?;
            }
        }
        let Some(container) = self.containers.get_mut(id) else { return Err(not_found(id)) };
        // Without a memory controller there are no OOM kills to be seen.
        container.oom_kills = container.cgroup.as_ref().and_then(|cgroup| cgroup.oom_kills().ok()).unwrap_or(0);
        Ok(())
    }

    fn write_pid_file(&mut self, id: &str, pid: i32) -> Result<(), Failure> {
        let Some(container) = self.containers.get(id) else { return Ok(()) };
        let Some(path) = &container.task.pid_file else { return Ok(()) };
        let flags = OFlag::O_WRONLY
            | OFlag::O_CREAT
            | OFlag::O_TRUNC
            | OFlag::O_CLOEXEC
            | OFlag::O_NOFOLLOW
            | OFlag::O_NONBLOCK;
        let call = || format!("open({path:?}, O_WRONLY|O_CREAT|O_TRUNC)");
        let file = open(path, flags, Mode::from_bits_truncate(0o644)).call(call).map_err(Failure::internal)?;
        let written = nix::unistd::write(&file, pid.to_string().as_bytes()).call(|| format!("write({path:?})"));
        written.map_err(Failure::internal)?;
        Ok(())
    }

    /// Runs the hooks of a moment in a container's life.
    ///
    /// # Errors
    /// A hook that failed.
    pub(super) fn run_hooks(&self, id: &str, pid: i32, moment: Moment) -> Result<(), Failure> {
        let Some(container) = self.containers.get(id) else { return Ok(()) };
        // Another runtime has run them.
        let Some(hooks) = container.spec.hooks.as_ref().filter(|_| container.task.program.is_none()) else {
            return Ok(());
        };
        let (list, name, status) = match moment {
            Moment::Poststart => (&hooks.poststart, "poststart", hooks::Status::Running),
            Moment::Poststop => (&hooks.poststop, "poststop", hooks::Status::Stopped),
        };
        let state = hooks::State {
            oci_version: &container.spec.oci_version,
            id,
            status,
            pid,
            bundle: &container.path,
            annotations: &container.spec.annotations,
        };
        hooks::run(list, name, &state).map_err(Failure::internal)
    }

    /// After Create or Start failed: nothing is left running, the record says why; with `auto_remove` nothing is left at all.
    fn give_up(&mut self, id: &str, failure: Failure) -> Failure {
        self.undo(id, &failure);
        if let Some(container) = self.containers.get_mut(id) {
            container.error = Some(failure.message.clone());
            self.settle(id);
        }
        failure
    }

    /// Ends a run that did not come about.
    fn undo(&mut self, id: &str, failure: &Failure) {
        let Some(container) = self.containers.get_mut(id) else { return };
        let init = container.phase.init();
        container.phase = Phase::Creating;
        if let Some(number) = init {
            self.kill_all(id);
            self.forget_process(number, failure);
        }
    }
}

fn invalid(message: String) -> Failure {
    Failure::new(FailureKind::Invalid, message)
}

/// When hooks run that are the shim's to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    /// The program runs.
    Poststart,
    /// The container has ended.
    Poststop,
}

/// Opens the namespaces that are joined and names them by descriptor. A path such as /proc/PID/ns/net names another process's
/// when the container is started again by its restart policy and the number has gone to another process, one of the host even.
///
/// What cannot be opened stays as it is, for the runtime to say what is wrong with it.
fn hold_namespaces(spec: &mut Spec) -> Vec<OwnedFd> {
    let mut joined = Vec::new();
    for namespace in spec.linux.iter_mut().flat_map(|linux| &mut linux.namespaces) {
        let Some(path) = namespace.path.as_deref().filter(|path| path.starts_with('/')) else { continue };
        if let Ok(fd) = open(path, OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC, Mode::empty()) {
            namespace.path = Some(magic_link(&fd));
            joined.push(fd);
        }
    }
    joined
}

pub(super) fn rootfs(task: &Task) -> Rootfs {
    match &task.layers {
        None => Rootfs::Directory,
        Some(layers) => Rootfs::Layers { lower: layers.lower.clone(), upper: layers.upper.clone() },
    }
}

pub(super) fn image_mount(
    layout::ImageMount { destination, lower, sub_path }: &layout::ImageMount,
) -> launch::ImageMount {
    launch::ImageMount { destination: destination.clone(), lower: lower.clone(), sub_path: sub_path.clone() }
}

fn open_below(dir: &OwnedFd, path: &str) -> Result<OwnedFd, CallError> {
    let how = OpenHow::new()
        .flags(OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
    openat2(dir.as_fd(), path, how)
        .call(|| format!("openat2(<shim's directory>, {path:?}, O_DIRECTORY, RESOLVE_BENEATH)"))
}
