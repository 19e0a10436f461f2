//! The devices that there are.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::{DeviceName, Document, Edits, Error};
use crate::spec::devices::{DeviceNode, NodeKind};

/// Where specs are, the later ones going first.
pub const SPEC_DIRS: &[&str] = &["/etc/cdi", "/var/run/cdi"];

/// A spec file that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file or directory.
    pub path: PathBuf,
    /// What is wrong.
    pub problem: String,
}

/// The devices that there are.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    dirs: Vec<PathBuf>,
    /// Spec files that were read.
    files: Vec<File>,
    /// Files by device; several of one directory are a conflict.
    devices: BTreeMap<DeviceName, Vec<usize>>,
    problems: Vec<Problem>,
}

#[derive(Debug, Clone)]
struct File {
    path: PathBuf,
    /// Index of its directory.
    priority: usize,
    document: Document,
}

impl Registry {
    /// Reads all spec files (`*.json`, `*.yaml`) of the directories, of which a later one goes before an earlier one. Missing
    /// directories are empty; files that cannot be used are [`Registry::problems`].
    pub fn read(dirs: &[PathBuf]) -> Registry {
        let mut files = Vec::new();
        let mut problems = Vec::new();
        for (priority, dir) in dirs.iter().enumerate() {
            match spec_files(dir) {
                Ok(paths) => {
                    for path in paths {
                        match read(&path) {
                            Ok(document) => files.push(File { path, priority, document }),
                            Err(problem) => problems.push(Problem { path, problem }),
                        }
                    }
                }
                Err(error) => problems.push(Problem { path: dir.clone(), problem: error.to_string() }),
            }
        }
        let mut registry = Registry { dirs: dirs.to_vec(), devices: BTreeMap::new(), files, problems };
        registry.index();
        registry
    }

    fn index(&mut self) {
        for (index, file) in self.files.iter().enumerate() {
            for device in &file.document.devices {
                // Both were checked.
                let Ok(name) = DeviceName::new(&file.document.kind, &device.name) else { continue };
                let found = self.devices.entry(name).or_default();
                match found.first().map(|first| self.files[*first].priority) {
                    Some(priority) if priority < file.priority => *found = vec![index],
                    Some(_) | None => found.push(index),
                }
            }
        }
    }

    /// All devices.
    pub fn devices(&self) -> impl Iterator<Item = &DeviceName> {
        self.devices.keys()
    }

    /// Whether there is a device of this kind.
    pub fn has_kind(&self, kind: &str) -> bool {
        self.devices.keys().any(|name| name.kind() == kind)
    }

    /// Files that cannot be used.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// What a container with these devices gets: each spec's common part once, before its first device's.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Conflict`], [`Error::NotBuilt`].
    pub fn resolve(&self, names: &[DeviceName]) -> Result<Edits, Error> {
        let mut edits = Edits::default();
        let mut common = std::collections::BTreeSet::new();
        for name in names {
            let file = match self.devices.get(name).map(Vec::as_slice) {
                Some([only]) => *only,
                Some(several) => {
                    let files = several.iter().map(|index| self.files[*index].path.display().to_string()).collect();
                    return Err(Error::Conflict { name: name.clone(), files });
                }
                None => return Err(Error::NotFound { name: name.clone(), why: self.why_not(name) }),
            };
            let File { path, document, .. } = &self.files[file];
            let mut wanted = Edits::default();
            if common.insert(file) {
                wanted.extend(&document.container_edits);
            }
            for device in document.devices.iter().filter(|device| device.name == name.name()) {
                wanted.extend(&device.container_edits);
            }
            let not_built = |what| Error::NotBuilt { name: name.clone(), file: path.display().to_string(), what };
            if wanted.intel_rdt.is_some() {
                return Err(not_built("intelRdt"));
            }
            if !wanted.net_devices.is_empty() {
                return Err(not_built("netDevices"));
            }
            edits.extend(&wanted);
        }
        Ok(edits)
    }

    fn why_not(&self, name: &DeviceName) -> String {
        let dirs: Vec<String> = self.dirs.iter().map(|dir| dir.display().to_string()).collect();
        let same: Vec<&str> =
            self.devices.keys().filter(|other| other.kind() == name.kind()).map(DeviceName::name).collect();
        let mut why = match same.as_slice() {
            [] => format!("no spec of kind {} in {}", name.kind(), dirs.join(", ")),
            same => format!("{} has {}", name.kind(), same.join(", ")),
        };
        if same.is_empty() {
            match name.kind() {
                "nvidia.com/gpu" => why.push_str("; nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml makes it"),
                "amd.com/gpu" => why.push_str("; amd-ctk cdi generate --output=/etc/cdi/amd.json makes it"),
                _ => why.push_str("; the vendor's tools make it"),
            }
        }
        for Problem { path, problem } in &self.problems {
            why.push_str(&format!("; {} cannot be used: {problem}", path.display()));
        }
        why
    }
}

fn spec_files(dir: &Path) -> std::io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        if name.ends_with(b".json") || name.ends_with(b".yaml") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn read(path: &Path) -> Result<Document, String> {
    let text = runtime::spec::read(nix::fcntl::AT_FDCWD, path).map_err(|error| error.to_string())?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    Document::parse(&name, &text)
}

impl Edits {
    /// Takes from the host what the spec leaves open of device nodes: kind and numbers.
    ///
    /// # Errors
    /// [`Error::Node`] for one that is not there, is no device, or is another kind.
    pub fn complete(mut self) -> Result<Edits, Error> {
        for node in &mut self.device_nodes {
            let kind = node.kind.clone().filter(|kind| !kind.is_empty());
            let numbered = node.major.is_some_and(|major| major != 0);
            if kind.as_deref() == Some("p") || (kind.is_some() && numbered) {
                continue;
            }
            let path = node.host_path.clone().unwrap_or_else(|| node.path.clone());
            let wrong = |problem: String| Error::Node { path: path.clone(), problem };
            let found = DeviceNode::read(Path::new(&path)).map_err(|error| wrong(error.to_string()))?;
            let found = found.ok_or_else(|| wrong("is no device".to_owned()))?;
            let letter = found.kind.letter();
            let same = match (kind.as_deref(), found.kind) {
                (None, _) | (Some("c" | "u"), NodeKind::Char) | (Some("b"), NodeKind::Block) => true,
                (Some(_), _) => false,
            };
            if !same {
                return Err(wrong(format!("is of type {letter}, the spec says {}", kind.unwrap_or_default())));
            }
            node.kind = Some(letter.to_owned());
            if !numbered {
                node.major = i64::try_from(found.major).ok();
                node.minor = i64::try_from(found.minor).ok();
            }
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn spec(kind: &str, device: &str, env: &str) -> Value {
        json!({
            "cdiVersion": "0.6.0", "kind": kind,
            "devices": [
                {"name": device, "containerEdits": {"env": [format!("DEVICE={env}")]}},
                {"name": "second", "containerEdits": {"env": ["SECOND=1"]}},
            ],
            "containerEdits": {"env": [format!("COMMON={env}")]},
        })
    }

    struct Dirs {
        root: tempfile::TempDir,
    }

    impl Dirs {
        fn new(files: &[(&str, Value)]) -> Dirs {
            let root = tempfile::tempdir().unwrap();
            for (path, value) in files {
                let path = root.path().join(path);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, value.to_string()).unwrap();
            }
            Dirs { root }
        }

        fn registry(&self) -> Registry {
            Registry::read(&[
                self.root.path().join("low"),
                self.root.path().join("high"),
                self.root.path().join("none"),
            ])
        }
    }

    fn names(list: &[&str]) -> Vec<DeviceName> {
        list.iter().map(|name| name.parse().unwrap()).collect()
    }

    #[test]
    fn the_common_part_comes_once() {
        let dirs = Dirs::new(&[("low/a.json", spec("v.com/c", "d", "a")), ("low/b.yaml", spec("w.com/c", "d", "b"))]);
        let edits = dirs.registry().resolve(&names(&["v.com/c=second", "w.com/c=d", "v.com/c=d"])).unwrap();
        assert_eq!(edits.env, ["COMMON=a", "SECOND=1", "COMMON=b", "DEVICE=b", "DEVICE=a"]);
    }

    #[test]
    fn later_directories_go_first_and_equals_conflict() {
        let dirs = Dirs::new(&[
            ("low/a.json", spec("v.com/c", "d", "low")),
            ("high/a.json", spec("v.com/c", "d", "high")),
            ("low/x.json", spec("x.com/c", "d", "1")),
            ("low/y.json", spec("x.com/c", "d", "2")),
        ]);
        let registry = dirs.registry();
        assert_eq!(registry.resolve(&names(&["v.com/c=d"])).unwrap().env, ["COMMON=high", "DEVICE=high"]);
        let error = registry.resolve(&names(&["x.com/c=d"])).unwrap_err().to_string();
        assert!(error.contains("low/x.json and") && error.contains("remove all but one"), "{error}");
    }

    #[test]
    fn what_is_missing_is_said() {
        let dirs = Dirs::new(&[("low/a.json", spec("v.com/c", "d", "a")), ("high/bad.json", json!({"kind": 1}))]);
        let registry = dirs.registry();
        assert_eq!(registry.problems().len(), 1);
        let why = |name: &str| registry.resolve(&names(&[name])).unwrap_err().to_string();
        let text = why("v.com/c=x");
        assert!(text.contains("v.com/c has d, second") && text.contains("bad.json cannot be used"), "{text}");
        let text = why("nvidia.com/gpu=all");
        assert!(
            text.contains("no spec of kind nvidia.com/gpu in ") && text.contains("nvidia-ctk cdi generate"),
            "{text}"
        );
    }

    #[test]
    fn what_is_not_built_is_refused() {
        for (member, value) in
            [("intelRdt", json!({"closID": "x"})), ("netDevices", json!([{"hostInterfaceName": "e", "name": "f"}]))]
        {
            let mut document = spec("v.com/c", "d", "a");
            document["containerEdits"][member] = value;
            let error = Dirs::new(&[("low/a.json", document)]).registry().resolve(&names(&["v.com/c=d"])).unwrap_err();
            assert!(error.to_string().contains(member), "{error}");
        }
    }

    #[test]
    fn nodes_are_completed_by_the_host() {
        let node = |node: Value| {
            let edits: Edits = serde_json::from_value(json!({ "deviceNodes": [node] })).unwrap();
            edits.complete().map(|mut edits| edits.device_nodes.remove(0))
        };
        let full = node(json!({"path": "/dev/x", "hostPath": "/dev/null"})).unwrap();
        assert_eq!((full.kind.as_deref(), full.major, full.minor), (Some("c"), Some(1), Some(3)));
        // What is given stays, and is not looked for.
        let given = node(json!({"path": "/dev/nosuch", "type": "b", "major": 7, "minor": 1})).unwrap();
        assert_eq!((given.kind.as_deref(), given.major, given.minor), (Some("b"), Some(7), Some(1)));
        for (value, expected) in [
            (json!({"path": "/dev/nosuch"}), "No such file"),
            (json!({"path": "/etc/passwd"}), "is no device"),
            (json!({"path": "/dev/null", "type": "b"}), "the spec says b"),
        ] {
            let error = node(value).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
