//! `-v`, `--mount` and `--tmpfs`.

use std::collections::BTreeMap;

use cri::spec::{BindRecursion, Propagation};

/// A mount as it was asked for; volumes are not looked up yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MountFlag {
    /// Absolute, normal path in the container.
    pub(crate) destination: String,
    pub(crate) source: Source,
    pub(crate) read_only: bool,
    pub(crate) propagation: Propagation,
    pub(crate) recursion: BindRecursion,
    /// Whether its ids are mapped as those of the container's user namespace.
    pub(crate) id_map: bool,
    /// `z` and `Z`: for whom its files are labelled; nothing happens where there is no SELinux.
    pub(crate) relabel: Option<Relabel>,
}

/// Who may use files that get an SELinux label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Relabel {
    /// `z`: all containers.
    Shared,
    /// `Z`: this one, and those of its pod.
    Private,
}

impl Relabel {
    fn parse(option: &str) -> Option<Relabel> {
        match option {
            "z" => Some(Relabel::Shared),
            "Z" => Some(Relabel::Private),
            _ => None,
        }
    }

    /// As `-v` has it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Relabel::Shared => "z",
            Relabel::Private => "Z",
        }
    }
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// A path of the host.
    Bind {
        path: String,
        /// What happens when it is not there.
        missing: Missing,
    },
    /// A volume.
    Volume {
        /// `None` for an anonymous one.
        name: Option<String>,
        /// Whether an empty volume gets what the image has at the destination.
        copy: bool,
        /// Only this directory or file of it, relative to its top.
        subpath: Option<String>,
        /// How it is made if it is not there.
        new: NewVolume,
    },
    /// The files of an image.
    Image {
        /// Name or id.
        name: String,
        /// Only this directory or file of it, relative to its top.
        subpath: Option<String>,
    },
    /// Memory.
    Tmpfs { options: Vec<String> },
}

/// How a volume is made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct NewVolume {
    /// For one container only.
    pub(crate) anonymous: bool,
    /// Labels.
    pub(crate) labels: BTreeMap<String, String>,
    /// Options of the driver, checked.
    pub(crate) options: BTreeMap<String, String>,
}

impl Source {
    /// A volume as `-v` names it.
    pub(crate) fn volume(name: Option<String>) -> Source {
        Source::Volume { name, copy: true, subpath: None, new: NewVolume::default() }
    }
}

/// What happens when the source of a bind mount is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// A directory is made (`-v`).
    Create,
    /// An error (`--mount`).
    Refuse,
}

/// `-v [SOURCE:]DESTINATION[:OPTIONS]`
pub(crate) fn volume(text: &str) -> Result<MountFlag, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let (source, destination, options) = match parts.as_slice() {
        [destination] => (None, *destination, ""),
        [source, destination] => (Some(*source), *destination, ""),
        [source, destination, options] => (Some(*source), *destination, *options),
        _ => return Err(format!("{text:?}: write it as [SOURCE:]DESTINATION[:OPTIONS]")),
    };
    let mut mount = MountFlag {
        destination: self::destination(destination)?,
        source: match source {
            None => Source::volume(None),
            Some(source) => volume_source(source)?,
        },
        read_only: false,
        propagation: Propagation::default(),
        recursion: BindRecursion::default(),
        id_map: false,
        relabel: None,
    };
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" | "readonly" => mount.read_only = true,
            // But the first one hints for another operating system.
            "rw" | "cached" | "delegated" | "consistent" => {}
            "z" | "Z" if mount.relabel.is_some_and(|relabel| relabel.word() != option) => {
                return Err(format!("{text:?}: z and Z exclude each other"));
            }
            "z" | "Z" => mount.relabel = Relabel::parse(option),
            "idmap" => mount.id_map = true,
            "nocopy" => match &mut mount.source {
                Source::Volume { copy, .. } => *copy = false,
                Source::Bind { .. } | Source::Image { .. } | Source::Tmpfs { .. } => {
                    return Err(format!("{text:?}: nocopy is for volumes"));
                }
            },
            option if option.starts_with("idmap=") => return Err(format!("{text:?}: {NO_OWN_MAPS}")),
            option => match (Propagation::parse(option), &mount.source) {
                (Some(propagation), Source::Bind { .. }) => mount.propagation = propagation,
                (Some(_), _) => return Err(format!("{text:?}: {option} is for bind mounts")),
                (None, _) => return Err(format!("{text:?}: unknown option {option:?}")),
            },
        }
    }
    Ok(mount)
}

/// podman's `idmap=uids=...;gids=...`.
const NO_OWN_MAPS: &str =
    "idmap takes no maps of its own here, the mount is mapped as --userns says; write idmap alone";

fn volume_source(source: &str) -> Result<Source, String> {
    if source.starts_with('/') {
        return Ok(Source::Bind { path: source.to_owned(), missing: Missing::Create });
    }
    if source == "." || source == ".." || source.starts_with("./") || source.starts_with("../") {
        return Ok(Source::Bind { path: absolute(source)?, missing: Missing::Create });
    }
    Ok(Source::volume(Some(volume_name(source)?)))
}

/// A path relative to the caller's directory as an absolute one.
fn absolute(path: &str) -> Result<String, String> {
    let path = std::path::absolute(path).map_err(|error| format!("{path:?}: {error}"))?;
    path.into_os_string().into_string().map_err(|path| format!("{}: not UTF-8", path.display()))
}

/// Checks the name of a volume, which is also that of its directory.
pub(crate) fn volume_name(name: &str) -> Result<String, String> {
    let good =
        |(index, byte): (usize, u8)| byte.is_ascii_alphanumeric() || (index > 0 && matches!(byte, b'_' | b'.' | b'-'));
    if name.len() < 2 || name.len() > 255 || !name.bytes().enumerate().all(good) {
        return Err(format!(
            "{name:?} is no volume name ([a-zA-Z0-9][a-zA-Z0-9_.-]+); a path of the host starts with / or ./"
        ));
    }
    Ok(name.to_owned())
}

/// Checks a volume's driver: there is one.
pub(crate) fn driver(name: &str) -> Result<String, String> {
    match name {
        "local" => Ok(name.to_owned()),
        _ => Err(format!("volume driver {name:?}: must be local, there are no plugins; it mounts what --opt names")),
    }
}

/// A path below the top of a volume, normalized.
fn subpath(text: &str) -> Result<String, String> {
    let parts: Vec<&str> = text.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if text.starts_with('/') || text.contains('\0') || parts.is_empty() || parts.contains(&"..") {
        return Err(format!("{text:?}: must be a path below the volume's top, without .."));
    }
    Ok(parts.join("/"))
}

/// `--volumes-from CONTAINER[:ro|:rw]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VolumesFrom {
    pub(crate) container: String,
    pub(crate) read_only: bool,
    pub(crate) relabel: Option<Relabel>,
}

/// Parses `--volumes-from`.
pub(crate) fn volumes_from(text: &str) -> Result<VolumesFrom, String> {
    let (container, mode) = text.split_once(':').unwrap_or((text, "rw"));
    let (mut read_only, mut relabel) = (false, None);
    for mode in mode.split(',') {
        match mode {
            "ro" => read_only = true,
            "rw" => {}
            "z" | "Z" => relabel = Relabel::parse(mode),
            _ => return Err(format!("{text:?}: the mode must be of ro, rw, z, Z")),
        }
    }
    if container.is_empty() {
        return Err(format!("{text:?}: write it as CONTAINER[:ro|:rw]"));
    }
    Ok(VolumesFrom { container: container.to_owned(), read_only, relabel })
}

/// Checks and normalizes a path in the container.
pub(crate) fn destination(text: &str) -> Result<String, String> {
    if !text.starts_with('/') {
        return Err(format!("{text:?}: the path in the container must be absolute"));
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    if parts.is_empty() {
        return Err(format!("{text:?}: the destination cannot be /"));
    }
    Ok(format!("/{}", parts.join("/")))
}

/// `--tmpfs DESTINATION[:OPTIONS]`
pub(crate) fn tmpfs(text: &str) -> Result<MountFlag, String> {
    let (path, options) = text.split_once(':').unwrap_or((text, ""));
    let options: Vec<String> = options.split(',').filter(|option| !option.is_empty()).map(str::to_owned).collect();
    for option in &options {
        tmpfs_option(option)?;
    }
    Ok(MountFlag {
        destination: destination(path)?,
        source: Source::Tmpfs { options },
        read_only: false,
        propagation: Propagation::default(),
        recursion: BindRecursion::default(),
        id_map: false,
        relabel: None,
    })
}

const TMPFS_WORDS: &[&str] = &[
    "ro",
    "rw",
    "exec",
    "noexec",
    "suid",
    "nosuid",
    "dev",
    "nodev",
    "sync",
    "async",
    "atime",
    "noatime",
    "diratime",
    "nodiratime",
    "relatime",
    "norelatime",
    "strictatime",
    "nostrictatime",
];
const TMPFS_VALUES: &[&str] = &["size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol"];

fn tmpfs_option(option: &str) -> Result<(), String> {
    let known = match option.split_once('=') {
        Some((name, value)) => TMPFS_VALUES.contains(&name) && !value.is_empty(),
        None => TMPFS_WORDS.contains(&option),
    };
    if known { Ok(()) } else { Err(format!("unknown tmpfs option {option:?}; mount(8) and tmpfs(5) list them")) }
}

/// `--mount type=TYPE,NAME=VALUE,...`; values may be quoted as in CSV.
pub(crate) fn mount(text: &str) -> Result<MountFlag, String> {
    let mut keys = Keys::default();
    for field in csv(text)? {
        let (name, value) = match field.split_once('=') {
            Some((name, value)) => (name.to_ascii_lowercase(), Some(value.to_owned())),
            None => (field.to_ascii_lowercase(), None),
        };
        keys.take(&name, value).map_err(|problem| format!("{text:?}: {problem}"))?;
    }
    keys.mount().map_err(|problem| format!("{text:?}: {problem}"))
}

#[derive(Default)]
struct Keys {
    kind: Option<String>,
    source: Option<String>,
    destination: Option<String>,
    read_only: Option<bool>,
    id_map: bool,
    relabel: Option<Relabel>,
    propagation: Option<Propagation>,
    recursion: Option<BindRecursion>,
    force_recursive_read_only: bool,
    nocopy: Option<bool>,
    /// The key and the path.
    subpath: Option<(String, String)>,
    labels: BTreeMap<String, String>,
    options: BTreeMap<String, String>,
    driver: Option<String>,
    tmpfs: Vec<String>,
}

impl Keys {
    fn take(&mut self, name: &str, value: Option<String>) -> Result<(), String> {
        let flag = |value: &Option<String>| match value.as_deref() {
            None | Some("true" | "1") => Ok(true),
            Some("false" | "0") => Ok(false),
            Some(other) => Err(format!("{name}={other}: must be true or false")),
        };
        match name {
            "readonly" | "ro" => {
                self.read_only = Some(flag(&value)?);
                return Ok(());
            }
            "readwrite" | "rw" => {
                self.read_only = Some(!flag(&value)?);
                return Ok(());
            }
            "idmap" => {
                self.id_map = flag(&value).map_err(|_| NO_OWN_MAPS.to_owned())?;
                return Ok(());
            }
            "volume-nocopy" => {
                self.nocopy = Some(flag(&value)?);
                return Ok(());
            }
            "bind-nonrecursive" => {
                self.recursion = Some(if flag(&value)? { BindRecursion::Disabled } else { BindRecursion::Enabled });
                return Ok(());
            }
            _ => {}
        }
        let value = value.filter(|value| !value.is_empty()).ok_or_else(|| format!("{name} needs a value"))?;
        match name {
            "type" => self.kind = Some(value.to_ascii_lowercase()),
            "source" | "src" => self.source = Some(value),
            "target" | "dst" | "destination" => self.destination = Some(value),
            "bind-propagation" => {
                let unknown = || format!("{name}={value}: must be rprivate, private, rslave, slave, rshared or shared");
                self.propagation = Some(Propagation::parse(&value).ok_or_else(unknown)?);
            }
            "bind-recursive" => {
                self.recursion = Some(match value.as_str() {
                    "enabled" => BindRecursion::Enabled,
                    "disabled" => BindRecursion::Disabled,
                    "writable" => BindRecursion::Writable,
                    "readonly" => {
                        self.force_recursive_read_only = true;
                        BindRecursion::Enabled
                    }
                    _ => return Err(format!("{name}={value}: must be enabled, disabled, writable or readonly")),
                });
            }
            "tmpfs-size" => self.tmpfs.push(format!("size={}", super::size::bytes(&value)?)),
            "tmpfs-mode" => {
                let bad = || format!("{name}={value}: must be an octal mode such as 1777");
                let mode = u32::from_str_radix(&value, 8).ok().filter(|mode| *mode <= 0o7777).ok_or_else(bad)?;
                self.tmpfs.push(format!("mode={mode:o}"));
            }
            "tmpfs-options" => {
                for option in value.split(',') {
                    tmpfs_option(option)?;
                    self.tmpfs.push(option.to_owned());
                }
            }
            "volume-subpath" | "image-subpath" | "subpath" => {
                let path = subpath(&value).map_err(|problem| format!("{name}={problem}"))?;
                self.subpath = Some((name.to_owned(), path));
            }
            "relabel" => {
                self.relabel = Some(match value.as_str() {
                    "shared" => Relabel::Shared,
                    "private" => Relabel::Private,
                    _ => return Err(format!("{name}={value}: must be shared or private")),
                });
            }
            "volume-driver" => {
                driver(&value)?;
                self.driver = Some(value);
            }
            "volume-opt" => {
                let (option, value) =
                    value.split_once('=').ok_or_else(|| format!("{name}={value}: write NAME=VALUE"))?;
                self.options.insert(option.to_owned(), value.to_owned());
            }
            "volume-label" => {
                let (label, value) = value.split_once('=').unwrap_or((&value, ""));
                self.labels.insert(label.to_owned(), value.to_owned());
            }
            // A hint for another operating system.
            "consistency" => {}
            _ => return Err(format!("unknown key {name:?}")),
        }
        Ok(())
    }

    fn mount(self) -> Result<MountFlag, String> {
        let kind = self.kind.as_deref().unwrap_or("volume");
        let bind_only = self.propagation.is_some() || self.recursion.is_some();
        let below = self.subpath.as_ref().map(|(_, path)| path.clone());
        let key = self.subpath.as_ref().map(|(key, _)| key.as_str());
        let volume_only = self.nocopy.is_some()
            || key == Some("volume-subpath")
            || self.driver.is_some()
            || !self.labels.is_empty()
            || !self.options.is_empty();
        let destination = destination(self.destination.as_deref().ok_or("target is missing")?)?;
        let source = match kind {
            "bind" => {
                let path = self.source.ok_or("source is missing; a bind mount needs a path of the host")?;
                Source::Bind { path: absolute(&path)?, missing: Missing::Refuse }
            }
            "volume" => {
                if self.source.is_none() && (self.subpath.is_some() || !self.options.is_empty()) {
                    return Err("volume-subpath and volume-opt need a source: the name of a volume".to_owned());
                }
                crate::store::volume::backing::backing(&self.options)?;
                Source::Volume {
                    name: self.source.as_deref().map(volume_name).transpose()?,
                    copy: !self.nocopy.unwrap_or(false),
                    subpath: below,
                    new: NewVolume { anonymous: false, labels: self.labels.clone(), options: self.options.clone() },
                }
            }
            "tmpfs" if self.source.is_some() => return Err("a tmpfs has no source".to_owned()),
            "tmpfs" => Source::Tmpfs { options: self.tmpfs.clone() },
            "image" if self.read_only == Some(false) => {
                return Err("an image is mounted read-only; leave out rw, and copy what is to be changed".to_owned());
            }
            "image" => {
                let name = self.source.clone().ok_or("source is missing; name an image")?;
                Source::Image { name, subpath: below }
            }
            "npipe" | "cluster" => {
                return Err(format!("type={kind} is not built yet; use bind, volume, image or tmpfs"));
            }
            _ => return Err(format!("type={kind}: must be bind, volume, image or tmpfs")),
        };
        if kind != "image" && key == Some("image-subpath") {
            return Err(format!("image-* keys do not go with type={kind}"));
        }
        if key == Some("subpath") && !matches!(kind, "image" | "volume") {
            return Err(format!("subpath does not go with type={kind}"));
        }
        if self.id_map && !matches!(kind, "bind" | "volume") {
            return Err(format!("idmap does not go with type={kind}"));
        }
        if self.relabel.is_some() && !matches!(kind, "bind" | "volume") {
            return Err(format!("relabel does not go with type={kind}"));
        }
        if kind != "bind" && bind_only {
            return Err(format!("bind-* keys do not go with type={kind}"));
        }
        if kind != "volume" && volume_only {
            return Err(format!("volume-* keys do not go with type={kind}"));
        }
        if kind != "tmpfs" && !self.tmpfs.is_empty() {
            return Err(format!("tmpfs-* keys do not go with type={kind}"));
        }
        let read_only = self.read_only.unwrap_or(kind == "image");
        if self.force_recursive_read_only && !read_only {
            return Err("bind-recursive=readonly needs readonly".to_owned());
        }
        Ok(MountFlag {
            destination,
            source,
            read_only,
            propagation: self.propagation.unwrap_or_default(),
            recursion: self.recursion.unwrap_or_default(),
            id_map: self.id_map,
            relabel: self.relabel,
        })
    }
}

/// Fields of one CSV line, as in RFC 4180: a field that starts with a quote ends with one, a doubled quote stands for one.
fn csv(text: &str) -> Result<Vec<String>, String> {
    let mut fields = Vec::new();
    let mut chars = text.chars().peekable();
    loop {
        let mut field = String::new();
        if chars.next_if_eq(&'"').is_some() {
            loop {
                match chars.next() {
                    Some('"') if chars.next_if_eq(&'"').is_some() => field.push('"'),
                    Some('"') => break,
                    Some(c) => field.push(c),
                    None => return Err(format!("{text:?}: a quote is not closed")),
                }
            }
        } else {
            while let Some(c) = chars.next_if(|c| *c != ',') {
                field.push(c);
            }
        }
        if !field.is_empty() {
            fields.push(field);
        }
        match chars.next() {
            Some(',') => {}
            None => return Ok(fields),
            Some(c) => return Err(format!("{text:?}: unexpected {c:?} after a quote")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn flag(destination: &str, source: Source) -> MountFlag {
        MountFlag {
            destination: destination.to_owned(),
            source,
            read_only: false,
            propagation: Propagation::RPrivate,
            recursion: BindRecursion::Enabled,
            id_map: false,
            relabel: None,
        }
    }

    fn bind(path: &str, missing: Missing) -> Source {
        Source::Bind { path: path.to_owned(), missing }
    }

    fn named(name: Option<&str>, copy: bool) -> Source {
        Source::Volume { name: name.map(str::to_owned), copy, subpath: None, new: NewVolume::default() }
    }

    #[test]
    fn volumes() {
        let create = Missing::Create;
        let cases = [
            ("/data", flag("/data", named(None, true))),
            ("/a:/b", flag("/b", bind("/a", create))),
            ("/a:/b/../c//d/", flag("/c/d", bind("/a", create))),
            ("/a:/b:ro", MountFlag { read_only: true, ..flag("/b", bind("/a", create)) }),
            (
                "/a:/b:ro,rshared,z",
                MountFlag {
                    read_only: true,
                    propagation: Propagation::RShared,
                    relabel: Some(Relabel::Shared),
                    ..flag("/b", bind("/a", create))
                },
            ),
            ("/a:/b:z", MountFlag { relabel: Some(Relabel::Shared), ..flag("/b", bind("/a", create)) }),
            (
                "/a:/b:ro,Z",
                MountFlag { read_only: true, relabel: Some(Relabel::Private), ..flag("/b", bind("/a", create)) },
            ),
            ("/a:/b:idmap", MountFlag { id_map: true, ..flag("/b", bind("/a", create)) }),
            ("data:/b:nocopy", flag("/b", named(Some("data"), false))),
            ("da_t.a-1:/b:rw", flag("/b", named(Some("da_t.a-1"), true))),
        ];
        for (text, expected) in cases {
            assert_eq!(volume(text), Ok(expected), "{text}");
        }
        for text in [
            "",
            ":",
            "a:b",
            "/a:/",
            "/a:b",
            "/a:/b:nope",
            "/a:/b:z,Z",
            "/a:/b:idmap=uids=0-1-10",
            "/a:/b:nocopy",
            "data:/b:rshared",
            "/a:/b:ro:x",
            "-x:/b",
            "a b:/c",
            "x:/c",
            "a/b:/c",
            ".x:/c",
            "..:",
        ] {
            assert!(volume(text).is_err(), "{text:?} -> {:?}", volume(text));
        }
        let Source::Bind { path, .. } = volume("./x:/b").unwrap().source else { panic!("no bind") };
        assert!(path.starts_with('/') && path.ends_with("/x"));
    }

    #[test]
    fn mounts() {
        let refuse = Missing::Refuse;
        let image = |subpath: Option<&str>| {
            let source = Source::Image { name: "busybox".to_owned(), subpath: subpath.map(str::to_owned) };
            MountFlag { read_only: true, ..flag("/i", source) }
        };
        let cases = [
            ("type=bind,source=/a,target=/b", flag("/b", bind("/a", refuse))),
            ("type=bind,src=/a,dst=/b,readonly", MountFlag { read_only: true, ..flag("/b", bind("/a", refuse)) }),
            (
                "type=bind,src=/a,dst=/b,ro=true,bind-propagation=rslave,bind-recursive=disabled",
                MountFlag {
                    read_only: true,
                    propagation: Propagation::RSlave,
                    recursion: BindRecursion::Disabled,
                    ..flag("/b", bind("/a", refuse))
                },
            ),
            (
                "type=bind,src=/a,dst=/b,relabel=private",
                MountFlag { relabel: Some(Relabel::Private), ..flag("/b", bind("/a", refuse)) },
            ),
            ("type=bind,src=/a,dst=/b,idmap", MountFlag { id_map: true, ..flag("/b", bind("/a", refuse)) }),
            ("type=image,source=busybox,target=/i", image(None)),
            ("type=image,src=busybox,dst=/i,rw=false,subpath=etc//x", image(Some("etc/x"))),
            ("type=image,src=busybox,dst=/i,image-subpath=./bin", image(Some("bin"))),
            ("source=data,target=/b", flag("/b", named(Some("data"), true))),
            ("target=/b,volume-nocopy", flag("/b", named(None, false))),
            ("type=bind,\"src=/a,b\",dst=/b", flag("/b", bind("/a,b", refuse))),
            (
                "type=volume,source=data,target=/b,volume-subpath=./x//y,volume-label=a=b,volume-label=c",
                flag(
                    "/b",
                    Source::Volume {
                        name: Some("data".to_owned()),
                        copy: true,
                        subpath: Some("x/y".to_owned()),
                        new: NewVolume {
                            labels: [("a".to_owned(), "b".to_owned()), ("c".to_owned(), String::new())].into(),
                            ..NewVolume::default()
                        },
                    },
                ),
            ),
            (
                "type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=1777",
                flag("/t", Source::Tmpfs { options: vec!["size=1048576".to_owned(), "mode=1777".to_owned()] }),
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(mount(text), Ok(expected), "{text}");
        }
        let errors = [
            ("", "target is missing"),
            ("type=bind,target=/b", "source is missing"),
            ("type=nope,target=/b", "must be bind, volume, image or tmpfs"),
            ("type=image,target=/b", "source is missing"),
            ("type=image,source=x,target=/b,rw=true", "mounted read-only"),
            ("type=image,source=x,target=/b,subpath=../x", "without .."),
            ("type=image,source=x,target=/b,volume-subpath=x", "volume-* keys"),
            ("type=image,source=x,target=/b,idmap", "idmap does not go with"),
            ("type=bind,source=/a,target=/b,idmap=uids=0-1-10", "write idmap alone"),
            ("type=bind,source=/a,target=/b,subpath=x", "subpath does not go with"),
            ("type=volume,source=aa,target=/b,image-subpath=x", "image-* keys"),
            ("type=tmpfs,source=x,target=/b", "has no source"),
            ("type=bind,source=/a,target=b", "must be absolute"),
            ("type=bind,source=/a,target=/", "cannot be /"),
            ("type=bind,source=/a,target=/b,volume-nocopy", "volume-* keys"),
            ("type=volume,source=aa,target=/b,bind-propagation=shared", "bind-* keys"),
            ("type=volume,source=aa,target=/b,tmpfs-size=1", "tmpfs-* keys"),
            ("type=bind,source=/a,target=/b,bind-propagation=up", "must be rprivate"),
            ("type=bind,source=/a,target=/b,bind-recursive=readonly", "needs readonly"),
            ("type=bind,source=/a,target=/b,ro=maybe", "must be true or false"),
            ("type=tmpfs,target=/t,tmpfs-mode=9", "octal"),
            ("type=volume,source=aa,target=/b,volume-driver=nfs", "must be local"),
            ("type=volume,source=aa,target=/b,volume-subpath=../x", "without .."),
            ("type=volume,source=aa,target=/b,volume-subpath=/", "below the volume's top"),
            ("type=volume,target=/b,volume-subpath=x", "need a source"),
            ("type=volume,source=aa,target=/b,volume-opt=type=tmpfs", "option device is missing"),
            ("type=bind,source=/a,target=/b,volume-subpath=x", "volume-* keys"),
            ("type=bind,source=/a,target=/b,what=1", "unknown key"),
            ("\"type=bind", "a quote is not closed"),
            ("\"type=bind\"x", "after a quote"),
        ];
        for (text, expected) in errors {
            let error = mount(text).expect_err(text);
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn tmpfs_options() {
        let options = |text: &str| match tmpfs(text).map(|flag| flag.source) {
            Ok(Source::Tmpfs { options }) => Ok(options.join(",")),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error),
        };
        assert_eq!(options("/run"), Ok(String::new()));
        assert_eq!(options("/run:rw,size=64k,mode=700,exec"), Ok("rw,size=64k,mode=700,exec".to_owned()));
        assert!(options("/run:bogus").is_err());
        assert!(options("/run:size=").is_err());
        assert!(options("run").is_err());
    }

    #[test]
    fn other_containers() {
        let from =
            |container: &str, read_only| VolumesFrom { container: container.to_owned(), read_only, relabel: None };
        let labelled = VolumesFrom { relabel: Some(Relabel::Shared), ..from("web", true) };
        assert_eq!(volumes_from("web:ro,z"), Ok(labelled));
        assert_eq!(volumes_from("web"), Ok(from("web", false)));
        assert_eq!(volumes_from("web:ro"), Ok(from("web", true)));
        assert_eq!(volumes_from("web:rw"), Ok(from("web", false)));
        assert!(volumes_from("web:up").is_err() && volumes_from(":ro").is_err() && volumes_from("").is_err());
    }

    proptest! {
        #[test]
        fn never_panics(text in ".{0,80}") {
            let _ = volume(&text);
            let _ = mount(&text);
            let _ = tmpfs(&text);
        }

        #[test]
        fn destinations_are_normal(text in "/[a-c./]{0,20}") {
            if let Ok(path) = destination(&text) {
                prop_assert!(path.starts_with('/') && !path.ends_with('/'));
                let strange = |part: &str| part.is_empty() || part == "." || part == "..";
                prop_assert!(!path[1..].split('/').any(strange));
            }
        }
    }
}
