//! From `linux.resources` to an ordered list of writes. Pure.
//!
//! ```text
//!  Resources ──plan──▶ per section: which version holds its controller? ──▶ v1::memory, v2::memory, ... ──▶ [Write]
//! ```
//!
//! All checks are made here, before anything is written. On a hybrid host each section goes to where its controller is.
//! Members whose value means "not set" for the other runtimes (0, except `pids.limit`) are not set here either.

mod v1;
mod v2;

use std::borrow::Cow;

use super::Error;
use super::controller::{Controller, Controllers};
use crate::plan::present;
use crate::spec::{Member, Resources};

pub use v2::{weight as cpu_weight, weight_of_io};

/// A cgroup version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    V1,
    V2,
}

/// Which version holds which controller.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    /// Controllers with a v1 hierarchy in which the group exists.
    pub(super) v1: Controllers,
    /// Whether there is a cgroup2 mount, which then may hold all others.
    pub(super) v2: bool,
}

impl Layout {
    pub(super) fn of(self, controller: Controller) -> Option<Version> {
        if self.v1.contains(controller) { Some(Version::V1) } else { self.v2.then_some(Version::V2) }
    }
}

/// What must be known of the group to change a part of what it has.
#[derive(Debug, Default)]
pub(super) struct Current {
    /// The group was just made: it has the kernel's defaults.
    pub(super) fresh: bool,
    /// `cpu.max`, for an update of the period alone.
    pub(super) cpu_max: Option<String>,
    /// `memory.current`, for `checkBeforeUpdate`.
    pub(super) memory_usage: Option<u64>,
}

/// A write of a value to a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Write {
    /// Whose file it is; `None` for files of the v2 core.
    pub(super) controller: Option<Controller>,
    /// JSON path, for messages.
    pub(super) field: Cow<'static, str>,
    /// File and value; where there are several, the first file that exists takes it.
    pub(super) targets: Vec<(Cow<'static, str>, String)>,
    /// What if no file exists.
    pub(super) absent: Absent,
    /// What if the kernel answers EINVAL.
    pub(super) refused: Refused,
}

/// What a missing file means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Absent {
    /// The limit cannot be set.
    Error,
    /// There is nothing to limit: the value asks for no more than what is so anyway.
    Skip,
}

/// What EINVAL means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// An error.
    Error,
    /// Perhaps that it contradicts the old value of another file that is about to be written: try again after all others.
    TryLast,
}

impl Write {
    fn new(
        controller: impl Into<Option<Controller>>,
        field: impl Into<Cow<'static, str>>,
        file: impl Into<Cow<'static, str>>,
        value: impl ToString,
    ) -> Write {
        let targets = vec![(file.into(), value.to_string())];
        Write {
            controller: controller.into(),
            field: field.into(),
            targets,
            absent: Absent::Error,
            refused: Refused::Error,
        }
    }

    fn or(mut self, file: &'static str, value: impl ToString) -> Write {
        self.targets.push((file.into(), value.to_string()));
        self
    }

    fn absent_is_fine(self) -> Write {
        Write { absent: Absent::Skip, ..self }
    }

    fn absent_is_fine_if(self, fine: bool) -> Write {
        if fine { self.absent_is_fine() } else { self }
    }

    fn may_come_last(self) -> Write {
        Write { refused: Refused::TryLast, ..self }
    }
}

/// The writes that bring a group to `resources`, devices excepted.
///
/// # Errors
/// [`Error::Invalid`] and [`Error::Missing`], with the JSON path.
pub(super) fn plan(resources: &Resources, layout: Layout, current: &Current) -> Result<Vec<Write>, Error> {
    let mut writes = Vec::new();
    let mut section = |controller, made: Result<Vec<Write>, Error>| {
        let made = made?;
        if layout.of(controller).is_some() {
            writes.extend(made);
            return Ok(());
        }
        match made.into_iter().find(|write| write.absent == Absent::Error) {
            Some(Write { field, .. }) => {
                let reason = "is not mounted on this host".to_owned();
                Err(Error::Missing { controller, field: field.into_owned(), reason })
            }
            None => Ok(()),
        }
    };
    // A controller that is nowhere is asked through the v1 function: it names the member that needs it.
    let version = |controller| layout.of(controller).unwrap_or(Version::V1);
    if let Some(cpu) = &resources.cpu {
        let placement = match version(Controller::Cpuset) {
            Version::V1 => v1::cpuset(cpu),
            Version::V2 => v2::cpuset(cpu),
        };
        section(Controller::Cpuset, placement)?;
        let time = match version(Controller::Cpu) {
            Version::V1 => v1::cpu(cpu),
            Version::V2 => v2::cpu(cpu, current),
        };
        section(Controller::Cpu, time)?;
    }
    if let Some(memory) = &resources.memory {
        let made = match version(Controller::Memory) {
            Version::V1 => v1::memory(memory, current),
            Version::V2 => v2::memory(memory, current),
        };
        section(Controller::Memory, made)?;
    }
    if let Some(rdma) = present(resources.rdma.as_ref()) {
        section(Controller::Rdma, rdma_limits(rdma))?;
    }
    if let Some(limit) = resources.pids.as_ref().and_then(|pids| pids.limit) {
        let field = "linux.resources.pids.limit";
        let value = if amount(field, limit)? == Amount::Unlimited { "max".to_owned() } else { limit.to_string() };
        section(Controller::Pids, Ok(vec![Write::new(Controller::Pids, field, "pids.max", value)]))?;
    }
    if let Some(io) = &resources.block_io {
        let made = match version(Controller::Io) {
            Version::V1 => v1::block_io(io),
            Version::V2 => v2::block_io(io),
        };
        section(Controller::Io, made)?;
    }
    if !resources.hugepage_limits.is_empty() {
        let (limit, reserved) = match version(Controller::Hugetlb) {
            Version::V1 => ("limit_in_bytes", "rsvd.limit_in_bytes"),
            Version::V2 => ("max", "rsvd.max"),
        };
        section(Controller::Hugetlb, hugepages(&resources.hugepage_limits, limit, reserved))?;
    }
    if let Some(network) = present(resources.network.as_ref()) {
        for write in v1::network(network)? {
            match write.controller {
                // KERNEL: these two have never come to v2.
                Some(controller) if layout.of(controller) != Some(Version::V1) => {
                    let reason = "is not mounted on this host (it exists in cgroup v1 alone)".to_owned();
                    return Err(Error::Missing { controller, field: write.field.into_owned(), reason });
                }
                _ => writes.push(write),
            }
        }
    }
    for (key, value) in &resources.unified {
        let (controller, made) = v2::unified(key, value)?;
        let Some(controller) = controller else {
            if !layout.v2 {
                return Err(invalid(v2::unified_field(key), "this host has no cgroup v2"));
            }
            writes.extend(made);
            continue;
        };
        if layout.of(controller) != Some(Version::V2) {
            let problem = format!("on this host the controller {controller} is not one of cgroup v2");
            return Err(invalid(v2::unified_field(key), problem));
        }
        writes.extend(made);
    }
    Ok(writes)
}

fn hugepages(limits: &[crate::spec::HugepageLimit], limit: &str, reserved: &str) -> Result<Vec<Write>, Error> {
    let mut writes = Vec::new();
    for (index, hugepage) in limits.iter().enumerate() {
        let size = &hugepage.page_size;
        let digits = size.trim_end_matches("KB").trim_end_matches("MB").trim_end_matches("GB");
        let number = !digits.is_empty() && !digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit());
        if !number || size.len() != digits.len() + 2 {
            let field = format!("linux.resources.hugepageLimits[{index}].pageSize");
            return Err(invalid(field, format!("{size:?} is no size such as 64KB, 2MB or 1GB")));
        }
        let field = format!("linux.resources.hugepageLimits[{index}].limit");
        let value = hugepage.limit;
        writes.push(Write::new(Controller::Hugetlb, field.clone(), format!("hugetlb.{size}.{limit}"), value));
        // KERNEL(5.7): limits at reservation time, so that mmap(2) fails instead of a later SIGBUS.
        writes
            .push(Write::new(Controller::Hugetlb, field, format!("hugetlb.{size}.{reserved}"), value).absent_is_fine());
    }
    Ok(writes)
}

/// `linux.resources.rdma`: the file is the same in both versions, with a line for each device.
fn rdma_limits(value: &serde_json::Value) -> Result<Vec<Write>, Error> {
    let mut writes = Vec::new();
    for (device, limits) in Member::new(value, "linux.resources.rdma")?.named()? {
        if device.is_empty() || device.contains(|c: char| c.is_whitespace()) {
            return Err(limits.own("is no name of a device").into());
        }
        let mut line = device.to_owned();
        for (member, key) in [("hcaHandles", "hca_handle"), ("hcaObjects", "hca_object")] {
            if let Some(number) = limits.number(member, 0, u32::MAX.into())? {
                line += &format!(" {key}={number}");
            }
        }
        if line == device {
            return Err(limits.own("needs hcaHandles or hcaObjects").into());
        }
        writes.push(Write::new(Controller::Rdma, limits.at().to_owned(), "rdma.max", line));
    }
    Ok(writes)
}

/// A number of which -1 means "no limit".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Amount {
    Unlimited,
    Of(u64),
}

/// Reads such a number.
fn amount(field: &'static str, value: i64) -> Result<Amount, Error> {
    match (value, u64::try_from(value)) {
        (-1, _) => Ok(Amount::Unlimited),
        (_, Ok(value)) => Ok(Amount::Of(value)),
        (_, Err(_)) => Err(invalid(field, format!("{value} is neither -1 (no limit) nor an amount"))),
    }
}

/// The same where 0 means "not set".
fn set_amount(field: &'static str, value: Option<i64>) -> Result<Option<Amount>, Error> {
    value.filter(|value| *value != 0).map(|value| amount(field, value)).transpose()
}

/// A list of CPUs or memory nodes as in cpuset(7), "List format".
fn list<'a>(field: &'static str, value: &'a Option<String>) -> Result<Option<&'a str>, Error> {
    let Some(list) = value.as_deref().map(str::trim).filter(|list| !list.is_empty()) else { return Ok(None) };
    let number = |text: &str| !text.is_empty() && text.len() < 10 && text.bytes().all(|byte| byte.is_ascii_digit());
    let range = |text: &str| match text.split_once('-') {
        Some((first, last)) => number(first) && number(last),
        None => number(text),
    };
    if list.split(',').all(|part| range(part.trim())) {
        Ok(Some(list))
    } else {
        Err(invalid(field, format!("{list:?} is no list such as 0-3,7")))
    }
}

/// The parts of `linux.resources.memory` whose meaning is the same for both versions.
struct CheckedMemory {
    limit: Option<Amount>,
    /// Memory and swap together.
    both: Option<Amount>,
    reservation: Option<Amount>,
}

const LIMIT: &str = "linux.resources.memory.limit";
const SWAP: &str = "linux.resources.memory.swap";
const RESERVATION: &str = "linux.resources.memory.reservation";

impl CheckedMemory {
    /// `kernel` and `kernelTCP` (dropped by Linux 5.16 or charged to the memory limit) and `useHierarchy` (always so since
    /// 5.11) are accepted and mean nothing.
    fn new(memory: &crate::spec::Memory) -> Result<CheckedMemory, Error> {
        let limit = set_amount(LIMIT, memory.limit)?;
        let both = set_amount(SWAP, memory.swap)?;
        let reservation = set_amount(RESERVATION, memory.reservation)?;
        if let (Some(Amount::Of(limit)), Some(Amount::Of(both))) = (limit, both)
            && both < limit
        {
            let problem = format!("memory and swap together ({both}) are less than the memory limit ({limit})");
            return Err(invalid(SWAP, problem));
        }
        if let (Some(Amount::Unlimited), Some(Amount::Of(_))) = (limit, both) {
            return Err(invalid(SWAP, "a limit of memory and swap together needs a memory limit"));
        }
        Ok(CheckedMemory { limit, both, reservation })
    }
}

/// `linux.resources.blockIO.weight` and the like: 0 means "not set".
fn io_weight(field: impl Into<Cow<'static, str>>, weight: Option<u16>) -> Result<Option<u16>, Error> {
    match weight {
        None | Some(0) => Ok(None),
        Some(weight @ 10..=1000) => Ok(Some(weight)),
        Some(weight) => Err(invalid(field, format!("{weight} is not from 10 to 1000"))),
    }
}

/// `major:minor` of a block device.
fn device(field: &str, major: i64, minor: i64) -> Result<String, Error> {
    match (u32::try_from(major), u32::try_from(minor)) {
        (Ok(major), Ok(minor)) => Ok(format!("{major}:{minor}")),
        _ => Err(invalid(field.to_owned(), format!("{major}:{minor} is no device"))),
    }
}

fn invalid(field: impl Into<Cow<'static, str>>, problem: impl Into<String>) -> Error {
    Error::Invalid { field: field.into().into_owned(), problem: problem.into() }
}

#[cfg(test)]
mod tests;
