//! Limits.

use runtime::spec::{self, Cpu, HugepageLimit, Memory};

use super::super::config::Resources;
use crate::spec::Host;

/// Smallest and largest relative weight of cgroup v1; sched/fair.
const SHARES: std::ops::RangeInclusive<i64> = 2..=262_144;

/// Limits as the runtime takes them. What was not given is absent: for a new container there is no limit then, and in an update the
/// old one stays.
///
/// A memory limit without one of swap means that nothing is swapped, where the kernel counts swap.
pub(in crate::pod) fn resources(limits: &Resources, host: &Host) -> spec::Resources {
    let given = |value: i64| Some(value).filter(|value| *value != 0);
    let text = |value: &String| Some(value.clone()).filter(|value| !value.is_empty());
    let positive = |value: i64| u64::try_from(value).ok().filter(|value| *value != 0);
    let cpu = Cpu {
        shares: given(limits.cpu_shares).and_then(|shares| positive(shares.clamp(*SHARES.start(), *SHARES.end()))),
        quota: given(limits.cpu_quota).map(|quota| quota.max(-1)),
        period: positive(limits.cpu_period),
        cpus: text(&limits.cpuset_cpus),
        mems: text(&limits.cpuset_mems),
        ..Cpu::default()
    };
    let limit = given(limits.memory_limit);
    let swap = given(limits.memory_swap_limit).or(limit).filter(|_| host.swap_accounting);
    let memory = Memory { limit, swap, ..Memory::default() };
    let page = |(page_size, limit): &(String, u64)| HugepageLimit { page_size: page_size.clone(), limit: *limit };
    spec::Resources {
        cpu: Some(cpu).filter(|cpu| *cpu != Cpu::default()),
        memory: Some(memory).filter(|memory| *memory != Memory::default()),
        // A kubelet names a limit for each size of the machine, also where no kernel could keep it.
        hugepage_limits: limits.hugepage_limits.iter().filter(|_| host.hugetlb).map(page).collect(),
        unified: limits.unified.clone(),
        ..spec::Resources::default()
    }
}
