//! Which capabilities a container has.
//!
//! | asked | given |
//! |---|---|
//! | nothing | [`DEFAULT`] |
//! | privileged | the host's bounding set |
//! | add ALL | the host's bounding set without what is dropped |
//! | drop ALL | what is added |
//! | else | [`DEFAULT`] without what is dropped, with what is added |
//!
//! The sets that follow by themselves (default, privileged, ALL) are cut down to what the host's bounding set holds; a
//! capability that is asked for by name and is not there is an error.

use caps::Capability;
use runtime::spec::Capabilities;

use super::error::Error;
use super::host::Host;

/// Docker's default set.
pub const DEFAULT: &[Capability] = &[
    Capability::CAP_AUDIT_WRITE,
    Capability::CAP_CHOWN,
    Capability::CAP_DAC_OVERRIDE,
    Capability::CAP_FOWNER,
    Capability::CAP_FSETID,
    Capability::CAP_KILL,
    Capability::CAP_MKNOD,
    Capability::CAP_NET_BIND_SERVICE,
    Capability::CAP_NET_RAW,
    Capability::CAP_SETFCAP,
    Capability::CAP_SETGID,
    Capability::CAP_SETPCAP,
    Capability::CAP_SETUID,
    Capability::CAP_SYS_CHROOT,
];

/// Capabilities added to and taken from the default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CapabilityChange {
    /// Names, with or without `CAP_`, in any case; or `ALL`.
    pub add: Vec<String>,
    /// The same.
    pub drop: Vec<String>,
}

/// A parsed name.
enum Name {
    All,
    One(Capability),
}

fn parse(name: &str) -> Result<Name, Error> {
    let upper = name.to_ascii_uppercase();
    if upper == "ALL" {
        return Ok(Name::All);
    }
    let full = if upper.starts_with("CAP_") { upper } else { format!("CAP_{upper}") };
    full.parse().map(Name::One).map_err(|_| Error::UnknownCapability { name: name.to_owned() })
}

/// The names of one list: whether `ALL` is among them, and the rest.
fn parse_list(names: &[String]) -> Result<(bool, Vec<Capability>), Error> {
    let mut all = false;
    let mut list = Vec::new();
    for name in names {
        match parse(name)? {
            Name::All => all = true,
            Name::One(capability) => list.push(capability),
        }
    }
    Ok((all, list))
}

/// The capabilities that a container's root user has.
///
/// # Errors
/// [`Error::UnknownCapability`], [`Error::CapabilityUnavailable`].
pub fn effective(change: &CapabilityChange, privileged: bool, host: &Host) -> Result<Vec<Capability>, Error> {
    let (add_all, add) = parse_list(&change.add)?;
    let (drop_all, drop) = parse_list(&change.drop)?;
    if let Some(missing) = add.iter().find(|capability| !host.bounding.contains(capability)) {
        return Err(Error::CapabilityUnavailable { name: missing.to_string() });
    }
    let base: &[Capability] = match (privileged || add_all, drop_all) {
        (true, _) => &host.bounding,
        (false, true) => &[],
        (false, false) => DEFAULT,
    };
    let mut set: Vec<Capability> = base
        .iter()
        .filter(|capability| host.bounding.contains(capability) && (privileged || !drop.contains(capability)))
        .copied()
        .collect();
    // As docker does: a name in both lists is added, unless everything was added.
    if !add_all && !privileged {
        set.extend(add);
    }
    set.sort_by_key(|capability| capability.index());
    set.dedup();
    Ok(set)
}

/// The sets of a process. Only root gets more than the bounding set, and nobody an inheritable one (CVE-2022-24769).
pub fn sets(bounding: &[String], uid: u32) -> Capabilities {
    let own = if uid == 0 { bounding.to_vec() } else { Vec::new() };
    Capabilities { bounding: bounding.to_vec(), effective: own.clone(), permitted: own, ..Capabilities::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(bounding: &[Capability]) -> Host {
        Host { bounding: bounding.to_vec(), ..Host::default() }
    }

    fn change(add: &[&str], drop: &[&str]) -> CapabilityChange {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        CapabilityChange { add: list(add), drop: list(drop) }
    }

    #[test]
    fn tweaks() {
        let full: Vec<Capability> = caps::all().into_iter().collect();
        let host = host(&full);
        let count = |add: &[&str], drop: &[&str], privileged| {
            effective(&change(add, drop), privileged, &host).map(|set| set.len())
        };
        assert_eq!(count(&[], &[], false), Ok(14));
        assert_eq!(count(&["net_admin"], &["CAP_KILL"], false), Ok(14));
        assert_eq!(count(&["SYS_TIME"], &["ALL"], false), Ok(1));
        assert_eq!(count(&[], &["all"], false), Ok(0));
        assert_eq!(count(&["ALL"], &["MKNOD"], false), Ok(full.len() - 1));
        assert_eq!(count(&["ALL"], &["ALL"], false), Ok(full.len()));
        assert_eq!(count(&[], &[], true), Ok(full.len()));
        assert_eq!(count(&[], &["KILL"], true), Ok(full.len()));
        assert_eq!(count(&["KILL"], &["KILL"], false), Ok(14));
        assert_eq!(count(&["NOPE"], &[], false), Err(Error::UnknownCapability { name: "NOPE".to_owned() }));
        assert_eq!(count(&[], &["CAP_"], false), Err(Error::UnknownCapability { name: "CAP_".to_owned() }));
    }

    #[test]
    fn small_bounding_set() {
        let host = host(&[Capability::CAP_CHOWN, Capability::CAP_SYS_ADMIN]);
        let set = |add: &[&str], privileged| effective(&change(add, &[]), privileged, &host);
        assert_eq!(set(&[], false), Ok(vec![Capability::CAP_CHOWN]));
        assert_eq!(set(&["ALL"], false), Ok(host.bounding.clone()));
        assert_eq!(set(&[], true), Ok(host.bounding.clone()));
        assert_eq!(
            set(&["SYS_RESOURCE"], false),
            Err(Error::CapabilityUnavailable { name: "CAP_SYS_RESOURCE".to_owned() })
        );
    }

    #[test]
    fn ordinary_users_start_without() {
        let names: Vec<String> = DEFAULT.iter().map(ToString::to_string).collect();
        let sets = sets(&names, 1000);
        assert_eq!(sets.bounding.len(), 14);
        assert!(sets.effective.is_empty() && sets.permitted.is_empty() && sets.inheritable.is_empty());
        assert_eq!(super::sets(&names, 0).effective.len(), 14);
    }
}
