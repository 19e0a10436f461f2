//! `-v`, `--mount`, `--tmpfs`, volumes.

use std::fs;
use std::path::PathBuf;

use tests::{Rtctl, rtctl_test};

fn folder(r: &Rtctl<'_>) -> PathBuf {
    let folder = r.test.dir.join(r.test.id());
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("file"), "text\n").unwrap();
    folder
}

#[test]
fn bind_by_v() {
    rtctl_test(|r| {
        let source = folder(r);
        let volume = format!("{}:/mnt", source.display());
        assert_eq!(r.sh(&["-v", &volume], "cat /mnt/file; echo new >/mnt/new").ok(), "text");
        assert_eq!(fs::read_to_string(source.join("new")).unwrap(), "new\n");
        let output = r.sh(&["-v", &format!("{volume}:ro")], "echo no >/mnt/no");
        assert!(output.stderr.contains("Read-only file system"), "{output}");
        // A missing source is made by -v, and refused by --mount.
        let missing = source.join("made");
        r.sh(&["-v", &format!("{}:/mnt", missing.display())], "true").ok();
        assert!(missing.is_dir());
    });
}

#[test]
fn bind_by_mount() {
    rtctl_test(|r| {
        let source = folder(r);
        let mount = format!("type=bind,source={},target=/mnt,readonly", source.display());
        let output = r.sh(&["--mount", &mount], "cat /mnt/file; echo no >/mnt/no");
        assert_eq!(output.stdout, "text\n");
        assert_ne!(output.code, 0);
        for wrong in [
            "type=bind,target=/mnt",
            "type=bind,source=/,target=rel",
            "type=odd,target=/mnt",
            "source",
            "type=bind,source=/etc,target=/mnt,color=red",
        ] {
            assert_eq!(r.sh(&["--mount", wrong], "true").code, 125, "{wrong}");
        }
    });
}

#[test]
fn named_volumes_keep_data() {
    rtctl_test(|r| {
        r.sh(&["-v", "data:/data"], "echo kept >/data/file").ok();
        assert_eq!(r.sh(&["-v", "data:/elsewhere"], "cat /elsewhere/file").ok(), "kept");
        assert_eq!(r.sh(&["--mount", "type=volume,source=data,target=/data,readonly"], "cat /data/file").ok(), "kept");
        assert_eq!(fs::read_to_string(r.root().join("volumes/data/_data/file")).unwrap(), "kept\n");
    });
}

#[test]
fn new_volume_is_filled_from_the_image() {
    rtctl_test(|r| {
        assert!(r.sh(&["-v", "filled:/etc"], "cat /etc/passwd").ok().starts_with("root:"));
        assert!(r.root().join("volumes/filled/_data/passwd").try_exists().unwrap());
    });
}

#[test]
fn anonymous_volumes_go_with_the_container() {
    rtctl_test(|r| {
        r.sh(&["-v", "/data"], "echo x >/data/x").ok();
        let left = fs::read_dir(r.root().join("volumes")).map_or(0, Iterator::count);
        assert_eq!(left, 0);
    });
}

#[test]
fn tmpfs() {
    rtctl_test(|r| {
        let output = r.sh(
            &["--mount", "type=tmpfs,target=/scratch,tmpfs-size=1m,tmpfs-mode=1770"],
            "stat -c %a /scratch; grep -c ' /scratch tmpfs .*size=1024k' /proc/self/mounts",
        );
        assert_eq!(output.ok(), "1770\n1");
    });
}

#[test]
fn devices() {
    rtctl_test(|r| {
        assert_eq!(
            r.sh(&["--device", "/dev/null:/dev/mine:rw"], "stat -c '%F %t:%T' /dev/mine; echo x >/dev/mine").ok(),
            "character special file 1:3"
        );
        assert_eq!(r.sh(&["--device", "/dev/nosuch"], "true").code, 125);
    });
}
