//! Links in a root file system, where something is to be mounted.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use serde_json::json;
use tests::{Kind, differs, kind, needs, test, untouched};

use super::{link, upwards};

/// CVE-2019-19921, CVE-2023-27561, CVE-2023-28642, CVE-2025-54867: proc and sys of the image are symlinks.
#[test]
fn kernel_file_systems_are_not_mounted_through_symlinks() {
    test(|t| {
        for name in ["proc", "sys"] {
            let host = t.outside();
            let bundle = t.bundle();
            fs::create_dir(bundle.rootfs().join("elsewhere")).unwrap();
            link(&bundle, name, "elsewhere");
            let output = t.run(&bundle);
            assert_ne!(output.code, 0, "{name} -> elsewhere was accepted: {output}");
            let bundle = t.bundle();
            link(&bundle, name, &host);
            assert_ne!(t.run(&bundle).code, 0, "{name} -> host folder");
            untouched(&host);
        }
    });
}

/// CVE-2025-24965, CVE-2026-84042: the file with which crun's handler for virtual machines finds its configuration is a link of the image.
#[test]
fn nothing_is_written_for_a_handler() {
    test(|t| {
        for name in [".krun_config.json", ".krun_vm.json", "config.json"] {
            let host = t.outside();
            let bundle = t.bundle().set("/annotations", json!({"run.oci.handler": "krun"}));
            symlink(host.join("made"), bundle.rootfs().join(name)).unwrap();
            t.run(&bundle).ok();
            untouched(&host);
        }
    });
}

/// CVE-2026-119101, CVE-2026-115520, CVE-2026-119614: an archive and an image with a link where a volume was mounted have it mounted from
/// anywhere on the host. There is no restore: the verb is not known, whatever comes with it.
#[test]
fn there_is_no_restore() {
    test(|t| {
        needs!(t, kind() == Kind::Rt, "runc and crun have one, by CRIU");
        let (host, archive) = (t.outside(), t.outside());
        let bundle = t.bundle().mount("/data", "bind", &host, &["bind", "ro"]);
        symlink(&host, bundle.rootfs().join("data")).unwrap();
        bundle.write();
        fs::write(archive.join("descriptors.json"), json!(["/dev/null", "/dev/null", host]).to_string()).unwrap();
        let before = archive.join("descriptors.json").metadata().unwrap().modified().unwrap();
        let (dir, archived) = (bundle.dir.to_str().unwrap(), archive.to_str().unwrap());
        let held = t.hold(t.bundle());
        for verb in ["restore", "checkpoint"] {
            for id in [t.id(), held.id.clone()] {
                let output = t.runtime(&[verb, "--bundle", dir, "--image-path", archived, &id]);
                output.fails(&[verb]);
            }
        }
        assert_eq!(t.runtime(&["list", "-q"]).ok(), held.id);
        assert_eq!(held.status(), "running");
        held.end();
        untouched(&host);
        assert_eq!(fs::read_dir(&archive).unwrap().count(), 2);
        assert_eq!(archive.join("descriptors.json").metadata().unwrap().modified().unwrap(), before);
    });
}

/// The same of what is mounted below /dev; such a link is refused even if it stays inside.
#[test]
fn folders_below_dev_are_not_mounted_through_symlinks() {
    test(|t| {
        for name in ["pts", "shm", "mqueue"] {
            let host = t.outside();
            for target in [&host, &PathBuf::from("/elsewhere")] {
                let mut bundle = t.bundle();
                fs::create_dir(bundle.rootfs().join("elsewhere")).unwrap();
                bundle.spec["mounts"].as_array_mut().unwrap().retain(|mount| mount["destination"] != "/dev");
                symlink(target, bundle.rootfs().join("dev").join(name)).unwrap();
                let output = t.run(&bundle);
                assert!(output.code != 0 || kind() != Kind::Rt, "/dev/{name} -> {target:?} was accepted");
                untouched(&host);
            }
        }
    });
}

/// CVE-2019-18837, CVE-2024-45310: no component of a target is followed out of the root, and nothing is made outside.
#[test]
fn targets_stay_below_the_root() {
    test(|t| {
        let source = t.outside();
        for (link_at, target) in [("a", "a/b/c"), ("a", "a"), ("a", "a/file"), ("x", "x/../x/y")] {
            for absolute in [true, false] {
                let host = t.outside();
                let bundle = t.bundle().mount(&format!("/{target}"), "bind", &source, &["bind"]);
                let to = if absolute {
                    host.clone()
                } else {
                    PathBuf::from("../../../../../../../../..").join(host.strip_prefix("/").unwrap())
                };
                symlink(to, bundle.rootfs().join(link_at)).unwrap();
                t.run(&bundle);
                untouched(&host);
                let file = t.bundle().mount(&format!("/{target}"), "bind", source.join("file"), &["bind"]);
                symlink(host.join("made"), file.rootfs().join(link_at)).unwrap();
                t.run(&file);
                untouched(&host);
            }
        }
        let bundle = t
            .bundle()
            .mount("/../../../../../../../../../../../../tmp/up", "bind", &source, &["bind"])
            .sh("cat /tmp/up/file");
        let output = t.run(&bundle);
        assert!(output.code != 0 || output.stdout == "untouched", "{output}");
        assert!(!PathBuf::from("/tmp/up").try_exists().unwrap());
        // A magic link is no way either.
        let bundle = t.bundle().mount("/link/x", "bind", &source, &["bind"]);
        symlink("/proc/self/root", bundle.rootfs().join("link")).unwrap();
        t.run(&bundle);
        untouched(&source);
    });
}

/// CVE-2019-18837: forests of folders, files and links, and targets anywhere in them. All that is mounted or made is inside.
#[test]
fn forests_of_links() {
    const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];
    test(|t| {
        differs!(t, Kind::Runc, "1.1 is older than the fixes");
        differs!(t, Kind::Crun, "1.8 is older than the fixes");
        let rounds: usize = std::env::var("RT_TEST_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(100);
        let (source, host) = (t.outside(), t.outside());
        fs::create_dir(host.join("t")).unwrap();
        let bundle = t.bundle();
        let mut mounted = 0;
        for seed in 0..rounds * 3 {
            // A linear congruential generator: a failure is found again by its seed.
            let mut state = seed as u64;
            let mut pick = |limit: usize| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                usize::try_from(state >> 33).unwrap() % limit
            };
            let forest = bundle.rootfs().join("forest");
            fs::create_dir(&forest).unwrap();
            let mut folders = vec![forest.clone()];
            for _ in 0..20 {
                let path = folders[pick(folders.len())].join(NAMES[pick(NAMES.len())]);
                if path.symlink_metadata().is_ok() {
                    continue;
                }
                match pick(8) {
                    0 | 1 => {
                        fs::create_dir(&path).unwrap();
                        folders.push(path);
                    }
                    2 => symlink(host.join("t"), &path).unwrap(),
                    3 => symlink(upwards(&host).join("t"), &path).unwrap(),
                    4 => symlink("/proc/self/root", &path).unwrap(),
                    5 => symlink("/proc/1/cwd", &path).unwrap(),
                    6 => symlink(format!("../{}/../{}", NAMES[pick(5)], NAMES[pick(5)]), &path).unwrap(),
                    _ => symlink(format!("/forest/{}/{}", NAMES[pick(5)], NAMES[pick(5)]), &path).unwrap(),
                }
            }
            let mut target = "/forest".to_owned();
            for _ in 0..=pick(4) {
                target = format!("{target}/{}", [&NAMES[..], &["..", host.to_str().unwrap()]].concat()[pick(7)]);
            }
            let source = if pick(2) == 0 { source.clone() } else { source.join("file") };
            let mut spec = bundle.spec.clone();
            let mount = json!({"destination": target, "type": "bind", "source": source, "options": ["bind"]});
            spec["mounts"].as_array_mut().unwrap().push(mount);
            spec["process"]["args"] = json!(["/bin/cat", "/proc/self/mountinfo"]);
            fs::write(bundle.dir.join("config.json"), spec.to_string()).unwrap();
            let output = t.runtime(&["run", "--bundle", bundle.dir.to_str().unwrap(), &t.id()]);
            if output.code == 0 {
                mounted += 1;
                let name = source.strip_prefix("/tmp").unwrap().to_str().unwrap();
                assert!(output.stdout.contains(name), "seed {seed}: mounted elsewhere: {target}\n{output}");
            }
            let mut names: Vec<_> = fs::read_dir(&host).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            assert_eq!(names, ["file", "t"], "seed {seed}: {target}");
            assert_eq!(fs::read_dir(host.join("t")).unwrap().count(), 0, "seed {seed}: {target}");
            // What a link to the host's folder meant inside.
            fs::remove_dir_all(&forest).unwrap();
            fs::remove_dir_all(bundle.rootfs().join("tmp")).unwrap();
            fs::create_dir(bundle.rootfs().join("tmp")).unwrap();
        }
        assert!(mounted > rounds, "{mounted} of {} were mounted", rounds * 3);
    });
}
