//! Mounts with mapped ids (runtime-spec config.md, "idmap" and "uidMappings").

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tests::{Bundle, Kind, Test, kind, maps_ids, needs, payload, test};

const HOST: u32 = 100_000;

fn map(host: u32, size: u32) -> Value {
    json!([{"containerID": 0, "hostID": host, "size": size}])
}

/// A folder of the host whose files belong to different users.
fn folder(t: &Test) -> PathBuf {
    let folder = t.dir.join(t.id());
    fs::create_dir(&folder).unwrap();
    for (name, id) in [("root", 0), ("user", 1000), ("outside", 70_000)] {
        fs::write(folder.join(name), name).unwrap();
        chown(folder.join(name), Some(id), Some(id)).unwrap();
    }
    folder
}

/// A bundle in a user namespace, whose own files belong to its root.
fn mapped(t: &Test) -> Bundle {
    let bundle = t.bundle();
    for path in [bundle.rootfs(), bundle.rootfs().join("etc"), bundle.rootfs().join("tmp")] {
        chown(path, Some(HOST), Some(HOST)).unwrap();
    }
    bundle
        .namespace("user", None)
        .set("/linux/uidMappings", map(HOST, 65536))
        .set("/linux/gidMappings", map(HOST, 65536))
}

/// A bind mount with members beside the usual ones.
fn bind(bundle: Bundle, source: &Path, options: &[&str], more: Value) -> Bundle {
    let mut mount = json!({"destination": "/mnt", "type": "bind", "source": source, "options": options});
    mount.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    bundle.push("/mounts", mount)
}

fn owners(folder: &Path) -> Vec<(u32, u32)> {
    let of = |name: &str| folder.join(name).metadata().map(|file| (file.uid(), file.gid())).unwrap();
    ["root", "user", "outside"].map(of).to_vec()
}

fn own_options(t: &Test) -> bool {
    if kind() == Kind::Rt && maps_ids(&t.dir) {
        return true;
    }
    t.skip("runc 1.1 and crun 1.8 map no ids so, nor does every file system");
    false
}

#[test]
fn as_the_containers_user_namespace() {
    test(|t| {
        if !own_options(t) {
            return;
        }
        for options in [&["rbind", "ridmap"][..], &["bind", "idmap"]] {
            let source = folder(t);
            let script = "cd /mnt; stat -c '%u %g' root user outside .; echo new >made; chown 7:8 made; chown 5 user";
            assert_eq!(
                t.run(&bind(mapped(t), &source, options, json!({})).sh(script)).ok(),
                "0 0\n1000 1000\n65534 65534\n0 0"
            );
            // On disk they are the container's.
            assert_eq!(owners(&source), [(0, 0), (5, 1000), (70_000, 70_000)]);
            let made = source.join("made").metadata().unwrap();
            assert_eq!((made.uid(), made.gid()), (7, 8));
        }
    });
}

#[test]
fn with_maps_of_its_own() {
    test(|t| {
        if !own_options(t) {
            return;
        }
        // The container has no user namespace: the host's 1000 and 1001 are its 2000 and 2001.
        let shift = json!([{"containerID": 1000, "hostID": 2000, "size": 2}]);
        let more = json!({"uidMappings": shift, "gidMappings": shift});
        let script = "stat -c '%u %g' /mnt/user /mnt/root";
        for options in [&["bind", "idmap"][..], &["bind"], &["rbind", "ridmap"]] {
            let bundle = bind(t.bundle(), &folder(t), options, more.clone());
            assert_eq!(t.run(&bundle.sh(script)).ok(), "2000 2000\n65534 65534", "{options:?}");
        }
        // Other maps than those of its user namespace: the namespace's root owns what is 1000's.
        let shift = json!([{"containerID": 1000, "hostID": HOST, "size": 1}]);
        let more = json!({"uidMappings": shift, "gidMappings": shift});
        let bundle = bind(mapped(t), &folder(t), &["bind", "idmap"], more);
        assert_eq!(t.run(&bundle.sh(script)).ok(), "0 0\n65534 65534");
    });
}

/// What belongs to nobody in the container is out of its root's power, too.
#[test]
fn ids_outside_of_the_map() {
    test(|t| {
        if !own_options(t) {
            return;
        }
        let source = folder(t);
        fs::set_permissions(source.join("outside"), fs::Permissions::from_mode(0o600)).unwrap();
        let script = "cd /mnt; cat outside; echo x >>outside; chmod 666 outside; chown 0 outside; chown 70000 root; \
                      mv outside gone; rm -f outside; true";
        let capabilities = ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_SYS_ADMIN"];
        let bundle = bind(mapped(t), &source, &["bind", "idmap"], json!({})).sh(script);
        let output = t.run(&bundle.capabilities(&["bounding", "effective", "permitted"], &capabilities));
        assert!(!output.stdout.contains("outside"), "{output}");
        // The folder is the root's: removing is what it may do, changing is not.
        let left = source.join("outside");
        if left.try_exists().unwrap() {
            assert_eq!(fs::read_to_string(&left).unwrap(), "outside");
            let file = left.metadata().unwrap();
            assert_eq!((file.uid(), file.mode() & 0o7777), (70_000, 0o600));
        }
        assert_eq!(owners(&folder(t))[0], (0, 0));
        assert_eq!(source.join("root").metadata().unwrap().uid(), 0);
    });
}

/// A program of the host's root is the container's root's where ids are mapped, and nobody's where they are not.
#[test]
fn set_user_id_programs() {
    test(|t| {
        if !own_options(t) {
            return;
        }
        let source = folder(t);
        let program = source.join("payload");
        fs::copy(payload(), &program).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o4755)).unwrap();
        let ids = |options: &[&str]| {
            let user = mapped(t).set("/process/user", json!({"uid": 1000, "gid": 1000}));
            let bundle = bind(user, &source, options, json!({})).args(&["/mnt/payload", "facts"]);
            t.run(&bundle).json()["status"]["Uid"].as_str().unwrap().to_owned()
        };
        assert_eq!(ids(&["bind", "idmap"]), "1000\t0\t0\t0");
        assert_eq!(ids(&["bind", "idmap", "nosuid"]), "1000\t1000\t1000\t1000");
        assert_eq!(ids(&["bind"]), "1000\t1000\t1000\t1000");
    });
}

#[test]
fn what_is_wrong_is_named() {
    test(|t| {
        needs!(t, kind() == Kind::Rt, "runc 1.1 and crun 1.8 know other options");
        let source = folder(t);
        let maps = |uids: Value, gids: Value| json!({"uidMappings": uids, "gidMappings": gids});
        let none = || json!([]);
        let empty = json!([{"containerID": 0, "hostID": 0, "size": 0}]);
        let cases = [
            (t.bundle(), &["bind", "idmap"][..], json!({}), "mounts[6].options: idmap needs uidMappings"),
            (t.bundle(), &["bind", "idmap"], maps(map(1, 1), none()), "mounts[6].gidMappings: is missing"),
            (t.bundle(), &["bind"], maps(none(), map(1, 1)), "mounts[6].uidMappings: is missing"),
            (t.bundle(), &["bind"], maps(map(1, 1), empty), "mounts[6].gidMappings[0]: size must be above 0"),
            (
                mapped(t).set("/linux/uidMappings/0/containerID", json!(5)),
                &["bind"],
                json!({}),
                "linux.uidMappings: must map id 0",
            ),
        ];
        for (bundle, options, more, expected) in cases {
            let output = t.run(&bind(bundle, &source, options, more));
            assert!(output.stderr.contains(expected), "{expected}: {output}");
            assert_ne!(output.code, 0);
        }
        let tmpfs = mapped(t).mount("/mnt", "tmpfs", "tmpfs", &["idmap"]);
        t.run(&tmpfs).fails(&["mounts[6]: ids can be mapped of bind mounts only"]);
        // The file system is named that cannot do it.
        let proc = mapped(t).mount("/mnt", "bind", "/proc", &["bind", "idmap"]);
        t.run(&proc).fails(&["mounts[6].source", "mount_attr_idmap", "proc cannot map ids on this kernel", "einval"]);
    });
}

/// A file system that the container makes itself belongs to its root.
#[test]
fn file_systems_of_its_own() {
    test(|t| {
        needs!(t, kind() == Kind::Rt, "runc 1.1 and crun 1.8 are tested elsewhere");
        let bundle = mapped(t)
            .mount("/scratch", "tmpfs", "tmpfs", &["size=1m", "mode=1700", "nodev", "noexec", "uid=5"])
            .namespace("cgroup", None)
            .mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]);
        let script = "stat -c '%u %a' /scratch /dev/shm; ls /sys/class/net; ls /sys/fs/cgroup | wc -l";
        let output = t.run(&bundle.sh(script)).ok();
        let lines: Vec<&str> = output.lines().collect();
        assert_eq!(lines[..3], ["5 1700", "0 1777", "lo"], "{output}");
        assert_ne!(lines[3], "0");
    });
}
