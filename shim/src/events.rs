//! What happened, for `rtctl events`: one JSON object a line in `<state>/events`, in the shape of docker's.
//!
//! Everyone who has an event appends it, by one write(2) to a file opened with `O_APPEND`; nobody waits for anybody and nothing
//! is synced. A file of [`SIZE_LIMIT`] bytes becomes `<state>/events.1`, in place of the one before. What a full disk left of a
//! line is no JSON; the next event begins a line of its own.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, Flock, FlockArg, OFlag, open, renameat};
use nix::sys::stat::{FileStat, Mode, fstat, lstat};
use nix::sys::uio::pread;
use nix::unistd::write;
use runtime::sys::{Call, CallError};

use crate::log::json;
use crate::log::rotated;

/// Size in bytes after which a new file is begun.
pub const SIZE_LIMIT: u64 = 2 << 20;

/// Name of the file in the state directory.
pub const NAME: &str = "events";

/// Attribute that is shown as `from`, too.
const IMAGE: &str = "image";

/// Something that happened to an object.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    /// Kind of the object: container, image, volume, network, pod.
    pub kind: &'a str,
    /// What happened, in docker's words.
    pub action: &'a str,
    /// The object.
    pub id: &'a str,
    /// What else is to be said of it.
    pub attributes: &'a BTreeMap<String, String>,
    /// Nanoseconds since the epoch.
    pub time: u64,
}

impl Event<'_> {
    /// The event as a line.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        let mut member = |name: &str, value: &str| {
            out.extend_from_slice(name.as_bytes());
            json::string(&mut out, value);
        };
        // What clients of docker's first versions look at.
        member("{\"status\":", self.action);
        member(",\"id\":", self.id);
        if let Some(image) = self.attributes.get(IMAGE).filter(|_| self.kind == "container") {
            member(",\"from\":", image);
        }
        member(",\"Type\":", self.kind);
        member(",\"Action\":", self.action);
        member(",\"Actor\":{\"ID\":", self.id);
        out.extend_from_slice(b",\"Attributes\":");
        json::object(&mut out, self.attributes);
        let (seconds, nanos) = (self.time / 1_000_000_000, self.time);
        out.extend_from_slice(format!("}},\"scope\":\"local\",\"time\":{seconds},\"timeNano\":{nanos}}}\n").as_bytes());
        out
    }

    /// Appends the event to the file `path`, which is made if it is missing (0600).
    ///
    /// # Errors
    /// The kernel's answers.
    pub fn append(&self, path: &Path) -> Result<(), CallError> {
        let mut line = self.encode();
        let (mut file, mut stat) = open_file(path)?;
        if size(&stat) >= SIZE_LIMIT {
            rotate(path, file, &stat)?;
            (file, stat) = open_file(path)?;
        }
        let mut last = [b'\n'];
        if stat.st_size > 0 {
            // When this fails, a torn line may take this one along.
            let _ = pread(&file, &mut last, stat.st_size - 1);
        }
        // Or somebody is writing just now: then there will be an empty line.
        if last != [b'\n'] {
            line.insert(0, b'\n');
        }
        let call = || format!("write({path:?})");
        loop {
            match write(&file, &line) {
                Err(Errno::EINTR) => {}
                Ok(size) if size < line.len() => return Err(Errno::ENOSPC).call(call),
                answer => return answer.call(call).map(drop),
            }
        }
    }
}

fn size(stat: &FileStat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

fn open_file(path: &Path) -> Result<(OwnedFd, FileStat), CallError> {
    let flags = OFlag::O_RDWR
        | OFlag::O_APPEND
        | OFlag::O_CREAT
        | OFlag::O_CLOEXEC
        | OFlag::O_NOCTTY
        | OFlag::O_NOFOLLOW
        | OFlag::O_NONBLOCK;
    let file = open(path, flags, Mode::S_IRUSR | Mode::S_IWUSR).call(|| format!("open({path:?}, O_APPEND|O_CREAT)"))?;
    let stat = fstat(&file).call(|| format!("fstat({path:?})"))?;
    Ok((file, stat))
}

/// Moves a full file away, if nobody else has done so or is at it.
fn rotate(path: &Path, file: OwnedFd, stat: &FileStat) -> Result<(), CallError> {
    let Ok(_locked) = Flock::lock(file, FlockArg::LockExclusiveNonblock) else { return Ok(()) };
    // The lock is one on the file that was opened: the path may have become another's meanwhile.
    match lstat(path) {
        Ok(now) if (now.st_dev, now.st_ino) == (stat.st_dev, stat.st_ino) => {
            let old = rotated(path, 1);
            renameat(AT_FDCWD, path, AT_FDCWD, &old).call(|| format!("rename({path:?}, {old:?})"))
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn attributes(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn events_have_dockers_shape() {
        let attributes = attributes(&[("image", "busybox"), ("name", "web")]);
        let event =
            Event { kind: "container", action: "start", id: "abc", attributes: &attributes, time: 1_500_000_001 };
        let expected = json!({
            "status": "start", "id": "abc", "from": "busybox", "Type": "container", "Action": "start",
            "Actor": { "ID": "abc", "Attributes": { "image": "busybox", "name": "web" } },
            "scope": "local", "time": 1, "timeNano": 1_500_000_001_u64,
        });
        assert_eq!(serde_json::from_slice::<Value>(&event.encode()).unwrap(), expected);
        let image = Event { kind: "image", ..event };
        assert!(serde_json::from_slice::<Value>(&image.encode()).unwrap().get("from").is_none());
    }

    #[test]
    fn a_full_file_moves_and_a_torn_line_takes_none_along() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NAME);
        let attributes = BTreeMap::new();
        let event = Event { kind: "volume", action: "create", id: "v", attributes: &attributes, time: 0 };
        fs::write(&path, b"{\"torn").unwrap();
        event.append(&path).unwrap();
        event.append(&path).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 3);
        assert_eq!(text.lines().filter(|line| serde_json::from_str::<Value>(line).is_ok()).count(), 2);
        let full = "x".repeat(usize::try_from(SIZE_LIMIT).unwrap());
        fs::write(&path, &full).unwrap();
        event.append(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 1);
        assert!(fs::read_to_string(rotated(&path, 1)).unwrap() == full);
    }

    #[test]
    fn many_at_a_time_lose_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NAME);
        // Shortly before a rotation.
        let filler = format!("{{\"filler\":\"{}\"}}\n", "x".repeat(usize::try_from(SIZE_LIMIT).unwrap() - 2000));
        fs::write(&path, filler).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let path = &path;
                scope.spawn(move || {
                    for number in 0..50 {
                        let (id, attributes) = (format!("{thread}-{number}"), BTreeMap::new());
                        let event = Event { kind: "k", action: "a", id: &id, attributes: &attributes, time: 0 };
                        event.append(path).unwrap();
                    }
                });
            }
        });
        let mut ids = Vec::new();
        for path in [rotated(&path, 1), path] {
            let text = fs::read_to_string(path).unwrap();
            // A size read in the middle of another's write looks like a torn line.
            let parsed =
                text.lines().filter(|line| !line.is_empty()).map(|line| serde_json::from_str::<Value>(line).unwrap());
            ids.extend(parsed.filter_map(|event| event["id"].as_str().map(str::to_owned)));
        }
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 400);
    }

    proptest! {
        #[test]
        fn any_text_is_one_line_of_json(id in ".*", name in ".*", value in ".*") {
            let attributes = attributes(&[(&name, &value)]);
            let line = Event { kind: "k", action: "a", id: &id, attributes: &attributes, time: 7 }.encode();
            prop_assert_eq!(memchr::memchr(b'\n', &line), Some(line.len() - 1));
            let event: Value = serde_json::from_slice(&line).unwrap();
            prop_assert_eq!(event["Actor"]["Attributes"][&name].as_str(), Some(value.as_str()));
            prop_assert_eq!(event["id"].as_str(), Some(id.as_str()));
        }
    }
}
