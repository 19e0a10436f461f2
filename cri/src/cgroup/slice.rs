//! Names of slices and scopes. systemd.slice(5), systemd.unit(5)

use std::fmt;

use super::Error;

/// Group of pods without a parent, with either driver.
const HOME: &str = "rt";

/// Longest name of a unit that systemd takes.
const NAME_LIMIT: usize = 255;

/// A slice, such as `kubepods-burstable.slice`. Its name tells where it is: `kubepods.slice/kubepods-burstable.slice`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Slice {
    /// With its suffix.
    name: String,
}

impl Slice {
    /// The slice that a cgroup parent of the CRI means. That is a path in the style of cgroupfs, of which the last part is the
    /// slice; those before, if any, must be where systemd puts it. Without a parent it is `rt.slice`.
    ///
    /// # Errors
    /// [`Error::Parent`].
    pub fn of_parent(parent: &str) -> Result<Slice, Error> {
        let wrong = |problem: &str| Err(Error::Parent { parent: parent.to_owned(), problem: problem.to_owned() });
        let parts: Vec<&str> = parent.split('/').filter(|part| !part.is_empty()).collect();
        let Some((name, above)) = parts.split_last() else { return Ok(Slice { name: format!("{HOME}.slice") }) };
        let Some(stem) = name.strip_suffix(".slice") else {
            return wrong(
                "it is no slice, but cgroups are made by systemd here; a kubelet with cgroupDriver: systemd names slices",
            );
        };
        if name.len() > NAME_LIMIT || !stem.chars().all(is_name) {
            return wrong("it is no name of a unit");
        }
        // The root slice, `-.slice`, takes scopes but is no group of a pod.
        if stem.split('-').any(str::is_empty) {
            return wrong("a slice has names between its dashes");
        }
        let slice = Slice { name: (*name).to_owned() };
        let place = slice.path();
        if !above.is_empty() && !place.split('/').skip(1).eq(parts.iter().copied()) {
            return wrong(&format!("systemd puts {name} at {place}"));
        }
        Ok(slice)
    }

    /// Name of the unit.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its cgroup, from systemd's own.
    pub fn path(&self) -> String {
        let stem = self.name.trim_end_matches(".slice");
        let ends = stem.match_indices('-').map(|(at, _)| at).chain([stem.len()]);
        ends.map(|end| format!("/{}.slice", &stem[..end])).collect()
    }
}

impl fmt::Display for Slice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// The scope of a container.
///
/// # Errors
/// [`Error::Container`] for an id that is no part of a unit's name.
pub(super) fn scope(id: &str) -> Result<String, Error> {
    let name = format!("rt-{id}.scope");
    if id.is_empty() || name.len() > NAME_LIMIT || !id.chars().all(is_name) {
        return Err(Error::Container { id: id.to_owned() });
    }
    Ok(name)
}

/// The group of a container: below its scope, which is systemd's.
///
/// # Errors
/// [`Error::Container`].
pub(super) fn container_path(slice: &Slice, id: &str) -> Result<String, Error> {
    Ok(format!("{}/{}/container", slice.path(), scope(id)?))
}

/// The group that a cgroup parent means without systemd: an absolute path, or `/rt`.
///
/// # Errors
/// [`Error::Parent`].
pub(super) fn absolute(parent: &str) -> Result<String, Error> {
    let parts = || parent.split('/').filter(|part| !part.is_empty() && *part != ".");
    let wrong = |problem: &str| Err(Error::Parent { parent: parent.to_owned(), problem: problem.to_owned() });
    if parts().any(|part| part == "..") {
        return wrong("it must not contain \"..\"");
    }
    if parent.is_empty() {
        return Ok(format!("/{HOME}"));
    }
    if !parent.starts_with('/') {
        return wrong(
            "it is no absolute path, but cgroups are made by the file system here (cgroup_driver = \"cgroupfs\")",
        );
    }
    Ok(parts().map(|part| format!("/{part}")).collect())
}

/// What names of units are made of, templates aside.
fn is_name(one: char) -> bool {
    one.is_ascii_alphanumeric() || matches!(one, ':' | '-' | '_' | '.' | '\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices() {
        for (parent, name, path) in [
            ("", "rt.slice", "/rt.slice"),
            ("/", "rt.slice", "/rt.slice"),
            ("/test.slice", "test.slice", "/test.slice"),
            ("test.slice", "test.slice", "/test.slice"),
            ("a-b-c.slice", "a-b-c.slice", "/a.slice/a-b.slice/a-b-c.slice"),
            (
                "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod5f_1.slice",
                "kubepods-burstable-pod5f_1.slice",
                "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod5f_1.slice",
            ),
        ] {
            let slice = Slice::of_parent(parent).unwrap();
            assert_eq!((slice.name(), slice.path().as_str()), (name, path), "{parent}");
        }
    }

    #[test]
    fn refused() {
        let long = format!("{}.slice", "x".repeat(250));
        for parent in [
            "/kubepods/burstable/pod1",
            "/a.slice/b.slice",
            "/x/a-b.slice",
            "-.slice",
            "a--b.slice",
            "-a.slice",
            "a-.slice",
            ".slice",
            "a b.slice",
            "../a.slice",
            "a.slice/..",
            "a\n.slice",
            &long,
        ] {
            let error = Slice::of_parent(parent).unwrap_err().to_string();
            assert!(error.contains(&format!("{parent:?}")), "{error}");
        }
        let error = Slice::of_parent("/a.slice/a-b.slice/a-c.slice").unwrap_err().to_string();
        assert!(error.ends_with("systemd puts a-c.slice at /a.slice/a-c.slice"), "{error}");
    }

    #[test]
    fn scopes() {
        assert_eq!(scope("0a1f").unwrap(), "rt-0a1f.scope");
        for id in ["", "a/b", "a b", "a@b", &"x".repeat(250)] {
            assert!(scope(id).is_err(), "{id}");
        }
    }

    #[test]
    fn parents_without_systemd() {
        for (parent, path) in [("", "/rt"), ("/kubepods/pod1", "/kubepods/pod1"), ("//a/./b/", "/a/b"), ("/", "")] {
            assert_eq!(absolute(parent).unwrap(), path, "{parent}");
        }
        for parent in ["a", "a.slice", "/a/../b", ".."] {
            assert!(absolute(parent).is_err(), "{parent}");
        }
    }
}
