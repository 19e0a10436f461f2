//! `cp`, both ways.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};

use tests::rtctl_test;

#[test]
fn files_and_folders() {
    rtctl_test(|r| {
        let id = r.ok(&["create", "--name", "box", "busybox", "cat", "/in/file", "/in/folder/deep"]);
        let source = r.test.dir.join("source");
        fs::create_dir_all(source.join("folder")).unwrap();
        fs::write(source.join("file"), "one\n").unwrap();
        fs::write(source.join("folder/deep"), "two\n").unwrap();
        r.ok(&["cp", source.to_str().unwrap(), "box:/in"]);
        r.ok(&["start", &id]);
        assert_eq!(r.ok(&["wait", "box"]), "0");
        assert_eq!(r.ok(&["logs", "box"]), "one\ntwo");
        let back = r.test.dir.join("back");
        r.ok(&["cp", "box:/in", back.to_str().unwrap()]);
        assert_eq!(fs::read_to_string(back.join("folder/deep")).unwrap(), "two\n");
        let file = r.test.dir.join("passwd");
        r.ok(&["cp", "box:/etc/passwd", file.to_str().unwrap()]);
        assert!(fs::read_to_string(&file).unwrap().starts_with("root:"));
        r.call(&["cp", "box:/no/such", file.to_str().unwrap()]).fails(&["/no/such"]);
        r.call(&["cp", "/no/such", "box:/"]).fails(&["/no/such"]);
        r.ok(&["rm", "box"]);
    });
}

#[test]
fn of_a_running_container() {
    rtctl_test(|r| {
        let id = r.detached(&["--tmpfs", "/scratch", "busybox", "sleep", "1000"]);
        let file = r.test.dir.join("file");
        fs::write(&file, "words").unwrap();
        let to = format!("{id}:/scratch/file");
        r.ok(&["cp", file.to_str().unwrap(), &to]);
        assert_eq!(r.ok(&["exec", &id, "cat", "/scratch/file"]), "words");
        r.ok(&["exec", &id, "sh", "-c", "echo back >/root/back; chown 5:6 /root/back"]);
        let back = r.test.dir.join("back");
        r.ok(&["cp", "-a", &format!("{id}:/root/back"), back.to_str().unwrap()]);
        let metadata = back.metadata().unwrap();
        assert_eq!((metadata.uid(), metadata.gid()), (5, 6));
        r.ok(&["rm", "-f", &id]);
    });
}

#[test]
fn as_an_archive() {
    rtctl_test(|r| {
        let id = r.ok(&["create", "busybox"]);
        let mut tar = r.command(&["cp", &format!("{id}:/etc"), "-"]);
        let archive = tar.output().unwrap();
        assert!(archive.status.success());
        let file = r.test.dir.join("etc.tar");
        fs::write(&file, &archive.stdout).unwrap();
        let list = std::process::Command::new("tar").arg("-tf").arg(&file).output().unwrap();
        assert!(String::from_utf8(list.stdout).unwrap().contains("etc/passwd"));
        let mut put = r.command(&["cp", "-", &format!("{id}:/root")]);
        let output: tests::Output = put.stdin(fs::File::open(&file).unwrap()).output().unwrap().into();
        output.ok();
        let back = r.test.dir.join("back");
        r.ok(&["cp", &format!("{id}:/root/etc/passwd"), back.to_str().unwrap()]);
        r.ok(&["rm", &id]);
    });
}

#[test]
fn links_of_the_container_do_not_lead_out() {
    rtctl_test(|r| {
        let host = r.test.dir.join("host");
        fs::create_dir(&host).unwrap();
        fs::write(host.join("file"), "untouched").unwrap();
        let bundle = r.test.bundle();
        symlink(&host, bundle.rootfs().join("link")).unwrap();
        symlink(host.join("file"), bundle.rootfs().join("file-link")).unwrap();
        let id = r.detached(&["--network", "none", "--rootfs", bundle.rootfs().to_str().unwrap(), "sleep", "1000"]);
        let evil = r.test.dir.join("evil");
        fs::write(&evil, "evil").unwrap();
        for to in ["/link/file", "/link/new", "/file-link", "/link"] {
            r.call(&["cp", evil.to_str().unwrap(), &format!("{id}:{to}")]);
        }
        let names: Vec<_> = fs::read_dir(&host).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["file"]);
        assert_eq!(fs::read_to_string(host.join("file")).unwrap(), "untouched");
        let back = r.test.dir.join("back");
        r.call(&["cp", "-L", &format!("{id}:/link/file"), back.to_str().unwrap()]);
        assert!(!back.is_file() || fs::read_to_string(&back).unwrap() != "untouched");
        r.ok(&["rm", "-f", &id]);
    });
}
