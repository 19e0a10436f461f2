//! The host's own mounts and control groups.

use std::fs;
use std::os::unix::fs::chown;

use serde_json::json;
use tests::{Kind, differs, kind, needs, test};

/// runc 1.5.3 notes: without a mount namespace of its own the host's tree is not to be changed.
#[test]
fn hosts_mounts_are_never_changed() {
    test(|t| {
        differs!(t, Kind::Runc, "1.1 changes the propagation of the host's root");
        differs!(t, Kind::Crun, "1.8 mounts into the host's tree");
        // The oracle compares every mount before and after; whether it runs is not the question.
        let before = propagation();
        t.run(&t.bundle().share("mount"));
        assert_eq!(propagation(), before);
    });
}

/// runc issue 5258: a new mount of the cgroup file system resets the options of the host's, as its superblock is the same.
#[test]
fn hosts_cgroup_options_are_never_changed() {
    test(|t| {
        differs!(t, Kind::Runc, "1.1 is older than the fix");
        let before = cgroup_mounts();
        let option = |line: &String| line.contains("nsdelegate") || line.contains("memory_recursiveprot");
        needs!(t, before.iter().any(option), "the host's control groups have no options to lose");
        for own in [false, true] {
            let bundle = if own { t.bundle().namespace("cgroup", None) } else { t.bundle() };
            let bundle = bundle.mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "ro"]);
            t.run(&bundle).ok();
            assert_eq!(cgroup_mounts(), before, "own cgroup namespace: {own}");
        }
    });
}

/// CVE-2023-25809: the host's groups that belong to the user who starts the container stay out of its reach, also without a cgroup
/// namespace and with a mount that is asked to be writable.
#[test]
fn groups_of_the_user_are_not_written_from_a_user_namespace() {
    const HOST: u32 = 100_000;
    test(|t| {
        differs!(t, Kind::Runc, "1.1 is older than the fix");
        differs!(t, Kind::Crun, "1.8 gives it away");
        // A group beside the container's, of the user who is root inside: as systemd delegates it to a user.
        let roots = t.cgroups.find(t.marker());
        assert!(roots.is_empty(), "{roots:?}");
        let holder = t.hold(t.bundle());
        let groups: Vec<_> = t.cgroups.find(t.marker()).into_iter().filter(|path| path.ends_with(t.marker())).collect();
        for group in &groups {
            chown(group, Some(HOST), Some(HOST)).unwrap();
        }
        let map = json!([{"containerID": 0, "hostID": HOST, "size": 65536}]);
        let bundle = t
            .bundle()
            .namespace("user", None)
            .set("/linux/uidMappings", map.clone())
            .set("/linux/gidMappings", map)
            .mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "rw"])
            .sh("find /sys/fs/cgroup -type d | while read d; do mkdir $d/planted 2>/dev/null && echo $d; done; echo end");
        let output = t.run(&bundle);
        let planted: Vec<_> = groups.iter().filter(|group| group.join("planted").try_exists().unwrap()).collect();
        for group in &planted {
            fs::remove_dir(group.join("planted")).unwrap();
        }
        assert!(planted.is_empty(), "{planted:?} were written to: {output}");
        assert!(kind() != Kind::Rt || output.stdout.ends_with("end\n"), "{output}");
        holder.end();
    });
}

/// runc 1.5.2 notes: `exec --cgroup` took a group beside the container's whose name begins with the container's.
#[test]
fn groups_beside_the_containers_are_not_entered() {
    test(|t| {
        differs!(t, Kind::Crun, "1.8 has another meaning for it");
        let bundle = t.bundle();
        let group = bundle.spec["linux"]["cgroupsPath"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
        let container = t.hold(bundle);
        let own: Vec<_> = t.cgroups.find(&group).into_iter().filter(|path| path.ends_with(&group)).collect();
        assert!(!own.is_empty());
        let name = format!("{group}x");
        let beside: Vec<_> = own.iter().map(|group| group.with_file_name(&name)).collect();
        beside.iter().for_each(|group| fs::create_dir(group).unwrap());
        for path in [
            format!("../{name}"),
            format!("/../{name}"),
            format!("./../{name}"),
            "..".into(),
            "../../..".into(),
            format!("x/../../{name}"),
        ] {
            let output = container.exec_with(&["--cgroup", &path], &["/bin/cat", "/proc/self/cgroup"]);
            assert!(output.code != 0, "{path}: {output}");
        }
        // An absolute path starts at the container's group.
        let output = container.exec_with(&["--cgroup", &format!("/{name}")], &["/bin/cat", "/proc/self/cgroup"]);
        assert!(!output.stdout.contains(&format!("{}/{name}\n", t.marker())), "{output}");
        beside.iter().for_each(|group| fs::remove_dir(group).unwrap());
        container.end();
    });
}

/// CVE-2025-23266: a hook is a program of the host. What the image says about the environment of the container's program, such as
/// LD_PRELOAD, is not for it.
#[test]
fn hooks_have_nothing_of_the_images_environment() {
    test(|t| {
        differs!(t, Kind::Runc, "1.1 gives a hook without an environment the container's");
        for list in ["prestart", "createRuntime", "createContainer", "startContainer"] {
            for own in [None, Some("OWN=1")] {
                let mut hook = json!({"path": "/bin/sh", "args": ["sh", "-c", "echo; set; false"]});
                if let Some(own) = own {
                    hook["env"] = json!([own]);
                }
                let bundle = t.bundle().set("/hooks", json!({list: [hook]}));
                let bundle = bundle.push("/process/env", json!("LD_PRELOAD=./evil.so"));
                let output = t.run(&bundle);
                assert_ne!(output.code, 0, "{list}: {output}");
                assert!(!output.stderr.contains("evil"), "{list}, {own:?}: {output}");
                assert!(kind() != Kind::Rt || output.stderr.contains("PWD="), "{list}, {own:?}: {output}");
                assert!(kind() != Kind::Rt || own.is_none_or(|own| output.stderr.contains(&own[..4])), "{output}");
            }
        }
    });
}

/// Mount points with their propagation.
fn propagation() -> Vec<String> {
    let text = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
    text.lines()
        .map(|line| line.split(' ').skip(4).take_while(|word| *word != "-").collect::<Vec<_>>().join(" "))
        .collect()
}

/// Mounts of control groups with all their options, the superblock's last.
fn cgroup_mounts() -> Vec<String> {
    let text = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
    text.lines().filter(|line| line.contains(" - cgroup")).map(str::to_owned).collect()
}
