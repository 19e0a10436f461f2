//! Limits and weights.

use std::collections::BTreeSet;

use proto::v1;

use super::syntax::{numbers, text};
use super::{Invalid, each};
use crate::pod::config::Resources;

/// Limits of a container or a pod; what is 0 or empty was not given.
///
/// # Errors
/// The field and what it may be.
pub(crate) fn resources(message: v1::LinuxContainerResources) -> Result<Resources, Invalid> {
    let v1::LinuxContainerResources {
        cpu_period,
        cpu_quota,
        cpu_shares,
        memory_limit_in_bytes,
        oom_score_adj,
        cpuset_cpus,
        cpuset_mems,
        hugepage_limits,
        unified,
        memory_swap_limit_in_bytes,
    } = message;
    not_negative("cpu_period", cpu_period)?;
    not_negative("cpu_shares", cpu_shares)?;
    limit("memory_limit_in_bytes", memory_limit_in_bytes)?;
    limit("memory_swap_limit_in_bytes", memory_swap_limit_in_bytes)?;
    if memory_swap_limit_in_bytes > 0 && memory_limit_in_bytes > memory_swap_limit_in_bytes {
        return Err(Invalid::new(
            "memory_swap_limit_in_bytes",
            format!(
                "{memory_swap_limit_in_bytes} is less than memory_limit_in_bytes, {memory_limit_in_bytes}; it counts memory and swap together"
            ),
        ));
    }
    if !(-1000..=1000).contains(&oom_score_adj) {
        return Err(Invalid::new("oom_score_adj", format!("{oom_score_adj} is not from -1000 to 1000")));
    }
    Ok(Resources {
        cpu_period,
        cpu_quota,
        cpu_shares,
        memory_limit: memory_limit_in_bytes,
        oom_score_adj,
        cpuset_cpus: numbers("cpuset_cpus", cpuset_cpus)?,
        cpuset_mems: numbers("cpuset_mems", cpuset_mems)?,
        hugepage_limits: hugepages(hugepage_limits)?,
        unified: unified.into_iter().map(unified_file).collect::<Result<_, _>>()?,
        memory_swap_limit: memory_swap_limit_in_bytes,
    })
}

fn not_negative(field: &str, value: i64) -> Result<(), Invalid> {
    if value < 0 { Err(Invalid::new(field, format!("{value} must not be negative"))) } else { Ok(()) }
}

fn limit(field: &str, value: i64) -> Result<(), Invalid> {
    if value < -1 {
        return Err(Invalid::new(field, format!("{value} must be a number of bytes, or -1 for no limit")));
    }
    Ok(())
}

fn hugepages(list: Vec<v1::HugepageLimit>) -> Result<Vec<(String, u64)>, Invalid> {
    let list = each("hugepage_limits", list, |v1::HugepageLimit { page_size, limit }| {
        let number = ["KB", "MB", "GB"].iter().find_map(|unit| page_size.strip_suffix(unit));
        let good = |number: &str| {
            number.bytes().all(|byte| byte.is_ascii_digit()) && number.parse::<u32>().is_ok_and(|n| n > 0)
        };
        if number.is_some_and(good) {
            Ok((page_size, limit))
        } else {
            Err(Invalid::new("page_size", format!("{page_size:?} must be a size such as 2MB or 1GB")))
        }
    })?;
    let mut seen = BTreeSet::new();
    match list.iter().find(|(size, _)| !seen.insert(size)) {
        Some((size, _)) => Err(Invalid::new("hugepage_limits", format!("{size} must not be there twice"))),
        None => Ok(list),
    }
}

/// A file of the cgroup: of a controller, in no other directory. Files of cgroup v2 itself, such as cgroup.procs, are no limits.
fn unified_file((name, value): (String, String)) -> Result<(String, String), Invalid> {
    let controller = name.split_once('.').map(|(controller, _)| controller);
    let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'.' || byte == b'-';
    if controller.is_none_or(|controller| controller.is_empty() || controller == "cgroup")
        || !name.bytes().all(good)
        || name.ends_with('.')
    {
        return Err(Invalid::new(
            "unified",
            format!("{name:?} must be a file of a cgroup v2 controller such as memory.high"),
        ));
    }
    let value = text(&format!("unified[{name:?}]"), value)?;
    Ok((name, value))
}
