//! Which labels a pod or container has. Nothing is read here but texts.
//!
//! A context is `user:role:type:level`. The type tells what a program may do; the level, two categories that nobody else has, keeps
//! containers from each other's files. All containers of a pod have its level, so that they share its volumes.

use std::io;

use serde::{Deserialize, Serialize};

/// Number of categories of the usual policies.
const CATEGORIES: u32 = 1024;

/// The level of files whose processes are not confined: the last two categories, which nobody else is given.
const UNCONFINED: &str = "s0:c1022,c1023";

/// What is asked of labels; empty parts are as the policy has them. CRI: SELinuxOption
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Context {
    /// User, of processes and files.
    pub user: String,
    /// Role of processes.
    pub role: String,
    /// Type of processes.
    pub kind: String,
    /// Level, of processes and files.
    pub level: String,
    /// Type of files.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub file_kind: String,
}

impl Context {
    /// Checks the form of the parts.
    ///
    /// # Errors
    /// The name of the part, and what it must be.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        let parts = [("user", &self.user), ("role", &self.role), ("type", &self.kind), ("filetype", &self.file_kind)];
        for (part, value) in parts {
            // They are put together with colons; only the level, the last one, may have some.
            if value.contains(|c: char| c.is_whitespace() || c.is_control() || c == ':') {
                return Err((part, format!("{value:?} must be one part of a context")));
            }
        }
        match self.level.as_str() {
            "" => Ok(()),
            level if is_level(level) => Ok(()),
            level => Err(("level", format!("{level:?} must be a level, such as s0:c1,c2"))),
        }
    }
}

/// `s0`, `s0:c1,c2.c5`, or a range of two such levels.
fn is_level(text: &str) -> bool {
    let number = |text: &str, letter: char| {
        let digits = text.strip_prefix(letter).unwrap_or_default();
        (1..=4).contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_digit())
    };
    let categories = |list: &str| {
        list.split(',').all(|range| range.split('.').count() <= 2 && range.split('.').all(|one| number(one, 'c')))
    };
    let level = |level: &str| match level.split_once(':') {
        None => number(level, 's'),
        Some((sensitivity, list)) => number(sensitivity, 's') && categories(list),
    };
    text.split('-').count() <= 2 && text.split('-').all(level)
}

/// What the programs and files of a container or pod are labelled with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Labels {
    /// Label of processes; empty is none.
    pub process: String,
    /// Label of files.
    pub mount: String,
}

/// A context in its parts; the level may have colons.
struct Parts<'a> {
    user: &'a str,
    role: &'a str,
    kind: &'a str,
    level: Option<&'a str>,
}

fn parts(context: &str) -> Option<Parts<'_>> {
    let mut parts = context.splitn(4, ':');
    let (user, role, kind) = (parts.next()?, parts.next()?, parts.next()?);
    Some(Parts { user, role, kind, level: parts.next() })
}

impl Parts<'_> {
    fn text(&self, level: &str) -> String {
        // A policy without levels has none in its defaults.
        let level = self.level.map(|_| format!(":{level}")).unwrap_or_default();
        format!("{}:{}:{}{level}", self.user, self.role, self.kind)
    }
}

/// The labels of the policy for containers, from its `contexts/lxc_contexts`. `None`: it has none, and containers are not confined by it.
pub(super) fn defaults(text: &str) -> Option<Labels> {
    let value = |key: &str| {
        let entry = |line: &str| {
            let (name, value) = line.split_once('=')?;
            (name.trim() == key).then(|| value.trim().trim_matches('"').to_owned())
        };
        text.lines().map(str::trim).filter(|line| !line.starts_with('#')).find_map(entry)
    };
    let labels = Labels { process: value("process")?, mount: value("file")? };
    (parts(&labels.process).is_some() && parts(&labels.mount).is_some()).then_some(labels)
}

/// A level that nobody has yet: two categories by `random` numbers. `taken` are the labels of those who are there.
pub(super) fn new_level<'a>(
    taken: impl Iterator<Item = &'a Labels> + Clone,
    mut random: impl FnMut() -> io::Result<u32>,
) -> io::Result<String> {
    loop {
        let (one, other) = (random()? % CATEGORIES, random()? % CATEGORIES);
        if one == other {
            continue;
        }
        let level = format!("s0:c{},c{}", one.min(other), one.max(other));
        let is_taken = |labels: &Labels| parts(&labels.mount).and_then(|parts| parts.level) == Some(&level);
        if level != UNCONFINED && !taken.clone().any(is_taken) {
            return Ok(level);
        }
    }
}

impl Labels {
    /// The labels of a pod or container that asks for a context; what it does not say is as here, the level is `level`.
    #[must_use]
    pub fn with(&self, asked: Option<&Context>, level: &str) -> Labels {
        let none = Context::default();
        let asked = asked.unwrap_or(&none);
        let (Some(process), Some(mount)) = (parts(&self.process), parts(&self.mount)) else { return self.clone() };
        let level = if asked.level.is_empty() { level } else { &asked.level };
        let part = |own: &str, base: &str| if own.is_empty() { base.to_owned() } else { own.to_owned() };
        let text = |own: [&str; 3], base: &Parts<'_>| {
            let [user, role, kind] = [part(own[0], base.user), part(own[1], base.role), part(own[2], base.kind)];
            Parts { user: &user, role: &role, kind: &kind, level: base.level }.text(level)
        };
        Labels {
            process: text([&asked.user, &asked.role, &asked.kind], &process),
            mount: text([&asked.user, "", &asked.file_kind], &mount),
        }
    }

    /// The labels of a container in a pod with these: its own context, or the pod's; with the pod's level unless it says another.
    #[must_use]
    pub fn within(&self, asked: Option<&Context>) -> Labels {
        self.with(asked, self.level())
    }

    /// The labels of a container whose processes are not confined: the policy may have one for who executes files of containers
    /// (`spc_t`). No container that is confined uses its files.
    #[must_use]
    pub fn unconfined(&self) -> Labels {
        Labels { process: String::new(), ..self.with(None, UNCONFINED) }
    }

    /// The label of files that all containers use, whatever their categories: it has none.
    #[must_use]
    pub fn shared(&self) -> String {
        match parts(&self.mount) {
            Some(Parts { user, role, kind, level: Some(level) }) => {
                let sensitivity = level.split([':', '-']).next().unwrap_or_default();
                format!("{user}:{role}:{kind}:{sensitivity}")
            }
            Some(_) | None => self.mount.clone(),
        }
    }

    /// Whether a label is of the type of its files.
    #[must_use]
    pub fn is_of_files(&self, label: &str) -> bool {
        let kind = |label| parts(label).map(|parts| parts.kind);
        kind(label).is_some_and(|found| kind(&self.mount) == Some(found))
    }

    /// The level of its files; empty where the policy has none.
    #[must_use]
    pub fn level(&self) -> &str {
        parts(&self.mount).and_then(|parts| parts.level).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = "# of the policy\nprocess = \"system_u:system_r:container_t:s0\"\n\
                          content = \"system_u:object_r:virt_var_lib_t:s0\"\nfile = \"system_u:object_r:container_file_t:s0\"\n";

    fn context(user: &str, role: &str, kind: &str, level: &str) -> Context {
        Context { user: user.into(), role: role.into(), kind: kind.into(), level: level.into(), ..Context::default() }
    }

    #[test]
    fn policies() {
        let found = defaults(POLICY).unwrap();
        assert_eq!(found.process, "system_u:system_r:container_t:s0");
        assert_eq!(found.mount, "system_u:object_r:container_file_t:s0");
        for text in ["", "process = \"a:b:c\"", "file = \"a:b:c\"", "process = \"x\"\nfile = \"y\""] {
            assert_eq!(defaults(text), None, "{text}");
        }
    }

    #[test]
    fn pods_and_containers() {
        let base = defaults(POLICY).unwrap();
        let pod = base.with(None, "s0:c1,c2");
        assert_eq!(pod.process, "system_u:system_r:container_t:s0:c1,c2");
        assert_eq!(pod.mount, "system_u:object_r:container_file_t:s0:c1,c2");
        // The type is of processes alone; the level is of both.
        let asked = base.with(Some(&context("", "", "spc_t", "s0:c7,c9")), "s0:c1,c2");
        assert_eq!(asked.process, "system_u:system_r:spc_t:s0:c7,c9");
        assert_eq!(asked.mount, "system_u:object_r:container_file_t:s0:c7,c9");
        assert_eq!(pod.within(None), pod);
        let own = pod.within(Some(&context("u", "r", "t", "")));
        assert_eq!(
            (own.process.as_str(), own.mount.as_str()),
            ("u:r:t:s0:c1,c2", "u:object_r:container_file_t:s0:c1,c2")
        );
        let files = Context { file_kind: "f".into(), ..Context::default() };
        assert_eq!(pod.within(Some(&files)), Labels { mount: "system_u:object_r:f:s0:c1,c2".into(), ..pod.clone() });
        let apart = pod.within(Some(&context("", "", "", "s0:c3,c4")));
        assert_eq!(apart.process, "system_u:system_r:container_t:s0:c3,c4");
        assert!(
            pod.is_of_files("u:r:container_file_t:s0")
                && !pod.is_of_files("u:r:container_t:s0")
                && !pod.is_of_files("")
        );
        assert_eq!(pod.shared(), "system_u:object_r:container_file_t:s0");
        let free = base.unconfined();
        assert_eq!(
            (free.process.as_str(), free.mount.as_str()),
            ("", "system_u:object_r:container_file_t:s0:c1022,c1023")
        );
        // A policy without levels.
        let plain = Labels { process: "u:r:p".into(), mount: "u:r:f".into() };
        assert_eq!(plain.with(None, "s0:c1,c2"), plain);
        assert_eq!((plain.shared(), plain.level()), (plain.mount.clone(), ""));
    }

    #[test]
    fn parts_of_a_context() {
        for (context, part) in [
            (context("a:b", "", "", ""), "user"),
            (context("", "a b", "", ""), "role"),
            (context("", "", "a\n", ""), "type"),
            (context("", "", "t", "s0,c4,c5"), "level"),
            (Context { file_kind: "a:b".into(), ..Context::default() }, "filetype"),
        ] {
            assert_eq!(context.check().unwrap_err().0, part);
        }
        assert_eq!(context("u", "r", "t", "s0-s0:c0.c1023").check(), Ok(()));
    }

    #[test]
    fn levels_are_of_one_alone() {
        let base = defaults(POLICY).unwrap();
        let there = [base.with(None, "s0:c3,c5")];
        let mut numbers = [7, 7, 5, 1027, 1022, 1023, 2048, 1].into_iter();
        // Twice the same is no pair, c3,c5 is taken, and the last pair is nobody's.
        assert_eq!(new_level(there.iter(), || Ok(numbers.next().unwrap())).unwrap(), "s0:c0,c1");
    }
}
