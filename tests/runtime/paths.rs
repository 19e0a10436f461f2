//! `linux.maskedPaths` and `linux.readonlyPaths` (runtime-spec config-linux.md).

use std::fs;

use serde_json::json;
use tests::test;

#[test]
fn masked_file_reads_as_empty() {
    test(|t| {
        let bundle = t
            .bundle()
            .set("/linux/maskedPaths", json!(["/secret", "/proc/version"]))
            .sh("cat /secret /proc/version; echo x >/secret; cat /secret; stat -c %F /secret");
        fs::write(bundle.rootfs().join("secret"), "secret").unwrap();
        assert_eq!(t.run(&bundle).ok(), "character special file");
        assert_eq!(fs::read_to_string(bundle.rootfs().join("secret")).unwrap(), "secret");
    });
}

#[test]
fn masked_folder_is_empty_and_read_only() {
    test(|t| {
        let bundle = t
            .bundle()
            .set("/linux/maskedPaths", json!(["/folder", "/proc/irq"]))
            .sh("ls -A /folder /proc/irq | wc -c; touch /folder/x");
        fs::create_dir(bundle.rootfs().join("folder")).unwrap();
        fs::write(bundle.rootfs().join("folder/file"), "secret").unwrap();
        let output = t.run(&bundle);
        // The two headings and the blank between them.
        assert_eq!(output.stdout, "21\n");
        assert!(output.stderr.contains("Read-only file system"), "{output}");
    });
}

#[test]
fn missing_masked_path_is_passed_over() {
    test(|t| {
        let bundle = t.bundle().set("/linux/maskedPaths", json!(["/not/there", "/proc/not-there"]));
        t.run(&bundle).ok();
        assert!(!bundle.rootfs().join("not").try_exists().unwrap());
    });
}

#[test]
fn many_masked_folders() {
    test(|t| {
        let names: Vec<String> = (0..60).map(|number| format!("/many/{number}")).collect();
        let bundle = t.bundle().set("/linux/maskedPaths", json!(names)).sh("cat /many/*/* 2>/dev/null | wc -c");
        fs::create_dir(bundle.rootfs().join("many")).unwrap();
        for name in &names {
            let folder = bundle.rootfs().join(name.trim_start_matches('/'));
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join("file"), "secret").unwrap();
        }
        assert_eq!(t.run(&bundle).ok(), "0");
    });
}

#[test]
fn read_only_paths() {
    test(|t| {
        let bundle =
            t.bundle().set("/linux/readonlyPaths", json!(["/proc/sys", "/fixed", "/fixed-file", "/not/there"]));
        let bundle = bundle.sh("cat /fixed/file /fixed-file; echo x >/fixed/file; echo x >/fixed/new; echo x >/fixed-file; echo 1 >/proc/sys/net/ipv4/ip_forward");
        fs::create_dir(bundle.rootfs().join("fixed")).unwrap();
        fs::write(bundle.rootfs().join("fixed/file"), "one\n").unwrap();
        fs::write(bundle.rootfs().join("fixed-file"), "two\n").unwrap();
        let output = t.run(&bundle);
        assert_eq!(output.stdout, "one\ntwo\n");
        assert_eq!(output.stderr.matches("Read-only file system").count(), 4, "{output}");
    });
}

#[test]
fn they_cannot_be_undone_without_privilege() {
    test(|t| {
        let script = "umount /proc/keys; mount -o remount,rw,bind /proc/sys; cat /proc/keys | wc -c; echo 1 >/proc/sys/net/ipv4/ip_forward";
        let output = t.run(&t.bundle().sh(script));
        assert_eq!(output.stdout, "0\n");
        assert_ne!(output.code, 0, "{output}");
    });
}
