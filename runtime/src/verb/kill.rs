//! `kill`: sends a signal to init, or to every process.

use nix::errno::Errno;
use nix::sys::signal::Signal;
use runtime::cgroup::Cgroup;
use runtime::state::Access;
use runtime::sys::Call;
use runtime::sys::process::{pidfd_open, pidfd_send_signal, signal_number};

use super::{Context, Failure, Verb, owns_pids};
use crate::args::{Flag, Parsed};

pub(super) const VERB: Verb = Verb {
    name: "kill",
    usage: "kill [options] ID [SIGNAL]",
    summary: "send a signal (default TERM) to a container",
    flags: &[Flag { name: "all", short: Some('a'), value: None, help: "send it to all processes" }],
    least: 1,
    most: 2,
    passes_arguments: false,
    enters_containers: false,
    activation: false,
    run,
};

fn run(context: &Context<'_>, parsed: &Parsed) -> Result<u8, Failure> {
    let name = parsed.positionals.get(1).map_or("SIGTERM", String::as_str);
    // Signal 0 only asks whether there is somebody, kill(2).
    let signal = if name == "0" { Some(0) } else { signal_number(name) }.ok_or_else(|| {
        Failure::new(format!("unknown signal {name:?}; a name such as TERM or a number from 0 to 64"))
    })?;
    let container = context.open(parsed, Access::Look)?;
    let everyone =
        parsed.is_set("all") || (signal == libc::SIGKILL && !container.record.as_ref().is_some_and(owns_pids));
    match &container.cgroup {
        // Also those that have outlived init.
        Some(cgroup)
            if everyone
                && (container.init.is_some() || !cgroup.processes()?.is_empty())
                && !container.cgroup_is_anothers()? =>
        {
            all(cgroup, signal)?
        }
        Some(_) | None => {
            let (_, init) = container.alive("there is nothing to send a signal to")?;
            pidfd_send_signal(&init.pidfd, signal).call(|| format!("pidfd_send_signal({}, {signal})", init.pid))?;
        }
    }
    Ok(0)
}

fn all(cgroup: &Cgroup, signal: i32) -> Result<(), Failure> {
    if signal == libc::SIGKILL {
        return Ok(cgroup.signal(Signal::SIGKILL)?);
    }
    for pid in cgroup.processes()? {
        let sent = pidfd_open(pid).and_then(|pidfd| pidfd_send_signal(&pidfd, signal));
        match sent {
            // It has ended meanwhile.
            Ok(()) | Err(Errno::ESRCH | Errno::EINVAL) => {}
            Err(errno) => return Err(Failure::new(format!("pidfd_send_signal({pid}, {signal}): {errno}"))),
        }
    }
    Ok(())
}
