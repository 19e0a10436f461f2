//! `exec`: runs one more process in a container.

use std::os::fd::OwnedFd;
use std::path::Path;

use nix::fcntl::AT_FDCWD;
use runtime::hooks::Status;
use runtime::launch::{self, Exec, Executed, Stdio};
use runtime::spec::{self, Capabilities, Process};
use runtime::state::Access;
use runtime::sys::CallError;
use runtime::sys::process::{Block, pidfd_send_signal, wait};

use super::create::{CONSOLE_SOCKET, PID_FILE, PIDFD_SOCKET, PRESERVE_FDS, connect_to, send_pidfd};
use super::foreground::{Foreground, exit_code};
use super::{Container, Context, Failure, Verb, write_pid_file};
use crate::args::{Flag, Parsed};

/// Exit code of an exec that did not come to run its program, as runc's.
const NOT_RUN: u8 = 255;

pub(super) const VERB: Verb = Verb {
    name: "exec",
    usage: "exec [options] ID COMMAND [ARG...]",
    summary: "run a process in a running container",
    flags: &[
        CONSOLE_SOCKET,
        PIDFD_SOCKET,
        PID_FILE,
        PRESERVE_FDS,
        Flag {
            name: "process",
            short: Some('p'),
            value: Some("FILE"),
            help: "take everything from this JSON document",
        },
        Flag { name: "cwd", short: None, value: Some("DIR"), help: "working directory in the container" },
        Flag { name: "env", short: Some('e'), value: Some("NAME=VALUE"), help: "set a variable; may be repeated" },
        Flag { name: "tty", short: Some('t'), value: None, help: "allocate a terminal" },
        Flag { name: "user", short: Some('u'), value: Some("UID[:GID]"), help: "user and group by number" },
        Flag { name: "additional-gids", short: Some('g'), value: Some("GID"), help: "one more group; may be repeated" },
        Flag { name: "detach", short: Some('d'), value: None, help: "do not wait for its end" },
        Flag { name: "no-new-privs", short: None, value: None, help: "set no_new_privs" },
        Flag { name: "cap", short: Some('c'), value: Some("CAP"), help: "one more capability; may be repeated" },
        Flag { name: "apparmor", short: None, value: Some("PROFILE"), help: "AppArmor profile" },
        Flag { name: "process-label", short: None, value: Some("LABEL"), help: "SELinux label" },
        Flag {
            name: "cgroup",
            short: None,
            value: Some("[CONTROLLERS:]PATH"),
            help: "group below the container's that is there already; may be repeated for v1",
        },
        Flag { name: "ignore-paused", short: None, value: None, help: "do not refuse for a frozen container" },
    ],
    least: 1,
    most: 1,
    passes_arguments: true,
    enters_containers: true,
    activation: false,
    run,
};

fn run(context: &Context<'_>, parsed: &Parsed) -> Result<u8, Failure> {
    inner(context, parsed)
        .map_err(|failure| Failure { code: if failure.code == 1 { NOT_RUN } else { failure.code }, ..failure })
}

fn inner(context: &Context<'_>, parsed: &Parsed) -> Result<u8, Failure> {
    let container = context.open(parsed, Access::Look)?;
    let (record, init) = container.alive("nothing can be executed in it")?;
    if !matches!(container.status, Status::Running | Status::Created) {
        return Err(Failure::new(format!("container {} is {}", record.id, container.status_word())));
    }
    if container.frozen && !parsed.is_set("ignore-paused") {
        return Err(Failure::new(format!(
            "container {} is paused; resume it first, or use --ignore-paused",
            record.id
        )));
    }
    let process = process(&container, parsed)?;
    let detach = parsed.is_set("detach");
    let stdio = match (parsed.value("console-socket"), process.terminal) {
        (Some(_), false) => return Err(Failure::new("--console-socket needs --tty")),
        (Some(path), true) => Stdio::ConsoleSocket(connect_to("console-socket", Path::new(path))?),
        (None, true) if detach => return Err(Failure::new("--detach: a terminal needs --console-socket")),
        (None, true) => Stdio::Terminal,
        (None, false) => Stdio::Inherit,
    };
    let pidfd_socket =
        parsed.value("pidfd-socket").map(|path| connect_to("pidfd-socket", Path::new(path))).transpose()?;
    let groups: Vec<&str> = parsed.all("cgroup").collect();
    let inside = match (&container.cgroup, groups.is_empty()) {
        (Some(cgroup), false) => Some(cgroup.inside(&groups)?),
        (Some(cgroup), true) => cgroup.of_init(init.pid)?,
        (None, true) => None,
        (None, false) => return Err(Failure::new("--cgroup: the container has no cgroup")),
    };
    let foreground = if detach { None } else { Some(Foreground::new()?) };
    let executed = launch::exec(Exec {
        init: &init.pidfd,
        spec: &record.spec,
        id: &record.id,
        bundle: &record.bundle,
        process: &process,
        cgroup: inside.as_ref().or(container.cgroup.as_ref()),
        below: None,
        unit: record.scope.as_ref(),
        stdio,
        preserve_fds: super::preserved_fds(parsed, false)?,
        keyring: record.keyring,
    })?;
    executed.warnings.iter().for_each(|warning| context.log.warning(warning));
    if let Err(error) = announce(parsed, pidfd_socket.as_ref(), &executed) {
        // Nobody would know of it. Ours and not reaped: the kill hits nothing else.
        let _ = pidfd_send_signal(&executed.pidfd, libc::SIGKILL);
        let _ = wait(&executed.pidfd, Block::Yes);
        return Err(error.into());
    }
    match foreground {
        Some(foreground) => Ok(exit_code(foreground.relay(&executed.pidfd, executed.console, None)?)),
        None => Ok(0),
    }
}

/// Tells the caller which process it is.
fn announce(parsed: &Parsed, socket: Option<&OwnedFd>, executed: &Executed) -> Result<(), CallError> {
    if let Some(socket) = socket {
        send_pidfd(socket, &executed.pidfd, "setns")?;
    }
    match parsed.value("pid-file") {
        Some(path) => write_pid_file(Path::new(path), executed.pid.as_raw()),
        None => Ok(()),
    }
}

/// The process: a whole document, or the container's own with what the options change. Capabilities are the container's, never
/// a default set (CVE-2025-27612); what `--cap` adds is not inheritable (CVE-2022-29162).
fn process(container: &Container, parsed: &Parsed) -> Result<Process, Failure> {
    if let Some(path) = parsed.value("process") {
        if parsed.positionals.len() > 1 {
            return Err(Failure::new("--process: the command is in the document; give no other"));
        }
        return document(Path::new(path));
    }
    let (_, args) = parsed.positionals.split_first().unwrap_or((&parsed.positionals[0], &[]));
    if args.is_empty() {
        return Err(Failure::new("too few arguments; usage: exec [options] ID COMMAND [ARG...]"));
    }
    let own = container.record.as_ref().and_then(|record| record.spec.process.clone());
    let mut process = own.ok_or_else(|| Failure::new("config.json: process: is missing"))?;
    process.args = args.to_vec();
    process.terminal = parsed.is_set("tty");
    process.env.extend(parsed.all("env").map(str::to_owned));
    if let Some(cwd) = parsed.value("cwd") {
        cwd.clone_into(&mut process.cwd);
    }
    // Nobody means the container's user by an empty name.
    if let Some(user) = parsed.all("user").next_back() {
        let (uid, gid) = user_ids(user)?;
        process.user.uid = uid;
        process.user.gid = gid.unwrap_or(process.user.gid);
        process.user.additional_gids.clear();
    }
    for gid in parsed.all("additional-gids") {
        process.user.additional_gids.push(id(gid, "additional-gids")?);
    }
    if parsed.is_set("no-new-privs") {
        process.no_new_privileges = true;
    }
    if let Some(profile) = parsed.value("apparmor") {
        process.apparmor_profile = Some(profile.to_owned());
    }
    if let Some(label) = parsed.value("process-label") {
        process.selinux_label = Some(label.to_owned());
    }
    add_capabilities(&mut process, parsed);
    Ok(process)
}

fn add_capabilities(process: &mut Process, parsed: &Parsed) {
    let mut added = parsed.all("cap").peekable();
    if added.peek().is_none() {
        return;
    }
    let sets = process.capabilities.get_or_insert_with(Capabilities::default);
    for capability in added {
        for set in [&mut sets.bounding, &mut sets.effective, &mut sets.permitted] {
            if !set.iter().any(|have| have == capability) {
                set.push(capability.to_owned());
            }
        }
    }
}

fn document(path: &Path) -> Result<Process, Failure> {
    let text = spec::read(AT_FDCWD, path).map_err(|error| format!("--process: {error}"))?;
    Ok(spec::parse("process", &text)?)
}

/// `UID[:GID]`, numbers only: there is no passwd file to trust out here (crun CVE-2026-30892). Without a group it stays the container's.
fn user_ids(text: &str) -> Result<(u32, Option<u32>), Failure> {
    match text.split_once(':') {
        Some((uid, gid)) => Ok((id(uid, "user")?, Some(id(gid, "user")?))),
        None => Ok((id(text, "user")?, None)),
    }
}

fn id(text: &str, flag: &str) -> Result<u32, Failure> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = if digits { text.parse::<u32>().ok().filter(|number| *number < u32::MAX) } else { None };
    number.ok_or_else(|| Failure::new(format!("--{flag}: {text:?} is not a number below 4294967295")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users() {
        for (text, ids) in [
            ("0", Some((0, None))),
            ("1", Some((1, None))),
            ("10:20", Some((10, Some(20)))),
            ("4294967294", Some((4_294_967_294, None))),
        ] {
            assert_eq!(user_ids(text).ok(), ids, "{text}");
        }
        for text in ["", "-1", "+1", "1:", ":1", "1:2:3", "root", " 1", "1 ", "0x1", "4294967295", "4294967296", "1e3"]
        {
            assert!(user_ids(text).is_err(), "{text}");
        }
    }
}
