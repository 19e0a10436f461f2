//! `mounts` (runtime-spec config.md, "Mounts" and "Linux mount options").

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use tests::{Bundle, Kind, Test, differs, kind, test};

/// A folder on the host with one file.
fn folder(t: &Test) -> PathBuf {
    let folder = t.dir.join(t.id());
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("file"), "text\n").unwrap();
    folder
}

#[track_caller]
fn mount_at<'f>(facts: &'f Value, at: &str) -> &'f Value {
    let mounts = facts["mounts"].as_array().unwrap();
    mounts.iter().rfind(|mount| mount["at"] == at).unwrap_or_else(|| panic!("nothing at {at}: {mounts:#?}"))
}

#[track_caller]
fn has_options(mount: &Value, options: &[&str]) {
    let have = mount["options"].as_array().unwrap();
    for option in options {
        assert!(have.contains(&json!(option)), "no {option} in {mount}");
    }
}

#[test]
fn default_set_is_mounted() {
    test(|t| {
        let facts = t.facts(t.bundle());
        for (at, kind, options) in [
            ("/proc", "proc", &["rw", "nosuid", "noexec", "nodev"] as &[_]),
            ("/dev", "tmpfs", &["rw", "nosuid"]),
            ("/dev/pts", "devpts", &["rw", "nosuid", "noexec"]),
            ("/dev/shm", "tmpfs", &["rw", "nosuid", "noexec", "nodev"]),
            ("/dev/mqueue", "mqueue", &["rw", "nosuid", "noexec", "nodev"]),
            ("/sys", "sysfs", &["ro", "nosuid", "noexec", "nodev"]),
        ] {
            let mount = mount_at(&facts, at);
            assert_eq!(mount["type"], kind, "{at}");
            has_options(mount, options);
        }
        assert!(mount_at(&facts, "/dev")["super"].as_array().unwrap().contains(&json!("size=65536k")));
        assert!(mount_at(&facts, "/dev/pts")["super"].as_array().unwrap().contains(&json!("gid=5")));
    });
}

#[test]
fn nothing_of_the_host_is_seen() {
    test(|t| {
        let facts = t.facts(t.bundle());
        let mounts = facts["mounts"].as_array().unwrap();
        let at: Vec<&str> = mounts.iter().map(|mount| mount["at"].as_str().unwrap()).collect();
        assert_eq!(at[0], "/");
        let host =
            at.iter().filter(|at| at.contains("rtt") || at.starts_with("/tmp") || at.starts_with("/run")).count();
        assert_eq!(host, 0, "{at:?}");
    });
}

#[test]
fn bind_read_write() {
    test(|t| {
        let source = folder(t);
        let bundle = t
            .bundle()
            .mount("/mnt/deep/er", "bind", &source, &["bind"])
            .sh("cat /mnt/deep/er/file; echo new >/mnt/deep/er/made");
        assert_eq!(t.run(&bundle).ok(), "text");
        assert_eq!(fs::read_to_string(source.join("made")).unwrap(), "new\n");
        assert!(bundle.rootfs().join("mnt/deep/er").is_dir(), "the missing target was made");
    });
}

#[test]
fn bind_read_only() {
    test(|t| {
        let source = folder(t);
        let script = "cat /mnt/file; echo no >/mnt/made; mount -o remount,rw,bind /mnt";
        let output =
            t.run(&t.bundle().mount("/mnt", "bind", &source, &["rbind", "ro", "nosuid", "nodev", "noexec"]).sh(script));
        assert_eq!(output.stdout, "text\n");
        assert_ne!(output.code, 0);
        assert!(output.stderr.contains("Read-only file system"), "{output}");
        assert!(!source.join("made").try_exists().unwrap());
    });
}

#[test]
fn bind_of_a_file_on_a_missing_target() {
    test(|t| {
        let source = folder(t).join("file");
        let bundle = t
            .bundle()
            .mount("/opt/some/file", "bind", &source, &["bind", "ro"])
            .sh("cat /opt/some/file; echo no >/opt/some/file");
        let output = t.run(&bundle);
        assert_eq!(output.stdout, "text\n");
        assert_ne!(output.code, 0);
        assert_eq!(fs::metadata(bundle.rootfs().join("opt/some/file")).unwrap().len(), 0);
    });
}

#[test]
fn bind_by_option_without_a_type() {
    test(|t| {
        let source = folder(t);
        let bundle = t.bundle().push("/mounts", json!({"destination": "/mnt", "source": source, "options": ["rbind"]}));
        assert_eq!(t.run(&bundle.args(&["/bin/cat", "/mnt/file"])).ok(), "text");
    });
}

#[test]
fn bind_with_a_relative_source_is_below_the_bundle() {
    test(|t| {
        let bundle = t.bundle().mount("/mnt", "bind", "data", &["bind"]).args(&["/bin/cat", "/mnt/file"]);
        fs::create_dir(bundle.dir.join("data")).unwrap();
        fs::write(bundle.dir.join("data/file"), "relative").unwrap();
        assert_eq!(t.run(&bundle).ok(), "relative");
    });
}

#[test]
fn bind_of_a_missing_source_is_refused() {
    test(|t| {
        let missing = t.dir.join("missing");
        let bundle = t.bundle().mount("/mnt", "bind", &missing, &["bind"]);
        t.run(&bundle).fails(&["missing", if kind() == Kind::Rt { "enoent" } else { "no such file" }]);
        assert!(!missing.try_exists().unwrap());
    });
}

/// A source tree with another mount inside.
fn tree(t: &Test) -> PathBuf {
    let source = folder(t);
    let inner = source.join("inner");
    fs::create_dir(&inner).unwrap();
    rustix::mount::mount("tmpfs", &inner, "tmpfs", rustix::mount::MountFlags::empty(), None).unwrap();
    fs::write(inner.join("deep"), "deep").unwrap();
    source
}

fn fell(source: &std::path::Path) {
    rustix::mount::unmount(source.join("inner"), rustix::mount::UnmountFlags::empty()).unwrap();
}

#[test]
fn recursive_bind_has_the_mounts_inside() {
    test(|t| {
        let source = tree(t);
        let script = "ls /plain/inner /deep/inner; echo w >/deep/inner/w && echo ok";
        let bundle = t
            .bundle()
            .mount("/plain", "bind", &source, &["bind"])
            .mount("/deep", "bind", &source, &["rbind"])
            .sh(script);
        assert_eq!(t.run(&bundle).ok(), "/deep/inner:\ndeep\n\n/plain/inner:\nok");
        // `ro` is the top mount's, `rro` is that of all.
        let bundle = t
            .bundle()
            .mount("/deep", "bind", &source, &["rbind", "ro"])
            .sh("echo w >/deep/w || echo w >/deep/inner/w2");
        t.run(&bundle).ok();
        fell(&source);
    });
}

#[test]
fn recursive_read_only() {
    test(|t| {
        let source = tree(t);
        let bundle =
            t.bundle().mount("/deep", "bind", &source, &["rbind", "rro"]).sh("echo w >/deep/w; echo w >/deep/inner/w2");
        let output = t.run(&bundle);
        fell(&source);
        assert_eq!(output.stderr.matches("Read-only file system").count(), 2, "{output}");
    });
}

#[test]
fn tmpfs_with_options() {
    test(|t| {
        let bundle = t.bundle().mount("/scratch", "tmpfs", "tmpfs", &["size=1m", "mode=1700", "nodev", "noexec"]);
        let script = "stat -c %a /scratch; dd if=/dev/zero of=/scratch/f bs=1M count=2 2>&1 | grep -c 'No space'";
        assert_eq!(t.run(&bundle.sh(script)).ok(), "1700\n1");
    });
}

#[test]
fn later_mounts_cover_earlier_ones() {
    test(|t| {
        let (first, second) = (folder(t), folder(t));
        fs::write(second.join("file"), "second").unwrap();
        let bundle = t.bundle().mount("/mnt", "bind", &first, &["bind"]).mount("/mnt", "bind", &second, &["bind"]);
        assert_eq!(t.run(&bundle.args(&["/bin/cat", "/mnt/file"])).ok(), "second");
    });
}

#[test]
fn mount_inside_a_mount() {
    test(|t| {
        let source = folder(t);
        let bundle = t.bundle().mount("/a", "tmpfs", "tmpfs", &[]).mount("/a/b/c", "bind", &source, &["bind"]);
        assert_eq!(t.run(&bundle.args(&["/bin/cat", "/a/b/c/file"])).ok(), "text");
    });
}

fn propagation(t: &Test, options: &[&str]) -> String {
    let source = folder(t);
    rustix::mount::mount_bind(&source, &source).unwrap();
    rustix::mount::mount_change(&source, rustix::mount::MountPropagationFlags::SHARED).unwrap();
    let bundle = t.bundle().set("/linux/rootfsPropagation", json!("rslave"));
    let facts = t.facts(bundle.mount("/mnt", "bind", &source, options));
    rustix::mount::unmount(&source, rustix::mount::UnmountFlags::empty()).unwrap();
    let fields = mount_at(&facts, "/mnt")["propagation"].as_array().unwrap().iter();
    fields.map(|field| field.as_str().unwrap().split(':').next().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
}

#[test]
fn propagation_is_as_asked() {
    test(|t| {
        differs!(t, Kind::Crun, "1.8 makes its copy of the tree private");
        assert_eq!(propagation(t, &["rbind", "rprivate"]), "");
        assert_eq!(propagation(t, &["rbind", "rslave"]), "master");
        // Of the source itself, or of a slave of it.
        assert!(propagation(t, &["rbind", "rshared"]).starts_with("shared"));
        assert_eq!(propagation(t, &["bind", "private"]), "");
        assert_eq!(propagation(t, &["bind", "slave"]), "master");
    });
}

#[test]
fn mounts_reach_a_container_with_rslave() {
    test(|t| {
        differs!(t, Kind::Crun, "1.8 makes its copy of the tree private");
        let source = folder(t);
        let inner = source.join("inner");
        fs::create_dir(&inner).unwrap();
        let bundle = t.bundle().set("/linux/rootfsPropagation", json!("rslave"));
        let container = t.hold(bundle.mount("/mnt", "bind", &source, &["rbind", "rslave"]));
        rustix::mount::mount("tmpfs", &inner, "tmpfs", rustix::mount::MountFlags::empty(), None).unwrap();
        fs::write(inner.join("late"), "late").unwrap();
        assert_eq!(container.exec(&["/bin/cat", "/mnt/inner/late"]).ok(), "late");
        rustix::mount::unmount(&inner, rustix::mount::UnmountFlags::empty()).unwrap();
        container.end();
    });
}

#[test]
fn mounts_reach_the_host_with_rshared() {
    test(|t| {
        let source = folder(t);
        fs::create_dir(source.join("inner")).unwrap();
        rustix::mount::mount_bind(&source, &source).unwrap();
        rustix::mount::mount_change(&source, rustix::mount::MountPropagationFlags::SHARED).unwrap();
        let bundle = t.bundle().set("/linux/rootfsPropagation", json!("rshared")).mount(
            "/mnt",
            "bind",
            &source,
            &["rbind", "rshared"],
        );
        let bundle = bundle.capabilities(&["bounding", "effective", "permitted"], &["CAP_SYS_ADMIN"]);
        t.run(&bundle.sh("mount -t tmpfs t /mnt/inner && echo up >/mnt/inner/up")).ok();
        let up = fs::read_to_string(source.join("inner/up"));
        let _ = rustix::mount::unmount(source.join("inner"), rustix::mount::UnmountFlags::empty());
        rustix::mount::unmount(&source, rustix::mount::UnmountFlags::DETACH).unwrap();
        assert_eq!(up.unwrap(), "up\n");
    });
}

#[test]
fn unknown_type_is_refused() {
    test(|t| {
        t.run(&t.bundle().mount("/mnt", "nosuchfs", "nosuchfs", &[])).fails(&["nosuchfs"]);
    });
}

#[test]
fn cgroup_mount_shows_the_containers_own() {
    test(|t| {
        let bundle = t.bundle().namespace("cgroup", None).mount(
            "/sys/fs/cgroup",
            "cgroup",
            "cgroup",
            &["nosuid", "noexec", "nodev", "relatime", "ro"],
        );
        let container = t.hold(bundle);
        let procs = if t.cgroups.is_v2() { "/sys/fs/cgroup/cgroup.procs" } else { "/sys/fs/cgroup/pids/cgroup.procs" };
        let new = procs.replace("cgroup.procs", "new");
        let inside = container.exec(&["/bin/cat", procs]).ok();
        assert_eq!(inside.lines().next(), Some("1"), "{inside}");
        container.exec(&["/bin/mkdir", &new]).fails(&["read-only"]);
        container.end();
    });
}

#[test]
fn target_of_a_file_is_no_directory() {
    test(|t| {
        // A directory onto a file: refused, and the file is as it was.
        let source = folder(t);
        let bundle = t.bundle().mount("/etc/passwd", "bind", &source, &["bind"]);
        t.run(&bundle).fails(&["passwd"]);
        assert!(fs::read_to_string(bundle.rootfs().join("etc/passwd")).unwrap().starts_with("root:"));
    });
}

#[test]
fn symlinks_in_the_target_stay_inside() {
    test(|t| {
        let source = folder(t);
        let outside = folder(t);
        let bundle: Bundle =
            t.bundle().mount("/link/there", "bind", &source, &["bind"]).args(&["/bin/cat", "/link/there/file"]);
        std::os::unix::fs::symlink(&outside, bundle.rootfs().join("link")).unwrap();
        let output = t.run(&bundle);
        // Below the root file system the link leads to a path that is made there, or it is refused.
        assert!(output.code != 0 || output.stdout == "text\n", "{output}");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 1, "the folder outside is as it was");
    });
}

#[test]
fn overlay_mount() {
    test(|t| {
        differs!(t, Kind::Crun, "1.8 is not asked for overlay mounts by its callers: podman makes them itself");
        let (lower, upper, work) = (folder(t), folder(t), t.dir.join("work"));
        fs::create_dir(&work).unwrap();
        let options = [
            format!("lowerdir={}", lower.display()),
            format!("upperdir={}", upper.display()),
            format!("workdir={}", work.display()),
        ];
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let bundle = t.bundle().mount("/mnt", "overlay", "overlay", &options).sh("cat /mnt/file; echo new >/mnt/made");
        t.run(&bundle).ok();
        assert!(upper.join("made").try_exists().unwrap());
        assert!(!lower.join("made").try_exists().unwrap());
    });
}

#[test]
fn file_on_a_directory_is_called_so() {
    test(|t| {
        let file = t.dir.join("file");
        std::fs::write(&file, "").unwrap();
        // docker tells by these words, and that of a directory on a file has them, too.
        t.run(&t.bundle().mount("/bin", "bind", &file, &["bind"])).fails(&["bin", "not a directory"]);
        t.run(&t.bundle().mount("/bin/busybox", "bind", &t.dir, &["bind"])).fails(&["not a directory"]);
    });
}
