//! Finding out by doing, in a process of its own: `rtctl __probe WHAT`.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use nix::sched::{CloneFlags, unshare};
use runtime::overlay::{self, Syncing};
use serde::{Serialize, Serializer};

/// Whether something worked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Probed {
    /// It was not tried.
    #[default]
    Unknown,
    /// It worked.
    Works,
    /// It did not, with the kernel's answer.
    Fails(String),
}

impl Serialize for Probed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match self {
            Probed::Unknown => "unknown",
            Probed::Works => "works",
            Probed::Fails(problem) => problem,
        })
    }
}

/// Tries one thing in a process of its own.
pub(super) fn run(what: &str) -> Probed {
    let Ok(program) = std::env::current_exe() else { return Probed::Unknown };
    let mut command = Command::new(program);
    command.args(["__probe", what]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    match command.output() {
        Ok(output) if output.status.success() => Probed::Works,
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stderr);
            let line = text.lines().last().unwrap_or_default();
            Probed::Fails(line.strip_prefix("rtctl: ").unwrap_or(line).to_owned())
        }
        Err(_) => Probed::Unknown,
    }
}

/// The other side of [`run`].
///
/// # Errors
/// The call that did not work.
pub(crate) fn attempt(what: &str) -> Result<()> {
    match what {
        "user" => unshare(CloneFlags::CLONE_NEWUSER).context("unshare(CLONE_NEWUSER)"),
        "network" => unshare(CloneFlags::CLONE_NEWNET).context("unshare(CLONE_NEWNET)"),
        "overlay" => {
            // Any two directories do: nothing is written, and the mount is attached nowhere.
            let layers = ["/etc", "/usr"].map(PathBuf::from);
            overlay::mount(&layers, None, Syncing::OnRequest)?;
            Ok(())
        }
        "seccomp" => {
            let program = runtime::seccomp::compile(&runtime::seccomp::default_profile(&[]))?;
            nix::sys::prctl::set_no_new_privs().context("prctl(PR_SET_NO_NEW_PRIVS)")?;
            runtime::sys::seccomp::load(&program).map(drop).context("seccomp(SECCOMP_SET_MODE_FILTER)")
        }
        _ => bail!("{what:?}: must be user, network, overlay or seccomp"),
    }
}
