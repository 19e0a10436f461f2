//! What containers may do, and who they are.

use std::fs;
use std::process::{Command, Stdio};

use proto::v1::security_profile::ProfileType;
use proto::v1::{
    Capability, ContainerConfig, Int64Value, LinuxContainerSecurityContext, NamespaceMode, SecurityProfile,
    SupplementalGroupsPolicy,
};
use tests::pods::namespaces_of;
use tests::{needs, pod_test};
use tonic::Code;

use crate::lab::{changed, finish, linux, logged, output, secured, security};

const STATUS: &str = "grep -E '^(Cap(Inh|Prm|Eff|Bnd|Amb)|NoNewPrivs|Seccomp|Groups|Uid|Gid):' /proc/self/status";

fn id(value: i64) -> Option<Int64Value> {
    Some(Int64Value { value })
}

/// A line of /proc/PID/status, without its name.
fn line<'a>(status: &'a str, name: &str) -> &'a str {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("{name}: {status}")).trim()
}

fn mask(status: &str, name: &str) -> u64 {
    u64::from_str_radix(line(status, name), 16).unwrap()
}

#[test]
fn users_and_groups() {
    pod_test(async |rtd| {
        let config = logged(rtd, "web");
        let pod = rtd.run(&config).await.unwrap();
        type Change = fn(&mut LinuxContainerSecurityContext);
        let cases: [(&str, Change, &str, &str, &str); 6] = [
            ("image", |_| {}, "0", "0", "0"),
            ("number", |s| s.run_as_user = id(1001), "1001", "0", "0"),
            ("both", |s| (s.run_as_user, s.run_as_group) = (id(1001), id(1002)), "1001", "1002", "1002"),
            ("name", |s| s.run_as_username = "nobody".into(), "65534", "65534", "100 65534"),
            (
                "merged",
                |s| (s.run_as_username, s.supplemental_groups) = ("nobody".into(), vec![5, 7]),
                "65534",
                "65534",
                "5 7 100 65534",
            ),
            (
                "strict",
                |s| {
                    (s.run_as_username, s.supplemental_groups) = ("nobody".into(), vec![5, 7]);
                    s.supplemental_groups_policy = SupplementalGroupsPolicy::Strict as i32;
                },
                "65534",
                "65534",
                "5 7 65534",
            ),
        ];
        for (name, change, uid, gid, groups) in cases {
            let id = rtd.create(&pod, &secured(name, STATUS, change), &config).await.unwrap();
            let told = rtd.status(&id).await.unwrap().user.unwrap().linux.unwrap();
            assert_eq!((told.uid.to_string().as_str(), told.gid.to_string().as_str()), (uid, gid), "{name}");
            let told: Vec<_> = told.supplemental_groups.iter().map(ToString::to_string).collect();
            assert_eq!(told.join(" "), groups, "{name}");
            rtd.remove_container(&id).await.unwrap();
            let seen = output(rtd, &pod, &config, &secured(name, STATUS, change)).await;
            assert_eq!(line(&seen, "Uid").split('\t').next(), Some(uid), "{name}");
            assert_eq!(line(&seen, "Gid").split('\t').next(), Some(gid), "{name}");
            assert_eq!(line(&seen, "Groups"), groups, "{name}");
        }
        // What cannot be is said when the container is made.
        let refused: [(Change, Code); 6] = [
            (|s| s.run_as_group = id(1), Code::InvalidArgument),
            (|s| s.run_as_username = "nobody-knows".into(), Code::Unknown),
            (|s| s.run_as_user = id(-1), Code::InvalidArgument),
            // CVE-2024-40635: what does not fit into the kernel's number became root.
            (|s| s.run_as_user = id(1 << 32), Code::InvalidArgument),
            (|s| s.run_as_user = id(i64::MAX), Code::InvalidArgument),
            (|s| s.run_as_user = id(i64::MIN), Code::InvalidArgument),
        ];
        for (change, code) in refused {
            let error = rtd.create(&pod, &secured("wrong", "true", change), &config).await.unwrap_err();
            assert_eq!(error.code(), code, "{error}");
        }
        rtd.remove_pod(&pod).await.unwrap();
    });
}

#[test]
fn capabilities() {
    const NET_ADMIN: u64 = 1 << 12;
    const CHOWN: u64 = 1;
    pod_test(async |rtd| {
        let config = logged(rtd, "web");
        let pod = rtd.run(&config).await.unwrap();
        let with = |add: &[&str], drop: &[&str], ambient: &[&str]| {
            let list = |names: &[&str]| names.iter().map(ToString::to_string).collect();
            let capabilities = Capability {
                add_capabilities: list(add),
                drop_capabilities: list(drop),
                add_ambient_capabilities: list(ambient),
            };
            move |security: &mut LinuxContainerSecurityContext| security.capabilities = Some(capabilities)
        };
        let own = std::fs::read_to_string("/proc/self/status").unwrap();
        let all = mask(&own, "CapBnd");

        let plain = output(rtd, &pod, &config, &secured("plain", STATUS, |_| {})).await;
        let default = mask(&plain, "CapEff");
        assert_eq!((default & NET_ADMIN, default & CHOWN), (0, CHOWN));
        assert_eq!((mask(&plain, "CapInh"), mask(&plain, "CapAmb"), mask(&plain, "CapBnd")), (0, 0, default));
        let added = output(rtd, &pod, &config, &secured("add", STATUS, with(&["NET_ADMIN"], &[], &[]))).await;
        assert_eq!(mask(&added, "CapEff"), default | NET_ADMIN);
        let dropped = output(rtd, &pod, &config, &secured("drop", STATUS, with(&[], &["CHOWN"], &[]))).await;
        assert_eq!(mask(&dropped, "CapBnd"), default & !CHOWN);
        let every = output(rtd, &pod, &config, &secured("all", STATUS, with(&["ALL"], &[], &[]))).await;
        assert_eq!(mask(&every, "CapEff"), all);
        let none = output(rtd, &pod, &config, &secured("none", STATUS, with(&[], &["ALL"], &[]))).await;
        assert_eq!((mask(&none, "CapEff"), mask(&none, "CapBnd")), (0, 0));
        let ambient = secured("ambient", STATUS, |security| {
            with(&[], &["ALL"], &["NET_ADMIN"])(security);
            security.run_as_user = id(1000);
        });
        let ambient = output(rtd, &pod, &config, &ambient).await;
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(mask(&ambient, set), NET_ADMIN, "{set}");
        }
        let wrong = rtd.create(&pod, &secured("no", "true", with(&["NOPE"], &[], &[])), &config).await.unwrap_err();
        assert_eq!(wrong.code(), Code::InvalidArgument, "{wrong}");
        rtd.remove_pod(&pod).await.unwrap();
    });
}

#[test]
fn privileged() {
    pod_test(async |rtd| {
        let config = logged(rtd, "plain");
        let pod = rtd.run(&config).await.unwrap();
        let all = secured("all", STATUS, |security| security.privileged = true);
        let refused = rtd.create(&pod, &all, &config).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
        let script = "ls -d /dev/*; grep ' /sys ' /proc/self/mounts";
        let plain = output(rtd, &pod, &config, &changed("see", script, |_| {})).await;
        assert!(plain.lines().any(|line| line.contains(" /sys sysfs ro,")), "{plain}");
        rtd.remove_pod(&pod).await.unwrap();

        let mut config = logged(rtd, "privileged");
        linux(&mut config).security_context.as_mut().unwrap().privileged = true;
        let pod = rtd.run(&config).await.unwrap();
        let all = secured("all", STATUS, |security| {
            security.privileged = true;
            security.seccomp = Some(SecurityProfile::default());
        });
        let seen = output(rtd, &pod, &config, &all).await;
        let own = std::fs::read_to_string("/proc/self/status").unwrap();
        assert_eq!(mask(&seen, "CapEff"), mask(&own, "CapBnd"));
        assert_eq!(line(&seen, "Seccomp"), "0");
        let open = output(rtd, &pod, &config, &secured("see", script, |security| security.privileged = true)).await;
        assert!(open.lines().any(|line| line.contains(" /sys sysfs rw,")), "{open}");
        let nodes = |text: &str| text.lines().filter(|line| line.starts_with("/dev/")).count();
        assert!(nodes(&open) > nodes(&plain), "{open}");
        rtd.remove_pod(&pod).await.unwrap();
    });
}

#[test]
fn system_call_filters() {
    pod_test(async |rtd| {
        let config = logged(rtd, "web");
        let pod = rtd.run(&config).await.unwrap();
        let path = rtd.test.dir.join("profile.json");
        let text = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO"}]}"#;
        std::fs::write(&path, text).unwrap();
        let profile = |kind: ProfileType, reference: &str| {
            Some(SecurityProfile { profile_type: kind as i32, localhost_ref: reference.to_owned() })
        };
        let script = format!("{STATUS}; mkdir /made && echo made");
        let path = path.to_str().unwrap();
        for (name, given, seccomp, made) in [
            ("nil", None, "0", true),
            ("default", profile(ProfileType::RuntimeDefault, ""), "2", true),
            ("unconfined", profile(ProfileType::Unconfined, ""), "0", true),
            ("localhost", profile(ProfileType::Localhost, path), "2", false),
        ] {
            let (_, seen) = finish(rtd, &pod, &config, &secured(name, &script, |s| s.seccomp = given)).await.unwrap();
            assert_eq!(line(&seen, "Seccomp"), seccomp, "{name}");
            assert_eq!(seen.lines().any(|line| line == "made"), made, "{name}: {seen}");
        }
        for (name, given) in [("gone", "/nonexistent.json"), ("relative", "profile.json")] {
            let config_of = secured(name, "true", |s| s.seccomp = profile(ProfileType::Localhost, given));
            let error = rtd.create(&pod, &config_of, &config).await.unwrap_err();
            assert!(error.message().contains("seccomp"), "{error}");
        }
        rtd.remove_pod(&pod).await.unwrap();
    });
}

#[test]
fn apparmor_profiles() {
    pod_test(async |rtd| {
        let config = logged(rtd, "web");
        let pod = rtd.run(&config).await.unwrap();
        let profile = |kind: ProfileType, reference: &str| {
            Some(SecurityProfile { profile_type: kind as i32, localhost_ref: reference.to_owned() })
        };
        for (name, given) in [
            ("nil", None),
            ("default", profile(ProfileType::RuntimeDefault, "")),
            ("unconfined", profile(ProfileType::Unconfined, "")),
        ] {
            output(rtd, &pod, &config, &secured(name, "true", |s| s.apparmor = given)).await;
        }
        // With AppArmor it is not loaded, and without there is nothing to load.
        for given in ["rt-test-not-loaded", "localhost/rt-test-not-loaded"] {
            let wrong = secured("wrong", "true", |s| s.apparmor = profile(ProfileType::Localhost, given));
            let error = rtd.create(&pod, &wrong, &config).await.unwrap_err();
            assert_eq!(error.code(), Code::InvalidArgument, "{error}");
            assert!(error.message().contains("\"rt-test-not-loaded\""), "{error}");
        }
        rtd.remove_pod(&pod).await.unwrap();
    });
}

/// What the profile decides is the last that is in the way: no filter, all capabilities, nothing masked, the node's processes.
#[test]
fn the_default_apparmor_profile_confines() {
    pod_test(async |rtd| {
        let enabled = fs::read("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.first() == Some(&b'Y'));
        needs!(rtd.test, enabled, "the kernel has no AppArmor, or it is off (hack/uml-systemd has one)");
        let found = Command::new("apparmor_parser").arg("--version").stdout(Stdio::null()).status();
        needs!(rtd.test, found.is_ok(), "no apparmor_parser");
        let mut config = logged(rtd, "web");
        namespaces_of(&mut config).pid = NamespaceMode::Node as i32;
        let pod = rtd.run(&config).await.unwrap();
        let script = r#"
            try() { "$@" 2>/dev/null && echo "$1 yes" || echo "$1 no"; }
            again() { value=$(cat "$1"); (echo "$value" >"$1"); }
            domainname() { again /proc/sys/kernel/domainname; }
            shm() { again /proc/sys/kernel/shm_rmid_forced; }
            own() { again /proc/self/oom_score_adj; }
            ours() { sleep 1000 & kill $!; }
            cat /proc/self/attr/current
            try mount -t tmpfs none /tmp
            try kill -0 1
            try domainname
            try shm
            try own
            try ours"#;
        let wide = |kind: Option<ProfileType>| {
            move |s: &mut LinuxContainerSecurityContext| {
                s.apparmor =
                    kind.map(|kind| SecurityProfile { profile_type: kind as i32, localhost_ref: String::new() });
                s.capabilities = Some(Capability { add_capabilities: vec!["ALL".into()], ..Capability::default() });
                s.namespace_options.get_or_insert_default().pid = NamespaceMode::Node as i32;
            }
        };
        let free = "unconfined\nmount yes\nkill yes\ndomainname yes\nshm yes\nown yes\nours yes\n";
        let confined = "rt-default (enforce)\nmount no\nkill no\ndomainname no\nshm yes\nown yes\nours yes\n";
        for (name, kind, expected) in [
            ("nil", None, confined),
            ("default", Some(ProfileType::RuntimeDefault), confined),
            ("free", Some(ProfileType::Unconfined), free),
        ] {
            assert_eq!(output(rtd, &pod, &config, &secured(name, script, wide(kind))).await, expected, "{name}");
        }
        // The node's signals arrive.
        let id = rtd.create(&pod, &secured("stopped", "exec sleep 1000", wide(None)), &config).await.unwrap();
        rtd.start(&id).await.unwrap();
        rtd.stop_container(&id, 0).await.unwrap();
        assert_eq!(rtd.ended(&id).await.exit_code, 137);
        rtd.remove_pod(&pod).await.unwrap();
    });
}

#[test]
fn paths_and_root() {
    pod_test(async |rtd| {
        let config = logged(rtd, "web");
        let pod = rtd.run(&config).await.unwrap();
        let script =
            "wc -c < /proc/filesystems; touch /proc/sys/kernel/shm_rmid_forced && echo writable; touch /x && echo root";
        let run = |name: &str, change: fn(&mut LinuxContainerSecurityContext)| secured(name, script, change);
        // Nothing is masked or read-only that was not named.
        let (_, open) = finish(rtd, &pod, &config, &run("open", |_| {})).await.unwrap();
        let lines: Vec<_> = open.lines().collect();
        assert!(lines[0] != "0" && lines[1..] == ["writable", "root"], "{open}");
        let closed = run("closed", |s| {
            s.masked_paths = vec!["/proc/filesystems".into(), "/proc/not-there".into()];
            s.readonly_paths = vec!["/proc/sys".into()];
            s.readonly_rootfs = true;
        });
        let (code, text) = finish(rtd, &pod, &config, &closed).await.unwrap();
        assert_eq!(code, 1);
        assert!(text.starts_with("0\n"), "{text}");
        assert_eq!(text.matches("Read-only file system").count(), 2, "{text}");
        let seen = output(rtd, &pod, &config, &secured("bound", STATUS, |s| s.no_new_privs = true)).await;
        assert_eq!(line(&seen, "NoNewPrivs"), "1");
        rtd.remove_pod(&pod).await.unwrap();
    });
}

#[test]
fn kernel_parameters() {
    pod_test(async |rtd| {
        let mut config = logged(rtd, "web");
        linux(&mut config).sysctls.insert("kernel/shm_rmid_forced".into(), "1".into());
        let pod = rtd.run(&config).await.unwrap();
        let read = "cat /proc/sys/kernel/shm_rmid_forced";
        assert_eq!(output(rtd, &pod, &config, &changed("one", read, |_| {})).await, "1\n");
        rtd.remove_pod(&pod).await.unwrap();
        // The node's, or of a namespace that is the node's: the network's, here.
        for name in ["kernel.core_pattern", "vm.swappiness", "net.ipv4.ip_forward", "nonsense", "net/../kernel/x"] {
            let mut config = logged(rtd, "wrong");
            linux(&mut config).sysctls.insert(name.into(), "1".into());
            let error = rtd.run(&config).await.unwrap_err();
            assert_eq!(error.code(), Code::InvalidArgument, "{error}");
            assert!(error.message().contains("config.linux.sysctls["), "{error}");
        }
    });
}

#[test]
fn processes_are_shared_as_asked() {
    pod_test(async |rtd| {
        let mut config = logged(rtd, "shared");
        namespaces_of(&mut config).pid = NamespaceMode::Pod as i32;
        let pod = rtd.run(&config).await.unwrap();
        let pid = |config: &mut ContainerConfig, mode: NamespaceMode, target: &str| {
            let options = security(config).namespace_options.get_or_insert_default();
            (options.pid, options.target_id) = (mode as i32, target.to_owned());
        };
        let sleeper = changed("sleeper", "exec sleep 1001", |config| pid(config, NamespaceMode::Pod, ""));
        let sleeper_id = rtd.create(&pod, &sleeper, &config).await.unwrap();
        rtd.start(&sleeper_id).await.unwrap();
        let script = "ps -o pid,args | grep '[s]leep 100'; echo own $$";
        let see = |name: &str, mode, target: &str| changed(name, script, |config| pid(config, mode, target));
        let shared = output(rtd, &pod, &config, &see("shared", NamespaceMode::Pod, "")).await;
        assert!(shared.contains("sleep 1001") && !shared.contains("own 1\n"), "{shared}");
        let apart = output(rtd, &pod, &config, &see("apart", NamespaceMode::Container, "")).await;
        assert_eq!(apart, "own 1\n");

        let alone = changed("alone", "exec sleep 1002", |config| pid(config, NamespaceMode::Container, ""));
        let alone_id = rtd.create(&pod, &alone, &config).await.unwrap();
        let early = rtd.create(&pod, &see("early", NamespaceMode::Target, &alone_id), &config).await.unwrap_err();
        assert_eq!(early.code(), Code::FailedPrecondition, "{early}");
        rtd.start(&alone_id).await.unwrap();
        let target = output(rtd, &pod, &config, &see("target", NamespaceMode::Target, &alone_id)).await;
        assert!(target.contains("sleep 1002") && !target.contains("sleep 1001"), "{target}");
        let node = rtd.create(&pod, &see("node", NamespaceMode::Node, ""), &config).await.unwrap_err();
        assert_eq!(node.code(), Code::InvalidArgument, "{node}");
        rtd.remove_pod(&pod).await.unwrap();
    });
}

#[test]
fn memory_is_shared_in_the_pod() {
    pod_test(async |rtd| {
        let config = logged(rtd, "web");
        let pod = rtd.run(&config).await.unwrap();
        output(rtd, &pod, &config, &changed("write", "echo word > /dev/shm/x", |_| {})).await;
        assert_eq!(output(rtd, &pod, &config, &changed("read", "cat /dev/shm/x", |_| {})).await, "word\n");
        rtd.remove_pod(&pod).await.unwrap();
    });
}
