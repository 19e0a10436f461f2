//! Environment variables and labels: `-e`, `--env-file`, `-l`, `--label-file`, `--annotation`.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use cri::spec::EnvChange;

/// Largest file that is read.
const FILE_LIMIT: u64 = 1 << 20;

/// `NAME=value`; `NAME` alone takes the caller's value, and unsets it where the caller has none.
pub(crate) fn change(text: &str, caller: impl Fn(&str) -> Option<String>) -> Result<EnvChange, String> {
    match text.split_once('=') {
        Some(("", _)) => Err(format!("{text:?}: the name is missing; write NAME=value")),
        Some((name, value)) => Ok(EnvChange::Set(name.to_owned(), value.to_owned())),
        None if text.is_empty() => Err("empty; write NAME=value".to_owned()),
        None => Ok(match caller(text) {
            Some(value) => EnvChange::Set(text.to_owned(), value),
            None => EnvChange::Unset(text.to_owned()),
        }),
    }
}

/// The caller's environment.
pub(crate) fn caller(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Lines of an `--env-file`: `NAME=value` or `NAME`, `#` starts a comment line. A `NAME` the caller does not have is left out.
fn file_lines(text: &str, caller: impl Fn(&str) -> Option<String>) -> Result<Vec<EnvChange>, String> {
    let mut changes = Vec::new();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (index, line) in text.lines().enumerate() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let name = line.split_once('=').map_or(line, |(name, _)| name);
        if name.contains(char::is_whitespace) {
            return Err(format!("line {}: variable {name:?} contains whitespace", index + 1));
        }
        match change(line, &caller).map_err(|problem| format!("line {}: {problem}", index + 1))? {
            EnvChange::Unset(_) => {}
            set @ EnvChange::Set(..) => changes.push(set),
        }
    }
    Ok(changes)
}

/// The environment: files first, then `-e`, so that `-e` wins.
pub(crate) fn environment(files: &[impl AsRef<Path>], entries: &[String]) -> Result<Vec<EnvChange>> {
    let mut changes = Vec::new();
    for path in files {
        let path = path.as_ref();
        let text = read(path).with_context(|| format!("--env-file {}", path.display()))?;
        let lines = file_lines(&text, caller).map_err(anyhow::Error::msg);
        changes.extend(lines.with_context(|| format!("--env-file {}", path.display()))?);
    }
    for entry in entries {
        changes.push(change(entry, caller).map_err(anyhow::Error::msg).context("--env")?);
    }
    Ok(changes)
}

/// Labels and annotations: `name=value`, or `name` for an empty value.
pub(crate) fn map(option: &str, files: &[impl AsRef<Path>], entries: &[String]) -> Result<BTreeMap<String, String>> {
    let mut map = BTreeMap::new();
    let mut add = |entry: &str| {
        let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
        if name.is_empty() {
            bail!("{option} {entry:?}: the name is missing; write name=value");
        }
        map.insert(name.to_owned(), value.to_owned());
        Ok(())
    };
    for path in files {
        let path = path.as_ref();
        let text = read(path).with_context(|| format!("{option}-file {}", path.display()))?;
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            add(line)?;
        }
    }
    for entry in entries {
        add(entry)?;
    }
    Ok(map)
}

/// A file of the user's as text, bounded.
pub(crate) fn read(path: &Path) -> Result<String> {
    use std::io::Read;
    let mut text = String::new();
    std::fs::File::open(path)?.take(FILE_LIMIT + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_LIMIT {
        bail!("larger than {FILE_LIMIT} bytes");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(name: &str) -> Option<String> {
        (name == "HERE").then(|| "yes".to_owned())
    }

    fn set(name: &str, value: &str) -> EnvChange {
        EnvChange::Set(name.to_owned(), value.to_owned())
    }

    #[test]
    fn changes() {
        assert_eq!(change("A=b=c", caller), Ok(set("A", "b=c")));
        assert_eq!(change("A=", caller), Ok(set("A", "")));
        assert_eq!(change("HERE", caller), Ok(set("HERE", "yes")));
        assert_eq!(change("GONE", caller), Ok(EnvChange::Unset("GONE".to_owned())));
        assert!(change("=x", caller).is_err());
        assert!(change("", caller).is_err());
    }

    #[test]
    fn files() {
        let text = "\u{feff}# comment\n\nA=1 \n  B=2\nHERE\nGONE\nC=#no comment\n";
        assert_eq!(
            file_lines(text, caller),
            Ok(vec![set("A", "1 "), set("B", "2"), set("HERE", "yes"), set("C", "#no comment")])
        );
        assert_eq!(file_lines("A B=1", caller), Err("line 1: variable \"A B\" contains whitespace".to_owned()));
        assert_eq!(file_lines("\n=1", caller).unwrap_err(), "line 2: \"=1\": the name is missing; write NAME=value");
    }

    #[test]
    fn labels() {
        let none: &[&str] = &[];
        let entries = ["a=b=c".to_owned(), "x".to_owned()];
        let map = super::map("--label", none, &entries).unwrap();
        assert_eq!((map["a"].as_str(), map["x"].as_str()), ("b=c", ""));
        assert!(super::map("--label", none, &["=x".to_owned()]).is_err());
    }
}
