//! `run`: create, start, and unless detached wait and delete, in one process.

use runtime::hooks::{self, State, Status};
use runtime::launch::{StartMode, Stdio};
use runtime::state::Error;

use super::create::{
    BUNDLE, CONSOLE_SOCKET, Made, NO_NEW_KEYRING, NO_PIVOT, PID_FILE, PIDFD_SOCKET, PRESERVE_FDS, Request, connect_to,
    make,
};
use super::delete::destroy;
use super::foreground::{Foreground, exit_code};
use super::{Context, Failure, Verb};
use crate::args::{Flag, Parsed};

pub(super) const VERB: Verb = Verb {
    name: "run",
    usage: "run [options] ID",
    summary: "create and start a container, and wait for its end",
    flags: &[
        BUNDLE,
        CONSOLE_SOCKET,
        PIDFD_SOCKET,
        PID_FILE,
        PRESERVE_FDS,
        NO_PIVOT,
        NO_NEW_KEYRING,
        Flag { name: "detach", short: Some('d'), value: None, help: "do not wait for its end" },
        Flag { name: "keep", short: None, value: None, help: "do not delete it after its end" },
        Flag { name: "no-subreaper", short: None, value: None, help: "accepted; there is no subreaper" },
    ],
    least: 1,
    most: 1,
    passes_arguments: false,
    enters_containers: true,
    activation: true,
    run,
};

fn run(context: &Context<'_>, parsed: &Parsed) -> Result<u8, Failure> {
    let request = Request::new(parsed)?;
    let detach = parsed.is_set("detach");
    let terminal = request.spec.process.as_ref().is_some_and(|process| process.terminal);
    let stdio = match (&request.console_socket, terminal) {
        (Some(_), false) => return Err(Failure::new("--console-socket: process.terminal is false in config.json")),
        (Some(path), true) => Stdio::ConsoleSocket(connect_to("console-socket", path)?),
        (None, true) if detach => {
            return Err(Failure::new("--detach: a terminal needs --console-socket, as nobody stays to relay it"));
        }
        (None, true) => Stdio::Terminal,
        (None, false) => Stdio::Inherit,
    };
    // Signals are caught before there is a container that they could miss.
    let foreground = if detach { None } else { Some(Foreground::new()?) };
    // The record is written before the program runs: killed at any time, this process leaves a container that is known.
    let mut made = make(context, request, stdio, |_| Ok(StartMode::Paired))?;
    // From its start on other commands may change the container, and remove it: hooks and the program take their time.
    let released = |()| Ok(made.directory.release()?);
    let started = made.created.start().map_err(Failure::from).and_then(released).and_then(|()| poststart(&made));
    if let Err(failure) = started {
        // A container whose poststart hook fails is stopped (OCI runtime-spec runtime.md, "Lifecycle").
        end(context, &made)?;
        return Err(failure);
    }
    let Some(foreground) = foreground else {
        return made.notify.map_or(Ok(0), |notify| notify.relay(&made.created.pidfd, made.created.pid.as_raw()));
    };
    let console = made.created.console.take();
    let exited = foreground.relay(&made.created.pidfd, console, made.notify.take());
    if !parsed.is_set("keep") {
        end(context, &made)?;
    }
    let code = exit_code(exited?);
    // All that is open goes with the process, in no call of its own.
    std::mem::forget((made, foreground));
    Ok(code)
}

/// Removes the container, unless somebody else has done so.
fn end(context: &Context<'_>, made: &Made) -> Result<(), Failure> {
    match made.directory.retake() {
        Err(Error::Missing(_)) => Ok(()),
        taken => {
            taken?;
            destroy(context, &made.directory, Some(&made.record), made.cgroup.as_ref())
        }
    }
}

fn poststart(made: &Made) -> Result<(), Failure> {
    let Some(hooks) = &made.record.spec.hooks else { return Ok(()) };
    let state = State {
        oci_version: &made.record.spec.oci_version,
        id: &made.record.id,
        status: Status::Running,
        pid: made.created.pid.as_raw(),
        bundle: &made.record.bundle,
        annotations: &made.record.spec.annotations,
    };
    Ok(hooks::run_in_bundle(&hooks.poststart, "poststart", &state)?)
}
