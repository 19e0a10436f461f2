//! Mount options: the words of fstab(5) and of config.md "Linux mount options" as attributes, propagation and parameters.

use std::ffi::CString;
use std::path::PathBuf;

use super::{PlanError, refuse};
use crate::sys::mount::{Attributes, Depth, attr};

/// What a list of mount options asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// `bind` or `rbind`.
    pub bind: Option<Depth>,
    /// `idmap` or `ridmap`.
    pub id_map: Option<Depth>,
    /// Attributes of the mount itself.
    pub attributes: Attributes,
    /// Attributes of the mount and all below.
    pub recursive: Attributes,
    /// Propagation settings in the order given.
    pub propagation: Vec<(u64, Depth)>,
    /// What of a bind source is mounted, below it; absent means all of it. See [`SUBPATH`].
    pub subpath: Option<PathBuf>,
    /// What is left for the file system.
    pub parameters: Vec<Parameter>,
    /// What is done otherwise than usual.
    pub extra: Vec<Extra>,
}

/// An option that is an extension of runc or crun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extra {
    /// `tmpcopyup`: a tmpfs begins with what is in the directory that it covers.
    CopyUp,
    /// `copy-symlink`: of a source that is a symbolic link the link is copied.
    CopySymlink,
    /// `src-nofollow`: of a source that is a symbolic link the link is mounted.
    SourceNoFollow,
    /// `dest-nofollow`: a link at the destination is mounted on.
    TargetNoFollow,
    /// `remount`: what is mounted at the destination gets the attributes.
    Remount,
}

/// An option of bind mounts, `x-rt.subpath=PATH`: only what is at PATH below the source is mounted. PATH is looked up when the
/// container is made, with the source as the root: no link that somebody planted there leads out of it (CVE-2017-1002101,
/// CVE-2021-25741).
pub const SUBPATH: &str = "x-rt.subpath=";

/// A parameter of a file system, for fsconfig(2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parameter {
    /// A word.
    Flag(CString),
    /// `key=value`.
    Value(CString, CString),
}

/// Parses `options`; `at` is the JSON path of the list.
///
/// # Errors
/// Options that have a NUL byte.
pub(super) fn parse(options: &[String], at: &str) -> Result<Options, PlanError> {
    let mut parsed = Options::default();
    for (index, option) in options.iter().enumerate() {
        parsed.add(option).map_err(|problem| refuse(&format!("{at}[{index}]"), problem))?;
    }
    Ok(parsed)
}

impl Options {
    /// Whether an extension is asked for.
    #[must_use]
    pub fn has(&self, extra: Extra) -> bool {
        self.extra.contains(&extra)
    }

    fn add(&mut self, option: &str) -> Result<(), String> {
        if let Some((flag, depth)) = propagation(option) {
            self.propagation.push((flag, depth));
        } else if let Some((set, clear)) = attribute(option) {
            merge(&mut self.attributes, set, clear);
        } else if let Some((set, clear)) = option.strip_prefix('r').filter(|rest| recursive(rest)).and_then(attribute) {
            merge(&mut self.recursive, set, clear);
        } else if let Some(path) = option.strip_prefix(SUBPATH) {
            if path.is_empty() || path.contains('\0') {
                return Err("must name a path below the source".to_owned());
            }
            self.subpath = Some(PathBuf::from(path));
        } else {
            match option {
                "bind" => self.bind = Some(Depth::Single),
                "rbind" => self.bind = Some(Depth::Recursive),
                "idmap" => self.id_map = Some(Depth::Single),
                "ridmap" => self.id_map = Some(Depth::Recursive),
                "defaults" | "async" | "loud" | "silent" | "nomand" | "nolazytime" | "noiversion" | "" => {}
                // KERNEL(4.7): every devpts is one of its own.
                "newinstance" => {}
                "tmpcopyup" => self.extra.push(Extra::CopyUp),
                "copy-symlink" => self.extra.push(Extra::CopySymlink),
                "src-nofollow" => self.extra.push(Extra::SourceNoFollow),
                "dest-nofollow" => self.extra.push(Extra::TargetNoFollow),
                "remount" => self.extra.push(Extra::Remount),
                _ => self.parameters.push(parameter(option)?),
            }
        }
        Ok(())
    }
}

/// Propagation flag of a word.
pub(super) fn propagation(word: &str) -> Option<(u64, Depth)> {
    Some(match word {
        "private" => (libc::MS_PRIVATE, Depth::Single),
        "rprivate" => (libc::MS_PRIVATE, Depth::Recursive),
        "shared" => (libc::MS_SHARED, Depth::Single),
        "rshared" => (libc::MS_SHARED, Depth::Recursive),
        "slave" => (libc::MS_SLAVE, Depth::Single),
        "rslave" => (libc::MS_SLAVE, Depth::Recursive),
        "unbindable" => (libc::MS_UNBINDABLE, Depth::Single),
        "runbindable" => (libc::MS_UNBINDABLE, Depth::Recursive),
        _ => return None,
    })
}

/// Attribute bits to set and to clear.
fn attribute(word: &str) -> Option<(u64, u64)> {
    Some(match word {
        "ro" => (attr::RDONLY, 0),
        "rw" => (0, attr::RDONLY),
        "nosuid" => (attr::NOSUID, 0),
        "suid" => (0, attr::NOSUID),
        "nodev" => (attr::NODEV, 0),
        "dev" => (0, attr::NODEV),
        "noexec" => (attr::NOEXEC, 0),
        "exec" => (0, attr::NOEXEC),
        "nodiratime" => (attr::NODIRATIME, 0),
        "diratime" => (0, attr::NODIRATIME),
        "relatime" | "norelatime" | "nostrictatime" | "atime" => (attr::RELATIME, attr::ATIME),
        "noatime" => (attr::NOATIME, attr::ATIME),
        "strictatime" => (attr::STRICTATIME, attr::ATIME),
        "nosymfollow" => (attr::NOSYMFOLLOW, 0),
        "symfollow" => (0, attr::NOSYMFOLLOW),
        _ => return None,
    })
}

/// Whether `r` before this word is the recursive form (`relatime` is not `r` + `elatime`).
fn recursive(rest: &str) -> bool {
    attribute(rest).is_some()
}

fn merge(attributes: &mut Attributes, set: u64, clear: u64) {
    // A later word overrides an earlier one. The access time bits are cleared as a group whenever one is set.
    let cleared = clear | (set & !attr::ATIME);
    attributes.set &= !cleared;
    attributes.clear &= !set;
    attributes.set |= set;
    attributes.clear |= clear;
}

fn parameter(option: &str) -> Result<Parameter, String> {
    let c_string = |text: &str| CString::new(text).map_err(|_| "has a NUL byte".to_owned());
    Ok(match option.split_once('=') {
        Some((key, value)) => Parameter::Value(c_string(key)?, c_string(value)?),
        None => Parameter::Flag(c_string(option)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(words: &[&str]) -> Options {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        parse(&words, "mounts[0].options").unwrap()
    }

    #[test]
    fn words() {
        let parsed = options(&["nosuid", "strictatime", "mode=755", "size=65536k", "newinstance"]);
        assert_eq!(parsed.attributes.set, attr::NOSUID | attr::STRICTATIME);
        assert_eq!(parsed.attributes.clear, attr::ATIME);
        assert_eq!(parsed.parameters[0], Parameter::Value(c"mode".into(), c"755".into()));
        assert_eq!(parsed.parameters.len(), 2);
    }

    #[test]
    fn later_words_override() {
        assert_eq!(options(&["ro", "rw"]).attributes, Attributes { set: 0, clear: attr::RDONLY, propagation: 0 });
        assert_eq!(options(&["rw", "ro"]).attributes, Attributes { set: attr::RDONLY, clear: 0, propagation: 0 });
        assert_eq!(options(&["noatime", "strictatime"]).attributes.set, attr::STRICTATIME);
    }

    #[test]
    fn recursive_forms() {
        let parsed = options(&["rbind", "rro", "rnosuid", "rslave", "relatime", "rrelatime"]);
        assert_eq!(parsed.bind, Some(Depth::Recursive));
        assert_eq!(parsed.recursive.set, attr::RDONLY | attr::NOSUID);
        assert_eq!(parsed.recursive.clear, attr::ATIME);
        assert_eq!(parsed.propagation, [(libc::MS_SLAVE, Depth::Recursive)]);
        assert!(parsed.parameters.is_empty());
    }

    #[test]
    fn refuses_nul_bytes() {
        let error = parse(&["ro".into(), "size=\0".into()], "mounts[2].options").unwrap_err();
        assert_eq!(error.to_string(), "config.json: mounts[2].options[1]: has a NUL byte");
    }

    #[test]
    fn extensions() {
        let parsed = options(&["tmpcopyup", "remount"]);
        assert!(parsed.has(Extra::CopyUp) && parsed.has(Extra::Remount) && !parsed.has(Extra::CopySymlink));
        assert!(parsed.parameters.is_empty());
    }
}
