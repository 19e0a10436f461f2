//! SELinux: `process.selinuxLabel` and `linux.mountLabel` (runtime-spec config.md and config-linux.md), confined by the kernel. The machine of
//! `hack/qemu` with RT_QEMU_SELINUX has it, with the policy in `tests/selinux`.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tests::{Bundle, Kind, Test, differs, kind, needs, test};

/// The label of a process, and of files, with two categories.
const PROCESS: &str = "system_u:system_r:container_t:s0:c1,c2";
const FILES: &str = "system_u:object_r:container_file_t:s0:c1,c2";
/// Categories of somebody else.
const FOREIGN: &str = "system_u:object_r:container_file_t:s0:c3,c4";
const SHOW: &str = "tr -d '\\000\\n' </proc/self/attr/current; echo";

fn enforcing() -> bool {
    fs::read_to_string("/sys/fs/selinux/enforce").is_ok_and(|text| text == "1")
}

fn label(path: &Path, label: &str) {
    assert!(Command::new("chcon").args(["-R", label]).arg(path).status().unwrap().success(), "{path:?}");
}

fn label_of(path: impl AsRef<Path>) -> String {
    let output = Command::new("stat").args(["-L", "-c", "%C"]).arg(path.as_ref()).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A bundle whose files and processes have labels.
fn labelled(t: &Test) -> Bundle {
    let bundle = t.bundle().set("/process/selinuxLabel", json!(PROCESS)).set("/linux/mountLabel", json!(FILES));
    label(&bundle.rootfs(), FILES);
    bundle
}

/// The options of the file system that is mounted there; a context has a comma, too.
fn options(facts: &Value, at: &str) -> String {
    let mount = facts["mounts"].as_array().unwrap().iter().rfind(|mount| mount["at"] == at).unwrap();
    mount["super"].as_array().unwrap().iter().map(|option| option.as_str().unwrap()).collect::<Vec<_>>().join(",")
}

#[test]
fn processes_have_their_label() {
    test(|t| {
        needs!(t, enforcing(), "no SELinux that enforces");
        assert_eq!(t.run(&labelled(t).sh(SHOW)).ok(), PROCESS);
        // With no new privileges as well: the policy allows that change.
        let bundle = labelled(t).set("/process/noNewPrivileges", json!(true));
        assert_eq!(t.run(&bundle.sh(SHOW)).ok(), PROCESS);
        let plain = t.bundle();
        assert_eq!(
            t.run(&plain.sh(SHOW)).ok(),
            "system_u:system_r:spc_t:s0-s0:c0.c1023",
            "none asked: what the policy says"
        );
        let container = t.hold(labelled(t));
        assert_eq!(container.exec(&["sh", "-c", SHOW]).ok(), PROCESS);
        let other = "system_u:system_r:spc_t:s0:c9";
        assert_eq!(container.exec_with(&["--process-label", other], &["sh", "-c", SHOW]).ok(), other);
        container.end();
    });
}

#[test]
fn mounts_have_their_label() {
    test(|t| {
        needs!(t, enforcing(), "no SELinux that enforces");
        let own = t.bundle().dir.join("own");
        fs::create_dir(&own).unwrap();
        label(&own, FOREIGN);
        let bundle = labelled(t).mount("/other", "tmpfs", "tmpfs", &[]).mount("/mnt", "bind", &own, &["bind"]);
        let facts = t.facts(labelled(t).mount("/other", "tmpfs", "tmpfs", &[]).mount(
            "/sys/fs/cgroup",
            "cgroup",
            "cgroup",
            &["ro"],
        ));
        for at in ["/dev", "/dev/shm", "/dev/pts", "/other"] {
            let options = options(&facts, at);
            assert!(options.contains(FILES), "{at}: {options}");
        }
        for at in ["/proc", "/sys", "/sys/fs/cgroup", "/dev/mqueue"] {
            let options = options(&facts, at);
            assert!(!options.contains("context="), "{at}: {options}");
        }
        let container = t.hold(bundle);
        container.exec(&["sh", "-c", "echo x >/dev/shm/file && echo x >/dev/file"]).ok();
        let root = format!("/proc/{}/root", container.state()["pid"]);
        for path in ["/dev/shm", "/dev/shm/file", "/dev/file", "/dev/null", "/other", "/bin/busybox"] {
            assert_eq!(label_of(format!("{root}{path}")), FILES, "{path}");
        }
        if kind() != Kind::Crun {
            assert_eq!(label_of(format!("{root}/dev/mqueue")), FILES);
        }
        assert_eq!(label_of(format!("{root}/mnt")), FOREIGN, "a bind mount keeps its own");
        container.end();
    });
}

#[test]
fn labels_confine() {
    test(|t| {
        needs!(t, enforcing(), "no SELinux that enforces");
        let volumes = t.bundle().dir;
        let bundle = ["ours", "theirs", "hosts"].into_iter().zip([FILES, FOREIGN, ""]).fold(
            labelled(t),
            |bundle, (name, context)| {
                let dir = volumes.join(name);
                fs::create_dir(&dir).unwrap();
                fs::write(dir.join("file"), name).unwrap();
                if !context.is_empty() {
                    label(&dir, context);
                }
                bundle.mount(&format!("/{name}"), "bind", &dir, &["bind"])
            },
        );
        let script = "for dir in ours theirs hosts; do cat /$dir/file 2>/dev/null || echo no; echo; done; echo new >/ours/made && cat /ours/made";
        let bundle = bundle.sh(script);
        assert_eq!(t.run(&bundle).ok(), "ours\nno\n\nno\n\nnew");
        // What is made has the label of where it is made.
        assert_eq!(label_of(volumes.join("ours/made")), FILES);
        // Without a label of the process nothing is kept from it.
        let free = bundle.unset("/process/selinuxLabel").sh("cat /ours/file /theirs/file /hosts/file");
        assert_eq!(t.run(&free).ok(), "ourstheirshosts");
    });
}

#[test]
fn refused_labels_are_named() {
    test(|t| {
        needs!(t, enforcing(), "no SELinux that enforces");
        differs!(t, Kind::Crun, "1.8 leaves the cgroup behind when create fails late");
        differs!(t, Kind::Runc, "1.1 may leave the cgroup behind when create fails late");
        let unknown = "system_u:system_r:missing_t:s0";
        let process = labelled(t).set("/process/selinuxLabel", json!(unknown));
        t.run(&process).fails(&["/proc/self/attr/exec", unknown, "EINVAL"]);
        let mounts = labelled(t).set("/linux/mountLabel", json!(unknown));
        t.run(&mounts).fails(&["mounts[1]", "\"context\"", unknown, "EINVAL"]);
        // The policy knows it, but does not let files of that label be executed with it.
        let files = t.bundle().set("/process/selinuxLabel", json!(PROCESS));
        fs::copy(files.rootfs().join("bin/busybox"), files.rootfs().join("bin/own")).unwrap();
        t.run(&files.args(&["/bin/own"])).fails(&["/bin/own", "permission denied"]);
        // What an exec asks for is refused, and the container goes on.
        let container = t.hold(labelled(t));
        container.exec_with(&["--process-label", unknown], &["true"]).fails(&["/proc/self/attr/exec", unknown]);
        assert_eq!(container.status(), "running");
        container.end();
    });
}
