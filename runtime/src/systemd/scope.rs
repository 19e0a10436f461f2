//! The unit of a container.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::Error;
use super::bus::{Bus, Instance};
use super::properties::{Property, Value, properties};
use super::wire::Writer;
use crate::cgroup::{Host, Mode, device_allow_list};
use crate::rootless::is_hosts_root;
use crate::spec::Resources;

/// Longest name of a unit. systemd.unit(5)
const NAME_LIMIT: usize = 255;

/// Annotations of this prefix are properties of the scope, in GVariant's text format (runc, docs/systemd.md).
const ANNOTATION: &str = "org.systemd.property.";

/// A scope, by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// Such as `rt-c1.scope`.
    pub unit: String,
    /// Such as `system.slice`; empty is systemd's default.
    pub slice: String,
}

/// What a new scope is made of.
pub struct Start<'a> {
    /// The container, for the description.
    pub id: &'a str,
    /// The process that holds it.
    pub pid: Pid,
    /// Its limits.
    pub resources: &'a Resources,
    /// Of the container.
    pub annotations: &'a BTreeMap<String, String>,
    /// Of the host.
    pub mode: Mode,
}

impl Scope {
    /// The scope that `linux.cgroupsPath` names: `slice:prefix:name`. Without it, `rt-ID.scope` in the default slice.
    ///
    /// # Errors
    /// [`Error::Path`].
    pub fn new(path: Option<&str>, id: &str) -> Result<Self, Error> {
        let default = format!(":rt:{id}");
        let path = path.filter(|path| !path.is_empty()).unwrap_or(&default);
        let wrong = |problem| Err(Error::Path { path: path.to_owned(), problem });
        let parts: Vec<&str> = path.split(':').collect();
        let [slice, prefix, name] = parts[..] else {
            return wrong("with --systemd-cgroup it is slice:prefix:name");
        };
        if name.ends_with(".slice") {
            return wrong("a slice has no processes; it needs the name of a scope");
        }
        let slice = match (slice, is_hosts_root()) {
            ("", true) => "system.slice",
            ("", false) => "user.slice",
            (slice, _) => slice,
        };
        let unit = if prefix.is_empty() { format!("{name}.scope") } else { format!("{prefix}-{name}.scope") };
        let good = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || ":-_.\\".contains(c));
        if name.is_empty() || unit.len() > NAME_LIMIT || !good(&unit) {
            return wrong("prefix and name make no name of a unit");
        }
        let stem = slice.strip_suffix(".slice");
        if slice.len() > NAME_LIMIT
            || !good(slice)
            || stem.is_none_or(|stem| stem != "-" && stem.split('-').any(str::is_empty))
        {
            return wrong("its slice is no name of a slice, such as system.slice");
        }
        Ok(Self { unit, slice: slice.to_owned() })
    }

    /// Makes it, and waits until it is there; gives its cgroup. One of that name that has failed or ended is forgotten before.
    ///
    /// # Errors
    /// [`Error`]; nothing is made then.
    pub fn start(&self, start: &Start<'_>) -> Result<String, Error> {
        let limits = properties(start.resources, start.mode, 0)?;
        let asked = annotated(start.annotations)?;
        let mut body = Writer::default();
        body.string(&self.unit);
        body.string("fail");
        body.array(8, |body| {
            for (name, value) in self.basics(start, &limits) {
                property(body, name, &value);
            }
            limits.iter().for_each(|limit| property(body, limit.name, &Variant::of(&limit.value)));
            devices(start.resources).iter().for_each(|(name, value)| property(body, name, value));
            asked.iter().for_each(|(name, value)| property(body, name, value));
        });
        body.array(8, |_| {});
        let mut bus = Bus::connect(instance(), &self.unit)?;
        let call = |bus: &mut Bus| bus.call("StartTransientUnit", &self.unit, "ssa(sv)a(sa(sv))", &body);
        let job = match call(&mut bus) {
            Err(error) if error.is_unit_exists() => {
                self.forget(&mut bus)?;
                call(&mut bus)?
            }
            answer => answer?,
        };
        bus.job_end(&self.unit, &job)?;
        self.place(start.pid, start.mode)
    }

    /// Changes its limits until the next boot.
    ///
    /// # Errors
    /// [`Error`].
    pub fn update(&self, resources: &Resources) -> Result<(), Error> {
        // Without cgroups there is no scope.
        let mode = Host::detect().map_or(Mode::V2, |host| host.mode());
        let limits = properties(resources, mode, 0)?;
        if limits.is_empty() {
            return Ok(());
        }
        let mut body = Writer::default();
        body.string(&self.unit);
        body.u32(1);
        body.array(8, |body| limits.iter().for_each(|limit| property(body, limit.name, &Variant::of(&limit.value))));
        let mut bus = Bus::connect(instance(), &self.unit)?;
        bus.call("SetUnitProperties", &self.unit, "sba(sv)", &body).map(drop)
    }

    /// Ends it, and waits until systemd has forgotten it; its processes should have ended. One that systemd does not know is done.
    ///
    /// # Errors
    /// [`Error`].
    pub fn stop(&self) -> Result<(), Error> {
        let mut bus = Bus::connect(instance(), &self.unit)?;
        let mut body = Writer::default();
        body.string(&self.unit);
        body.string("replace");
        match bus.call("StopUnit", &self.unit, "ss", &body) {
            Err(error) if error.is_no_such_unit() => return Ok(()),
            job => bus.job_end(&self.unit, &job?)?,
        }
        self.forget(&mut bus)
    }

    /// Moves a process of this user to a group of the unit, where the kernel lets nobody but systemd do so: of two groups
    /// of a user's systemd one writes to the files oneself. cgroups(7), "Delegation Containment"
    ///
    /// # Errors
    /// [`Error`].
    pub fn attach(&self, group: &Path, pid: Pid) -> Result<(), Error> {
        let below: PathBuf = group.iter().skip_while(|part| *part != self.unit.as_str()).skip(1).collect();
        let below = if below.as_os_str().is_empty() { below } else { Path::new("/").join(below) };
        let mut body = Writer::default();
        body.string(&self.unit);
        body.string(&below.to_string_lossy());
        body.array(4, |body| body.u32(pid.as_raw().cast_unsigned()));
        Bus::connect(instance(), &self.unit)?.call("AttachProcessesToUnit", &self.unit, "ssau", &body).map(drop)
    }

    fn forget(&self, bus: &mut Bus) -> Result<(), Error> {
        let mut body = Writer::default();
        body.string(&self.unit);
        match bus.call("ResetFailedUnit", &self.unit, "s", &body) {
            Err(error) if error.is_no_such_unit() => Ok(()),
            answer => answer.map(drop),
        }
    }

    fn basics<'a>(&'a self, start: &Start<'_>, limits: &[Property]) -> Vec<(&'static str, Variant<'a>)> {
        let io = if start.mode == Mode::V2 { "IOAccounting" } else { "BlockIOAccounting" };
        let mut basics = vec![
            ("Description", Variant::Owned(format!("container {}", start.id))),
            ("Slice", Variant::Text(&self.slice)),
            ("PIDs", Variant::Pids(vec![start.pid.as_raw().cast_unsigned()])),
            // What is below the scope is the container's.
            ("Delegate", Variant::Flag(true)),
            ("DefaultDependencies", Variant::Flag(false)),
            // A scope that failed is forgotten, too.
            ("CollectMode", Variant::Text("inactive-or-failed")),
            ("CPUAccounting", Variant::Flag(true)),
            ("MemoryAccounting", Variant::Flag(true)),
            ("TasksAccounting", Variant::Flag(true)),
            (io, Variant::Flag(true)),
        ];
        // systemd's default is a part of what the host can have; nobody asked for it.
        if !limits.iter().any(|limit| limit.name == "TasksMax") {
            basics.push(("TasksMax", Variant::Number(u64::MAX)));
        }
        basics
    }

    /// The cgroup that systemd put a process into, as the kernel tells it.
    fn place(&self, pid: Pid, mode: Mode) -> Result<String, Error> {
        let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        let wanted = match mode {
            Mode::V2 => "",
            Mode::V1 | Mode::Hybrid => "name=systemd",
        };
        let found = text.lines().find_map(|line| {
            let (_, line) = line.split_once(':')?;
            let (controllers, path) = line.split_once(':')?;
            (controllers == wanted).then_some(path)
        });
        match found {
            Some(path) if path.ends_with(&format!("/{}", self.unit)) => Ok(path.to_owned()),
            found => Err(Error::Place { unit: self.unit.clone(), found: found.unwrap_or_default().to_owned() }),
        }
    }
}

/// Device rules as systemd keeps them: without them it would allow all devices of a v1 group at the next `daemon-reload`. On v2 it attaches
/// a program of its own beside ours, and both must allow. What it cannot keep is left to the group.
fn devices(resources: &Resources) -> Vec<(&'static str, Variant<'static>)> {
    match Some(&resources.devices).filter(|rules| !rules.is_empty()).and_then(|rules| device_allow_list(rules)) {
        Some(list) => {
            vec![("DevicePolicy", Variant::Text("strict")), ("DeviceAllow", Variant::Pairs(list))]
        }
        None => Vec::new(),
    }
}

/// An ordinary user's systemd is another one.
fn instance() -> Instance {
    if is_hosts_root() { Instance::System } else { Instance::User }
}

/// The value of a property.
#[derive(Debug, PartialEq, Eq)]
enum Variant<'a> {
    Text(&'a str),
    Owned(String),
    Flag(bool),
    /// `u`, and `i` by its bits.
    Short(&'static str, u32),
    /// `t`, and `x` by its bits.
    Number(u64),
    Signed(i64),
    Mask(&'a [u8]),
    Pids(Vec<u32>),
    Texts(Vec<String>),
    Pairs(Vec<(String, String)>),
}

impl<'a> Variant<'a> {
    fn of(value: &'a Value) -> Self {
        match value {
            Value::Number(number) => Self::Number(*number),
            Value::Mask(mask) => Self::Mask(mask),
        }
    }
}

/// An element of `a(sv)`.
fn property(out: &mut Writer, name: &str, value: &Variant<'_>) {
    out.structure(|out| {
        out.string(name);
        let mut text = |text: &str| {
            out.signature("s");
            out.string(text);
        };
        match value {
            Variant::Text(value) => text(value),
            Variant::Owned(value) => text(value),
            Variant::Flag(value) => {
                out.signature("b");
                out.u32(u32::from(*value));
            }
            Variant::Short(kind, value) => {
                out.signature(kind);
                out.u32(*value);
            }
            Variant::Number(value) => {
                out.signature("t");
                out.u64(*value);
            }
            Variant::Signed(value) => {
                out.signature("x");
                out.u64(value.cast_unsigned());
            }
            Variant::Mask(value) => {
                out.signature("ay");
                out.array(1, |out| value.iter().for_each(|byte| out.byte(*byte)));
            }
            Variant::Pids(value) => {
                out.signature("au");
                out.array(4, |out| value.iter().for_each(|pid| out.u32(*pid)));
            }
            Variant::Pairs(value) => {
                out.signature("a(ss)");
                out.array(8, |out| {
                    for (one, other) in value {
                        out.structure(|out| {
                            out.string(one);
                            out.string(other);
                        });
                    }
                });
            }
            Variant::Texts(value) => {
                out.signature("as");
                out.array(4, |out| value.iter().for_each(|text| out.string(text)));
            }
        }
    });
}

/// The properties that annotations ask for. Times in seconds become those in microseconds, which is what systemd has.
fn annotated(annotations: &BTreeMap<String, String>) -> Result<Vec<(String, Variant<'static>)>, Error> {
    let mut all = Vec::new();
    for (name, text) in annotations {
        let Some(property) = name.strip_prefix(ANNOTATION) else { continue };
        let wrong = |problem| Error::Annotation { name: name.clone(), value: text.clone(), problem };
        let plain = property.len() >= 3 && property.chars().all(|c| c.is_ascii_alphabetic());
        if !plain {
            return Err(wrong("its name is none of a property: at least three letters"));
        }
        let value = variant(text).ok_or_else(|| {
            wrong("it is none of true, false, 'text', ['text', ...], a number, uint32, int64 or uint64 with a number")
        })?;
        let seconds = property.strip_suffix("Sec").filter(|_| !property.ends_with("USec"));
        all.push(match seconds {
            None => (property.to_owned(), value),
            Some(stem) => {
                let seconds = match value {
                    Variant::Short(_, number) => Some(u64::from(number)),
                    Variant::Number(number) => Some(number),
                    Variant::Signed(number) => u64::try_from(number).ok(),
                    _ => None,
                };
                let micros = seconds.and_then(|seconds| seconds.checked_mul(1_000_000));
                let micros = micros.ok_or_else(|| wrong("it is no number of seconds"))?;
                (format!("{stem}USec"), Variant::Number(micros))
            }
        });
    }
    Ok(all)
}

/// GVariant's text format, as far as properties of scopes need it.
fn variant(text: &str) -> Option<Variant<'static>> {
    let text = text.trim();
    let quoted = |text: &str| -> Option<String> {
        let text = text.trim();
        let quote = text.chars().next().filter(|quote| matches!(quote, '\'' | '"'))?;
        let inside = text.strip_prefix(quote)?.strip_suffix(quote)?;
        (!inside.contains([quote, '\\'])).then(|| inside.to_owned())
    };
    if let Some(list) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        return list.split(',').map(quoted).collect::<Option<_>>().map(Variant::Texts);
    }
    match text.split_once(' ').map_or(("", text), |(kind, number)| (kind, number.trim())) {
        (_, "true") => Some(Variant::Flag(true)),
        (_, "false") => Some(Variant::Flag(false)),
        ("uint32", number) => Some(Variant::Short("u", number.parse().ok()?)),
        ("uint64", number) => Some(Variant::Number(number.parse().ok()?)),
        ("int64", number) => Some(Variant::Signed(number.parse().ok()?)),
        ("" | "int32", number) if number.starts_with(|c: char| c.is_ascii_digit() || c == '-') => {
            Some(Variant::Short("i", number.parse::<i32>().ok()?.cast_unsigned()))
        }
        _ => quoted(text).map(Variant::Owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (path, unit, slice) in [
            ("system.slice:runc:434234", "runc-434234.scope", "system.slice"),
            ("kubepods-burstable-pod1_2.slice:crio:abc", "crio-abc.scope", "kubepods-burstable-pod1_2.slice"),
            ("machine.slice::x", "x.scope", "machine.slice"),
            ("-.slice:a:b", "a-b.scope", "-.slice"),
        ] {
            let scope = Scope::new(Some(path), "c1").unwrap();
            assert_eq!((scope.unit.as_str(), scope.slice.as_str()), (unit, slice), "{path}");
        }
        assert_eq!(Scope::new(None, "c1").unwrap().unit, "rt-c1.scope");
        assert_eq!(Scope::new(Some(""), "c1").unwrap().unit, "rt-c1.scope");
        let long = format!("a.slice:p:{}", "x".repeat(250));
        for path in [
            "/a/b",
            "a",
            "a:b",
            "a:b:c",
            "a.slice:b:",
            "a.slice:b/c:d",
            "a--b.slice:c:d",
            "a.slice:b:c.slice",
            "a.slice:b:c:d",
            &long,
        ] {
            let error = Scope::new(Some(path), "c1").unwrap_err().to_string();
            assert!(error.contains("linux.cgroupsPath"), "{error}");
        }
    }

    #[test]
    fn annotations() {
        let of = |name: &str, value: &str| {
            let all = annotated(&BTreeMap::from([(name.to_owned(), value.to_owned())]));
            all.map(|mut all| all.pop())
        };
        let name = |name: &str| format!("{ANNOTATION}{name}");
        for (property, text, expected, value) in [
            ("TimeoutStopUSec", "uint64 123456789", "TimeoutStopUSec", Variant::Number(123_456_789)),
            ("TimeoutStopSec", "90", "TimeoutStopUSec", Variant::Number(90_000_000)),
            ("CollectMode", "'inactive-or-failed'", "CollectMode", Variant::Owned("inactive-or-failed".to_owned())),
            ("DefaultDependencies", "true", "DefaultDependencies", Variant::Flag(true)),
            ("Some", "-1", "Some", Variant::Short("i", u32::MAX)),
            (
                "After",
                "['a.service', \"b.service\"]",
                "After",
                Variant::Texts(vec!["a.service".to_owned(), "b.service".to_owned()]),
            ),
        ] {
            assert_eq!(of(&name(property), text).unwrap(), Some((expected.to_owned(), value)));
        }
        assert_eq!(of("other.annotation", "x").unwrap(), None);
        for (property, text) in
            [("A", "1"), ("a/b", "1"), ("Some", "word"), ("Some", "'a"), ("Some", "uint64 x"), ("WaitSec", "'a'")]
        {
            assert!(of(&name(property), text).is_err(), "{property}");
        }
    }
}
