//! Writes to procfs that are led to other files: labels, scores, kernel parameters.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::json;
use tests::{Bundle, Kind, Test, differs, kind, needs, test, untouched};

const PORT: &str = "sys/net/ipv4/ip_unprivileged_port_start";

/// A folder that looks like procfs, in files that are to be written.
fn fake(t: &Test) -> PathBuf {
    let folder = t.dir.join(t.id());
    for file in ["self/attr/exec", "self/attr/apparmor/exec", "self/oom_score_adj", "thread-self/attr/exec", PORT] {
        let path = folder.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "fake").unwrap();
    }
    folder
}

#[track_caller]
fn unwritten(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            unwritten(&path);
        } else {
            assert_eq!(fs::read_to_string(&path).unwrap(), "fake", "{}", path.display());
        }
    }
}

/// A volume on /proc, and the real one beside it, to look at.
fn covered(bundle: Bundle, fake: &Path) -> Bundle {
    bundle
        .set("/process/oomScoreAdj", json!(700))
        .set("/linux/sysctl", json!({"net.ipv4.ip_unprivileged_port_start": "777"}))
        .mount("/proc", "bind", fake, &["bind"])
        .mount("/real", "proc", "proc", &["nosuid", "noexec", "nodev"])
}

/// CVE-2019-16884: a volume of the image on /proc gets the label that was meant for the kernel. The score is written in the same way.
#[test]
fn a_volume_on_proc_gets_nothing() {
    test(|t| {
        differs!(t, Kind::Runc, "1.1 refuses the volume");
        differs!(t, Kind::Crun, "1.8 is older than the fix");
        let fake = fake(t);
        let mut bundle = covered(t.bundle(), &fake);
        // In place of the real one, and over it.
        for alone in [false, true] {
            if alone {
                bundle.spec["mounts"]
                    .as_array_mut()
                    .unwrap()
                    .retain(|mount| mount["destination"] != "/proc" || mount["type"] == "bind");
            }
            bundle = bundle.sh(&format!("cat /real/self/oom_score_adj /real/{PORT}"));
            let output = t.run(&bundle);
            unwritten(&fake);
            assert_eq!(output.ok(), "700\n777", "alone: {alone}");
        }
        // A process that enters brings what it has to say along.
        let container = t.hold(bundle);
        let process = t.dir.join("process.json");
        let document = json!({"args": ["/bin/cat", "/real/self/oom_score_adj"], "cwd": "/", "oomScoreAdj": 800, "user": {"uid": 0, "gid": 0}});
        fs::write(&process, document.to_string()).unwrap();
        assert_eq!(container.exec_with(&["--process", process.to_str().unwrap()], &[]).ok(), "800");
        container.end();
        unwritten(&fake);
    });
}

/// A profile in the kernel, for as long as the test takes.
struct Profile(String);

impl Profile {
    fn load(t: &Test) -> Self {
        let profile =
            Self(format!("profile {} flags=(attach_disconnected) {{ file, capability, signal, }}", t.marker()));
        profile.parse("-r");
        profile
    }

    fn parse(&self, verb: &str) {
        let mut parser = Command::new("apparmor_parser").args([verb, "-K"]).stdin(Stdio::piped()).spawn().unwrap();
        parser.stdin.take().unwrap().write_all(self.0.as_bytes()).unwrap();
        assert!(parser.wait().unwrap().success());
    }
}

impl Drop for Profile {
    fn drop(&mut self) {
        self.parse("-R");
    }
}

/// The label itself, where the kernel has AppArmor: the container has it although the volume is on /proc, or a link that comes and goes
/// is in its place, and one that is not loaded is not passed over.
#[test]
fn apparmor_labels_are_not_written_to_a_volume() {
    test(|t| {
        let enabled = fs::read("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.first() == Some(&b'Y'));
        needs!(t, enabled, "the kernel has no AppArmor, or it is off (hack/uml-systemd has one)");
        let profile = Profile::load(t);
        let label = format!("{} (enforce)", t.marker());
        let fake = fake(t);
        let bundle = covered(t.bundle(), &fake).sh("cat /real/self/attr/current");
        let output = t.run(&bundle.set("/process/apparmorProfile", json!("unconfined//no-such")));
        unwritten(&fake);
        assert_ne!(output.code, 0, "ran without its label: {output}");
        let covered = || covered(t.bundle(), &fake).set("/process/apparmorProfile", json!(t.marker()));
        assert_eq!(t.run(&covered().sh("cat /real/self/attr/current")).ok().trim_end(), label);
        unwritten(&fake);
        let container = t.hold(covered());
        assert_eq!(container.exec(&["/bin/cat", "/real/self/attr/current"]).ok().trim_end(), label);
        container.end();
        unwritten(&fake);
        let bundle = t.bundle().set("/process/apparmorProfile", json!(t.marker())).sh("cat /proc/self/attr/current");
        let rootfs = bundle.rootfs();
        assert!(Command::new("cp").arg("-r").arg(&fake).arg(rootfs.join("fake")).status().unwrap().success());
        symlink("fake", rootfs.join("link")).unwrap();
        super::races::while_swapped(&rootfs.join("proc"), &rootfs.join("link"), || {
            for _ in 0..30 {
                let output = t.run(&bundle);
                unwritten(&rootfs.join("fake"));
                // Refused when the link is there first.
                assert!(output.code != 0 || output.stdout.trim_end() == label, "{output}");
            }
        });
        drop(profile);
    });
}

/// CVE-2025-52881, CVE-2025-62596: a mount or a link leads a parameter to another file.
#[test]
fn parameters_are_not_led_elsewhere() {
    test(|t| {
        differs!(t, Kind::Runc, "1.1 is older than the fix");
        differs!(t, Kind::Crun, "1.8 is older than the fix");
        let (name, value) = ("net.ipv4.ip_unprivileged_port_start", "777");
        let host = t.outside();
        let folder = t.dir.join(t.id());
        fs::create_dir(&folder).unwrap();
        symlink(host.join("file"), folder.join("ip_unprivileged_port_start")).unwrap();
        let file = host.join("file");
        let at = format!("/proc/{PORT}");
        for (target, source) in [(at.as_str(), &file), ("/proc/sys/net/ipv4", &folder), ("/proc/sys/net", &folder)] {
            let bundle = t.bundle().set("/linux/sysctl", json!({name: value})).mount(target, "bind", source, &["bind"]);
            let output = t.run(&bundle);
            untouched(&host);
            assert_ne!(output.code, 0, "{target}: {output}");
            assert!(kind() != Kind::Rt || output.stderr.contains("ip_unprivileged_port_start"), "{target}: {output}");
        }
    });
}
