//! What a process can find out about itself, as one JSON object.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};

/// Everything; members that cannot be read are null.
pub(crate) fn facts() -> Value {
    json!({
        "args": std::env::args().collect::<Vec<_>>(),
        "env": std::env::vars().map(|(name, value)| (name, Value::from(value))).collect::<Map<_, _>>(),
        "cwd": std::env::current_dir().ok(),
        "exe": fs::read_link("/proc/self/exe").ok(),
        "status": status(),
        "sid": nix::unistd::getsid(None).ok().map(nix::unistd::Pid::as_raw),
        "pgrp": nix::unistd::getpgrp().as_raw(),
        "limits": limits(),
        "ns": namespaces(),
        "mounts": mounts(),
        "fds": fds(),
        "hostname": line("/proc/sys/kernel/hostname"),
        "domainname": line("/proc/sys/kernel/domainname"),
        "stat": stat(),
        "oom_score_adj": line("/proc/self/oom_score_adj").and_then(|text| text.parse::<i32>().ok()),
        "cgroup": fs::read_to_string("/proc/self/cgroup").ok().map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()),
        "personality": line("/proc/self/personality"),
        "uid_map": words("/proc/self/uid_map"),
        "gid_map": words("/proc/self/gid_map"),
        "tty": rustix::termios::tcgetwinsize(std::io::stdin()).ok().map(|size| json!({"rows": size.ws_row, "columns": size.ws_col})),
        "stdin_is_tty": rustix::termios::isatty(std::io::stdin()),
    })
}

fn line(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim_end_matches('\n').to_owned())
}

/// A table of numbers: a list of lines, each a list of words.
fn words(path: &str) -> Option<Vec<Vec<String>>> {
    let text = fs::read_to_string(path).ok()?;
    Some(text.lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect())
}

/// `/proc/self/status` as strings by field.
fn status() -> Map<String, Value> {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim().into()))
        .collect()
}

/// The fields of `/proc/self/stat` from the third (the state) on, proc_pid_stat(5).
fn stat() -> Option<Vec<String>> {
    let text = line("/proc/self/stat")?;
    let (_, fields) = text.rsplit_once(')')?;
    Some(fields.split_whitespace().map(str::to_owned).collect())
}

/// `/proc/self/limits` by name: `[soft, hard]`.
fn limits() -> Map<String, Value> {
    let text = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    // The name is the first 26 columns; soft and hard are the next two words.
    let row = |line: &str| {
        let (name, values) = line.split_at_checked(26)?;
        let mut values = values.split_whitespace();
        Some((name.trim().to_owned(), json!([values.next()?, values.next()?])))
    };
    text.lines().skip(1).filter_map(row).collect()
}

/// Namespaces by name, as the kernel writes them: `pid:[4026531836]`.
fn namespaces() -> Map<String, Value> {
    links(Path::new("/proc/self/ns"))
}

/// Open descriptors other than the one that reads the directory.
fn fds() -> Map<String, Value> {
    let mut fds = links(Path::new("/proc/self/fd"));
    fds.retain(|_, target| {
        !target.as_str().is_some_and(|target| target.starts_with("/proc/") && target.ends_with("/fd"))
    });
    fds
}

fn links(directory: &Path) -> Map<String, Value> {
    let Ok(entries) = fs::read_dir(directory) else { return Map::new() };
    let link = |entry: std::io::Result<fs::DirEntry>| {
        let entry = entry.ok()?;
        let target = fs::read_link(entry.path()).ok()?;
        Some((entry.file_name().into_string().ok()?, target.to_string_lossy().into_owned().into()))
    };
    entries.filter_map(link).collect()
}

/// `/proc/self/mountinfo`, an object a mount.
fn mounts() -> Vec<Value> {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let row = |line: &str| {
        let (left, right) = line.split_once(" - ")?;
        let left: Vec<&str> = left.split(' ').collect();
        let right: Vec<&str> = right.split(' ').collect();
        Some(json!({
            "root": left.get(3)?, "at": left.get(4)?, "options": left.get(5)?.split(',').collect::<Vec<_>>(),
            "propagation": left.get(6..)?, "type": right.first()?, "source": right.get(1)?,
            "super": right.get(2)?.split(',').collect::<Vec<_>>(),
        }))
    };
    text.lines().filter_map(row).collect()
}
