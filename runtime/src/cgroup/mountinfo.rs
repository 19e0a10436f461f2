//! Where control groups are mounted, read from `/proc/self/mountinfo` (proc_pid_mountinfo(5)). Pure.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use super::controller::{Controller, Controllers};

/// One mounted v1 hierarchy that a container needs a group in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct V1Mount {
    /// Mount point.
    pub(super) point: PathBuf,
    /// Its controllers, `name=systemd` included.
    pub(super) controllers: Controllers,
}

/// All mounted hierarchies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Mounts {
    /// In the order of the mount table.
    pub(super) v1: Vec<V1Mount>,
    /// The cgroup2 mount.
    pub(super) v2: Option<PathBuf>,
}

/// How good a mount is as the place of its hierarchy, which may be mounted many times (containers, bind mounts): the usual
/// place first, then the one that shows the hierarchy's root, then the first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    unusual_place: bool,
    not_the_root: bool,
}

struct Candidate<'a> {
    /// `major:minor`, the same for all mounts of one hierarchy.
    hierarchy: &'a [u8],
    rank: Rank,
    controllers: Option<Controllers>,
    point: PathBuf,
}

/// Finds the hierarchies in a mount table. Lines that are not understood are no cgroup mounts.
pub(super) fn parse(table: &[u8]) -> Mounts {
    let mut best: Vec<Candidate<'_>> = Vec::new();
    for candidate in table.split(|byte| *byte == b'\n').filter_map(parse_line) {
        match best.iter_mut().find(|known| known.hierarchy == candidate.hierarchy) {
            Some(known) if candidate.rank < known.rank => *known = candidate,
            Some(_) => {}
            None => best.push(candidate),
        }
    }
    let mut mounts = Mounts::default();
    for Candidate { controllers, point, .. } in best {
        match controllers {
            None => mounts.v2 = mounts.v2.or(Some(point)),
            Some(controllers) if !controllers.is_empty() => mounts.v1.push(V1Mount { point, controllers }),
            Some(_) => {}
        }
    }
    mounts
}

/// `36 35 98:0 /root /point rw,noatime master:1 - type source superoptions`.
fn parse_line(line: &[u8]) -> Option<Candidate<'_>> {
    // Most lines of a busy host are overlays with long options: look at the type before anything else.
    let separator = line.windows(3).position(|window| window == b" - ")?;
    let mut after = line[separator + 3..].split(|byte| *byte == b' ');
    let version1 = match after.next()? {
        b"cgroup" => true,
        b"cgroup2" => false,
        _ => return None,
    };
    let options = std::str::from_utf8(after.nth(1)?).ok()?;
    let mut before = line[..separator].split(|byte| *byte == b' ').skip(2);
    let (hierarchy, root, point) = (before.next()?, before.next()?, unescape(before.next()?));
    let controllers = version1.then(|| options.split(',').filter_map(Controller::v1).collect());
    let rank = Rank { unusual_place: !point.starts_with("/sys/fs/cgroup"), not_the_root: root != b"/" };
    Some(Candidate { hierarchy, rank, controllers, point })
}

/// Undoes the octal escapes of space, tab, line break and backslash.
fn unescape(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, tail)) = rest.split_first() {
        let escaped = (*first == b'\\').then(|| tail.get(..3)).flatten();
        let octal =
            escaped.and_then(|digits| std::str::from_utf8(digits).ok()).and_then(|d| u8::from_str_radix(d, 8).ok());
        match octal {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[3..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v1(point: &str, controllers: &[Controller]) -> V1Mount {
        V1Mount { point: point.into(), controllers: controllers.iter().copied().collect() }
    }

    /// A hybrid host: v1 controllers on their own, cgroup2 with what is left.
    const HYBRID: &str = "\
23 28 0:22 / /sys rw,relatime - sysfs sysfs rw
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
36 31 0:33 / /sys/fs/cgroup/devices rw,relatime shared:9 - cgroup cgroup rw,devices
39 31 0:36 / /sys/fs/cgroup/blkio rw,relatime - cgroup cgroup rw,blkio
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";

    /// systemd on v1: controllers mounted together, the named hierarchy with an agent, ones that we do not use.
    const V1: &str = "\
25 24 0:22 / /sys/fs/cgroup ro,nosuid,nodev,noexec shared:9 - tmpfs tmpfs ro,mode=755
27 25 0:24 / /sys/fs/cgroup/systemd rw,nosuid shared:11 - cgroup cgroup rw,xattr,release_agent=/lib/systemd/systemd-cgroups-agent,name=systemd
30 25 0:27 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:15 - cgroup cgroup rw,cpu,cpuacct
31 25 0:28 / /sys/fs/cgroup/net_cls,net_prio rw,nosuid shared:16 - cgroup cgroup rw,net_cls,net_prio
32 25 0:29 / /sys/fs/cgroup/rdma rw,nosuid shared:17 - cgroup cgroup rw,rdma
33 25 0:30 / /sys/fs/cgroup/perf_event rw,nosuid shared:18 - cgroup cgroup rw,perf_event
34 25 0:31 / /sys/fs/cgroup/cpuset rw,nosuid shared:19 - cgroup cgroup rw,cpuset,clone_children
";

    /// Debian 12.
    const V2: &str = "\
25 20 0:22 / /sys rw,nosuid,nodev,noexec,relatime shared:7 - sysfs sysfs rw
29 25 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot
";

    /// Inside a container without a cgroup namespace: roots are the container's groups; a bind mount elsewhere came first.
    const CONTAINER: &str = "\
1500 1400 0:34 /docker/abc /mnt/bound\\040here rw - cgroup cgroup rw,memory
1510 1400 0:34 / /host/sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
1601 1600 0:34 /docker/abc /sys/fs/cgroup/memory ro,nosuid master:19 - cgroup cgroup rw,memory
1602 1600 0:35 /docker/abc /sys/fs/cgroup/pids ro,nosuid master:20 - cgroup cgroup rw,pids
";

    #[test]
    fn tables() {
        use Controller::*;
        let hybrid = [
            v1("/sys/fs/cgroup/cpu", &[Cpu]),
            v1("/sys/fs/cgroup/devices", &[Devices]),
            v1("/sys/fs/cgroup/blkio", &[Io]),
            v1("/sys/fs/cgroup/systemd", &[Systemd]),
        ];
        assert_eq!(parse(HYBRID.as_bytes()), Mounts { v1: hybrid.into(), v2: Some("/sys/fs/cgroup/unified".into()) });
        let old = [
            v1("/sys/fs/cgroup/systemd", &[Systemd]),
            v1("/sys/fs/cgroup/cpu,cpuacct", &[Cpu, Cpuacct]),
            v1("/sys/fs/cgroup/net_cls,net_prio", &[NetCls, NetPrio]),
            v1("/sys/fs/cgroup/rdma", &[Rdma]),
            v1("/sys/fs/cgroup/perf_event", &[PerfEvent]),
            v1("/sys/fs/cgroup/cpuset", &[Cpuset]),
        ];
        assert_eq!(parse(V1.as_bytes()), Mounts { v1: old.into(), v2: None });
        assert_eq!(parse(V2.as_bytes()), Mounts { v1: vec![], v2: Some("/sys/fs/cgroup".into()) });
        let container = [v1("/sys/fs/cgroup/memory", &[Memory]), v1("/sys/fs/cgroup/pids", &[Pids])];
        assert_eq!(parse(CONTAINER.as_bytes()), Mounts { v1: container.into(), v2: None });
    }

    #[test]
    fn choice_between_mounts_of_one_hierarchy() {
        let table = "1 1 0:9 /sub /a rw - cgroup2 none rw\n1 1 0:9 / /b rw - cgroup2 none rw\n1 1 0:9 / /c rw - cgroup2 none rw\n";
        assert_eq!(parse(table.as_bytes()).v2, Some("/b".into()));
        let table = "1 1 0:9 / /has\\134odd\\011name rw - cgroup none rw,pids\n";
        assert_eq!(parse(table.as_bytes()).v1, [v1("/has\\odd\tname", &[Controller::Pids])]);
    }

    #[test]
    fn what_is_no_mount_is_skipped() {
        for text in [
            "",
            "\n\n",
            " - cgroup2",
            " - cgroup2 x y",
            "1 2 3 - cgroup2 x rw",
            "1 2 3 4 5 6 7",
            "\u{fffd} - cgroup \\777 x",
        ] {
            assert_eq!(parse(text.as_bytes()), Mounts::default(), "{text:?}");
        }
        assert_eq!(unescape(b"\\"), PathBuf::from("\\"));
        assert_eq!(unescape(b"a\\09\\9999"), PathBuf::from("a\\09\\9999"));
    }
}
