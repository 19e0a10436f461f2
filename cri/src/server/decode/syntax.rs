//! Texts: paths, names, lists of numbers.

use std::path::{Component, Path, PathBuf};

use super::Invalid;

/// Longest path that system calls take, without its end mark (`PATH_MAX`, limits.h).
const PATH_LENGTH: usize = 4095;

/// Longest name of a file (`NAME_MAX`, limits.h).
const NAME_LENGTH: usize = 255;

/// A text for a system call: without NUL.
pub(super) fn text(field: &str, value: String) -> Result<String, Invalid> {
    if value.contains('\0') { Err(Invalid::new(field, "must not contain NUL")) } else { Ok(value) }
}

/// A list of such texts.
pub(super) fn texts(field: &str, list: Vec<String>) -> Result<Vec<String>, Invalid> {
    let check = |(index, value)| text(&format!("{field}[{index}]"), value);
    list.into_iter().enumerate().map(check).collect()
}

/// A text that must be there.
pub(super) fn given(field: &str, value: String) -> Result<String, Invalid> {
    if value.is_empty() { Err(Invalid::new(field, "must be given")) } else { text(field, value) }
}

/// An absolute path, `..` allowed: in a container it cannot lead out.
pub(super) fn absolute(field: &str, value: String) -> Result<String, Invalid> {
    let value = given(field, value)?;
    check_length(field, &value)?;
    if value.starts_with('/') {
        Ok(value)
    } else {
        Err(Invalid::new(field, format!("{value:?} must be an absolute path")))
    }
}

/// A path below a directory: relative, and it leads down only.
pub(super) fn below(field: &str, value: String) -> Result<PathBuf, Invalid> {
    let value = given(field, value)?;
    check_length(field, &value)?;
    let path = PathBuf::from(&value);
    let mut names = 0_usize;
    for component in path.components() {
        match component {
            Component::Normal(_) => names += 1,
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                return Err(Invalid::new(field, format!("{value:?} must be a relative path without \"..\"")));
            }
        }
    }
    if names == 0 {
        return Err(Invalid::new(field, format!("{value:?} must name something")));
    }
    Ok(path)
}

/// An absolute path that leads down only.
pub(super) fn absolute_down(field: &str, value: String) -> Result<PathBuf, Invalid> {
    let value = absolute(field, value)?;
    if Path::new(&value).components().any(|component| component == Component::ParentDir) {
        return Err(Invalid::new(field, format!("{value:?} must not contain \"..\"")));
    }
    Ok(PathBuf::from(value))
}

fn check_length(field: &str, path: &str) -> Result<(), Invalid> {
    if path.len() > PATH_LENGTH {
        return Err(Invalid::new(field, format!("is {} bytes long; paths have at most {PATH_LENGTH}", path.len())));
    }
    if path.split('/').any(|name| name.len() > NAME_LENGTH) {
        return Err(Invalid::new(field, format!("has a part of more than {NAME_LENGTH} bytes")));
    }
    Ok(())
}

/// A list of numbers as in cpuset(7): `0-3,7`; empty means that it was not given.
pub(super) fn numbers(field: &str, value: String) -> Result<String, Invalid> {
    let number = |text: &str| -> Option<u32> {
        if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
    };
    let range = |text: &str| match text.split_once('-') {
        Some((first, last)) => matches!((number(first), number(last)), (Some(first), Some(last)) if first <= last),
        None => number(text).is_some(),
    };
    if value.is_empty() || value.split(',').all(range) {
        Ok(value)
    } else {
        Err(Invalid::new(field, format!("{value:?} must be a list of numbers and ranges such as 0-3,7")))
    }
}
