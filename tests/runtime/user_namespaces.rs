//! User namespaces with id maps (runtime-spec config-linux.md, "User namespace mappings").

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;

use serde_json::json;
use tests::{Bundle, Kind, differs, kind, test};

const HOST: u32 = 100_000;

/// A bundle with its own user namespace in which root is 100000 on the host, and so are all files.
fn mapped(bundle: Bundle) -> Bundle {
    give(&bundle.rootfs());
    // The way to the root file system must be open to that user.
    let map = json!([{"containerID": 0, "hostID": HOST, "size": 65536}]);
    bundle.namespace("user", None).set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map)
}

fn give(path: &Path) {
    std::os::unix::fs::lchown(path, Some(HOST), Some(HOST)).unwrap();
    if path.symlink_metadata().unwrap().is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            let path = entry.unwrap().path();
            // The programs are links to files that other tests use as well.
            if !path.starts_with("bin") && path.symlink_metadata().unwrap().nlink() == 1 || path.is_dir() {
                give(&path);
            }
        }
    }
}

#[test]
fn maps_are_as_configured() {
    test(|t| {
        let bundle = mapped(t.bundle());
        let facts = t.facts(bundle);
        let row = json!([["0", HOST.to_string(), "65536"]]);
        assert_eq!(facts["uid_map"], row);
        assert_eq!(facts["gid_map"], row);
        assert_eq!(facts["status"]["Uid"], "0\t0\t0\t0");
        assert_ne!(facts["ns"]["user"], fs::read_link("/proc/self/ns/user").unwrap().to_str().unwrap());
    });
}

#[test]
fn files_belong_to_mapped_ids() {
    test(|t| {
        let bundle = mapped(t.bundle()).sh("touch /tmp/root; stat -c '%u %g' /tmp/root /etc");
        let file = bundle.rootfs().join("tmp/root");
        assert_eq!(t.run(&bundle).ok(), "0 0\n0 0");
        let metadata = file.metadata().unwrap();
        assert_eq!((metadata.uid(), metadata.gid()), (HOST, HOST));
    });
}

#[test]
fn user_in_the_map_is_entered() {
    test(|t| {
        let bundle =
            mapped(t.bundle()).set("/process/user", json!({"uid": 1000, "gid": 1001, "additionalGids": [5, 6]}));
        let facts = t.facts(bundle);
        assert_eq!(facts["status"]["Uid"], "1000\t1000\t1000\t1000");
        assert_eq!(facts["status"]["Gid"], "1001\t1001\t1001\t1001");
        assert_eq!(facts["status"]["Groups"], "5 6");
    });
}

#[test]
fn standard_devices_work() {
    test(|t| {
        let script = "echo x >/dev/null && head -c 4 /dev/zero | wc -c && head -c 4 /dev/urandom | wc -c && ls /dev";
        let output = t.run(&mapped(t.bundle()).sh(script)).ok();
        assert!(output.starts_with("4\n4\n"), "{output}");
        for name in ["full", "null", "ptmx", "pts", "random", "stderr", "tty", "urandom", "zero"] {
            assert!(output.lines().any(|line| line == name), "no {name}: {output}");
        }
    });
}

#[test]
fn exec_enters_it() {
    test(|t| {
        let container = t.hold(mapped(t.bundle()));
        let facts = container.exec(&["/bin/payload", "facts"]).json();
        assert_eq!(
            facts["ns"]["user"],
            fs::read_link(format!("/proc/{}/ns/user", container.pid)).unwrap().to_str().unwrap()
        );
        assert_eq!(facts["status"]["Uid"], "0\t0\t0\t0");
        container.end();
    });
}

#[test]
fn joined_by_path() {
    test(|t| {
        let holder = t.hold(mapped(t.bundle()));
        let mut bundle = mapped(t.bundle());
        // runc 1.1 wants them again.
        if kind() != Kind::Runc {
            bundle = bundle.unset("/linux/uidMappings").unset("/linux/gidMappings");
        }
        let path = format!("/proc/{}/ns/user", holder.pid);
        let expected = fs::read_link(&path).unwrap();
        let facts = t.facts(bundle.namespace("user", Some(&path)));
        assert_eq!(facts["ns"]["user"], expected.to_str().unwrap());
        assert_eq!(facts["status"]["Uid"], "0\t0\t0\t0");
        holder.end();
    });
}

#[test]
fn maps_without_a_namespace_are_refused() {
    test(|t| {
        let map = json!([{"containerID": 0, "hostID": HOST, "size": 65536}]);
        let bundle = t.bundle().set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map);
        if kind() == Kind::Rt {
            t.run(&bundle).fails(&["uidMappings"]);
        } else {
            t.skip("runc 1.1 and crun 1.8 ignore maps without a user namespace");
        }
    });
}

#[test]
fn overlapping_maps_are_refused() {
    test(|t| {
        if t.cgroups.is_v2() {
            differs!(t, Kind::Runc, "1.1 may leave the cgroup behind on v2 when create fails late");
        }
        differs!(t, Kind::Crun, "1.8 leaves the cgroup behind when create fails late");
        let map = json!([{"containerID": 0, "hostID": HOST, "size": 10}, {"containerID": 5, "hostID": HOST + 100, "size": 10}]);
        let bundle = mapped(t.bundle()).set("/linux/uidMappings", map);
        t.run(&bundle).fails(&[]);
    });
}

#[test]
fn bind_mounts_keep_host_owners() {
    test(|t| {
        let shared = t.dir.join("shared");
        fs::create_dir(&shared).unwrap();
        fs::write(shared.join("file"), "text").unwrap();
        chown(shared.join("file"), Some(HOST + 7), Some(HOST + 8)).unwrap();
        let bundle = mapped(t.bundle()).mount("/mnt", "bind", &shared, &["rbind", "ro"]);
        assert_eq!(t.run(&bundle.sh("stat -c '%u %g' /mnt/file /mnt")).ok(), "7 8\n65534 65534");
    });
}
