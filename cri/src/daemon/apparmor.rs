//! The AppArmor profile of containers that name none: given to the kernel at the start, if it does not know it.
//!
//! The kernel takes compiled policy only; the compiler is `apparmor_parser`. apparmor_parser(8), apparmor.d(5)

use std::io::Write;
use std::process::{Command, Stdio};

use crate::pod::{APPARMOR_PROFILES, is_apparmor_profile_loaded};

/// The name of our own profile. Other profiles are the administrator's.
const OWN: &str = "rt-default";

const TEXT: &str = include_str!("rt-default.apparmor");

/// What the start found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Profile {
    /// The kernel has no AppArmor.
    NoAppArmor,
    /// It was there.
    Known,
    /// Now it is.
    Loaded,
}

/// Why containers that name no profile are not confined.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// Somebody else's profile.
    #[error("{name:?} is not in {APPARMOR_PROFILES}; load it with apparmor_parser")]
    Missing {
        /// Which.
        name: String,
    },
    /// No compiler, most likely.
    #[error(
        "execve(\"apparmor_parser\"): {0}; install Debian's package apparmor, or set apparmor_default to a profile that is loaded"
    )]
    Spawn(std::io::Error),
    /// It did not take all of the text, or did not end.
    #[error("apparmor_parser: {0}")]
    Talk(std::io::Error),
    /// What it said.
    #[error("apparmor_parser: {status}: {said}")]
    Refused {
        /// How it ended.
        status: std::process::ExitStatus,
        /// Its messages.
        said: String,
    },
}

/// Sees to it that the kernel knows the profile.
///
/// # Errors
/// It does not. See [`Error`].
pub(super) fn provide(name: &str) -> Result<Profile, Error> {
    let enabled = std::fs::read("/sys/module/apparmor/parameters/enabled");
    if !enabled.is_ok_and(|text| text.first() == Some(&b'Y')) {
        return Ok(Profile::NoAppArmor);
    }
    if is_apparmor_profile_loaded(name) {
        return Ok(Profile::Known);
    }
    if name != OWN {
        return Err(Error::Missing { name: name.to_owned() });
    }
    let own = std::fs::read_to_string("/proc/self/attr/current").unwrap_or_default();
    load(&text(name, &own))?;
    Ok(Profile::Loaded)
}

/// The profile. Where we are confined ourselves (`own`, `NAME (MODE)`), signals from our confinement are let in: they stop containers.
fn text(name: &str, own: &str) -> String {
    let own = own.trim_end_matches(['\0', '\n']);
    let own = own.rsplit_once(" (").map_or(own, |(name, _)| name);
    let text = TEXT.replace("NAME", name);
    if own.is_empty() || own == "unconfined" {
        return text;
    }
    let from = format!("  signal (receive) peer=\"{own}\",\n}}");
    text.trim_end().strip_suffix('}').map_or(text.clone(), |open| format!("{open}{from}\n"))
}

fn load(text: &str) -> Result<(), Error> {
    let mut command = Command::new("apparmor_parser");
    command.args(["--replace", "--skip-cache"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut parser = command.spawn().map_err(Error::Spawn)?;
    let sent = match parser.stdin.take() {
        Some(mut stdin) => stdin.write_all(text.as_bytes()),
        None => Ok(()),
    };
    let output = parser.wait_with_output().map_err(Error::Talk)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
        return Err(Error::Refused { status: output.status, said });
    }
    sent.map_err(Error::Talk)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runtime_may_send_signals() {
        let free = text("rt-default", "unconfined\n");
        assert_eq!(free.matches("NAME").count(), 0);
        assert!(free.contains("\nprofile rt-default flags=(attach_disconnected, mediate_deleted) {\n"), "{free}");
        assert_eq!(text("rt-default", ""), free);
        let confined = text("rt-default", "/usr/bin/rtd (enforce)\n");
        let end = "  signal (receive) peer=\"/usr/bin/rtd\",\n}\n";
        assert_eq!(confined, format!("{}{end}", free.strip_suffix("}\n").unwrap()));
    }
}
