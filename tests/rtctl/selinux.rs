//! SELinux labels of containers and of what they mount, on a kernel that enforces them: the machine of `hack/qemu` with RT_QEMU_SELINUX.

use std::fs;
use std::path::Path;
use std::process::Command;

use tests::{Rtctl, needs, rtctl_test};

const SHOW: &str = "tr -d '\\000\\n' </proc/self/attr/current; echo";
/// The label of the container's files: that of the mount.
const FILES: &str = "sed -n 's,.* / / .*context=\"\\([^\"]*\\)\".*,\\1,p' /proc/self/mountinfo";
const FREE: &str = "system_u:system_r:spc_t:s0-s0:c0.c1023";

fn selinux_test(body: impl FnOnce(&Rtctl<'_>)) {
    rtctl_test(|r| {
        let enforcing = fs::read_to_string("/sys/fs/selinux/enforce").is_ok_and(|text| text == "1");
        needs!(r.test, enforcing, "no SELinux that enforces");
        body(r);
    });
}

fn label_of(path: impl AsRef<Path>) -> String {
    let output = Command::new("stat").args(["-c", "%C"]).arg(path.as_ref()).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// The level of a label: its fourth part.
fn level(label: &str) -> &str {
    label.trim().splitn(4, ':').nth(3).unwrap()
}

#[test]
fn a_container_has_a_level_of_its_own() {
    selinux_test(|r| {
        let held = r.detached(&["busybox", "sleep", "1000"]);
        let label = r.ok(&["exec", &held, "sh", "-c", SHOW]);
        assert!(label.starts_with("system_u:system_r:container_t:s0:c"), "{label}");
        assert_eq!(level(&label).split(',').count(), 2, "{label}");
        assert_ne!(level(&r.sh(&[], SHOW).ok()), level(&label));
        assert_eq!(r.field(&held, "{{.ProcessLabel}}"), label);
        let files = format!("system_u:object_r:container_file_t:{}", level(&label));
        assert_eq!(r.field(&held, "{{.MountLabel}}"), files);
        assert_eq!(r.ok(&["exec", &held, "sh", "-c", FILES]), files);

        // What is its own it may use, with a network as well as without.
        let own = "echo x >/made && cat /made /etc/hosts /etc/hostname /etc/resolv.conf >/dev/null && echo x >/dev/shm/made && echo all";
        assert_eq!(r.ok(&["exec", &held, "sh", "-c", own]), "all");
        assert_eq!(
            r.sh(&["--tmpfs", "/tmp", "--init"], &format!("{own} && cat /proc/1/attr/current >/dev/null")).ok(),
            "all"
        );
        // And after it has begun anew.
        r.ok(&["restart", "-t", "0", &held]);
        assert_eq!(r.ok(&["exec", &held, "sh", "-c", &format!("{own}; {SHOW}")]), format!("all\n{label}"));
        // The files of the host it may not.
        let dir = r.test.dir.join("host");
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("file"), "text").unwrap();
        let mounted = format!("{}:/host", dir.display());
        assert_eq!(r.sh(&["-v", &mounted], "cat /host/file 2>/dev/null || echo no").ok(), "no");
        r.ok(&["rm", "-f", &held]);
    });
}

#[test]
fn labels_that_are_asked_for() {
    selinux_test(|r| {
        let asked = |options: &[&str], script: &str| {
            let flags: Vec<&str> = options.iter().flat_map(|option| ["--security-opt", *option]).collect();
            r.sh(&flags, script)
        };
        assert_eq!(asked(&["label=level:s0:c5,c7"], SHOW).ok(), "system_u:system_r:container_t:s0:c5,c7");
        let both = asked(&["label=type:spc_t", "label:level:s0:c8"], SHOW);
        assert_eq!(both.ok(), "system_u:system_r:spc_t:s0:c8");
        let file_type = ["label=filetype:host_file_t", "label=type:spc_t", "label=level:s0:c8,c9"];
        assert_eq!(asked(&file_type, FILES).ok(), "system_u:object_r:host_file_t:s0:c8,c9");

        // Unconfined: the label is the policy's, and no container that is confined uses the files.
        let unconfined: &[&[&str]] =
            &[&["--security-opt", "label=disable"], &["--privileged"], &["--pid", "host"], &["--ipc", "host"]];
        for flags in unconfined {
            let shown = format!("{FREE}\nsystem_u:object_r:container_file_t:s0:c1022,c1023");
            assert_eq!(r.sh(flags, &format!("{SHOW}; {FILES}")).ok(), shown, "{flags:?}");
            if *flags != ["--security-opt", "label=disable"] {
                let flags = [*flags, &["--security-opt", "label=level:s0"]].concat();
                r.sh(&flags, "true").fails(&["label and", flags[0], "exclude each other"]);
            }
        }
        // What the policy does not know.
        for part in ["type:missing_t", "level:s0:c5000", "filetype:missing_t"] {
            let name = part.split_once(':').unwrap().1;
            asked(&[&format!("label={part}")], "true").fails(&[name, "EINVAL"]);
        }
        let seen = "test -e /sys/fs/selinux/enforce && echo yes || echo no";
        assert_eq!(asked(&["label=type:spc_t"], seen).ok(), "no");
        assert_eq!(asked(&["label=type:spc_t", "label=nested"], seen).ok(), "yes");
    });
}

#[test]
fn volumes_are_labelled() {
    selinux_test(|r| {
        let data = r.test.dir.join("data");
        fs::create_dir_all(data.join("below")).unwrap();
        fs::write(data.join("below/file"), "text\n").unwrap();
        let read = "cat /data/below/file 2>/dev/null || echo no";
        let mount = |word: &str| format!("{}:/data{word}", data.display());

        let first = r.detached(&["-v", &mount(":Z"), "busybox", "sleep", "1000"]);
        assert_eq!(r.ok(&["exec", &first, "sh", "-c", read]), "text");
        let private = r.field(&first, "{{.MountLabel}}");
        assert_eq!((label_of(&data), label_of(data.join("below/file"))), (private.clone(), private));
        assert_eq!(r.field(&first, "{{(index .Mounts 0).Mode}}"), "Z");
        assert_eq!(r.sh(&["-v", &mount("")], read).ok(), "no");
        // A link is labelled where it leads.
        let link = r.test.dir.join("link");
        std::os::unix::fs::symlink(&data, &link).unwrap();
        assert_eq!(r.sh(&["-v", &format!("{}:/data:z", link.display())], read).ok(), "text");
        assert_eq!(label_of(data.join("below")), "system_u:object_r:container_file_t:s0");
        assert_eq!(r.sh(&["-v", &mount("")], read).ok(), "text");
        assert_eq!(r.ok(&["exec", &first, "sh", "-c", read]), "text");
        let by_flag = format!("type=bind,src={},dst=/data,relabel=private", data.display());
        assert_eq!(r.sh(&["--mount", &by_flag], read).ok(), "text");
        assert_eq!(r.ok(&["exec", &first, "sh", "-c", read]), "no");
        let from = format!("{first}:z");
        assert_eq!(r.sh(&["--volumes-from", &from], read).ok(), "text");
        r.ok(&["rm", "-f", &first]);

        // Volumes are everybody's, also what one container has made there, unless one has them for itself.
        assert_eq!(r.sh(&["-v", "shared:/data"], "echo made >/data/file; cat /data/file").ok(), "made");
        assert_eq!(r.sh(&["-v", "shared:/data"], "cat /data/file").ok(), "made");
        assert_eq!(r.sh(&["-v", "shared:/data:Z"], "cat /data/file").ok(), "made");
        assert_eq!(r.sh(&["-v", "shared:/data"], "cat /data/file 2>/dev/null || echo no").ok(), "no");
        // With what the image has there.
        assert_eq!(r.sh(&["-v", "filled:/bin"], "echo run").ok(), "run");
        r.ok(&["volume", "rm", "shared", "filled"]);
    });
}

/// The host would not start again, or nobody could log in.
#[test]
fn what_the_host_needs_is_not_labelled() {
    selinux_test(|r| {
        let home = r.test.dir.join("home");
        fs::create_dir(&home).unwrap();
        let shown = home.display().to_string();
        let before = (label_of("/etc"), label_of(&home));
        for source in ["/", "/etc", "/usr/", "/usr/../home", "/bin", &shown] {
            let mount = format!("{source}:/data:Z");
            let mut command = r.command(&["run", "--rm", "-v", &mount, "busybox", "true"]);
            let output: tests::Output = command.env("HOME", &home).output().unwrap().into();
            output.fails(&[source.trim_end_matches('/'), "is the node's own"]);
        }
        assert_eq!((label_of("/etc"), label_of(&home)), before);
    });
}

#[test]
fn a_level_is_shared_with_namespaces() {
    selinux_test(|r| {
        r.ok(&["pod", "create", "--name", "web", "--share", "+pid", "--network", "none"]);
        let show = format!("{SHOW}; tr -d '\\000\\n' </proc/1/attr/current; echo; cat /dev/shm/made 2>/dev/null");
        let held = r.detached(&["--pod", "web", "busybox", "sh", "-c", "echo text >/dev/shm/made; sleep 1000"]);
        let label = r.field(&held, "{{.ProcessLabel}}");
        assert!(label.starts_with("system_u:system_r:container_t:s0:c"), "{label}");
        let second = r.ok(&["run", "--rm", "--pod", "web", "busybox", "sh", "-c", &show]);
        assert_eq!(second, format!("{label}\n{label}\ntext"));
        // Another type, or another level, in the same pod.
        let other = ["run", "--rm", "--pod", "web", "--security-opt", "label=type:spc_t", "busybox", "sh", "-c", SHOW];
        assert_eq!(r.ok(&other), format!("system_u:system_r:spc_t:{}", level(&label)));
        r.ok(&["pod", "rm", "-f", "web"]);

        let alone = r.detached(&["--network", "none", "busybox", "sleep", "1000"]);
        let label = r.field(&alone, "{{.ProcessLabel}}");
        for kind in ["--pid", "--ipc"] {
            assert_eq!(r.sh(&[kind, &format!("container:{alone}")], SHOW).ok(), label, "{kind}");
        }
        // Its names are everybody's who shares its network.
        let shared = format!("container:{alone}");
        let names =
            ["run", "--rm", "--network", &shared, "busybox", "sh", "-c", "cat /etc/hosts >/dev/null && echo read"];
        assert_eq!(r.ok(&names), "read");
        r.ok(&["rm", "-f", &alone]);
    });
}
