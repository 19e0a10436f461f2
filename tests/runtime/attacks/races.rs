//! What is swapped while it is looked up: a thread exchanges a folder of a shared volume for a link, as a second container would.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde_json::json;
use tests::{Bundle, Kind, Test, differs, kind, needs, test, untouched};

use super::upwards;

/// Mounts of one container; each is a try.
const MOUNTS: usize = 250;

/// How many containers are made for a number of tries in all: 10⁵ with `RT_TEST_ROUNDS=1000`, 10⁴ without.
fn containers(tries_each: usize) -> usize {
    let rounds: usize = std::env::var("RT_TEST_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(100);
    (rounds * 100).div_ceil(tries_each)
}

/// Ends the swapping when it is dropped, also by a test that fails.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Exchanges two names as fast as it goes while `body` runs.
pub(super) fn while_swapped(one: &Path, other: &Path, body: impl FnOnce()) {
    let end = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !end.load(Ordering::Relaxed) {
                renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).unwrap();
            }
        });
        let _end = End(&end);
        body();
    });
}

/// A volume with a folder `d` and beside it a link to a folder of the host.
fn volume(t: &Test, to: &Path) -> PathBuf {
    let volume = t.dir.join(t.id());
    fs::create_dir_all(volume.join("d")).unwrap();
    symlink(to, volume.join("link")).unwrap();
    volume
}

/// How many mounts a container lists at or below where a source was mounted; one that went elsewhere is missing.
fn mounts(output: &tests::Output, what: &str) -> usize {
    output.stdout.lines().filter(|line| line.contains(what)).count()
}

/// The same mount on `/v/d/…` many times.
fn many(t: &Test, volume: &Path, source: &Path, target: impl Fn(usize) -> String) -> Bundle {
    let bundle = t.bundle().mount("/v", "bind", volume, &["bind"]).args(&["/bin/cat", "/proc/self/mountinfo"]);
    (0..MOUNTS).fold(bundle, |bundle, number| bundle.mount(&target(number), "bind", source, &["bind"]))
}

/// CVE-2021-30465: the target is a folder when it is checked and a link when it is mounted on.
#[test]
fn mount_targets() {
    test(|t| {
        needs!(t, kind() == Kind::Rt, "runc 1.1 and crun 1.8 take seconds for so many mounts");
        for relative in [false, true] {
            let host = t.outside();
            fs::create_dir(host.join("t")).unwrap();
            let source = t.dir.join(t.id());
            fs::create_dir(&source).unwrap();
            let volume = volume(t, &if relative { upwards(&host) } else { host.clone() });
            fs::create_dir(volume.join("d/t")).unwrap();
            let bundle = many(t, &volume, &source, |_| "/v/d/t".to_owned());
            let name = source.file_name().unwrap().to_str().unwrap();
            while_swapped(&volume.join("d"), &volume.join("link"), || {
                for _ in 0..containers(MOUNTS * 2) {
                    let output = t.run(&bundle);
                    assert_eq!(output.code, 0, "{output}");
                    assert_eq!(mounts(&output, name), MOUNTS, "a mount is not where it was meant to be");
                }
            });
        }
    });
}

/// CVE-2024-45310: what is missing is made where a link leads.
#[test]
fn missing_targets() {
    test(|t| {
        needs!(t, kind() == Kind::Rt, "runc 1.1 and crun 1.8 take seconds for so many mounts");
        for file in [false, true] {
            let host = t.outside();
            let folder = t.outside();
            let source = if file { folder.join("file") } else { folder };
            let volume = volume(t, &host);
            while_swapped(&volume.join("d"), &volume.join("link"), || {
                for round in 0..containers(MOUNTS * 2) {
                    // Of two missing components at every other try.
                    let target = |number| match number % 2 {
                        0 => format!("/v/d/{round}-{number}"),
                        _ => format!("/v/d/{round}-{number}/y"),
                    };
                    let bundle = many(t, &volume, &source, target);
                    t.run(&bundle).ok();
                    untouched(&host);
                    fs::remove_dir_all(bundle.dir).unwrap();
                }
            });
        }
    });
}

/// CVE-2026-119101, CVE-2026-115520: a read-only mount is writable between its making and its change, a moment too short for tries:
/// the calls tell. What is attached is read-only already, and stays as it is.
#[test]
fn read_only_mounts() {
    test(|t| {
        needs!(t, kind() == Kind::Rt, "runc 1.1 and crun 1.8 mount first and change then");
        needs!(t, Command::new("strace").arg("-V").output().is_ok(), "strace is not installed");
        let source = t.outside();
        let mut bundle = t.bundle().unset("/linux/readonlyPaths").mount("/v", "bind", &source, &["rbind", "ro"]);
        bundle = bundle.mount("/new", "tmpfs", "tmpfs", &["ro", "tmpcopyup"]);
        let bundle = bundle.mount("/v", "bind", &source, &["bind", "rro"]).sh("echo x >/v/file || echo x >/new/file");
        bundle.write();
        let (log, run) = (t.dir.join("calls"), ["run", "--bundle", bundle.dir.to_str().unwrap(), &t.id()]);
        let run = t.command(&run);
        let mut strace = Command::new("strace");
        strace.args(["-ff", "-e", "trace=move_mount,mount_setattr", "-o"]).arg(&log);
        let output = strace.arg(run.get_program()).args(run.get_args()).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr).matches("Read-only").count(), 2, "{output:?}");
        let mut all = 0;
        for entry in fs::read_dir(&t.dir).unwrap().map(|entry| entry.unwrap().path()) {
            if !entry.file_name().unwrap().to_str().unwrap().starts_with("calls.") {
                continue;
            }
            let calls = fs::read_to_string(entry).unwrap();
            let mut attached = HashSet::new();
            for call in calls.lines() {
                let mount = call.split(['(', ',']).nth(1);
                if call.starts_with("move_mount(") {
                    attached.insert(mount);
                } else if call.contains("MOUNT_ATTR_RDONLY") {
                    assert!(!attached.contains(&mount), "{call}\nin {calls}");
                }
            }
            all += attached.len();
        }
        assert!(all > 8, "{all} mounts were attached");
        untouched(&source);
    });
}

/// CVE-2025-52881, CVE-2025-62596: parameters and scores are written while /proc of the root is swapped for a link to a fake.
#[test]
fn writes_to_procfs() {
    test(|t| {
        differs!(t, Kind::Runc, "1.1 is older than the fix");
        differs!(t, Kind::Crun, "1.8 is older than the fix");
        let names = parameters();
        let values: serde_json::Map<_, _> = names.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        let bundle = t.bundle().set("/linux/sysctl", json!(values)).set("/process/oomScoreAdj", json!(700));
        let rootfs = bundle.rootfs();
        let files: Vec<PathBuf> = names
            .iter()
            .map(|(name, _)| PathBuf::from("sys").join(name))
            .chain(["self/oom_score_adj".into()])
            .collect();
        let fakes: Vec<PathBuf> = files.iter().map(|file| rootfs.join("fake").join(file)).collect();
        for fake in &fakes {
            fs::create_dir_all(fake.parent().unwrap()).unwrap();
            fs::write(fake, "fake").unwrap();
        }
        symlink("fake", rootfs.join("link")).unwrap();
        let mut done = 0;
        while_swapped(&rootfs.join("proc"), &rootfs.join("link"), || {
            for _ in 0..containers(names.len()) {
                // Refused when the link is there first.
                done += usize::from(t.run(&bundle).code == 0);
                for fake in &fakes {
                    assert_eq!(fs::read_to_string(fake).unwrap(), "fake", "{}", fake.display());
                }
            }
        });
        assert_ne!(done, 0, "no container came to the writes");
    });
}

/// Parameters of a network namespace that take any number, and values that they have.
fn parameters() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for folder in ["net/ipv4/conf/all", "net/ipv4/conf/default"] {
        for entry in fs::read_dir(Path::new("/proc/sys").join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let writable = path.metadata().unwrap().mode() & 0o200 != 0;
            let value = fs::read_to_string(&path).unwrap_or_default();
            if writable && value.trim().parse::<u32>().is_ok() {
                let name = path.strip_prefix("/proc/sys").unwrap().to_str().unwrap();
                found.push((name.to_owned(), value.trim().to_owned()));
            }
        }
    }
    found
}
