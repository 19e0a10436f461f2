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
        number("memory", "memory limit in bytes, -1 for none"),
        number("memory-reservation", "soft memory limit in bytes"),
        number("memory-swap", "memory plus swap in bytes, -1 for none"),
        number("cpu-share", "relative CPU weight"),
        number("cpu-quota", "CPU time per period in microseconds, -1 for no limit"),
        number("cpu-period", "period in microseconds"),
        number("cpu-burst", "CPU time that may be saved up, in microseconds"),
        number("cpu-idle", "1: run only when nothing else does"),
        Flag { name: "cpuset-cpus", short: None, value: Some("LIST"), help: "CPUs" },
        Flag { name: "cpuset-mems", short: None, value: Some("LIST"), help: "memory nodes" },
        number("pids-limit", "number of tasks, -1 for no limit"),
        number("blkio-weight", "block I/O weight, 10 to 1000"),
    ],
    least: 1,
    most: 1,
    passes_arguments: false,
    enters_containers: false,
    run,
};

fn run(context: &Context<'_>, parsed: &Parsed) -> Result<u8, Failure> {
    let resources = resources(parsed)?;
    let container = context.open(parsed, Access::Change)?;
    container.alive("its limits cannot be changed")?;
    let cgroup = container.cgroup.as_ref().ok_or_else(|| Failure::new("the container has no cgroup"))?;
    cgroup.apply(&resources)?;
    Ok(0)
}

fn resources(parsed: &Parsed) -> Result<Resources, Failure> {
    if let Some(path) = parsed.value("resources") {
        let text = if path == "-" {
            let mut text = Vec::new();
            std::io::stdin().take(LIMIT).read_to_end(&mut text).call(|| "read(0)".to_owned())?;
            text
        } else {
            spec::read(AT_FDCWD, Path::new(path))?
        };
        let mut resources: Resources = spec::parse("resources", &text)?;
        // Device rules are not part of an update (runc's behaviour).
        resources.devices.clear();
        return Ok(resources);
    }
    let signed = |name| parsed.parsed::<i64>(name, "a number");
    let unsigned = |name| parsed.parsed::<u64>(name, "a number from 0 on");
    let text = |name| parsed.value(name).map(str::to_owned);
    let memory = Memory {
        limit: signed("memory")?,
        reservation: signed("memory-reservation")?,
        swap: signed("memory-swap")?,
        ..Memory::default()
    };
    let cpu = Cpu {
        shares: unsigned("cpu-share")?,
        quota: signed("cpu-quota")?,
        period: unsigned("cpu-period")?,
        burst: unsigned("cpu-burst")?,
        idle: signed("cpu-idle")?,
        cpus: text("cpuset-cpus"),
        mems: text("cpuset-mems"),
        ..Cpu::default()
    };
    let block_io = BlockIo { weight: parsed.parsed("blkio-weight", "a number from 10 to 1000")?, ..BlockIo::default() };
    let resources = Resources {
        memory: (memory != Memory::default()).then_some(memory),
        cpu: (cpu != Cpu::default()).then_some(cpu),
        pids: signed("pids-limit")?.map(|limit| Pids { limit: Some(limit) }),
        block_io: (block_io != BlockIo::default()).then_some(block_io),
        ..Resources::default()
    };
    if resources == Resources::default() {
        return Err(Failure::new("nothing to update; give --resources or a limit"));
    }
    Ok(resources)
}
