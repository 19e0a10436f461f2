//! `mounts`.

use std::ffi::CString;
use std::path::{Path, PathBuf};

use super::namespaces::mappings;
use super::{Extra, Namespaces, Options, Parameter, PlanError, options, refuse};
use crate::root::{Links, clean};
use crate::spec::{self, IdMapping, NamespaceKind};
use crate::sys::mount::Depth;

/// A mount of the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Where, relative to the root, lexically clean; empty is the root itself.
    pub destination: PathBuf,
    /// What.
    pub source: Source,
    /// How; the parameters have moved to the source.
    pub options: Options,
    /// How its ids are mapped, if they are.
    pub id_map: Option<IdMap>,
}

/// How the ids of a bind mount are mapped (OCI runtime-spec config.md, "idmap").
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdMap {
    /// Whether also those of the mounts below.
    pub depth: Depth,
    /// Mappings of user and group ids; absent are those of the container's user namespace.
    pub own: Option<(Vec<IdMapping>, Vec<IdMapping>)>,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file or directory of the host, absolute or relative to the bundle.
    Bind(PathBuf, Depth),
    /// A new file system.
    FileSystem {
        /// Type such as `tmpfs`.
        kind: CString,
        /// Name shown in mountinfo.
        source: CString,
        /// Parameters.
        parameters: Vec<Parameter>,
    },
    /// The container's view of the cgroup hierarchies.
    Cgroup,
    /// Nothing: what is at the destination gets other attributes.
    Remount,
}

impl Mount {
    /// Whether this is a bind mount on /dev: the caller brings the devices.
    #[must_use]
    pub fn binds_dev(&self) -> bool {
        self.destination == Path::new("dev") && matches!(self.source, Source::Bind(..))
    }

    /// Whether this mounts a new file system of the given type.
    #[must_use]
    pub fn is(&self, file_system: &str) -> bool {
        matches!(&self.source, Source::FileSystem { kind, .. } if kind.to_bytes() == file_system.as_bytes())
    }

    /// What the look-up of the destination does at links. The kernel's own file systems, and all of /dev, go to plain
    /// directories only: a link there is an attack (CVE-2019-19921, CVE-2023-27561, CVE-2025-54867).
    #[must_use]
    pub fn links(&self) -> Links {
        let kernel = self.is("proc") || self.is("sysfs") || matches!(self.source, Source::Cgroup);
        let below = |prefix: &str| self.destination.starts_with(prefix);
        if kernel || below("dev") || below("proc") || below("sys") { Links::Refuse } else { Links::InRoot }
    }
}

/// Checks and converts `mounts`.
///
/// # Errors
/// [`PlanError`] with the path of the member.
pub(super) fn mounts(mounts: &[spec::Mount], namespaces: &Namespaces) -> Result<Vec<Mount>, PlanError> {
    mounts.iter().enumerate().map(|(index, mount)| convert(mount, namespaces, &format!("mounts[{index}]"))).collect()
}

fn convert(mount: &spec::Mount, namespaces: &Namespaces, at: &str) -> Result<Mount, PlanError> {
    if mount.destination.is_empty() || mount.destination.contains('\0') {
        return Err(refuse(&format!("{at}.destination"), "must be a path in the container"));
    }
    let mut options = options::parse(&mount.options, &format!("{at}.options"))?;
    let kind = mount.kind.as_deref().unwrap_or_default();
    for (extra, word, fits) in [
        (Extra::CopyUp, "tmpcopyup is for tmpfs mounts", kind == "tmpfs"),
        (Extra::CopySymlink, "copy-symlink is for bind mounts", bind_depth(kind, &options).is_some()),
        (Extra::SourceNoFollow, "src-nofollow is for bind mounts", bind_depth(kind, &options).is_some()),
    ] {
        if options.has(extra) && !fits {
            return Err(refuse(&format!("{at}.options"), word));
        }
    }
    let source = if options.has(Extra::Remount) {
        if !options.parameters.is_empty() {
            return Err(refuse(&format!("{at}.options"), "remount changes attributes of the mount alone"));
        }
        Source::Remount
    } else if let Some(depth) = bind_depth(kind, &options) {
        bind(mount, depth, &options, at)?
    } else if options.subpath.is_some() {
        return Err(refuse(&format!("{at}.options"), format!("{}… is for bind mounts", options::SUBPATH)));
    } else {
        file_system(kind, mount.source.as_deref(), std::mem::take(&mut options.parameters), at)?
    };
    let id_map = id_map(mount, &source, &options, namespaces, at)?;
    Ok(Mount { destination: clean(mount.destination.as_ref()), source, options, id_map })
}

/// The option may be left out where there are mappings; it says then how deep they reach.
fn id_map(
    mount: &spec::Mount,
    source: &Source,
    options: &Options,
    namespaces: &Namespaces,
    at: &str,
) -> Result<Option<IdMap>, PlanError> {
    let [uids, gids] = [("uidMappings", &mount.uid_mappings), ("gidMappings", &mount.gid_mappings)]
        .map(|(member, list)| mappings(list, &format!("{at}.{member}")));
    let (uids, gids) = (uids?, gids?);
    let own = match (uids.is_empty(), gids.is_empty()) {
        (true, true) => None,
        (false, false) => Some((uids, gids)),
        (true, false) => return Err(refuse(&format!("{at}.uidMappings"), "is missing; gidMappings need it")),
        (false, true) => return Err(refuse(&format!("{at}.gidMappings"), "is missing; uidMappings need it")),
    };
    let depth = match (options.id_map, &own) {
        (None, None) => return Ok(None),
        (depth, _) => depth.unwrap_or(Depth::Single),
    };
    if !matches!(source, Source::Bind(..)) {
        return Err(refuse(at, "ids can be mapped of bind mounts only"));
    }
    if own.is_none() && !namespaces.own(NamespaceKind::User) {
        let problem = "idmap needs uidMappings and gidMappings, or a user namespace in linux.namespaces";
        return Err(refuse(&format!("{at}.options"), problem));
    }
    Ok(Some(IdMap { depth, own }))
}

fn bind_depth(kind: &str, options: &Options) -> Option<Depth> {
    match (options.bind, kind) {
        (Some(depth), _) => Some(depth),
        (None, "bind") => Some(Depth::Recursive),
        (None, _) => None,
    }
}

fn bind(mount: &spec::Mount, depth: Depth, options: &Options, at: &str) -> Result<Source, PlanError> {
    let source = mount.source.as_deref().filter(|source| !source.is_empty() && !source.contains('\0'));
    let source = source.ok_or_else(|| refuse(&format!("{at}.source"), "a bind mount needs a file or directory"))?;
    if let Some(parameter) = options.parameters.first() {
        let word = match parameter {
            Parameter::Flag(key) | Parameter::Value(key, _) => key.to_string_lossy(),
        };
        return Err(refuse(&format!("{at}.options"), format!("{word:?} means nothing for a bind mount")));
    }
    Ok(Source::Bind(PathBuf::from(source), depth))
}

fn file_system(kind: &str, source: Option<&str>, parameters: Vec<Parameter>, at: &str) -> Result<Source, PlanError> {
    if kind == "cgroup" || kind == "cgroup2" {
        return Ok(Source::Cgroup);
    }
    if kind.is_empty() {
        return Err(refuse(&format!("{at}.type"), "is missing"));
    }
    let c_string =
        |text: &str, member: &str| CString::new(text).map_err(|_| refuse(&format!("{at}.{member}"), "has a NUL byte"));
    let name = source.filter(|source| !source.is_empty()).unwrap_or(kind);
    Ok(Source::FileSystem { kind: c_string(kind, "type")?, source: c_string(name, "source")?, parameters })
}
