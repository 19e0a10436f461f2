//! Device access rules: from `linux.resources.devices` to what cgroup v1 takes. Pure; v2 is in [`super::device_program`].
//!
//! The specification's list is a sequence: for each of read, write and mknod, the last rule that matches a device decides.
//! A list that begins without a rule for everything begins with "deny everything". An empty list asks for nothing: no
//! filter is touched.

use super::Error;
use crate::spec;

/// Letters of `rwm`, with the kernel's values (`BPF_DEVCG_ACC_*` of linux/bpf.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Access(u8);

impl Access {
    pub(super) const MKNOD: Access = Access(1);
    pub(super) const READ: Access = Access(2);
    pub(super) const WRITE: Access = Access(4);
    pub(super) const ALL: Access = Access(7);

    pub(super) fn bits(self) -> u8 {
        self.0
    }

    fn letters(self) -> String {
        let letters = [(Access::READ, 'r'), (Access::WRITE, 'w'), (Access::MKNOD, 'm')];
        letters.into_iter().filter(|(access, _)| self.0 & access.0 != 0).map(|(_, letter)| letter).collect()
    }
}

/// Kind of a device node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Block,
    Char,
}

/// A set of devices; `None` means every number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Region {
    pub(super) kind: Kind,
    pub(super) major: Option<u32>,
    pub(super) minor: Option<u32>,
}

impl Region {
    fn contains(self, other: Region) -> bool {
        let covers = |mine: Option<u32>, theirs: Option<u32>| mine.is_none() || mine == theirs;
        self.kind == other.kind && covers(self.major, other.major) && covers(self.minor, other.minor)
    }

    fn meets(self, other: Region) -> bool {
        let common = |a: Option<u32>, b: Option<u32>| a.is_none() || b.is_none() || a == b;
        self.kind == other.kind && common(self.major, other.major) && common(self.minor, other.minor)
    }
}

/// A rule, checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// All devices, all access: what came before no longer matters.
    Everything { allow: bool },
    /// Some.
    Some { allow: bool, region: Region, access: Access },
}

/// The rule of `devices[index]`, split into one per kind of device; `index` is kept for messages.
pub(super) type Numbered = (usize, Rule);

/// Checks a list.
///
/// # Errors
/// [`Error::Invalid`] with the JSON path of the first rule that makes no sense.
pub(super) fn parse(rules: &[spec::DeviceRule]) -> Result<Vec<Numbered>, Error> {
    let mut parsed = Vec::with_capacity(rules.len());
    for (index, rule) in rules.iter().enumerate() {
        let member = |name, problem| invalid(index, name, problem);
        let kinds: &[Kind] = match rule.kind.as_deref() {
            None | Some("a") => &[Kind::Block, Kind::Char],
            Some("b") => &[Kind::Block],
            Some("c" | "u") => &[Kind::Char],
            Some(kind) => return Err(member(".type", format!("{kind:?} is none of a, b, c"))),
        };
        let number = |name, value: Option<i64>| match value {
            None | Some(-1) => Ok(None),
            Some(value) => match u32::try_from(value) {
                Ok(value) if value <= i32::MAX.unsigned_abs() => Ok(Some(value)),
                _ => Err(member(name, format!("{value} is neither -1 nor a device number"))),
            },
        };
        let (major, minor) = (number(".major", rule.major)?, number(".minor", rule.minor)?);
        let mut bits = 0;
        for letter in rule.access.as_deref().unwrap_or("rwm").chars() {
            bits |= match letter {
                'r' => Access::READ.0,
                'w' => Access::WRITE.0,
                'm' => Access::MKNOD.0,
                _ => return Err(member(".access", format!("{letter:?} is none of r, w, m"))),
            };
        }
        if bits == 0 {
            return Err(member(".access", "it is empty".to_owned()));
        }
        let access = Access(bits);
        if kinds.len() == 2 && major.is_none() && minor.is_none() && access == Access::ALL {
            parsed.push((index, Rule::Everything { allow: rule.allow }));
            continue;
        }
        for &kind in kinds {
            parsed.push((index, Rule::Some { allow: rule.allow, region: Region { kind, major, minor }, access }));
        }
    }
    Ok(parsed)
}

fn invalid(index: usize, member: &str, problem: String) -> Error {
    Error::Invalid { field: format!("linux.resources.devices[{index}]{member}"), problem }
}

/// A line for `devices.deny` or `devices.allow`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) file: &'static str,
    pub(super) value: String,
}

/// The lines that make a v1 group obey `rules`.
///
/// The kernel keeps a default and exceptions of the opposite sense, so that a rule can only take back what an exception
/// said; "all of these devices but one" inside a default of deny has no form there and is refused.
///
/// # Errors
/// [`Error::Invalid`] with the JSON path of the rule that v1 cannot express.
pub(super) fn v1(rules: &[Numbered]) -> Result<Vec<Line>, Error> {
    let (allowed_by_default, exceptions) = reduce(rules)?;
    let (first, then) =
        if allowed_by_default { ("devices.allow", "devices.deny") } else { ("devices.deny", "devices.allow") };
    let number = |number: Option<u32>| number.map_or("*".to_owned(), |number| number.to_string());
    let lines = exceptions.into_iter().map(|(region, access)| {
        let kind = match region.kind {
            Kind::Block => 'b',
            Kind::Char => 'c',
        };
        let (major, minor) = (number(region.major), number(region.minor));
        Line { file: then, value: format!("{kind} {major}:{minor} {}", access.letters()) }
    });
    Ok(std::iter::once(Line { file: first, value: "a".to_owned() }).chain(lines).collect())
}

/// The list that allows what `rules` allow, in the words of systemd's `DeviceAllow` (device or pattern, access). `None`: no such list
/// has this meaning. systemd.resource-control(5)
pub fn allow_list(rules: &[spec::DeviceRule]) -> Option<Vec<(String, String)>> {
    let (allowed_by_default, exceptions) = parse(rules).and_then(|rules| reduce(&rules)).ok()?;
    let entry = |(region, access): (Region, Access)| {
        let kind = match region.kind {
            Kind::Block => "block",
            Kind::Char => "char",
        };
        let device = match (region.major, region.minor) {
            (None, None) => format!("{kind}-*"),
            (Some(major), None) => format!("{kind}-{major}"),
            (Some(major), Some(minor)) => format!("/dev/{kind}/{major}:{minor}"),
            (None, Some(_)) => return None,
        };
        Some((device, access.letters()))
    };
    if allowed_by_default { None } else { exceptions.into_iter().map(entry).collect() }
}

/// The default, and the exceptions from it.
fn reduce(rules: &[Numbered]) -> Result<(bool, Vec<(Region, Access)>), Error> {
    let mut allowed_by_default = false;
    let mut exceptions: Vec<(Region, u8)> = Vec::new();
    for &(index, rule) in rules {
        let (allow, region, access) = match rule {
            Rule::Everything { allow } => {
                allowed_by_default = allow;
                exceptions.clear();
                continue;
            }
            Rule::Some { allow, region, access } => (allow, region, access.bits()),
        };
        if allow != allowed_by_default {
            match exceptions.iter_mut().find(|(known, _)| *known == region) {
                Some((_, bits)) => *bits |= access,
                None => exceptions.push((region, access)),
            }
            continue;
        }
        for (known, bits) in &mut exceptions {
            if region.contains(*known) {
                *bits &= !access;
            } else if region.meets(*known) && *bits & access != 0 {
                let problem = "cgroup v1 cannot take back a part of what a wider rule said; order and split the rules";
                return Err(invalid(index, "", problem.to_owned()));
            }
        }
        exceptions.retain(|(_, bits)| *bits != 0);
    }
    Ok((allowed_by_default, exceptions.into_iter().map(|(region, bits)| (region, Access(bits))).collect()))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn rule(allow: bool, kind: &str, major: i64, minor: i64, access: &str) -> spec::DeviceRule {
        spec::DeviceRule {
            allow,
            kind: Some(kind.to_owned()),
            major: Some(major),
            minor: Some(minor),
            access: Some(access.to_owned()),
        }
    }

    fn lines(rules: &[spec::DeviceRule]) -> Result<Vec<String>, String> {
        let lines = parse(rules).and_then(|rules| v1(&rules)).map_err(|error| error.to_string())?;
        Ok(lines
            .into_iter()
            .map(|line| format!("{} {}", line.file.trim_start_matches("devices."), line.value))
            .collect())
    }

    #[test]
    fn lists_for_v1() {
        let deny_all = spec::DeviceRule { allow: false, access: Some("rwm".into()), ..Default::default() };
        for (rules, expected) in [
            // What engines send: deny everything, then allow.
            (
                vec![
                    deny_all.clone(),
                    rule(true, "c", -1, -1, "m"),
                    rule(true, "c", 1, 3, "rwm"),
                    rule(true, "b", 8, -1, "r"),
                ],
                vec!["deny a", "allow c *:* m", "allow c 1:3 rwm", "allow b 8:* r"],
            ),
            (vec![rule(true, "a", -1, -1, "rwm")], vec!["allow a"]),
            (vec![rule(true, "c", 1, 3, "rw")], vec!["deny a", "allow c 1:3 rw"]),
            // Access of one device adds up.
            (vec![rule(true, "c", 1, 3, "r"), rule(true, "c", 1, 3, "w")], vec!["deny a", "allow c 1:3 rw"]),
            // Later rules take back.
            (vec![rule(true, "c", 1, 3, "rwm"), rule(false, "c", 1, 3, "w")], vec!["deny a", "allow c 1:3 rm"]),
            (vec![rule(true, "c", 1, 3, "rw"), rule(false, "c", 1, -1, "rwm")], vec!["deny a"]),
            (
                vec![rule(true, "c", 1, 3, "rwm"), deny_all.clone(), rule(true, "c", 1, 5, "r")],
                vec!["deny a", "allow c 1:5 r"],
            ),
            (
                vec![rule(true, "a", -1, -1, "rwm"), rule(false, "b", 8, 0, "w"), rule(true, "b", 8, 0, "w")],
                vec!["allow a"],
            ),
            (vec![rule(true, "a", -1, -1, "rwm"), rule(false, "b", 8, 0, "w")], vec!["allow a", "deny b 8:0 w"]),
            // Of another kind or with other access: nothing to take back.
            (vec![rule(true, "c", -1, -1, "m"), rule(false, "b", 1, 3, "rwm")], vec!["deny a", "allow c *:* m"]),
            (vec![rule(true, "c", -1, -1, "m"), rule(false, "c", 1, 3, "rw")], vec!["deny a", "allow c *:* m"]),
            // `a` with numbers or with part of the access is both kinds.
            (vec![rule(true, "a", -1, -1, "m")], vec!["deny a", "allow b *:* m", "allow c *:* m"]),
            (vec![rule(true, "a", 1, 3, "rwm")], vec!["deny a", "allow b 1:3 rwm", "allow c 1:3 rwm"]),
        ] {
            assert_eq!(lines(&rules).unwrap(), expected, "{rules:?}");
        }
    }

    #[test]
    fn lists_for_systemd() {
        let deny_all = spec::DeviceRule { allow: false, access: Some("rwm".into()), ..Default::default() };
        for (rules, expected) in [
            (vec![deny_all.clone()], Some(vec![])),
            (
                vec![
                    deny_all.clone(),
                    rule(true, "c", -1, -1, "m"),
                    rule(true, "c", 1, 3, "rw"),
                    rule(true, "b", 8, -1, "r"),
                ],
                Some(vec![("char-*", "m"), ("/dev/char/1:3", "rw"), ("block-8", "r")]),
            ),
            (vec![rule(true, "a", -1, -1, "rwm")], None),
            (vec![rule(true, "a", -1, -1, "rwm"), rule(false, "c", 1, 3, "rwm")], None),
            (vec![rule(true, "c", -1, 3, "rwm")], None),
            (vec![rule(true, "c", 1, -1, "rwm"), rule(false, "c", 1, 3, "w")], None),
            (vec![rule(true, "x", 1, 3, "r")], None),
        ] {
            let expected = expected
                .map(|list| list.into_iter().map(|(device, access)| (device.to_owned(), access.to_owned())).collect());
            assert_eq!(allow_list(&rules), expected, "{rules:?}");
        }
    }

    #[test]
    fn refused_with_their_path() {
        for (rules, message) in [
            (vec![rule(true, "x", 1, 3, "r")], "linux.resources.devices[0].type: \"x\" is none of a, b, c"),
            (
                vec![rule(true, "c", 1, 3, "r"), rule(true, "c", -2, 3, "r")],
                "linux.resources.devices[1].major: -2 is neither -1 nor a device number",
            ),
            (
                vec![rule(true, "c", 1, 1 << 32, "r")],
                "linux.resources.devices[0].minor: 4294967296 is neither -1 nor a device number",
            ),
            (vec![rule(true, "c", 1, 3, "rx")], "linux.resources.devices[0].access: 'x' is none of r, w, m"),
            (vec![rule(true, "c", 1, 3, "")], "linux.resources.devices[0].access: it is empty"),
            (
                vec![rule(true, "c", -1, -1, "rwm"), rule(false, "c", 1, 3, "m")],
                "linux.resources.devices[1]: cgroup v1 cannot take back a part of what a wider rule said; order and split the rules",
            ),
        ] {
            assert_eq!(lines(&rules).unwrap_err(), message, "{rules:?}");
        }
    }
}
