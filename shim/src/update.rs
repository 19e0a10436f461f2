//! New limits over old ones: what is absent stays.

use runtime::json;
use std::os::fd::AsFd;

use runtime::spec::{BlockIo, Cpu, Memory, Pids, Resources};
use serde_json::{Map, Value};

use crate::record;

/// Puts `resources`, and perhaps an `oom_score_adj`, into `config.json` below the directory `dir`; members that nobody here knows are
/// kept.
///
/// # Errors
/// [`record::Error`].
pub fn rewrite(dir: impl AsFd, resources: &Resources, oom_score_adj: Option<i32>) -> Result<(), record::Error> {
    const NAME: &str = "config.json";
    let malformed = |what: String| record::Error::Malformed(format!("{NAME}: {what}"));
    let text = record::read_file(&dir, NAME)?.ok_or_else(|| malformed("missing".to_owned()))?;
    let mut document: Value = json::from_slice(&text).map_err(|error| malformed(error.to_string()))?;
    // By way of its text, which needs no second serializer.
    let resources = serde_json::to_vec(resources).and_then(|text| json::from_slice(&text));
    let resources: Value = resources.map_err(|error| malformed(error.to_string()))?;
    let root = document.as_object_mut().ok_or_else(|| malformed("not an object".to_owned()))?;
    let linux = root.entry("linux").or_insert_with(|| Value::Object(Map::new()));
    let linux = linux.as_object_mut().ok_or_else(|| malformed("linux: not an object".to_owned()))?;
    linux.insert("resources".to_owned(), resources);
    if let (Some(score), Some(process)) = (oom_score_adj, root.get_mut("process").and_then(Value::as_object_mut)) {
        process.insert("oomScoreAdj".to_owned(), score.into());
    }
    Ok(record::replace(dir, NAME, &document)?)
}

/// Puts the values of `new` over those of `old`. Lists and maps: devices and per-device settings are replaced as a whole where
/// `new` has any; `unified` and huge pages by name.
pub fn merge(old: &mut Resources, new: Resources) {
    let Resources { devices, memory, cpu, pids, block_io, hugepage_limits, network, rdma, unified } = new;
    list(&mut old.devices, devices);
    part(&mut old.memory, memory, merge_memory);
    part(&mut old.cpu, cpu, merge_cpu);
    part(&mut old.pids, pids, |old, Pids { limit }| value(&mut old.limit, limit));
    part(&mut old.block_io, block_io, merge_block_io);
    for limit in hugepage_limits {
        old.hugepage_limits.retain(|other| other.page_size != limit.page_size);
        old.hugepage_limits.push(limit);
    }
    value(&mut old.network, network);
    value(&mut old.rdma, rdma);
    old.unified.extend(unified);
}

fn value<T>(old: &mut Option<T>, new: Option<T>) {
    if new.is_some() {
        *old = new;
    }
}

fn list<T>(old: &mut Vec<T>, new: Vec<T>) {
    if !new.is_empty() {
        *old = new;
    }
}

fn part<T>(old: &mut Option<T>, new: Option<T>, merge: impl FnOnce(&mut T, T)) {
    match (old, new) {
        (Some(old), Some(new)) => merge(old, new),
        (old, new) => value(old, new),
    }
}

fn merge_memory(old: &mut Memory, new: Memory) {
    let Memory {
        limit,
        reservation,
        swap,
        kernel,
        kernel_tcp,
        swappiness,
        disable_oom_killer,
        use_hierarchy,
        check_before_update,
    } = new;
    value(&mut old.limit, limit);
    value(&mut old.reservation, reservation);
    value(&mut old.swap, swap);
    value(&mut old.kernel, kernel);
    value(&mut old.kernel_tcp, kernel_tcp);
    value(&mut old.swappiness, swappiness);
    value(&mut old.disable_oom_killer, disable_oom_killer);
    value(&mut old.use_hierarchy, use_hierarchy);
    value(&mut old.check_before_update, check_before_update);
}

fn merge_cpu(old: &mut Cpu, new: Cpu) {
    let Cpu { shares, quota, burst, period, realtime_runtime, realtime_period, cpus, mems, idle } = new;
    value(&mut old.shares, shares);
    value(&mut old.quota, quota);
    value(&mut old.burst, burst);
    value(&mut old.period, period);
    value(&mut old.realtime_runtime, realtime_runtime);
    value(&mut old.realtime_period, realtime_period);
    value(&mut old.cpus, cpus);
    value(&mut old.mems, mems);
    value(&mut old.idle, idle);
}

fn merge_block_io(old: &mut BlockIo, new: BlockIo) {
    let BlockIo {
        weight,
        leaf_weight,
        weight_device,
        throttle_read_bps_device,
        throttle_write_bps_device,
        throttle_read_iops_device,
        throttle_write_iops_device,
    } = new;
    value(&mut old.weight, weight);
    value(&mut old.leaf_weight, leaf_weight);
    list(&mut old.weight_device, weight_device);
    list(&mut old.throttle_read_bps_device, throttle_read_bps_device);
    list(&mut old.throttle_write_bps_device, throttle_write_bps_device);
    list(&mut old.throttle_read_iops_device, throttle_read_iops_device);
    list(&mut old.throttle_write_iops_device, throttle_write_iops_device);
}

#[cfg(test)]
mod tests {
    use runtime::spec::Resources;

    use super::{merge, rewrite};

    #[test]
    fn a_rewritten_document_keeps_what_is_not_known() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        let before = r#"{"x":1,"linux":{"y":2,"resources":{"pids":{"limit":1}}},"process":{"oomScoreAdj":5}}"#;
        std::fs::write(&path, before).unwrap();
        let fd = std::fs::File::open(dir.path()).unwrap();
        let resources = serde_json::from_str(r#"{"pids":{"limit":7}}"#).unwrap();
        for (score, left) in [(None, 5), (Some(-7), -7)] {
            rewrite(&fd, &resources, score).unwrap();
            let text = std::fs::read_to_string(&path).unwrap();
            let process = format!(r#""process":{{"oomScoreAdj":{left}}}"#);
            assert_eq!(text, format!(r#"{{"linux":{{"resources":{{"pids":{{"limit":7}}}},"y":2}},{process},"x":1}}"#));
        }
    }

    #[test]
    fn what_is_absent_stays() {
        for (old, new, expected) in [
            ("{}", "{}", "{}"),
            ("{}", r#"{"pids":{"limit":5}}"#, r#"{"pids":{"limit":5}}"#),
            (r#"{"pids":{"limit":5}}"#, "{}", r#"{"pids":{"limit":5}}"#),
            (
                r#"{"memory":{"limit":100,"swap":200},"cpu":{"shares":2}}"#,
                r#"{"memory":{"limit":150},"cpu":{"quota":1000}}"#,
                r#"{"memory":{"limit":150,"swap":200},"cpu":{"shares":2,"quota":1000}}"#,
            ),
            (
                r#"{"devices":[{"allow":false}],"unified":{"a":"1","b":"2"}}"#,
                r#"{"unified":{"b":"3"}}"#,
                r#"{"devices":[{"allow":false}],"unified":{"a":"1","b":"3"}}"#,
            ),
            (
                r#"{"hugepageLimits":[{"pageSize":"2MB","limit":1},{"pageSize":"1GB","limit":2}]}"#,
                r#"{"hugepageLimits":[{"pageSize":"2MB","limit":3}]}"#,
                r#"{"hugepageLimits":[{"pageSize":"1GB","limit":2},{"pageSize":"2MB","limit":3}]}"#,
            ),
            (
                r#"{"blockIO":{"weight":10,"throttleReadBpsDevice":[{"major":1,"minor":1,"rate":5}]}}"#,
                r#"{"blockIO":{"throttleReadBpsDevice":[{"major":8,"minor":0,"rate":6}]}}"#,
                r#"{"blockIO":{"weight":10,"throttleReadBpsDevice":[{"major":8,"minor":0,"rate":6}]}}"#,
            ),
        ] {
            let parse = |text: &str| serde_json::from_str::<Resources>(text).unwrap();
            let mut merged = parse(old);
            merge(&mut merged, parse(new));
            assert_eq!(merged, parse(expected), "{old} + {new}");
        }
    }
}
