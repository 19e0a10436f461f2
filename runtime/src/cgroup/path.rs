//! Names of groups.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::Error;

/// Groups with a relative path are placed below this one, in every hierarchy.
const HOME: &str = "rt";

/// A validated cgroup path: no `..`, no NUL, not the root itself.
///
/// An absolute path counts from the root of each hierarchy's mount (which in a container is the container's own group);
/// a relative one is placed below `/rt`. OCI runtime-spec config-linux.md, "Cgroups Path".
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Path {
    /// Components below the mount; never empty.
    components: Vec<String>,
    /// How many of them are ours alone: 1 for a relative path (`rt`), else 0.
    own: usize,
}

impl Path {
    /// Its components below the mount point, `rt` included for a relative path.
    pub fn components(&self) -> &[String] {
        &self.components
    }

    /// How many leading components nobody else uses.
    pub(super) fn own(&self) -> usize {
        self.own
    }

    /// Its place below the mount point, without a leading slash.
    pub(super) fn below(&self, mount: &std::path::Path) -> PathBuf {
        let mut path = mount.to_owned();
        path.extend(&self.components);
        path
    }
}

impl FromStr for Path {
    type Err = Error;

    /// # Errors
    /// [`Error::Path`]: empty, only slashes, `..`, a NUL or line break, or a component that is too long.
    fn from_str(text: &str) -> Result<Path, Error> {
        let wrong = |problem| Err(Error::Path { path: text.to_owned(), problem });
        let own = usize::from(!text.starts_with('/'));
        let given: Vec<&str> = text.split('/').filter(|component| !component.is_empty() && *component != ".").collect();
        if given.is_empty() {
            return wrong("it names no group");
        }
        if given.contains(&"..") {
            return wrong("it must not contain \"..\"");
        }
        if text.contains(['\0', '\n']) {
            // The kernel refuses line breaks in names of groups, they would make /proc/PID/cgroup ambiguous.
            return wrong("it must not contain a NUL or a line break");
        }
        if given.iter().any(|component| component.len() > 255) || text.len() > 3000 {
            return wrong("it is too long");
        }
        let home = Some(HOME).filter(|_| own == 1);
        Ok(Path { components: home.into_iter().chain(given).map(str::to_owned).collect(), own })
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.components.iter().try_for_each(|component| write!(f, "/{component}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        for (text, place, own) in [
            ("/kubepods/burstable/pod1/c1", "/kubepods/burstable/pod1/c1", 0),
            ("c1", "/rt/c1", 1),
            ("a/b", "/rt/a/b", 1),
            ("//a//./b/", "/a/b", 0),
            ("./a", "/rt/a", 1),
            ("/a..b/...", "/a..b/...", 0),
        ] {
            let path: Path = text.parse().unwrap();
            assert_eq!(path.to_string(), place, "{text}");
            assert_eq!(path.own(), own, "{text}");
            assert_eq!(path.below("/sys/fs/cgroup".as_ref()), PathBuf::from(format!("/sys/fs/cgroup{place}")));
            assert_eq!(place.parse::<Path>().unwrap().components(), path.components());
        }
    }

    #[test]
    fn refused() {
        let long = "x".repeat(256);
        for text in ["", "/", "//", ".", "..", "/..", "a/..", "/a/../b", "a\0b", "a\nb", &long] {
            assert!(text.parse::<Path>().is_err(), "{text:?}");
        }
    }
}
