//! SELinux labels: which a pod has, which its containers have. Nothing is read here but texts.
//!
//! A context is `user:role:type:level`. The type tells what a program may do; the level, two categories that no other pod has, keeps pods
//! from each other's files. All containers of a pod have its level, so that they share its volumes.

use std::io;

use serde::{Deserialize, Serialize};

use super::super::config::SelinuxContext;

/// Number of categories of the usual policies.
const CATEGORIES: u32 = 1024;

/// What a pod's programs and files are labelled with.
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
pub(in crate::pod) fn defaults(text: &str) -> Option<Labels> {
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

/// A level that no pod has yet: two categories by `random` numbers. `taken` are the labels of the pods that are there.
pub(in crate::pod) fn new_level<'a>(
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
        if !taken.clone().any(is_taken) {
            return Ok(level);
        }
    }
}

/// The labels of a pod or container that asks for a context; what it does not say is as in `base`, the level is `level`.
pub(in crate::pod) fn labels(base: &Labels, asked: Option<&SelinuxContext>, level: &str) -> Labels {
    let none = SelinuxContext::default();
    let SelinuxContext { user, role, kind, level: own } = asked.unwrap_or(&none);
    let level = if own.is_empty() { level } else { own };
    let or = |asked: &'_ str, base: &str| if asked.is_empty() { base.to_owned() } else { asked.to_owned() };
    let Some(process) = parts(&base.process) else { return base.clone() };
    let (user, role, kind) = (or(user, process.user), or(role, process.role), or(kind, process.kind));
    let process = Parts { user: &user, role: &role, kind: &kind, level: process.level };
    let mount = parts(&base.mount).map_or_else(|| base.mount.clone(), |mount| mount.text(level));
    Labels { process: process.text(level), mount }
}

/// The label of files of the pod that all of its containers read, whatever their categories: it has none.
pub(in crate::pod) fn shared(pod: &Labels) -> String {
    match parts(&pod.mount) {
        Some(Parts { user, role, kind, level: Some(level) }) => {
            let sensitivity = level.split([':', '-']).next().unwrap_or_default();
            format!("{user}:{role}:{kind}:{sensitivity}")
        }
        Some(_) | None => pod.mount.clone(),
    }
}

/// The labels of a container in a pod with labels: its own context, or the pod's; with the pod's level unless it says another.
pub(in crate::pod) fn of_container(pod: &Labels, asked: Option<&SelinuxContext>) -> Labels {
    let level = parts(&pod.mount).and_then(|parts| parts.level).unwrap_or_default();
    labels(pod, asked, level)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = "# of the policy\nprocess = \"system_u:system_r:container_t:s0\"\n\
                          content = \"system_u:object_r:virt_var_lib_t:s0\"\nfile = \"system_u:object_r:container_file_t:s0\"\n";

    fn context(user: &str, role: &str, kind: &str, level: &str) -> SelinuxContext {
        SelinuxContext { user: user.into(), role: role.into(), kind: kind.into(), level: level.into() }
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
        let pod = labels(&base, None, "s0:c1,c2");
        assert_eq!(pod.process, "system_u:system_r:container_t:s0:c1,c2");
        assert_eq!(pod.mount, "system_u:object_r:container_file_t:s0:c1,c2");
        // The type is of processes alone; the level is of both.
        let asked = labels(&base, Some(&context("", "", "spc_t", "s0:c7,c9")), "s0:c1,c2");
        assert_eq!(asked.process, "system_u:system_r:spc_t:s0:c7,c9");
        assert_eq!(asked.mount, "system_u:object_r:container_file_t:s0:c7,c9");
        assert_eq!(of_container(&pod, None), pod);
        let own = of_container(&pod, Some(&context("u", "r", "t", "")));
        assert_eq!((own.process.as_str(), &own.mount), ("u:r:t:s0:c1,c2", &pod.mount));
        let apart = of_container(&pod, Some(&context("", "", "", "s0:c3,c4")));
        assert_eq!(apart.process, "system_u:system_r:container_t:s0:c3,c4");
        assert_eq!(shared(&pod), "system_u:object_r:container_file_t:s0");
        // A policy without levels.
        let plain = Labels { process: "u:r:p".into(), mount: "u:r:f".into() };
        assert_eq!(labels(&plain, None, "s0:c1,c2"), plain);
        assert_eq!(shared(&plain), plain.mount);
    }

    #[test]
    fn levels_are_of_one_pod() {
        let base = defaults(POLICY).unwrap();
        let there = [labels(&base, None, "s0:c3,c5")];
        let mut numbers = [7, 7, 5, 1027, 2048, 1].into_iter();
        // Twice the same is no pair, and c3,c5 is taken.
        assert_eq!(new_level(there.iter(), || Ok(numbers.next().unwrap())).unwrap(), "s0:c0,c1");
    }
}
