//! Spec files: JSON or YAML, checked.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::name::{check_device, check_kind};

/// Versions that are understood; a file of another one is not used.
const VERSIONS: &[&str] = &["0.1.0", "0.2.0", "0.3.0", "0.4.0", "0.5.0", "0.6.0", "0.7.0", "0.8.0", "1.0.0", "1.1.0"];

/// A spec file.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Document {
    /// Version of the specification.
    pub cdi_version: String,
    /// `vendor.com/class`
    pub kind: String,
    /// Free text for the vendor's tools.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// Devices of this kind.
    pub devices: Vec<Device>,
    /// What every container with any of the devices gets.
    #[serde(default)]
    pub container_edits: Edits,
}

/// A device of a spec file.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Device {
    /// Name within the kind.
    pub name: String,
    /// Free text for the vendor's tools.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// What a container with it gets.
    pub container_edits: Edits,
}

/// What a container gets.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Edits {
    /// `NAME=value`
    pub env: Vec<String>,
    /// Device nodes.
    pub device_nodes: Vec<Node>,
    /// Mounts.
    pub mounts: Vec<Mount>,
    /// Programs run at points of the container's life.
    pub hooks: Vec<Hook>,
    /// Groups of the first process.
    #[serde(rename = "additionalGids", alias = "additionalGIDs")]
    pub additional_gids: Vec<u32>,
    /// Resource Director Technology: not built.
    pub intel_rdt: Option<serde_json::Value>,
    /// Network devices: not built.
    pub net_devices: Vec<serde_json::Value>,
}

/// A device node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Node {
    /// In the container.
    pub path: String,
    /// On the host; absent means the same.
    pub host_path: Option<String>,
    /// `c`, `b`, `u` or `p`; absent means the host's.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Absent means the host's.
    pub major: Option<i64>,
    /// Absent means the host's.
    pub minor: Option<i64>,
    /// Permission bits.
    pub file_mode: Option<u32>,
    /// Letters of `rwm`; absent means all.
    pub permissions: Option<String>,
    /// Owner; absent means the container's user.
    pub uid: Option<u32>,
    /// Group; absent means the container's.
    pub gid: Option<u32>,
}

/// A mount.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Mount {
    /// On the host.
    pub host_path: String,
    /// In the container.
    pub container_path: String,
    /// Absent means a bind mount.
    #[serde(rename = "type", default)]
    pub kind: Option<String>,
    /// As in fstab(5).
    #[serde(default)]
    pub options: Vec<String>,
}

/// A program.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Hook {
    /// When: a member of `hooks` of the OCI configuration.
    pub hook_name: String,
    /// Absolute path.
    pub path: String,
    /// Its argv.
    #[serde(default)]
    pub args: Vec<String>,
    /// Its whole environment.
    #[serde(default)]
    pub env: Vec<String>,
    /// Seconds.
    #[serde(default)]
    pub timeout: Option<i64>,
}

/// Names of hooks.
pub(super) const HOOKS: &[&str] =
    &["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

impl Document {
    /// Parses and checks a spec file by its name.
    ///
    /// # Errors
    /// The member and what is wrong with it.
    pub fn parse(file: &str, text: &[u8]) -> Result<Document, String> {
        let document: Document = if file.ends_with(".yaml") {
            // By way of JSON: what is wrong is named by its path in both.
            let value: serde_json::Value = yaml_serde::from_slice(text).map_err(|error| error.to_string())?;
            let text = serde_json::to_vec(&value).map_err(|error| error.to_string())?;
            runtime::spec::parse(file, &text).map_err(|error| error.to_string())?
        } else {
            runtime::spec::parse(file, text).map_err(|error| error.to_string())?
        };
        document.check().map_err(|problem| format!("{file}: {problem}"))?;
        Ok(document)
    }

    fn check(&self) -> Result<(), String> {
        if !VERSIONS.contains(&self.cdi_version.as_str()) {
            let last = VERSIONS.last().copied().unwrap_or_default();
            return Err(format!("cdiVersion {:?} is not known: 0.1.0 to {last} are", self.cdi_version));
        }
        check_kind(&self.kind).map_err(|problem| format!("kind {:?}: {problem}", self.kind))?;
        if self.devices.is_empty() {
            return Err("devices: must not be empty".to_owned());
        }
        let mut names = std::collections::BTreeSet::new();
        for (index, device) in self.devices.iter().enumerate() {
            let at = format!("devices[{index}]");
            check_device(&device.name).map_err(|problem| format!("{at}.name {:?}: {problem}", device.name))?;
            if !names.insert(&device.name) {
                return Err(format!("{at}.name {:?}: is there twice", device.name));
            }
            device.container_edits.check().map_err(|problem| format!("{at}.containerEdits.{problem}"))?;
        }
        self.container_edits.check().map_err(|problem| format!("containerEdits.{problem}"))
    }
}

impl Edits {
    fn check(&self) -> Result<(), String> {
        let absolute = |at: String, path: &str| match path.starts_with('/') && !path.contains('\0') {
            true => Ok(()),
            false => Err(format!("{at} {path:?}: must be an absolute path")),
        };
        for (index, entry) in self.env.iter().enumerate() {
            if entry.find('=').is_none_or(|at| at == 0) || entry.contains('\0') {
                return Err(format!("env[{index}] {entry:?}: must be NAME=value"));
            }
        }
        for (index, node) in self.device_nodes.iter().enumerate() {
            let at = format!("deviceNodes[{index}]");
            absolute(format!("{at}.path"), &node.path)?;
            if let Some(path) = &node.host_path {
                absolute(format!("{at}.hostPath"), path)?;
            }
            if let Some(kind) = &node.kind
                && !["", "b", "c", "u", "p"].contains(&kind.as_str())
            {
                return Err(format!("{at}.type {kind:?}: must be b, c, u or p"));
            }
            if let Some(permissions) = &node.permissions
                && !permissions.bytes().all(|byte| b"rwm".contains(&byte))
            {
                return Err(format!("{at}.permissions {permissions:?}: must be letters of rwm"));
            }
        }
        for (index, mount) in self.mounts.iter().enumerate() {
            absolute(format!("mounts[{index}].containerPath"), &mount.container_path)?;
            if mount.host_path.is_empty() || mount.host_path.contains('\0') {
                return Err(format!("mounts[{index}].hostPath: is missing"));
            }
        }
        for (index, hook) in self.hooks.iter().enumerate() {
            if !HOOKS.contains(&hook.hook_name.as_str()) {
                return Err(format!(
                    "hooks[{index}].hookName {:?}: must be one of {}",
                    hook.hook_name,
                    HOOKS.join(", ")
                ));
            }
            absolute(format!("hooks[{index}].path"), &hook.path)?;
            if hook.timeout.is_some_and(|timeout| timeout < 0) {
                return Err(format!("hooks[{index}].timeout: must not be negative"));
            }
        }
        Ok(())
    }

    /// Adds another's edits to the end.
    pub fn extend(&mut self, other: &Edits) {
        self.env.extend(other.env.iter().cloned());
        self.device_nodes.extend(other.device_nodes.iter().cloned());
        self.mounts.extend(other.mounts.iter().cloned());
        self.hooks.extend(other.hooks.iter().cloned());
        self.additional_gids.extend(&other.additional_gids);
        self.net_devices.extend(other.net_devices.iter().cloned());
        if other.intel_rdt.is_some() {
            self.intel_rdt.clone_from(&other.intel_rdt);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn yaml_and_json_are_one() {
        let yaml = "\
---
cdiVersion: 0.5.0
kind: nvidia.com/gpu
devices:
- name: \"0\"
  containerEdits:
    deviceNodes:
    - path: /dev/nvidia0
      fileMode: 438
containerEdits:
  env:
  - NVIDIA_VISIBLE_DEVICES=void
  hooks:
  - hookName: createContainer
    path: /usr/bin/nvidia-cdi-hook
    args: [nvidia-cdi-hook, update-ldcache]
";
        let json = json!({
            "cdiVersion": "0.5.0", "kind": "nvidia.com/gpu",
            "devices": [{"name": "0", "containerEdits": {"deviceNodes": [{"path": "/dev/nvidia0", "fileMode": 0o666}]}}],
            "containerEdits": {
                "env": ["NVIDIA_VISIBLE_DEVICES=void"],
                "hooks": [{"hookName": "createContainer", "path": "/usr/bin/nvidia-cdi-hook", "args": ["nvidia-cdi-hook", "update-ldcache"]}],
            },
        });
        let from_json = Document::parse("a.json", json.to_string().as_bytes()).unwrap();
        assert_eq!(Document::parse("a.yaml", yaml.as_bytes()).unwrap(), from_json);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let with = |pointer: &str, value: serde_json::Value| {
            let mut document = json!({
                "cdiVersion": "0.6.0", "kind": "v.com/c",
                "devices": [{"name": "d", "containerEdits": {}}], "containerEdits": {},
            });
            let (parent, name) = pointer.rsplit_once('/').unwrap();
            document.pointer_mut(parent).unwrap()[name] = value;
            Document::parse("x.json", document.to_string().as_bytes())
        };
        assert!(with("/kind", json!("v.com/c")).is_ok());
        for (pointer, value, expected) in [
            ("/cdiVersion", json!("9.0.0"), "cdiVersion \"9.0.0\" is not known"),
            ("/cdiVersion", json!(1), "cdiVersion"),
            ("/kind", json!("c"), "no vendor and class"),
            ("/devices", json!([]), "must not be empty"),
            ("/colour", json!("red"), "unknown field `colour`"),
            ("/containerEdits/env", json!(["=x"]), "containerEdits.env[0]"),
            ("/containerEdits/deviceNodes", json!([{"path": "dev/x"}]), "deviceNodes[0].path"),
            ("/containerEdits/deviceNodes", json!([{"path": "/dev/x", "type": "z"}]), "deviceNodes[0].type"),
            ("/containerEdits/deviceNodes", json!([{"path": "/dev/x", "permissions": "x"}]), "letters of rwm"),
            ("/containerEdits/deviceNodes", json!([{"path": "/dev/x", "fileMode": "666"}]), "fileMode"),
            ("/containerEdits/mounts", json!([{"hostPath": "/a", "containerPath": "b"}]), "mounts[0].containerPath"),
            ("/containerEdits/hooks", json!([{"hookName": "now", "path": "/x"}]), "hooks[0].hookName"),
            ("/containerEdits/hooks", json!([{"hookName": "prestart", "path": "x"}]), "hooks[0].path"),
        ] {
            let error = with(pointer, value).unwrap_err();
            assert!(error.contains(expected) && error.starts_with("x.json: "), "{pointer}: {error}");
        }
        assert!(Document::parse("x.yaml", b"a: [").is_err());
    }

    #[test]
    fn yaml_cannot_explode() {
        let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        for level in 1..12 {
            let before = format!("*a{}", level - 1);
            bomb.push_str(&format!("a{level}: &a{level} [{}]\n", [before.as_str(); 10].join(",")));
        }
        assert!(Document::parse("x.yaml", bomb.as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn never_panics(text in "[-a-z:{}\\[\\]&*!|>\"' \n0-9]{0,120}") {
            let _ = Document::parse("x.yaml", text.as_bytes());
            let _ = Document::parse("x.json", text.as_bytes());
        }
    }
}
