//! Who processes run as and what confines them.

use caps::Capability;
use proto::v1::{self, security_profile::ProfileType};

use super::Invalid;
use super::syntax::{absolute, text};
use crate::image::identity::ID_MAX;
use crate::pod::config::{Capabilities, GroupsPolicy, Profile, User};
use crate::selinux::Context;

/// What the name of a profile of the node begins with in old fields, and in new ones by mistake.
const LOCALHOST: &str = "localhost/";

/// A user or group id.
pub(super) fn id(field: &str, value: i64) -> Result<u32, Invalid> {
    match u32::try_from(value) {
        Ok(id) if id <= ID_MAX => Ok(id),
        Ok(_) | Err(_) => Err(Invalid::new(field, format!("{value} must be an id from 0 to {ID_MAX}"))),
    }
}

/// User and group. A group without a user would mean another group for whoever the image names.
pub(super) fn user(uid: Option<v1::Int64Value>, gid: Option<v1::Int64Value>, name: String) -> Result<User, Invalid> {
    let gid = gid.map(|value| id("run_as_group", value.value)).transpose()?;
    match (uid, name.is_empty()) {
        (Some(uid), true) => Ok(User::Id { uid: id("run_as_user", uid.value)?, gid }),
        (Some(_), false) => Err(Invalid::new("run_as_username", "and run_as_user exclude each other")),
        (None, false) => Ok(User::Name { name: user_name(name)?, gid }),
        (None, true) if gid.is_some() => {
            Err(Invalid::new("run_as_group", "is given without run_as_user or run_as_username"))
        }
        (None, true) => Ok(User::Image),
    }
}

/// A name of passwd(5).
fn user_name(name: String) -> Result<String, Invalid> {
    let bad = |c: char| c == ':' || c == '/' || c.is_whitespace() || c.is_control();
    if name.contains(bad) {
        return Err(Invalid::new("run_as_username", format!("{name:?} must be a user's name alone")));
    }
    Ok(name)
}

/// Groups beside the user's.
pub(super) fn groups(list: &[i64]) -> Result<Vec<u32>, Invalid> {
    list.iter().enumerate().map(|(index, value)| id(&format!("supplemental_groups[{index}]"), *value)).collect()
}

/// Whether the groups of the image's files count.
pub(super) fn groups_policy(number: i32) -> Result<GroupsPolicy, Invalid> {
    match v1::SupplementalGroupsPolicy::try_from(number) {
        Ok(v1::SupplementalGroupsPolicy::Merge) => Ok(GroupsPolicy::Merge),
        Ok(v1::SupplementalGroupsPolicy::Strict) => Ok(GroupsPolicy::Strict),
        Err(_) => {
            Err(Invalid::new("supplemental_groups_policy", format!("{number} is no policy; they are Merge and Strict")))
        }
    }
}

/// Capabilities; absent means the default ones.
pub(super) fn capabilities(message: Option<v1::Capability>) -> Result<Capabilities, Invalid> {
    let v1::Capability { add_capabilities, drop_capabilities, add_ambient_capabilities } = message.unwrap_or_default();
    Ok(Capabilities {
        add: names("add_capabilities", add_capabilities, All::Allowed)?,
        drop: names("drop_capabilities", drop_capabilities, All::Allowed)?,
        add_ambient: names("add_ambient_capabilities", add_ambient_capabilities, All::Refused)?,
    })
}

/// Whether `ALL` may be in a list.
#[derive(Clone, Copy, PartialEq, Eq)]
enum All {
    Allowed,
    Refused,
}

fn names(field: &str, list: Vec<String>, all: All) -> Result<Vec<String>, Invalid> {
    for (index, name) in list.iter().enumerate() {
        let upper = name.to_ascii_uppercase();
        let known = match upper.as_str() {
            "ALL" => all == All::Allowed,
            _ if upper.starts_with("CAP_") => upper.parse::<Capability>().is_ok(),
            _ => format!("CAP_{upper}").parse::<Capability>().is_ok(),
        };
        if !known {
            let or_all = if all == All::Allowed { ", or ALL" } else { "" };
            let problem = format!("{name:?} must be a name of capabilities(7), with or without CAP_{or_all}");
            return Err(Invalid::new(&format!("{field}[{index}]"), problem));
        }
    }
    Ok(list)
}

/// A system call filter. The message wins over the text of old callers; neither means none at all.
pub(super) fn seccomp(message: Option<v1::SecurityProfile>, old: &str) -> Result<Option<Profile>, Invalid> {
    let (field, profile) = match message {
        Some(message) => ("seccomp.localhost_ref", profile("seccomp", message)?),
        None => ("seccomp_profile_path", old_profile("seccomp_profile_path", old)?),
    };
    match profile {
        Some(Profile::Localhost(path)) => Ok(Some(Profile::Localhost(absolute(field, path)?))),
        other => Ok(other),
    }
}

/// An AppArmor profile. The message wins over the text of old callers; neither means the runtime's own where there is AppArmor.
pub(super) fn apparmor(message: Option<v1::SecurityProfile>, old: &str) -> Result<Option<Profile>, Invalid> {
    match message {
        Some(message) => profile("apparmor", message),
        None => old_profile("apparmor_profile", old),
    }
}

fn profile(field: &str, message: v1::SecurityProfile) -> Result<Option<Profile>, Invalid> {
    let v1::SecurityProfile { profile_type, localhost_ref } = message;
    let kind = ProfileType::try_from(profile_type).map_err(|_| {
        let problem = format!("{profile_type} is no type; they are RuntimeDefault, Unconfined and Localhost");
        Invalid::new(&format!("{field}.profile_type"), problem)
    })?;
    let reference = format!("{field}.localhost_ref");
    let name = localhost_ref.strip_prefix(LOCALHOST).unwrap_or(&localhost_ref);
    match kind {
        ProfileType::Localhost if name.is_empty() => Err(Invalid::new(&reference, "must name a profile of the node")),
        ProfileType::Localhost => Ok(Some(Profile::Localhost(text(&reference, name.to_owned())?))),
        ProfileType::RuntimeDefault | ProfileType::Unconfined if !localhost_ref.is_empty() => {
            Err(Invalid::new(&reference, "is for the type Localhost only"))
        }
        ProfileType::RuntimeDefault => Ok(Some(Profile::RuntimeDefault)),
        ProfileType::Unconfined => Ok(Some(Profile::Unconfined)),
    }
}

/// As callers wrote profiles before there were messages for them.
fn old_profile(field: &str, value: &str) -> Result<Option<Profile>, Invalid> {
    match (value, value.strip_prefix(LOCALHOST)) {
        ("", _) => Ok(None),
        ("unconfined", _) => Ok(Some(Profile::Unconfined)),
        ("runtime/default" | "docker/default", _) => Ok(Some(Profile::RuntimeDefault)),
        (_, Some(name)) if !name.is_empty() => Ok(Some(Profile::Localhost(text(field, name.to_owned())?))),
        (_, Some(_) | None) => {
            Err(Invalid::new(field, format!("{value:?} must be runtime/default, unconfined or localhost/PROFILE")))
        }
    }
}

/// An SELinux context; absent when no part of it is given.
pub(super) fn selinux(message: Option<v1::SeLinuxOption>) -> Result<Option<Context>, Invalid> {
    let Some(v1::SeLinuxOption { user, role, r#type: kind, level }) = message else { return Ok(None) };
    let context = Context { user, role, kind, level, ..Context::default() };
    context.check().map_err(|(part, problem)| Invalid::new(&format!("selinux_options.{part}"), problem))?;
    Ok(Some(context).filter(|context| *context != Context::default()))
}
