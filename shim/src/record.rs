//! The JSON files of a container's directory: read bounded, replaced as a whole.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat, renameat};
use nix::sys::stat::{Mode, fstat};
use runtime::sys::{Call, CallError};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::layout::{Sandbox, SandboxStatus, Status, Task, VERSION};

/// Largest record that is read, in bytes.
const LIMIT: u64 = 1 << 20;

/// Largest document that is written over in place: one block of every file system that we know.
const IN_PLACE: usize = 1024;

/// Why a record could not be read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The kernel refused.
    #[error(transparent)]
    Call(#[from] CallError),
    /// It is not what it should be.
    #[error("{0}")]
    Malformed(String),
    /// It was written by a newer program.
    #[error("{name}: version {version} is newer than {VERSION}: use the programs that wrote it")]
    Newer {
        /// Name of the file.
        name: &'static str,
        /// Its version.
        version: u32,
    },
}

/// A record with a version.
pub trait Record: Serialize + DeserializeOwned {
    /// Its file name.
    const NAME: &'static str;
}

impl Record for Task {
    const NAME: &'static str = "shim.json";
}

impl Record for Status {
    const NAME: &'static str = "status.json";
}

impl Record for Sandbox {
    const NAME: &'static str = "sandbox.json";
}

impl Record for SandboxStatus {
    const NAME: &'static str = "sandbox-status.json";
}

#[derive(serde::Deserialize)]
struct Version {
    version: u32,
}

/// Reads a record below the directory `dir`. `None`: there is none.
///
/// # Errors
/// [`Error`].
pub fn read<T: Record>(dir: impl AsFd) -> Result<Option<T>, Error> {
    let Some(text) = read_file(dir, T::NAME)? else { return Ok(None) };
    // The version first: a newer record may have members of other types.
    let malformed = |error: runtime::spec::LoadError| Error::Malformed(error.to_string());
    let Version { version } = runtime::spec::parse(T::NAME, &text).map_err(malformed)?;
    if version > VERSION {
        return Err(Error::Newer { name: T::NAME, version });
    }
    runtime::spec::parse(T::NAME, &text).map(Some).map_err(malformed)
}

/// Replaces a record below the directory `dir`: readers see the old or the new one. No fsync.
///
/// # Errors
/// The kernel's answers; the old record is kept.
pub fn write<T: Record>(dir: impl AsFd, record: &T) -> Result<(), CallError> {
    replace(dir, T::NAME, record)
}

/// Replaces the JSON document `name` below `dir`, as [`write`]. On a full disk a document that fits where the old one is goes there:
/// losing an exit would be worse than the moment in which a reader could see both.
///
/// # Errors
/// The kernel's answers; the old document is kept.
pub fn replace<T: Serialize>(dir: impl AsFd, name: &str, document: &T) -> Result<(), CallError> {
    let text = serde_json::to_vec(document).map_err(std::io::Error::from).call(|| format!("serialize({name:?})"))?;
    match exchange(&dir, name, &text) {
        Err(error) if matches!(error.errno, Errno::ENOSPC | Errno::EDQUOT) && text.len() <= IN_PLACE => {
            overwrite(&dir, name, text).map_err(|_| error)
        }
        answer => answer,
    }
}

/// Writes a new file and renames it.
fn exchange(dir: impl AsFd, name: &str, text: &[u8]) -> Result<(), CallError> {
    let new = format!("{name}.new");
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
    let file = openat(&dir, new.as_str(), flags, Mode::from_bits_truncate(0o600))
        .call(|| format!("openat({new:?}, O_WRONLY|O_CREAT)"))?;
    let mut rest = text;
    while !rest.is_empty() {
        match nix::unistd::write(&file, rest) {
            Ok(size) => rest = &rest[size..],
            Err(Errno::EINTR) => {}
            Err(errno) => {
                let _ = nix::unistd::unlinkat(&dir, new.as_str(), nix::unistd::UnlinkatFlags::NoRemoveDir);
                return Err(CallError { call: format!("write({new:?})"), errno });
            }
        }
    }
    renameat(&dir, new.as_str(), &dir, name).call(|| format!("renameat({new:?}, {name:?})"))
}

/// Writes over a file, with blanks up to its old end, in one call and within the one block that it has.
fn overwrite(dir: impl AsFd, name: &str, mut text: Vec<u8>) -> Result<(), Errno> {
    let file = openat(&dir, name, OFlag::O_WRONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW, Mode::empty())?;
    let old = usize::try_from(fstat(&file)?.st_size).unwrap_or(usize::MAX);
    if old == 0 || old > IN_PLACE {
        return Err(Errno::ENOSPC);
    }
    text.resize(text.len().max(old), b' ');
    match nix::unistd::write(&file, &text)? {
        size if size == text.len() => Ok(()),
        _ => Err(Errno::ENOSPC),
    }
}

/// Reads a small file below `dir`. `None`: there is none.
///
/// # Errors
/// [`Error`].
pub fn read_file(dir: impl AsFd, name: &str) -> Result<Option<Vec<u8>>, Error> {
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NOCTTY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let file = match openat(dir, name, flags, Mode::empty()) {
        Err(Errno::ENOENT) => return Ok(None),
        answer => answer.call(|| format!("openat({name:?}, O_RDONLY|O_NOFOLLOW)"))?,
    };
    let mut text = Vec::new();
    File::from(file).take(LIMIT + 1).read_to_end(&mut text).call(|| format!("read({name:?})"))?;
    if text.len() as u64 > LIMIT {
        return Err(Error::Malformed(format!("{name}: larger than {LIMIT} bytes")));
    }
    Ok(Some(text))
}

/// The kernel's id of this boot.
///
/// # Errors
/// The kernel's answer.
pub fn boot_id() -> Result<String, CallError> {
    const PATH: &str = "/proc/sys/kernel/random/boot_id";
    let text = std::fs::read_to_string(PATH).call(|| format!("read({PATH:?})"))?;
    Ok(text.trim_end().to_owned())
}

/// Start time of a process in clock ticks since boot, field 22 of /proc/PID/stat. `None`: there is no such process, or it is
/// only waiting to be reaped.
///
/// # Errors
/// The kernel's answer.
pub fn start_time(pid: i32) -> Result<Option<u64>, CallError> {
    let path = format!("/proc/{pid}/stat");
    let call = || format!("read({path:?})");
    let file: OwnedFd = match openat(AT_FDCWD, path.as_str(), OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()) {
        Err(Errno::ENOENT | Errno::ESRCH) => return Ok(None),
        answer => answer.call(call)?,
    };
    let mut text = [0; 1024];
    let size = match nix::unistd::read(&file, &mut text) {
        Err(Errno::ESRCH) => return Ok(None),
        answer => answer.call(call)?,
    };
    parse_stat(&text[..size]).ok_or_else(|| CallError { call: call(), errno: Errno::EBADMSG })
}

/// Start time out of /proc/PID/stat; `Some(None)` for a dead process. The command name may hold any bytes, so fields are
/// counted from the last parenthesis.
fn parse_stat(text: &[u8]) -> Option<Option<u64>> {
    let end = memchr::memrchr(b')', text)?;
    let mut fields = std::str::from_utf8(&text[end + 1..]).ok()?.split_ascii_whitespace();
    let state = fields.next()?;
    let start = fields.nth(18)?.parse().ok()?;
    Some((!matches!(state, "Z" | "X")).then_some(start))
}

/// Now, nanoseconds since the epoch.
#[must_use]
pub fn now() -> u64 {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::{RestartPolicy, State, Stdin};

    fn open(path: &std::path::Path) -> OwnedFd {
        nix::fcntl::open(path, OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()).unwrap()
    }

    #[test]
    fn records_are_replaced_as_a_whole() {
        let dir = tempfile::tempdir().unwrap();
        let fd = open(dir.path());
        assert_eq!(read::<Status>(&fd).unwrap(), None);
        let mut status = Status {
            version: VERSION,
            boot_id: boot_id().unwrap(),
            shim: (1, 2),
            cgroup: Some("c".into()),
            state: State::Running { init: (3, 4) },
            restart_count: 0,
            started_at: now(),
            last_exit: None,
            error: None,
            log_dropped: 0,
        };
        write(&fd, &status).unwrap();
        assert_eq!(read(&fd).unwrap(), Some(status.clone()));
        status.state = State::Exited;
        write(&fd, &status).unwrap();
        assert_eq!(read(&fd).unwrap(), Some(status));
        let names: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["status.json"]);
    }

    #[test]
    fn over_an_old_record() {
        let dir = tempfile::tempdir().unwrap();
        let fd = open(dir.path());
        let path = dir.path().join("shim.json");
        assert_eq!(overwrite(&fd, "shim.json", b"{}".to_vec()), Err(Errno::ENOENT));
        for (old, new, expected) in [("[1, 2]", "[3]", "[3]   "), ("[]", "[1, 2]", "[1, 2]")] {
            std::fs::write(&path, old).unwrap();
            overwrite(&fd, "shim.json", new.into()).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), expected);
        }
        for old in ["".to_owned(), "x".repeat(IN_PLACE + 1)] {
            std::fs::write(&path, old).unwrap();
            assert_eq!(overwrite(&fd, "shim.json", b"{}".to_vec()), Err(Errno::ENOSPC));
        }
    }

    #[test]
    fn newer_and_broken_records_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let fd = open(dir.path());
        for (text, expected) in [
            (r#"{"version":2,"restart":["new"]}"#, "shim.json: version 2 is newer than 1"),
            (r#"{"version":1,"stdin":"closed","restart":7,"auto_remove":false,"owned":[]}"#, "shim.json: restart: "),
            ("{", "shim.json: "),
        ] {
            std::fs::write(dir.path().join("shim.json"), text).unwrap();
            let error = read::<Task>(&fd).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
        std::fs::write(
            dir.path().join("shim.json"),
            r#"{"version":1,"stdin":"once","restart":{"on_failure":3},"auto_remove":true,"owned":["/a"]}"#,
        )
        .unwrap();
        let task: Task = read(&fd).unwrap().unwrap();
        assert_eq!((task.stdin, task.restart), (Stdin::Once, RestartPolicy::OnFailure(Some(3))));
    }

    #[test]
    fn start_times() {
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(start_time(own).unwrap().unwrap() > 0);
        assert_eq!(start_time(i32::MAX).unwrap(), None);
        for (text, expected) in [
            (&b"7 (a) b) S 1 1 1 0 -1 4 0 0 0 0 0 0 0 0 20 0 1 0 4711 0 0"[..], Some(Some(4711))),
            (b"7 (\xff \n) Z 1 1 1 0 -1 4 0 0 0 0 0 0 0 0 20 0 1 0 4711 0 0", Some(None)),
            (b"7 (a) S 1", None),
            (b"", None),
        ] {
            assert_eq!(parse_stat(text), expected);
        }
    }
}
