//! `--userns`: layers and volumes with mapped ids.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};

use tests::{Rtctl, maps_ids, needs, rtctl_test};

/// A test on a file system that can map ids.
fn mapped_test(body: impl FnOnce(&Rtctl<'_>)) {
    rtctl_test(|r| {
        needs!(r.test, maps_ids(&r.test.dir), "the file system cannot map ids");
        body(r);
    });
}

fn upper(r: &Rtctl<'_>, id: &str) -> PathBuf {
    r.root().join("upper").join(id).join("fs")
}

fn owner(path: &Path) -> (u32, u32) {
    let file = path.symlink_metadata().unwrap_or_else(|error| panic!("{path:?}: {error}"));
    (file.uid(), file.gid())
}

/// All files below a folder, relative to it.
fn below(folder: &Path) -> BTreeSet<PathBuf> {
    let mut all = BTreeSet::new();
    let mut todo = vec![folder.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            all.insert(entry.path().strip_prefix(folder).unwrap().to_owned());
            if entry.file_type().unwrap().is_dir() {
                todo.push(entry.path());
            }
        }
    }
    all
}

#[test]
fn nothing_is_copied_and_ids_on_disk_are_the_containers() {
    mapped_test(|r| {
        let script = "echo more >>/etc/passwd; echo new >/made; chown 7:8 /made; mkdir /dir; rm /etc/group; \
                      mv /dir /moved; stat -c '%u %g' / /etc/passwd /made /moved; cat /proc/self/uid_map";
        let id = r.ok(&["create", "--userns", "auto", "--name", "mapped", "busybox", "sh", "-c", script]);
        let output = r.ok(&["start", "-a", "mapped"]);
        assert!(output.starts_with("0 0\n0 0\n7 8\n0 0\n"), "{output}");
        assert_ne!(output.lines().last().unwrap().split_whitespace().nth(1), Some("0"));
        let top = upper(r, &id);
        let found = below(&top);
        for (name, ids) in
            [("made", (7, 8)), ("moved", (0, 0)), ("etc/passwd", (0, 0)), ("etc/group", (0, 0)), ("", (0, 0))]
        {
            assert_eq!(owner(&top.join(name)), ids, "{name}");
        }
        // What was not touched is not there.
        assert!(!found.contains(Path::new("bin/busybox")), "{found:?}");
        let changes = r.ok(&["diff", "mapped"]);
        for line in ["A /made", "A /moved", "C /etc/passwd", "D /etc/group"] {
            assert!(changes.lines().any(|change| change == line), "{changes}");
        }
        r.ok(&["rm", "mapped"]);
    });
}

#[test]
fn copied_in_and_out() {
    mapped_test(|r| {
        let folder = r.test.dir.join("files");
        fs::create_dir(&folder).unwrap();
        for (name, id) in [("root", 0), ("user", 1000), ("outside", 3_000_000)] {
            fs::write(folder.join(name), name).unwrap();
            chown(folder.join(name), Some(id), Some(id)).unwrap();
        }
        let from = folder.to_str().unwrap();
        let shown = "cd /etc/files; stat -c '%u %g' root user outside";
        let id = r.detached(&["--userns", "auto", "--name", "files", "busybox", "sleep", "1000"]);
        for state in ["running", "stopped"] {
            r.ok(&["cp", from, "files:/etc"]);
            let back = r.test.dir.join(state);
            r.ok(&["cp", "-a", "files:/etc/files", back.to_str().unwrap()]);
            for (name, ids) in [("root", (0, 0)), ("user", (1000, 1000)), ("outside", (0, 0))] {
                assert_eq!(owner(&back.join(name)), ids, "{state}: {name}");
                assert_eq!(owner(&upper(r, &id).join("etc/files").join(name)), ids, "{state}: {name}");
            }
            if state == "running" {
                assert_eq!(r.ok(&["exec", "files", "sh", "-c", shown]), "0 0\n1000 1000\n0 0");
                r.ok(&["exec", "files", "rm", "-r", "/etc/files"]);
                r.ok(&["stop", "-t", "0", "files"]);
            }
        }
        let archive = r.test.dir.join("c.tar");
        r.ok(&["export", "-o", archive.to_str().unwrap(), "files"]);
        let listed =
            std::process::Command::new("tar").arg("--numeric-owner").arg("-tvf").arg(&archive).output().unwrap();
        let listed = String::from_utf8(listed.stdout).unwrap();
        let line = listed.lines().find(|line| line.ends_with("etc/files/user")).unwrap();
        assert!(line.contains(" 1000/1000 "), "{line}");
        r.ok(&["start", "files"]);
        assert_eq!(r.ok(&["exec", "files", "sh", "-c", shown]), "0 0\n1000 1000\n0 0");
        r.ok(&["rm", "-f", "files"]);
    });
}

#[test]
fn volumes_with_mapped_ids() {
    mapped_test(|r| {
        let folder = r.test.dir.join("data");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("file"), "").unwrap();
        let bind = |options: &str| format!("{}:/data{options}", folder.display());
        let show = "stat -c '%u %g' /data/file; touch /data/new && stat -c '%u %g' /data/new";
        // As it is, the folder is nobody's in the container.
        let output = r.sh(&["--userns", "auto", "-v", &bind("")], show);
        assert!(output.stdout.starts_with("65534 65534\n") && output.code != 0, "{output}");
        assert_eq!(r.sh(&["--userns", "auto", "-v", &bind(":idmap")], show).ok(), "0 0\n0 0");
        assert_eq!(owner(&folder.join("new")), (0, 0));
        let mount = format!("type=bind,src={},dst=/data,ro,idmap", folder.display());
        assert!(r.sh(&["--userns", "auto", "--mount", &mount], show).stderr.contains("Read-only file system"));
        // Two containers of different ids share a volume.
        for number in ["1", "2"] {
            let script = format!("echo {number} >>/v/file; stat -c %u /v /v/file");
            let maps = format!("map=0:{number}00000:65536");
            assert_eq!(r.sh(&["--userns", &maps, "-v", "shared:/v:idmap"], &script).ok(), "0\n0");
        }
        let data = r.root().join("volumes/shared/_data");
        assert_eq!(fs::read_to_string(data.join("file")).unwrap(), "1\n2\n");
        assert_eq!(owner(&data.join("file")), (0, 0));
        r.ok(&["volume", "rm", "shared"]);
        r.sh(&["-v", &bind(":idmap")], "true").fails(&["idmap and --userns host exclude each other"]);
        r.sh(&["--userns", "auto", "-v", "/proc:/data:idmap"], "true")
            .fails(&["proc", "cannot map ids on this kernel"]);
    });
}

/// A device node that an image brings is none.
#[test]
fn device_nodes_of_an_image() {
    mapped_test(|r| {
        let root = r.test.dir.join("tree");
        fs::create_dir_all(root.join("bin")).unwrap();
        for folder in ["proc", "dev", "sys", "etc"] {
            fs::create_dir(root.join(folder)).unwrap();
        }
        fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
        let made =
            std::process::Command::new("mknod").arg("-m666").arg(root.join("zero")).args(["c", "1", "5"]).status();
        assert!(made.unwrap().success());
        let from = format!("{}:O", root.display());
        let read = |flags: &[&str]| {
            let script = ["--rootfs", &from, "/bin/busybox", "head", "-c", "3", "/zero"];
            r.call(&[&["run", "--rm", "--device-cgroup-rule", "c 1:5 rwm"], flags, &script].concat())
        };
        assert_eq!(read(&[]).ok().len(), 3);
        read(&["--userns", "auto"]).fails(&["permission denied"]);
    });
}

/// Namespaces that are the host's.
#[test]
fn shared_namespaces() {
    mapped_test(|r| {
        let script = "cat /proc/self/uid_map | wc -l; ls /sys/class/net | grep -c lo; \
                      touch /sys/x; mount | grep -c ' /sys type sysfs (ro,'; ls /sys/fs/cgroup | wc -l; test -d /dev/mqueue && echo queue";
        let output = r.call(&["run", "--rm", "--userns", "auto", "--network", "host", "busybox", "sh", "-c", script]);
        assert!(output.stdout.starts_with("1\n1\n1\n") && output.stdout.ends_with("queue\n"), "{output}");
        assert!(output.stderr.contains("Read-only file system"), "{output}");
        let output = r.sh(&["--userns", "auto", "--ipc", "host"], "ls -di /dev/shm");
        let host = fs::metadata("/dev/shm").unwrap().ino();
        assert_eq!(output.ok().split_whitespace().next(), Some(host.to_string().as_str()));
        let output = r.sh(
            &["--userns", "auto", "--sysctl", "net.ipv4.ip_forward=1", "--sysctl", "kernel.shmmax=4096"],
            "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shmmax",
        );
        assert_eq!(output.ok(), "1\n4096");
    });
}
