//! `--security-opt`.

use std::path::PathBuf;

/// One `--security-opt`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SecurityFlag {
    NoNewPrivileges(bool),
    SeccompDefault,
    SeccompUnconfined,
    SeccompFile(PathBuf),
    AppArmor(String),
    /// `label=disable`: there is no SELinux confinement to leave.
    LabelDisable,
    SystemPathsUnconfined,
}

impl SecurityFlag {
    /// As docker shows it.
    pub(crate) fn show(&self) -> String {
        match self {
            SecurityFlag::NoNewPrivileges(on) => format!("no-new-privileges={on}"),
            SecurityFlag::SeccompDefault => "seccomp=builtin".to_owned(),
            SecurityFlag::SeccompUnconfined => "seccomp=unconfined".to_owned(),
            SecurityFlag::SeccompFile(path) => format!("seccomp={}", path.display()),
            SecurityFlag::AppArmor(profile) => format!("apparmor={profile}"),
            SecurityFlag::LabelDisable => "label=disable".to_owned(),
            SecurityFlag::SystemPathsUnconfined => "systempaths=unconfined".to_owned(),
        }
    }
}

/// Parses `NAME=VALUE` (`NAME:VALUE` is an old spelling of it).
pub(crate) fn parse(text: &str) -> Result<SecurityFlag, String> {
    let (name, value) = match text.split_once('=').or_else(|| text.split_once(':')) {
        Some((name, value)) => (name, Some(value)),
        None => (text, None),
    };
    match (name, value) {
        ("no-new-privileges", None | Some("true")) => Ok(SecurityFlag::NoNewPrivileges(true)),
        ("no-new-privileges", Some("false")) => Ok(SecurityFlag::NoNewPrivileges(false)),
        ("seccomp", Some("unconfined")) => Ok(SecurityFlag::SeccompUnconfined),
        ("seccomp", Some("builtin")) => Ok(SecurityFlag::SeccompDefault),
        ("seccomp", Some(path)) if !path.is_empty() => Ok(SecurityFlag::SeccompFile(path.into())),
        ("apparmor", Some(profile)) if !profile.is_empty() => Ok(SecurityFlag::AppArmor(profile.to_owned())),
        ("label", Some("disable")) => Ok(SecurityFlag::LabelDisable),
        ("label", Some(_)) => Err(format!("{text:?}: SELinux labels are not built yet; only label=disable")),
        ("systempaths", Some("unconfined")) => Ok(SecurityFlag::SystemPathsUnconfined),
        ("writable-cgroups", _) => Err(format!("{text:?} is not built yet")),
        _ => Err(format!(
            "{text:?}: must be seccomp=FILE|unconfined, no-new-privileges, apparmor=PROFILE, label=disable or \
             systempaths=unconfined"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        use SecurityFlag::*;
        for (text, expected) in [
            ("no-new-privileges", Some(NoNewPrivileges(true))),
            ("no-new-privileges=true", Some(NoNewPrivileges(true))),
            ("no-new-privileges:false", Some(NoNewPrivileges(false))),
            ("no-new-privileges=maybe", None),
            ("seccomp=unconfined", Some(SeccompUnconfined)),
            ("seccomp=builtin", Some(SeccompDefault)),
            ("seccomp=/a=b.json", Some(SeccompFile("/a=b.json".into()))),
            ("seccomp", None),
            ("seccomp=", None),
            ("apparmor=unconfined", Some(AppArmor("unconfined".to_owned()))),
            ("label=disable", Some(LabelDisable)),
            ("label=type:x", None),
            ("systempaths=unconfined", Some(SystemPathsUnconfined)),
            ("systempaths=x", None),
            ("nope", None),
            ("", None),
        ] {
            assert_eq!(parse(text).ok(), expected, "{text}");
        }
    }
}
