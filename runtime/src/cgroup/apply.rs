//! Carries out what [`super::limits`] and [`super::devices`] planned.

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;

use super::controller::{Controller, Controllers};
use super::limits::{Absent, Current, Layout, Refused, Version, Write, plan};
use super::{Cgroup, Error, device_program, devices};
use crate::spec::Resources;
use crate::sys::bpf;

/// By this name our device program is found again among those of others (systemd attaches its own).
const PROGRAM_NAME: bpf::Name = *b"rt_devices\0\0\0\0\0\0";

/// CPU shares of a group that nobody gave any.
const DEFAULT_SHARES: u64 = 1024;

const DEVICES: &str = "linux.resources.devices";

/// What is to be done about devices.
enum Devices {
    Untouched,
    Lines(Vec<devices::Line>),
    Program(Vec<bpf::Instruction>),
}

impl Cgroup {
    /// Brings the group to `resources`; what they do not mention stays as it is. An empty list of device rules touches no
    /// device filter: the caller adds the defaults.
    ///
    /// OCI runtime-spec config-linux.md, "Control groups".
    ///
    /// # Errors
    /// [`Error::Invalid`] and [`Error::Missing`] before anything is written, [`Error::Limit`] when the kernel refuses a
    /// value: all name the JSON path.
    pub fn apply(&self, resources: &Resources) -> Result<(), Error> {
        let layout =
            Layout { v1: self.v1.iter().flat_map(|v1| v1.controllers.iter()).collect(), v2: self.v2.is_some() };
        let writes = plan(resources, layout, &self.current(resources)?)?;
        let devices = self.plan_devices(resources)?;
        self.need(&writes, layout)?;
        let mut last = Vec::new();
        for write in &writes {
            match self.carry_out(write, layout) {
                Err(error) if error.errno() == Some(Errno::EINVAL) && write.refused == Refused::TryLast => {
                    last.push(write)
                }
                result => result.map_err(|error| limit(&write.field, error))?,
            }
        }
        for write in last {
            self.carry_out(write, layout).map_err(|error| limit(&write.field, error))?;
        }
        match devices {
            Devices::Untouched => Ok(()),
            Devices::Lines(lines) => self.write_devices(&lines),
            Devices::Program(program) => self.attach_devices(&program),
        }
        .map_err(|error| limit(DEVICES, error))?;
        self.fresh.set(false);
        Ok(())
    }

    /// An update with the CPU time that it comes to, for systemd, which knows shares of a CPU where the files have a quota and a period: one
    /// of both is nothing to it. Who stops to be idle has the default weight.
    ///
    /// # Errors
    /// [`Error::System`].
    pub fn completed(&self, resources: &Resources) -> Result<Resources, Error> {
        let mut resources = resources.clone();
        let Some(cpu) = &mut resources.cpu else { return Ok(resources) };
        let v1 = self.v1_of(Controller::Cpu);
        let Some(dir) = v1.or(self.v2.as_ref().map(|v2| &v2.dir)) else { return Ok(resources) };
        let (quota, period) = (cpu.quota.filter(|quota| *quota != 0), cpu.period.filter(|period| *period != 0));
        if quota.is_some() != period.is_some() {
            let now = match v1 {
                Some(_) => ["cpu.cfs_quota_us", "cpu.cfs_period_us"].map(|file| dir.read_if_there(file)),
                None => [dir.read_if_there("cpu.max"), Ok(None)],
            };
            let [now, more] = now;
            let now = format!("{} {}", now?.unwrap_or_default(), more?.unwrap_or_default());
            let mut words = now.split_ascii_whitespace();
            let before = words.next().map(|quota| quota.parse().unwrap_or(-1));
            cpu.quota = quota.or(before);
            cpu.period = period.or(words.next().and_then(|period| period.parse().ok()));
        }
        if cpu.idle == Some(0) && cpu.shares.is_none_or(|shares| shares == 0) {
            let idle = dir.read_if_there("cpu.idle")?.is_some_and(|idle| idle.trim() == "1");
            cpu.shares = idle.then_some(DEFAULT_SHARES);
        }
        Ok(resources)
    }

    /// Reads what an update of a part needs to know of the rest; a new group has the defaults.
    fn current(&self, resources: &Resources) -> Result<Current, Error> {
        let mut current = Current { fresh: self.fresh.get(), ..Current::default() };
        let Some(v2) = self.v2.as_ref().filter(|_| !self.fresh.get()) else { return Ok(current) };
        if resources.cpu.as_ref().is_some_and(|cpu| cpu.period.is_some() && cpu.quota.is_none_or(|quota| quota == 0)) {
            current.cpu_max = v2.dir.read_if_there("cpu.max")?;
        }
        if resources.memory.as_ref().is_some_and(|memory| memory.check_before_update == Some(true)) {
            let usage = v2.dir.read_if_there("memory.current")?;
            current.memory_usage = usage.and_then(|usage| usage.trim().parse().ok());
        }
        Ok(current)
    }

    /// Sees to it that the v2 controllers of these writes are there.
    fn need(&self, writes: &[Write], layout: Layout) -> Result<(), Error> {
        let Some(v2) = &self.v2 else { return Ok(()) };
        let needed = |write: &&Write| {
            write.absent == Absent::Error && write.controller.is_some_and(|one| layout.of(one) == Some(Version::V2))
        };
        let of = |writes: &mut dyn Iterator<Item = &Write>| writes.filter_map(|write| write.controller).collect();
        let wanted: Controllers = of(&mut writes.iter().filter(needed));
        if wanted.without(v2.available()).is_empty() {
            return Ok(());
        }
        let refusals = v2.enable(wanted)?;
        let missing = wanted.without(v2.available());
        let is_missing = |write: &&Write| write.controller.is_some_and(|one| missing.contains(one));
        let Some((write, controller)) =
            writes.iter().filter(needed).find(is_missing).and_then(|write| Some((write, write.controller?)))
        else {
            return Ok(());
        };
        let refusal = refusals.into_iter().find(|(refused, _)| *refused == controller);
        let reason = match refusal {
            Some((_, error)) => format!("a group above does not pass on: {error}"),
            None => "this host does not offer to its groups (cgroup.controllers)".to_owned(),
        };
        Err(Error::Missing { controller, field: write.field.to_string(), reason })
    }

    /// Writes a value to the first of the files that exists.
    fn carry_out(&self, write: &Write, layout: Layout) -> Result<(), Error> {
        let v1 = write.controller.filter(|one| layout.of(*one) == Some(Version::V1)).and_then(|one| self.v1_of(one));
        let Some(dir) = v1.or(self.v2.as_ref().map(|v2| &v2.dir)) else { return Ok(()) };
        let mut absent = Ok(());
        for (file, value) in &write.targets {
            match dir.write(file, value) {
                Err(error) if error.errno() == Some(Errno::ENOENT) => absent = Err(error),
                result => return result,
            }
        }
        match write.absent {
            Absent::Skip => Ok(()),
            Absent::Error => absent,
        }
    }

    fn plan_devices(&self, resources: &Resources) -> Result<Devices, Error> {
        if resources.devices.is_empty() {
            return Ok(Devices::Untouched);
        }
        let rules = devices::parse(&resources.devices)?;
        if self.v1_of(Controller::Devices).is_some() {
            return devices::v1(&rules).map(Devices::Lines);
        }
        if self.v2.is_some() {
            return Ok(Devices::Program(device_program::compile(&rules)));
        }
        let reason = "is not mounted on this host".to_owned();
        Err(Error::Missing { controller: Controller::Devices, field: DEVICES.to_owned(), reason })
    }

    /// v1: a line a write, each file opened once.
    fn write_devices(&self, lines: &[devices::Line]) -> Result<(), Error> {
        let Some(dir) = self.v1_of(Controller::Devices) else { return Ok(()) };
        let mut open: Option<(&str, OwnedFd)> = None;
        for line in lines {
            let fd = match open.take() {
                Some((file, fd)) if file == line.file => fd,
                _ => dir.open_file(line.file, OFlag::O_WRONLY)?,
            };
            dir.write_to(fd.as_fd(), line.file, &line.value)?;
            open = Some((line.file, fd));
        }
        Ok(())
    }

    /// v2: attaches the program, in place of our earlier one if there is one.
    fn attach_devices(&self, program: &[bpf::Instruction]) -> Result<(), Error> {
        let Some(v2) = &self.v2 else { return Ok(()) };
        let group = v2.dir.as_fd();
        let failed = |command: &'static str| {
            move |errno| {
                let advice = (errno == Errno::EPERM)
                    .then_some("device filters of cgroup v2 need CAP_SYS_ADMIN in the initial user namespace");
                let object = format!("{command}, BPF_CGROUP_DEVICE, {:?}", v2.dir.path());
                Error::System { call: "bpf", object, errno, advice }
            }
        };
        let loaded = bpf::load_device_program(program, PROGRAM_NAME).map_err(failed("BPF_PROG_LOAD"))?;
        let mut earlier = None;
        if !self.fresh.get() {
            for id in bpf::device_programs(group).map_err(failed("BPF_PROG_QUERY"))? {
                let Some(fd) = bpf::open_program(id).map_err(failed("BPF_PROG_GET_FD_BY_ID"))? else { continue };
                if bpf::program_name(fd.as_fd()).map_err(failed("BPF_OBJ_GET_INFO_BY_FD"))? == PROGRAM_NAME {
                    earlier = Some(fd);
                }
            }
        }
        bpf::attach_device_program(group, loaded.as_fd(), earlier.as_ref().map(AsFd::as_fd))
            .map_err(failed("BPF_PROG_ATTACH"))
    }
}

fn limit(field: &str, error: Error) -> Error {
    match error {
        error @ Error::System { .. } => Error::Limit { field: field.to_owned(), source: Box::new(error) },
        other => other,
    }
}
