//! `--security-opt`.

use std::path::PathBuf;

use cri::selinux::Context;

/// One `--security-opt`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SecurityFlag {
    NoNewPrivileges(bool),
    SeccompDefault,
    SeccompUnconfined,
    SeccompFile(PathBuf),
    AppArmor(String),
    Label(LabelFlag),
    SystemPathsUnconfined,
}

/// `label=`: one part of the SELinux labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LabelFlag {
    /// No confinement.
    Disable,
    /// The container sees SELinux, and may use it as far as the policy lets it.
    Nested,
    User(String),
    Role(String),
    Type(String),
    Level(String),
    FileType(String),
}

impl LabelFlag {
    fn show(&self) -> String {
        match self {
            LabelFlag::Disable => "disable".to_owned(),
            LabelFlag::Nested => "nested".to_owned(),
            LabelFlag::User(user) => format!("user:{user}"),
            LabelFlag::Role(role) => format!("role:{role}"),
            LabelFlag::Type(kind) => format!("type:{kind}"),
            LabelFlag::Level(level) => format!("level:{level}"),
            LabelFlag::FileType(kind) => format!("filetype:{kind}"),
        }
    }
}

/// All that the labels are asked to be; of two values for a part the last one counts.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct LabelRequest {
    pub(crate) context: Context,
    pub(crate) disable: bool,
    pub(crate) nested: bool,
}

impl LabelRequest {
    pub(crate) fn new<'a>(flags: impl IntoIterator<Item = &'a SecurityFlag>) -> LabelRequest {
        let mut request = LabelRequest::default();
        for flag in flags {
            let SecurityFlag::Label(label) = flag else { continue };
            match label.clone() {
                LabelFlag::Disable => request.disable = true,
                LabelFlag::Nested => request.nested = true,
                LabelFlag::User(user) => request.context.user = user,
                LabelFlag::Role(role) => request.context.role = role,
                LabelFlag::Type(kind) => request.context.kind = kind,
                LabelFlag::Level(level) => request.context.level = level,
                LabelFlag::FileType(kind) => request.context.file_kind = kind,
            }
        }
        request
    }

    /// Whether it asks for a confinement of its own.
    pub(crate) fn confines(&self) -> bool {
        self.nested || self.context != Context::default()
    }
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
            SecurityFlag::Label(label) => format!("label={}", label.show()),
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
        ("label", Some(label)) => {
            self::label(label).map(SecurityFlag::Label).map_err(|problem| format!("{text:?}: {problem}"))
        }
        ("systempaths", Some("unconfined")) => Ok(SecurityFlag::SystemPathsUnconfined),
        ("writable-cgroups", _) => Err(format!("{text:?} is not built yet")),
        _ => Err(format!(
            "{text:?}: must be seccomp=FILE|unconfined, no-new-privileges, apparmor=PROFILE, label=… or \
             systempaths=unconfined"
        )),
    }
}

fn label(text: &str) -> Result<LabelFlag, String> {
    let flag = match text.split_once(':') {
        None if text == "disable" => LabelFlag::Disable,
        None if text == "nested" => LabelFlag::Nested,
        Some(("user", user)) if !user.is_empty() => LabelFlag::User(user.to_owned()),
        Some(("role", role)) if !role.is_empty() => LabelFlag::Role(role.to_owned()),
        Some(("type", kind)) if !kind.is_empty() => LabelFlag::Type(kind.to_owned()),
        Some(("level", level)) if !level.is_empty() => LabelFlag::Level(level.to_owned()),
        Some(("filetype", kind)) if !kind.is_empty() => LabelFlag::FileType(kind.to_owned()),
        _ => {
            return Err("must be label=disable, label=nested, or label=user:USER, role:ROLE, type:TYPE, level:LEVEL, \
                        filetype:TYPE"
                .to_owned());
        }
    };
    let request = LabelRequest::new([&SecurityFlag::Label(flag.clone())]);
    request.context.check().map_err(|(_, problem)| problem)?;
    Ok(flag)
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
            ("label=disable", Some(Label(LabelFlag::Disable))),
            ("label:disable", Some(Label(LabelFlag::Disable))),
            ("label=nested", Some(Label(LabelFlag::Nested))),
            ("label=user:u", Some(Label(LabelFlag::User("u".to_owned())))),
            ("label=role:r", Some(Label(LabelFlag::Role("r".to_owned())))),
            ("label=type:x", Some(Label(LabelFlag::Type("x".to_owned())))),
            ("label=level:s0:c1,c2", Some(Label(LabelFlag::Level("s0:c1,c2".to_owned())))),
            ("label:level:s0:c1,c2", Some(Label(LabelFlag::Level("s0:c1,c2".to_owned())))),
            ("label=filetype:f", Some(Label(LabelFlag::FileType("f".to_owned())))),
            ("label", None),
            ("label=", None),
            ("label=type", None),
            ("label=type:", None),
            ("label=type:a:b", None),
            ("label=level:s0,c1", None),
            ("label=range:s0", None),
            ("systempaths=unconfined", Some(SystemPathsUnconfined)),
            ("systempaths=x", None),
            ("nope", None),
            ("", None),
        ] {
            assert_eq!(parse(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn labels_add_up() {
        let flags = ["label=type:a", "seccomp=unconfined", "label=level:s0:c1", "label=type:b", "label=filetype:f"];
        let flags = flags.map(|text| parse(text).unwrap());
        let request = LabelRequest::new(&flags);
        let context = Context {
            kind: "b".to_owned(),
            level: "s0:c1".to_owned(),
            file_kind: "f".to_owned(),
            ..Context::default()
        };
        assert_eq!(request, LabelRequest { context, disable: false, nested: false });
        assert!(request.confines() && !LabelRequest::new(&flags[1..2]).confines());
        let shown: Vec<String> = flags.iter().map(SecurityFlag::show).collect();
        let again: Vec<SecurityFlag> = shown.iter().map(|text| parse(text).unwrap()).collect();
        assert_eq!(again, flags);
    }
}
