//! Who a container's process is: `USER` of an image or `--user`, looked up in the container's own files.
//!
//! Docker's rules: a number is always an id, never a name; a name must be in `/etc/passwd` or `/etc/group` of the root
//! file system; supplementary groups come from there unless a group is named.
//!
//! The files are the image's and so hostile: opened beneath the root's handle, regular files only, without waiting
//! (a pipe would block), of bounded size, line by line (CVE-2026-47262, CVE-2025-4437, containers/storage
//! CVE-2024-9676). Numbers are parsed strictly and within the kernel's range (CVE-2024-40635, CVE-2026-30892).

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::AsFd;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, SFlag, fstat};
use runtime::root::{Links, Root, magic_link};
use runtime::rooted::Shown;
use runtime::sys::{Call, CallError};

/// Largest passwd or group file that is read, in bytes.
const FILE_MAX: u64 = 10 << 20;
/// Longest line in them, in bytes: a group may have many members.
const LINE_MAX: usize = 1 << 20;
/// Most supplementary groups of a process (`NGROUPS_MAX`, limits.h).
const GROUPS_MAX: usize = 65536;
/// Largest id: as docker, below the numbers that some kernel interfaces take for "none".
pub const ID_MAX: u32 = i32::MAX.unsigned_abs();

/// The numbers and the home of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups, sorted, each once; without `gid` unless it is listed.
    pub additional_gids: Vec<u32>,
    /// The user's home; `/` where the files name none.
    pub home: String,
}

/// Why an identity could not be found out.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The text is no user.
    #[error("user {spec:?}: {reason}")]
    Spec {
        /// The text.
        spec: String,
        /// The rule.
        reason: &'static str,
    },
    /// A name that is not in the container's files.
    #[error("no {what} {name:?} in {file} of the container")]
    Unknown {
        /// `user` or `group`.
        what: &'static str,
        /// The name.
        name: String,
        /// The file.
        file: &'static str,
    },
    /// A file of the container is not fit to be read.
    #[error("{file} of the container: {reason}")]
    File {
        /// The file.
        file: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A file of the container could not be read.
    #[error("{file} of the container: {source}")]
    Read {
        /// The file.
        file: &'static str,
        /// The answer.
        source: io::Error,
    },
    /// The kernel refused a system call.
    #[error(transparent)]
    Call(#[from] CallError),
}

const PASSWD: &str = "/etc/passwd";
const GROUP: &str = "/etc/group";

/// A user or group as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Who {
    Id(u32),
    Name(String),
}

/// A parsed user: `[user][:group]`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Spec {
    user: Option<Who>,
    group: Option<Who>,
}

/// Finds out who `user` is: empty, `user`, `uid`, `user:group`, `uid:gid` or a mix; `extra_groups` are names or gids.
///
/// `root` is the root file system of the container: a folder, or a detached mount of its layers. Links in it are
/// followed as the container would follow them.
///
/// # Errors
/// [`IdentityError`]: the text, the name that is unknown, or the file that is not fit.
pub fn resolve(root: impl AsFd, user: &str, extra_groups: &[String]) -> Result<Identity, IdentityError> {
    let spec = parse(user)?;
    let extra = extra_groups
        .iter()
        .map(|group| who(group).map_err(|reason| IdentityError::Spec { spec: group.clone(), reason }))
        .collect::<Result<Vec<_>, _>>()?;
    let account = match open(&root, PASSWD)? {
        Some(file) => find_account(file, spec.user.as_ref())?,
        None => None,
    };
    let (uid, home, own_gid, name) = match (account, &spec.user) {
        (Some(account), _) => (account.uid, account.home, account.gid, Some(account.name)),
        (None, None) => (0, None, 0, None),
        (None, Some(Who::Id(uid))) => (*uid, None, 0, None),
        (None, Some(Who::Name(name))) => {
            return Err(IdentityError::Unknown { what: "user", name: name.clone(), file: PASSWD });
        }
    };
    let mut groups = Groups::wanted(&spec, extra, name);
    if let Some(file) = open(&root, GROUP)? {
        groups.read(file)?;
    }
    let (gid, mut additional_gids) = groups.finish(own_gid)?;
    additional_gids.sort_unstable();
    additional_gids.dedup();
    Ok(Identity { uid, gid, additional_gids, home: home.unwrap_or_else(|| "/".into()) })
}

fn parse(text: &str) -> Result<Spec, IdentityError> {
    let error = |reason| IdentityError::Spec { spec: text.chars().take(200).collect(), reason };
    let part = |part: &str| match part {
        "" => Ok(None),
        _ => who(part).map(Some).map_err(error),
    };
    match text.split_once(':') {
        Some((_, group)) if group.contains(':') => Err(error("has more than one ':'")),
        Some((user, group)) => Ok(Spec { user: part(user)?, group: part(group)? }),
        None => Ok(Spec { user: part(text)?, group: None }),
    }
}

/// Digits are an id, with or without a sign in front they are never a name.
fn who(text: &str) -> Result<Who, &'static str> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let numeric = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !numeric {
        let odd = |character: char| character.is_control() || matches!(character, ':' | ',');
        return match text.is_empty() || text.chars().any(odd) {
            true => Err("is empty or has control characters, ':' or ','"),
            false => Ok(Who::Name(text.to_owned())),
        };
    }
    id(text).map(Who::Id).ok_or("ids go from 0 to 2147483647")
}

/// Digits only, at most [`ID_MAX`].
fn id(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse::<u32>().ok().filter(|id| digits && *id <= ID_MAX)
}

struct Account {
    name: String,
    uid: u32,
    gid: u32,
    home: Option<String>,
}

/// The first line about the user; without one asked for, about root.
fn find_account(file: impl Read, user: Option<&Who>) -> Result<Option<Account>, IdentityError> {
    let mut found = None;
    lines(file, PASSWD, |line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, uid, gid, rest @ ..] = fields.as_slice() else { return false };
        // A line whose numbers are none is about nobody; docker would read them as root's.
        let (Some(uid), Some(gid)) = (id(uid), id(gid)) else { return false };
        let fits = match user {
            None => uid == 0,
            Some(Who::Id(wanted)) => uid == *wanted,
            Some(Who::Name(wanted)) => name == wanted,
        };
        if fits {
            let home = rest.get(1).filter(|home| home.starts_with('/')).map(|home| (*home).to_owned());
            found = Some(Account { name: (*name).to_owned(), uid, gid, home });
        }
        fits
    })?;
    Ok(found)
}

/// What is looked for in the group file, and what was found.
struct Groups {
    primary: Option<Who>,
    primary_gid: Option<u32>,
    /// The user whose memberships count.
    member: Option<String>,
    extra: Vec<(Who, Option<u32>)>,
    memberships: Vec<u32>,
}

impl Groups {
    fn wanted(spec: &Spec, extra: Vec<Who>, name: Option<String>) -> Groups {
        Groups {
            primary: spec.group.clone(),
            primary_gid: None,
            member: name.filter(|_| spec.group.is_none()),
            extra: extra.into_iter().map(|who| (who, None)).collect(),
            memberships: Vec::new(),
        }
    }

    fn read(&mut self, file: impl Read) -> Result<(), IdentityError> {
        let mut too_many = false;
        lines(file, GROUP, |line| {
            let fields: Vec<&str> = line.split(':').collect();
            let [name, _, gid, rest @ ..] = fields.as_slice() else { return false };
            let Some(gid) = id(gid) else { return false };
            let is = |who: &Who| matches!(who, Who::Name(wanted) if wanted == name);
            if self.primary_gid.is_none() && self.primary.as_ref().is_some_and(is) {
                self.primary_gid = Some(gid);
            }
            for (who, found) in &mut self.extra {
                if found.is_none() && is(who) {
                    *found = Some(gid);
                }
            }
            let members = rest.first().copied().unwrap_or_default();
            if self.member.as_deref().is_some_and(|member| members.split(',').any(|other| other == member)) {
                self.memberships.push(gid);
            }
            too_many = self.memberships.len() > GROUPS_MAX;
            too_many
        })?;
        match too_many {
            true => Err(IdentityError::File { file: GROUP, reason: "the user is in more than 65536 groups" }),
            false => Ok(()),
        }
    }

    fn finish(self, own_gid: u32) -> Result<(u32, Vec<u32>), IdentityError> {
        let number = |who: Who, found: Option<u32>| match (who, found) {
            (Who::Id(gid), _) | (Who::Name(_), Some(gid)) => Ok(gid),
            (Who::Name(name), None) => Err(IdentityError::Unknown { what: "group", name, file: GROUP }),
        };
        let gid = match self.primary {
            Some(who) => number(who, self.primary_gid)?,
            None => own_gid,
        };
        let mut additional = self.memberships;
        for (who, found) in self.extra {
            additional.push(number(who, found)?);
        }
        Ok((gid, additional))
    }
}

/// Opens a file of the container; `None`: there is none.
///
/// Looked at before it is opened: to open a device node is to use the device, a watchdog for instance, and it is the host that
/// would use it here.
fn open(root: &impl AsFd, file: &'static str) -> Result<Option<File>, IdentityError> {
    let root = root.as_fd().try_clone_to_owned().call(|| format!("fcntl({}, F_DUPFD_CLOEXEC)", Shown(root)))?;
    let found = match Root::new(root).open(Path::new(file), OFlag::O_PATH, Links::InRoot) {
        Ok(fd) => fd,
        Err(CallError { errno: Errno::ENOENT | Errno::ENOTDIR, .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let stat = fstat(&found).call(|| format!("fstat({})", Shown(&found)))?;
    if stat.st_mode & SFlag::S_IFMT.bits() != SFlag::S_IFREG.bits() {
        return Err(IdentityError::File { file, reason: "is not a regular file" });
    }
    if stat.st_size.unsigned_abs() > FILE_MAX {
        return Err(IdentityError::File { file, reason: "is larger than 10 MiB" });
    }
    let flags = OFlag::O_RDONLY | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let opened = nix::fcntl::open(magic_link(&found).as_str(), flags, Mode::empty());
    opened.call(|| format!("open({}, O_RDONLY)", Shown(&found))).map(|fd| Some(File::from(fd))).map_err(Into::into)
}

/// Calls `take` with each line that is text, until it returns true. Comments and empty lines are left out.
fn lines(input: impl Read, file: &'static str, mut take: impl FnMut(&str) -> bool) -> Result<(), IdentityError> {
    // Beyond the checked size too: the file may grow while it is read.
    let mut input = BufReader::new(input.take(FILE_MAX + 1));
    let mut line = Vec::new();
    let mut total = 0u64;
    loop {
        line.clear();
        let read = Read::by_ref(&mut input).take(LINE_MAX as u64 + 1).read_until(b'\n', &mut line);
        let length = read.map_err(|source| IdentityError::Read { file, source })?;
        total += length as u64;
        if length == 0 {
            return Ok(());
        }
        if line.len() > LINE_MAX {
            return Err(IdentityError::File { file, reason: "has a line of more than 1 MiB" });
        }
        if total > FILE_MAX {
            return Err(IdentityError::File { file, reason: "is larger than 10 MiB" });
        }
        let Ok(text) = std::str::from_utf8(&line) else { continue };
        let text = text.trim_end_matches(['\n', '\r']);
        if text.is_empty() || text.starts_with('#') || text.contains('\0') {
            continue;
        }
        if take(text) {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use nix::unistd::mkfifo;
    use proptest::prelude::*;

    use super::*;

    const USERS: &str = "root:x:0:0:root:/root:/bin/sh\nbad:x:zero:0::/:\nwww:x:33:34::/var/www:/bin/false\n\
                         1000:x:7:7::/seven:\nempty:x:8:8:::\nrel:x:9:9::rel:\nlf\0:x:10:10::/:\nbig:x:4294967296:0::/:\n";
    const GROUPS: &str =
        "root:x:0:\nwww:x:34:\nstaff:x:50:www,root\nadm:x:4:www\n# c:x:1:www\nwrong:x:-1:www\n77:x:78:\n";

    fn container(users: &str, groups: &str) -> (tempfile::TempDir, File) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("etc")).unwrap();
        std::fs::write(folder.path().join("etc/passwd"), users).unwrap();
        std::fs::write(folder.path().join("etc/group"), groups).unwrap();
        let root = File::open(folder.path()).unwrap();
        (folder, root)
    }

    fn shown(root: &File, user: &str, extra: &[&str]) -> String {
        let extra: Vec<String> = extra.iter().map(|group| (*group).to_owned()).collect();
        match resolve(root, user, &extra) {
            Ok(found) => format!("{}:{} {:?} {}", found.uid, found.gid, found.additional_gids, found.home),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn dockers_rules() {
        let (_folder, root) = container(USERS, GROUPS);
        let rows: [(&str, &[&str], &str); 26] = [
            ("", &[], "0:0 [50] /root"),
            ("root", &[], "0:0 [50] /root"),
            ("www", &[], "33:34 [4, 50] /var/www"),
            ("33", &[], "33:34 [4, 50] /var/www"),
            ("www:root", &[], "33:0 [] /var/www"),
            ("www:77", &[], "33:77 [] /var/www"),
            ("1234", &[], "1234:0 [] /"),
            ("1234:4321", &[], "1234:4321 [] /"),
            ("1000", &[], "1000:0 [] /"),
            ("empty", &[], "8:8 [] /"),
            ("rel", &[], "9:9 [] /"),
            (":staff", &[], "0:50 [] /root"),
            ("www", &["60", "adm", "staff"], "33:34 [4, 50, 60] /var/www"),
            ("007", &[], "7:7 [] /seven"),
            ("2147483647", &[], "2147483647:0 [] /"),
            ("2147483648", &[], "user \"2147483648\": ids go from 0 to 2147483647"),
            ("4294967296", &[], "user \"4294967296\": ids go from 0 to 2147483647"),
            ("-1", &[], "user \"-1\": ids go from 0 to 2147483647"),
            ("+1", &[], "user \"+1\": ids go from 0 to 2147483647"),
            ("1:4294967295", &[], "user \"1:4294967295\": ids go from 0 to 2147483647"),
            ("nobody", &[], "no user \"nobody\" in /etc/passwd of the container"),
            ("bad", &[], "no user \"bad\" in /etc/passwd of the container"),
            ("big", &[], "no user \"big\" in /etc/passwd of the container"),
            ("www:none", &[], "no group \"none\" in /etc/group of the container"),
            ("www", &["none"], "no group \"none\" in /etc/group of the container"),
            ("a:b:c", &[], "user \"a:b:c\": has more than one ':'"),
        ];
        for (user, extra, expected) in rows {
            assert_eq!(shown(&root, user, extra), expected, "{user}");
        }
    }

    #[test]
    fn hostile_files() {
        let (folder, root) = container(USERS, GROUPS);
        let passwd = folder.path().join("etc/passwd");
        let replace = |make: &dyn Fn(&Path)| {
            std::fs::remove_file(&passwd).unwrap();
            make(&passwd);
        };
        replace(&|path| symlink("/etc/other", path).unwrap());
        assert_eq!(shown(&root, "5", &[]), "5:0 [] /", "a link that dangles in the container is no file");
        replace(&|path| symlink("/../../../../../../../../etc/group", path).unwrap());
        assert_eq!(shown(&root, "www", &[]), "no user \"www\" in /etc/passwd of the container");
        replace(&|path| mkfifo(path, Mode::S_IRWXU).unwrap());
        assert_eq!(shown(&root, "5", &[]), "/etc/passwd of the container: is not a regular file");
        replace(&|path| symlink("passwd", path).unwrap());
        assert!(shown(&root, "5", &[]).ends_with("ELOOP: Too many symbolic links encountered"));
        replace(&|path| File::create_new(path).unwrap().set_len(FILE_MAX + 1).unwrap());
        assert_eq!(shown(&root, "5", &[]), "/etc/passwd of the container: is larger than 10 MiB");
        replace(&|path| File::create_new(path).unwrap().set_len(FILE_MAX).unwrap());
        assert_eq!(shown(&root, "5", &[]), "/etc/passwd of the container: has a line of more than 1 MiB");
        replace(&|path| std::fs::write(path, [b"\xff:x:5:6::/:\n".as_slice(), b"x:x:5:7::/x:\n"].concat()).unwrap());
        assert_eq!(shown(&root, "5", &[]), "5:7 [] /x");
        replace(&|path| std::fs::create_dir(path).unwrap());
        assert_eq!(shown(&root, "", &[]), "/etc/passwd of the container: is not a regular file");
        std::fs::remove_dir_all(folder.path().join("etc")).unwrap();
        assert_eq!(shown(&root, "", &[]), "0:0 [] /");
        assert_eq!(shown(&root, "1:2", &["3"]), "1:2 [3] /");
    }

    /// Opening a device uses it: /dev/watchdog would restart the host.
    #[test]
    fn what_is_no_file_is_not_opened() {
        use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
        let (folder, root) = container(USERS, GROUPS);
        let group = folder.path().join("etc/group");
        std::fs::remove_file(&group).unwrap();
        mkfifo(&group, Mode::S_IRWXU).unwrap();
        let watch = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC).unwrap();
        watch.add_watch(&group, AddWatchFlags::IN_OPEN).unwrap();
        assert_eq!(shown(&root, "www", &[]), "/etc/group of the container: is not a regular file");
        assert_eq!(watch.read_events().unwrap_err(), Errno::EAGAIN, "it was opened");
        // The watch sees what it must not see here.
        drop(std::fs::OpenOptions::new().read(true).write(true).open(&group).unwrap());
        assert_eq!(watch.read_events().unwrap().len(), 1);
    }

    proptest! {
        #[test]
        fn numbers_are_themselves_or_refused(number in any::<i64>()) {
            match parse(&number.to_string()) {
                Ok(spec) => prop_assert_eq!(spec.user, Some(Who::Id(u32::try_from(number).unwrap()))),
                Err(_) => prop_assert!(!(0..=i64::from(i32::MAX)).contains(&number)),
            }
        }

        #[test]
        fn never_panics(user in "\\PC{0,20}", users in "\\PC{0,80}", groups in "([a-z]{0,3}:x:[0-9-]{0,11}:[a-z,]{0,5}\n){0,4}") {
            let _ = parse(&user);
            let _ = find_account(users.as_bytes(), Some(&Who::Id(0)));
            let spec = Spec { user: None, group: Some(Who::Name("a".into())) };
            let mut wanted = Groups::wanted(&spec, vec![Who::Name("b".into())], Some("c".into()));
            let _ = wanted.read(groups.as_bytes());
            let _ = wanted.finish(0);
        }
    }
}
