//! What a container may do by default, and the flags that change it.

use std::fs;

use tests::{needs, rtctl_test};

const STATUS: &str = "grep -E '^(Cap|NoNew|Seccomp:)' /proc/self/status";

#[test]
fn defaults_are_dockers() {
    rtctl_test(|r| {
        let text = r.sh(&[], STATUS).ok();
        // chown dac_override fowner fsetid kill setgid setuid setpcap net_bind_service net_raw sys_chroot mknod audit_write setfcap
        for line in
            ["CapEff:\t00000000a80425fb", "CapBnd:\t00000000a80425fb", "CapInh:\t0000000000000000", "Seccomp:\t2"]
        {
            assert!(text.contains(line), "no {line:?} in {text}");
        }
    });
}

#[test]
fn added_and_dropped_capabilities() {
    rtctl_test(|r| {
        assert!(r.sh(&["--cap-drop", "ALL", "--cap-add", "CHOWN"], STATUS).ok().contains("CapEff:\t0000000000000001"));
        assert!(r.sh(&["--cap-drop", "CAP_CHOWN"], STATUS).ok().contains("CapEff:\t00000000a80425fa"));
        assert_eq!(r.sh(&["--cap-add", "FLY"], "true").code, 125);
    });
}

#[test]
fn privileged_is_all_that_we_have() {
    rtctl_test(|r| {
        let own = fs::read_to_string("/proc/self/status").unwrap();
        let own = own.lines().find_map(|line| line.strip_prefix("CapBnd:")).unwrap().trim();
        let text = r
            .sh(
                &["--privileged"],
                &format!(
                    "{STATUS}; ls /dev | wc -l; cat /proc/keys >/dev/null && mount -t tmpfs t /tmp && echo mounted"
                ),
            )
            .ok();
        assert!(text.contains(&format!("CapEff:\t{own}")), "{own}: {text}");
        assert!(text.contains("Seccomp:\t0"), "{text}");
        assert!(text.ends_with("mounted"), "{text}");
    });
}

#[test]
fn seccomp_default_and_unconfined() {
    rtctl_test(|r| {
        let call = format!("{}:/calls:ro", tests::calls().display());
        needs!(
            r.test,
            fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail").is_ok_and(|text| text.contains("errno")),
            "the kernel has no seccomp filters"
        );
        // keyctl(2), 250: docker's profile refuses it.
        assert_eq!(r.sh(&["-v", &call], "/calls x86-64 250 0 -3 0").ok(), "-1");
        assert_ne!(r.sh(&["-v", &call, "--security-opt", "seccomp=unconfined"], "/calls x86-64 250 0 -3 0").ok(), "-1");
        // The same through the other ABIs (i386: 288).
        // getpid(2) tells whether 32-bit calls exist: user-mode Linux takes their numbers for 64-bit ones.
        if r.sh(&["-v", &call], "/calls i386 20").stdout.trim().parse::<i32>().is_ok_and(|pid| pid > 0) {
            let i386 = r.sh(&["-v", &call], "/calls i386 288 0 -3 0");
            assert!(i386.code != 0 || i386.stdout == "-1\n" || i386.stdout == "-38\n", "{i386}");
        }
        let x32 = r.sh(&["-v", &call], "/calls x32 250 0 -3 0");
        assert!(x32.code != 0 || x32.stdout == "-1\n" || x32.stdout == "-38\n", "{x32}");
        assert_eq!(r.sh(&[], "unshare -U true 2>&1 | grep -c 'not permitted'").ok(), "1");
        let file = r.test.dir.join("profile.json");
        fs::write(&file, r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO"}]}"#).unwrap();
        assert_ne!(r.sh(&["--security-opt", &format!("seccomp={}", file.display())], "mkdir /new").code, 0);
    });
}

#[test]
fn no_new_privileges() {
    rtctl_test(|r| {
        assert!(r.sh(&["--security-opt", "no-new-privileges"], STATUS).ok().contains("NoNewPrivs:\t1"));
        assert!(r.sh(&[], STATUS).ok().contains("NoNewPrivs:\t0"));
    });
}

#[test]
fn system_paths() {
    rtctl_test(|r| {
        let script = "cat /proc/keys | wc -c; (: >>/proc/sys/kernel/core_pattern) 2>&1";
        let text = r.sh(&[], script).stdout;
        assert!(text.starts_with("0\n") && text.contains("Read-only"), "{text}");
        let text =
            r.sh(&["--security-opt", "systempaths=unconfined"], "grep -c ' /proc/' /proc/self/mounts || true").ok();
        assert_eq!(text, "0");
    });
}

#[test]
fn image_cannot_reach_the_host() {
    rtctl_test(|r| {
        // The container's root is its layer; the host's mounts are not in its table.
        let text = r.sh(&[], "cat /proc/self/mountinfo").ok();
        let at: Vec<&str> = text.lines().filter_map(|line| line.split(' ').nth(4)).collect();
        for host in ["/home", "/boot", "/tmp", "/var"] {
            assert!(!at.contains(&host), "{text}");
        }
    });
}

/// What is asked for in vain where there is no SELinux is an error, what is for every host is none.
#[test]
fn labels_without_selinux() {
    rtctl_test(|r| {
        needs!(r.test, fs::read("/sys/fs/selinux/enforce").is_err(), "a host with SELinux");
        for option in ["label=type:container_t", "label=level:s0:c1,c2", "label=filetype:f", "label=nested"] {
            r.sh(&["--security-opt", option], "true")
                .fails(&["--security-opt label", "SELinux is not enabled on this host"]);
        }
        r.sh(&["--security-opt", "label=level:s0,c1"], "true").fails(&["s0,c1", "must be a level"]);
        let dir = r.test.dir.join("data");
        fs::create_dir(&dir).unwrap();
        let mount = format!("{}:/data:z", dir.display());
        let id = r.detached(&["--security-opt", "label=disable", "-v", &mount, "busybox", "true"]);
        assert_eq!(r.field(&id, "{{.ProcessLabel}}{{.MountLabel}}"), "");
        assert_eq!(r.field(&id, "{{(index .Mounts 0).Mode}} {{.HostConfig.SecurityOpt}}"), "z [label=disable]");
        r.ok(&["rm", &id]);
    });
}
