//! Limits and weights.

use proto::v1;

use crate::pod::config::Resources;

/// Limits as they are told in a status.
pub(crate) fn resources(value: &Resources) -> v1::LinuxContainerResources {
    let Resources {
        cpu_period,
        cpu_quota,
        cpu_shares,
        memory_limit,
        oom_score_adj,
        cpuset_cpus,
        cpuset_mems,
        hugepage_limits,
        unified,
        memory_swap_limit,
    } = value;
    let page = |(page_size, limit): &(String, u64)| v1::HugepageLimit { page_size: page_size.clone(), limit: *limit };
    v1::LinuxContainerResources {
        cpu_period: *cpu_period,
        cpu_quota: *cpu_quota,
        cpu_shares: *cpu_shares,
        memory_limit_in_bytes: *memory_limit,
        oom_score_adj: *oom_score_adj,
        cpuset_cpus: cpuset_cpus.clone(),
        cpuset_mems: cpuset_mems.clone(),
        hugepage_limits: hugepage_limits.iter().map(page).collect(),
        unified: unified.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
        memory_swap_limit_in_bytes: *memory_swap_limit,
    }
}
