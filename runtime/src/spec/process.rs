//! `process` of `config.json`, also the document of `exec --process`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{CpuAffinity, absent};

/// `process`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Process {
    /// Whether standard streams are a pseudo terminal.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[serde(deserialize_with = "absent")]
    pub terminal: bool,
    /// Size of that terminal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub console_size: Option<ConsoleSize>,
    /// Who it runs as.
    #[serde(default)]
    #[serde(deserialize_with = "absent")]
    pub user: User,
    /// argv.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[serde(deserialize_with = "absent")]
    pub args: Vec<String>,
    /// `NAME=value` pairs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[serde(deserialize_with = "absent")]
    pub env: Vec<String>,
    /// Values of variables that are not UTF-8, which JSON cannot say: by name, for those whose value in `env` is this one with U+FFFD for
    /// what it cannot say. A member of our own, which other runtimes do not look at.
    #[serde(rename = "rt.envBytes", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env_bytes: BTreeMap<String, Vec<u8>>,
    /// Working directory, an absolute path in the container.
    #[serde(default)]
    pub cwd: String,
    /// Capability sets; absent means none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Capabilities>,
    /// setrlimit(2) values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[serde(deserialize_with = "absent")]
    pub rlimits: Vec<Rlimit>,
    /// PR_SET_NO_NEW_PRIVS.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[serde(deserialize_with = "absent")]
    pub no_new_privileges: bool,
    /// AppArmor profile entered at execve.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub apparmor_profile: Option<String>,
    /// SELinux label entered at execve.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selinux_label: Option<String>,
    /// `/proc/PID/oom_score_adj`, -1000 to 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_score_adj: Option<i32>,
    /// Scheduling policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheduler: Option<serde_json::Value>,
    /// I/O scheduling class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub io_priority: Option<serde_json::Value>,
    /// CPUs of an exec process while it is being made and afterwards.
    #[serde(rename = "execCPUAffinity", skip_serializing_if = "Option::is_none")]
    pub exec_cpu_affinity: Option<CpuAffinity>,
}

/// `process.consoleSize`, in characters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsoleSize {
    /// Rows.
    pub height: u16,
    /// Columns.
    pub width: u16,
}

/// `process.user`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct User {
    /// User id in the container.
    pub uid: u32,
    /// Group id in the container.
    pub gid: u32,
    /// umask(2) of the process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub umask: Option<u32>,
    /// Supplementary groups.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[serde(deserialize_with = "absent")]
    pub additional_gids: Vec<u32>,
}

/// `process.capabilities`; names such as `CAP_KILL`. A set that is absent is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Capabilities {
    /// What the process and its children can ever gain.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[serde(deserialize_with = "absent")]
    pub bounding: Vec<String>,
    /// What the kernel checks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[serde(deserialize_with = "absent")]
    pub effective: Vec<String>,
    /// What survives execve of a file with inheritable file capabilities.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[serde(deserialize_with = "absent")]
    pub inheritable: Vec<String>,
    /// What can be made effective.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[serde(deserialize_with = "absent")]
    pub permitted: Vec<String>,
    /// What survives execve of an ordinary file.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[serde(deserialize_with = "absent")]
    pub ambient: Vec<String>,
}

/// An element of `process.rlimits`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimit {
    /// Name such as `RLIMIT_NOFILE`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Soft limit.
    pub soft: u64,
    /// Hard limit.
    pub hard: u64,
}
