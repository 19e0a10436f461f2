//! Names of containers: unique, each a symbolic link `names/<name>` to the container's directory.
//!
//! Every change is made under one lock, `names/.lock`. A link whose container is gone is stale and taken over; under the
//! lock nobody can be about to make that container.

use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::{Context, Result, bail};
use nix::fcntl::{Flock, FlockArg, OFlag, open};
use nix::sys::stat::Mode;

use super::roots::Roots;

/// The right to change names.
pub(crate) struct NamesLock(#[expect(dead_code, reason = "held for its descriptor")] Flock<std::os::fd::OwnedFd>);

/// Waits for the right to change names.
pub(crate) fn lock(roots: &Roots) -> Result<NamesLock> {
    let path = roots.names().join(".lock");
    let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
    let file =
        open(&path, flags, Mode::from_bits_truncate(0o600)).with_context(|| format!("open({path:?}, O_CREAT)"))?;
    let lock = Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno);
    Ok(NamesLock(lock.with_context(|| format!("flock({path:?})"))?))
}

/// Checks a name: `[a-zA-Z0-9][a-zA-Z0-9_.-]+`.
pub(crate) fn parse(text: &str) -> Result<String, String> {
    let text = text.strip_prefix('/').unwrap_or(text);
    let good =
        |(index, byte): (usize, u8)| byte.is_ascii_alphanumeric() || (index > 0 && matches!(byte, b'_' | b'.' | b'-'));
    if text.len() < 2 || text.len() > 200 || !text.bytes().enumerate().all(good) {
        return Err(format!("{text:?} is no container name, only [a-zA-Z0-9][a-zA-Z0-9_.-]+ are allowed"));
    }
    // A name that is a whole id could be another container's.
    if super::id::is_id(text) {
        return Err(format!("{text:?} is no container name: it looks like an id"));
    }
    Ok(text.to_owned())
}

/// The name of the container `id`; a rename under way, or interrupted, leaves two lines.
pub(crate) fn of(roots: &Roots, id: &str) -> Option<String> {
    let text = std::fs::read_to_string(roots.container(id).join("name")).ok()?;
    text.lines().next().map(|name| name.trim().to_owned())
}

/// What a name points to.
pub(crate) fn target(roots: &Roots, name: &str) -> Result<Option<String>> {
    let path = roots.names().join(name);
    match std::fs::read_link(&path) {
        Ok(link) => {
            let id = link.file_name().map(|id| id.to_string_lossy().into_owned()).unwrap_or_default();
            if !super::id::is_id(&id) {
                bail!("{}: points to {}, which is no container; remove it", path.display(), link.display());
            }
            Ok(Some(id))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("readlink({})", path.display())),
    }
}

/// Gives `name` to the container `id`, whose directory exists.
pub(crate) fn claim(roots: &Roots, _lock: &NamesLock, name: &str, id: &str) -> Result<()> {
    if let Some(owner) = target(roots, name)? {
        if owner == id {
            return Ok(());
        }
        if directory_exists(&roots.container(&owner))? {
            bail!(
                "the name {name:?} is taken by container {}; remove it (rtctl rm {name}), rename it, or use another name",
                super::id::short(&owner)
            );
        }
        release(roots, name)?;
    }
    let path = roots.names().join(name);
    symlink(Path::new("../local").join(id), &path).with_context(|| format!("symlink({})", path.display()))
}

fn directory_exists(path: &Path) -> Result<bool> {
    path.try_exists().with_context(|| format!("stat({})", path.display()))
}

/// Takes a name away.
fn release(roots: &Roots, name: &str) -> Result<()> {
    let path = roots.names().join(name);
    match std::fs::remove_file(&path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(|| format!("unlink({})", path.display())),
    }
}

/// Takes a name away from the container `id`, if it is its.
pub(crate) fn release_own(roots: &Roots, name: &str, id: &str) -> Result<()> {
    if target(roots, name)?.is_some_and(|owner| owner == id) { release(roots, name) } else { Ok(()) }
}

/// A made-up name that is free.
pub(crate) fn invent(roots: &Roots) -> Result<String> {
    for round in 0_u32.. {
        let bytes = super::id::random::<3>()?;
        let first = FIRST[usize::from(bytes[0]) % FIRST.len()];
        let second = SECOND[usize::from(bytes[1]) % SECOND.len()];
        // Once many names are taken, a number makes more of them.
        let name = match round {
            0..8 => format!("{first}_{second}"),
            _ => format!("{first}_{second}{}", u32::from(bytes[2]) + (round << 8)),
        };
        if target(roots, &name)?.is_none() {
            return Ok(name);
        }
    }
    bail!("no free name; give one with --name")
}

/// Qualities.
const FIRST: &[&str] = &[
    "able", "amber", "brave", "brisk", "calm", "candid", "clear", "clever", "copper", "cosy", "crisp", "daring",
    "deft", "eager", "early", "fair", "fleet", "fond", "frank", "fresh", "gentle", "glad", "golden", "grand", "green",
    "hardy", "honest", "humble", "jolly", "keen", "kind", "late", "light", "lively", "loyal", "lucid", "mellow",
    "merry", "mild", "modest", "neat", "nimble", "noble", "patient", "placid", "plain", "polite", "proud", "quick",
    "quiet", "rapid", "ready", "robust", "royal", "rustic", "serene", "sharp", "silent", "silver", "simple", "sleek",
    "smooth", "sober", "solid", "stable", "steady", "stout", "sunny", "swift", "tidy", "tough", "trusty", "vivid",
    "warm", "wise", "witty", "young", "zesty",
];

/// People who found out how things work.
const SECOND: &[&str] = &[
    "abel",
    "agnesi",
    "ampere",
    "babbage",
    "bell",
    "bohr",
    "boole",
    "bose",
    "brahe",
    "cantor",
    "carson",
    "celsius",
    "curie",
    "darwin",
    "davy",
    "dirac",
    "doppler",
    "edison",
    "elion",
    "erdos",
    "euler",
    "faraday",
    "fermat",
    "fermi",
    "feynman",
    "franklin",
    "galileo",
    "gauss",
    "germain",
    "godel",
    "hahn",
    "halley",
    "hamilton",
    "hertz",
    "hilbert",
    "hooke",
    "hopper",
    "hubble",
    "huygens",
    "hypatia",
    "joule",
    "kepler",
    "kovalevskaya",
    "lagrange",
    "laplace",
    "leibniz",
    "lovelace",
    "mach",
    "maxwell",
    "meitner",
    "mendel",
    "mirzakhani",
    "morse",
    "napier",
    "newton",
    "noether",
    "ohm",
    "pascal",
    "pauli",
    "planck",
    "poincare",
    "ptolemy",
    "ramanujan",
    "ritchie",
    "roentgen",
    "rubin",
    "shannon",
    "somerville",
    "tesla",
    "thales",
    "turing",
    "volta",
    "watt",
    "wiles",
    "wu",
    "yalow",
    "zeno",
    "zuse",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (text, good) in [
            ("web", true),
            ("/web", true),
            ("a1", true),
            ("web-1_x.y", true),
            ("a", false),
            ("", false),
            ("-web", false),
            (".web", false),
            ("we b", false),
            ("we/b", false),
            ("..", false),
            ("wéb", false),
        ] {
            assert_eq!(parse(text).is_ok(), good, "{text:?}");
        }
        assert!(parse(&"a".repeat(64)).is_err());
        assert!(parse(&"a".repeat(201)).is_err());
    }

    #[test]
    fn all_words_make_names() {
        for (first, second) in FIRST.iter().zip(SECOND.iter().cycle()) {
            parse(&format!("{first}_{second}")).unwrap();
        }
    }
}
