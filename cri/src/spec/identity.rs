//! Who a process runs as: `user[:group]` and the container's passwd and group files.
//!
//! Pure: the caller reads the files out of the root file system, bounded. A number stands for itself and is never looked
//! up as a name first (or an image could name a user `0`); numbers outside 0..=2^31-1 are refused, as docker does.

/// Who a process runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups.
    pub additional_gids: Vec<u32>,
    /// Home directory.
    pub home: String,
}

/// A user or group that cannot be found out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// No such user.
    #[error("unable to find user {0}: no matching entry in the container's /etc/passwd")]
    NoUser(String),
    /// No such group.
    #[error("unable to find group {0}: no matching entry in the container's /etc/group")]
    NoGroup(String),
    /// A number out of range.
    #[error("user or group id {0}: must be 0 to 2147483647")]
    OutOfRange(String),
}

/// Largest id that docker takes.
const MAX_ID: u32 = i32::MAX as u32;

/// A line of passwd(5).
struct User<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

/// A line of group(5).
struct Group<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

fn users(passwd: &str) -> impl Iterator<Item = User<'_>> {
    passwd.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let (_password, uid, gid) = (fields.next()?, fields.next()?, fields.next()?);
        let home = fields.nth(1).unwrap_or("");
        Some(User { name, uid: uid.parse().ok()?, gid: gid.parse().ok()?, home })
    })
}

fn groups(group: &str) -> impl Iterator<Item = Group<'_>> {
    group.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let (_password, gid) = (fields.next()?, fields.next()?);
        Some(Group { name, gid: gid.parse().ok()?, members: fields.next().unwrap_or("") })
    })
}

/// A number, `None` for a name.
fn number(text: &str) -> Result<Option<u32>, IdentityError> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        // `-1` and `+5` are no names either.
        let rest = text.strip_prefix(['-', '+']).unwrap_or(text);
        if !text.is_empty() && !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(IdentityError::OutOfRange(text.to_owned()));
        }
        return Ok(None);
    }
    match text.parse() {
        Ok(id) if id <= MAX_ID => Ok(Some(id)),
        _ => Err(IdentityError::OutOfRange(text.to_owned())),
    }
}

fn find_group(text: &str, group: &str) -> Result<u32, IdentityError> {
    match number(text)? {
        Some(gid) => Ok(gid),
        None => {
            let found = groups(group).find(|entry| !text.is_empty() && entry.name == text);
            found.map(|entry| entry.gid).ok_or_else(|| IdentityError::NoGroup(text.to_owned()))
        }
    }
}

/// Finds out who `user` (`name|uid[:group|gid]`, empty for root) and the additional groups are.
///
/// Without a group it is the user's primary one and the user is in all groups that list it; with a group only that one,
/// as docker does. A uid without entry is fine and has gid 0 and home `/`.
///
/// # Errors
/// [`IdentityError`].
pub fn resolve(user: &str, group_add: &[String], passwd: &str, group: &str) -> Result<Identity, IdentityError> {
    let (user, wanted_group) = match user.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
        None => (user, None),
    };
    let user = if user.is_empty() { "0" } else { user };
    let by_number = number(user)?;
    let entry = match by_number {
        Some(uid) => users(passwd).find(|entry| entry.uid == uid),
        None => {
            Some(users(passwd).find(|entry| entry.name == user).ok_or_else(|| IdentityError::NoUser(user.to_owned()))?)
        }
    };
    let uid = by_number.or(entry.as_ref().map(|entry| entry.uid)).unwrap_or(0);
    let mut additional_gids = Vec::new();
    let gid = match wanted_group {
        Some(wanted) => find_group(wanted, group)?,
        None => {
            if let Some(entry) = &entry {
                let lists = |members: &str| members.split(',').any(|member| member == entry.name);
                additional_gids.extend(groups(group).filter(|line| lists(line.members)).map(|line| line.gid));
            }
            entry.as_ref().map_or(0, |entry| entry.gid)
        }
    };
    for wanted in group_add {
        additional_gids.push(find_group(wanted, group)?);
    }
    let mut seen = std::collections::BTreeSet::new();
    additional_gids.retain(|gid| seen.insert(*gid));
    let home = entry.map(|entry| entry.home).filter(|home| home.starts_with('/')).unwrap_or("/").to_owned();
    Ok(Identity { uid, gid, additional_gids, home })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nbroken\nweb:x:33:34:www:/var/www:/bin/false\n\
                          odd:x:notanumber:1::/:\n7:x:70:71::/seven:\nbare:x:9:9\n";
    const GROUP: &str = "root:x:0:\nadm:x:4:web,root\nwww:x:34:\nplug:x:46:web\n:x:99:\n8:x:80:\n";

    #[test]
    fn table() {
        let id = |uid, gid, groups: &[u32], home: &str| {
            Ok(Identity { uid, gid, additional_gids: groups.to_vec(), home: home.to_owned() })
        };
        let no_user = |name: &str| Err(IdentityError::NoUser(name.to_owned()));
        let range = |text: &str| Err(IdentityError::OutOfRange(text.to_owned()));
        let cases: &[(&str, &[&str], Result<Identity, IdentityError>)] = &[
            ("", &[], id(0, 0, &[4], "/root")),
            ("root", &[], id(0, 0, &[4], "/root")),
            ("web", &[], id(33, 34, &[4, 46], "/var/www")),
            ("33", &[], id(33, 34, &[4, 46], "/var/www")),
            ("web:www", &[], id(33, 34, &[], "/var/www")),
            ("web:5", &["adm", "77", "adm"], id(33, 5, &[4, 77], "/var/www")),
            ("1000", &[], id(1000, 0, &[], "/")),
            ("1000:1000", &[], id(1000, 1000, &[], "/")),
            (":34", &[], id(0, 34, &[], "/root")),
            ("web:", &[], id(33, 34, &[4, 46], "/var/www")),
            // A number is never a name.
            ("7", &[], id(7, 0, &[], "/")),
            ("0:8", &[], id(0, 8, &[], "/root")),
            ("bare", &[], id(9, 9, &[], "/")),
            ("nobody", &[], no_user("nobody")),
            ("odd", &[], no_user("odd")),
            ("broken", &[], no_user("broken")),
            ("1x", &[], no_user("1x")),
            ("-1", &[], range("-1")),
            ("+1", &[], range("+1")),
            ("2147483647", &[], id(2_147_483_647, 0, &[], "/")),
            ("2147483648", &[], range("2147483648")),
            ("4294967296", &[], range("4294967296")),
            ("99999999999999999999", &[], range("99999999999999999999")),
            ("0:none", &[], Err(IdentityError::NoGroup("none".to_owned()))),
            ("0", &["none"], Err(IdentityError::NoGroup("none".to_owned()))),
        ];
        for (user, add, expected) in cases {
            let add: Vec<String> = add.iter().map(|name| (*name).to_owned()).collect();
            assert_eq!(&resolve(user, &add, PASSWD, GROUP), expected, "{user:?} {add:?}");
        }
    }

    #[test]
    fn empty_files() {
        let root = resolve("", &[], "", "").unwrap();
        assert_eq!((root.uid, root.gid, root.home.as_str()), (0, 0, "/"));
    }
}
