//! `update`: changes limits of a running container.

use std::io::Read;
use std::path::Path;

use nix::fcntl::AT_FDCWD;
use runtime::spec::{self, BlockIo, Cpu, Memory, Pids, Resources};
use runtime::state::Access;
use runtime::sys::Call;

use super::{Context, Failure, Verb};
use crate::args::{Flag, Parsed};

/// Largest document of `--resources -`, in bytes.
const LIMIT: u64 = 1 << 20;

const fn number(name: &'static str, help: &'static str) -> Flag {
    Flag { name, short: None, value: Some("N"), help }
}

pub(super) const VERB: Verb = Verb {
    name: "update",
    usage: "update [options] ID",
    summary: "change the limits of a container",
    flags: &[
        Flag { name: "resources", short: Some('r'), value: Some("FILE|-"), help: "JSON document as linux.resources" },
        number("memory", "memory limit in bytes, or with b, k, m, g, t; -1 for none"),
        number("memory-reservation", "soft memory limit"),
        number("memory-swap", "memory plus swap, -1 for none"),
        number("cpu-share", "relative CPU weight"),
        number("cpu-quota", "CPU time per period in microseconds, -1 for no limit"),
        number("cpu-period", "period in microseconds"),
        number("cpu-burst", "CPU time that may be saved up, in microseconds"),
        number("cpu-idle", "1: run only when nothing else does"),
        number("cpu-rt-period", "real-time period in microseconds"),
        number("cpu-rt-runtime", "real-time CPU time per period in microseconds"),
        Flag { name: "cpuset-cpus", short: None, value: Some("LIST"), help: "CPUs" },
        Flag { name: "cpuset-mems", short: None, value: Some("LIST"), help: "memory nodes" },
        number("pids-limit", "number of tasks, -1 for no limit"),
        number("blkio-weight", "block I/O weight, 10 to 1000"),
        number("kernel-memory", "no effect: the kernel has no such limit any more"),
        number("kernel-memory-tcp", "no effect: the kernel has no such limit any more"),
        Flag { name: "l3-cache-schema", short: None, value: Some("SCHEMA"), help: "refused: no Intel RDT here" },
        Flag { name: "mem-bw-schema", short: None, value: Some("SCHEMA"), help: "refused: no Intel RDT here" },
    ],
    least: 1,
    most: 1,
    passes_arguments: false,
    enters_containers: false,
    activation: false,
    run,
};

fn run(context: &Context<'_>, parsed: &Parsed) -> Result<u8, Failure> {
    let resources = resources(context, parsed)?;
    let container = context.open(parsed, Access::Change)?;
    let (record, _) = container.alive("its limits cannot be changed")?;
    let cgroup = container.cgroup("its limits cannot be changed")?;
    // systemd first: it would write its own again at the next reload.
    if let Some(scope) = record.scope.as_ref() {
        scope.update(&cgroup.completed(&resources)?)?;
    }
    cgroup.apply(&resources)?;
    Ok(0)
}

fn resources(context: &Context<'_>, parsed: &Parsed) -> Result<Resources, Failure> {
    if let Some(path) = parsed.value("resources") {
        let text = if path == "-" {
            let mut text = Vec::new();
            std::io::stdin().take(LIMIT).read_to_end(&mut text).call(|| "--resources: read(0)".to_owned())?;
            text
        } else {
            spec::read(AT_FDCWD, Path::new(path)).map_err(|error| format!("--resources: {error}"))?
        };
        let mut resources: Resources = spec::parse("resources", &text)?;
        // Device rules are not part of an update (runc's behaviour).
        resources.devices.clear();
        return Ok(resources);
    }
    let mut ignored = false;
    for name in ["kernel-memory", "kernel-memory-tcp"] {
        if parsed.value(name).is_some() {
            context.log.warning(&format!("--{name} has no effect: the kernel has no such limit any more"));
            ignored = true;
        }
    }
    for (name, problem) in
        [("l3-cache-schema", "Intel RDT is not supported"), ("mem-bw-schema", "Intel RDT is not supported")]
    {
        if parsed.value(name).is_some() {
            return Err(Failure::new(format!("--{name}: {problem}")));
        }
    }
    let signed = |name| parsed.parsed::<i64>(name, "a number");
    let unsigned = |name| parsed.parsed::<u64>(name, "a number from 0 on");
    let text = |name| parsed.value(name).map(str::to_owned);
    let memory = Memory {
        limit: bytes(parsed, "memory")?,
        reservation: bytes(parsed, "memory-reservation")?,
        swap: bytes(parsed, "memory-swap")?,
        ..Memory::default()
    };
    let cpu = Cpu {
        shares: unsigned("cpu-share")?,
        quota: signed("cpu-quota")?,
        period: unsigned("cpu-period")?,
        burst: unsigned("cpu-burst")?,
        idle: signed("cpu-idle")?,
        realtime_period: unsigned("cpu-rt-period")?,
        realtime_runtime: signed("cpu-rt-runtime")?,
        cpus: text("cpuset-cpus"),
        mems: text("cpuset-mems"),
    };
    let block_io = BlockIo { weight: parsed.parsed("blkio-weight", "a number from 10 to 1000")?, ..BlockIo::default() };
    let resources = Resources {
        memory: (memory != Memory::default()).then_some(memory),
        cpu: (cpu != Cpu::default()).then_some(cpu),
        pids: signed("pids-limit")?.map(|limit| Pids { limit: Some(limit) }),
        block_io: (block_io != BlockIo::default()).then_some(block_io),
        ..Resources::default()
    };
    if resources == Resources::default() && !ignored {
        return Err(Failure::new("nothing to update; give --resources or a limit"));
    }
    Ok(resources)
}

/// A size as docker writes it: a number, with a letter for a power of 1024 and perhaps `b` or `ib` behind it.
fn bytes(parsed: &Parsed, name: &'static str) -> Result<Option<i64>, Failure> {
    let Some(text) = parsed.value(name) else { return Ok(None) };
    let wrong = || Failure::new(format!("--{name}: {text:?} is no size such as 1000000, 64m, 2g or -1"));
    size(text).map(Some).ok_or_else(wrong)
}

fn size(text: &str) -> Option<i64> {
    if text == "-1" {
        return Some(-1);
    }
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = unit.trim_start().to_ascii_lowercase();
    let power = match unit.strip_suffix("ib").or_else(|| unit.strip_suffix('b')).unwrap_or(&unit) {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return None,
    };
    number.parse::<i64>().ok()?.checked_mul(1 << (10 * power))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", Some(0)),
            ("-1", Some(-1)),
            ("4096", Some(4096)),
            ("64m", Some(64 << 20)),
            ("64MB", Some(64 << 20)),
            ("2GiB", Some(2 << 30)),
            ("1 k", Some(1024)),
            ("7b", Some(7)),
            ("", None),
            ("-2", None),
            ("1.5g", None),
            ("m", None),
            ("1x", None),
            ("9223372036854775807k", None),
        ] {
            assert_eq!(size(text), bytes, "{text}");
        }
    }
}
