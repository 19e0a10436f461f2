//! `process`: user, cwd, environment, rlimits, oom score, descriptors (runtime-spec config.md, "Process" and "POSIX process").

use std::fs;
use std::os::unix::fs::MetadataExt;

use serde_json::json;
use tests::{Kind, differs, needs, test};

#[test]
fn user_groups_and_umask() {
    test(|t| {
        let user = json!({"uid": 1000, "gid": 1001, "additionalGids": [7, 5, 2000], "umask": 0o77});
        let facts = t.facts(t.bundle().set("/process/user", user));
        let status = &facts["status"];
        assert_eq!(status["Uid"], "1000\t1000\t1000\t1000");
        assert_eq!(status["Gid"], "1001\t1001\t1001\t1001");
        let mut groups: Vec<&str> = status["Groups"].as_str().unwrap().split(' ').collect();
        groups.sort_unstable();
        assert_eq!(groups, ["2000", "5", "7"]);
        assert_eq!(status["Umask"], "0077");
    });
}

#[test]
fn default_umask_and_no_groups() {
    test(|t| {
        let facts = t.facts(t.bundle());
        assert_eq!(facts["status"]["Umask"], "0022");
        assert_eq!(facts["status"]["Groups"], "");
    });
}

#[test]
fn environment_is_exactly_the_given_one() {
    test(|t| {
        let facts = t.facts(t.bundle().set("/process/env", json!(["PATH=/bin", "HOME=/nowhere", "A=1=2", "EMPTY="])));
        assert_eq!(facts["env"], json!({"PATH": "/bin", "HOME": "/nowhere", "A": "1=2", "EMPTY": ""}));
    });
}

#[test]
fn home_comes_from_passwd_when_unset() {
    test(|t| {
        let bundle = t
            .bundle()
            .set("/process/env", json!(["PATH=/bin"]))
            .set("/process/user", json!({"uid": 1000, "gid": 1000}));
        assert_eq!(t.facts(bundle)["env"]["HOME"], "/home/user");
    });
}

#[test]
fn working_directory() {
    test(|t| {
        assert_eq!(t.facts(t.bundle().set("/process/cwd", json!("/etc")))["cwd"], "/etc");
        let bundle = t.bundle().set("/process/cwd", json!("/new/folder"));
        let made = bundle.rootfs().join("new/folder");
        let output = t.run(&bundle.args(&["/bin/pwd"]));
        // Made where it is missing.
        assert_eq!(output.ok(), "/new/folder");
        assert_eq!(made.metadata().unwrap().mode() & 0o777, 0o755);
    });
}

#[test]
fn relative_working_directory_is_refused() {
    test(|t| {
        differs!(t, Kind::Crun, "1.8 takes it");
        t.run(&t.bundle().set("/process/cwd", json!("etc"))).fails(&["cwd"]);
    });
}

#[test]
fn program_is_found_in_the_containers_path() {
    test(|t| {
        let bundle = t.bundle().set("/process/env", json!(["PATH=/nowhere:/opt:/bin"])).args(&["mine", "argument"]);
        fs::create_dir(bundle.rootfs().join("opt")).unwrap();
        fs::write(bundle.rootfs().join("opt/mine"), "#!/bin/sh\necho \"$0 $1\"\n").unwrap();
        fs::set_permissions(bundle.rootfs().join("opt/mine"), std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .unwrap();
        assert_eq!(t.run(&bundle).ok(), "/opt/mine argument");
    });
}

#[test]
fn arguments_are_passed_as_they_are() {
    test(|t| {
        let facts = t.run(&t.bundle().args(&["/bin/payload", "facts", "", "two words", "\"quoted\"", "äö\n"])).json();
        assert_eq!(facts["args"], json!(["/bin/payload", "facts", "", "two words", "\"quoted\"", "äö\n"]));
    });
}

#[test]
fn rlimits() {
    test(|t| {
        let limits = json!([
            {"type": "RLIMIT_NOFILE", "soft": 200, "hard": 300},
            {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
            {"type": "RLIMIT_STACK", "soft": 4 << 20, "hard": 8 << 20},
        ]);
        let facts = t.facts(t.bundle().set("/process/rlimits", limits));
        assert_eq!(facts["limits"]["Max open files"], json!(["200", "300"]));
        assert_eq!(facts["limits"]["Max core file size"], json!(["0", "0"]));
        assert_eq!(facts["limits"]["Max stack size"], json!([(4 << 20).to_string(), (8 << 20).to_string()]));
    });
}

#[test]
fn wrong_rlimits_are_refused() {
    test(|t| {
        differs!(t, Kind::Crun, "1.8 leaves the cgroup behind");
        t.run(&t.bundle().set("/process/rlimits", json!([{"type": "RLIMIT_FUN", "soft": 1, "hard": 1}])))
            .fails(&["RLIMIT_FUN"]);
        t.run(&t.bundle().set("/process/rlimits", json!([{"type": "RLIMIT_CORE", "soft": 2, "hard": 1}]))).fails(&[]);
    });
}

#[test]
fn duplicate_rlimits_are_refused() {
    test(|t| {
        differs!(t, Kind::Crun, "1.8 takes the last");
        differs!(t, Kind::Runc, "1.1 takes the last");
        let limit = json!({"type": "RLIMIT_CORE", "soft": 1, "hard": 1});
        t.run(&t.bundle().set("/process/rlimits", json!([limit, limit]))).fails(&["process.rlimits"]);
    });
}

#[test]
fn oom_score() {
    test(|t| {
        assert_eq!(t.facts(t.bundle().set("/process/oomScoreAdj", json!(500)))["oom_score_adj"], 500);
    });
}

#[test]
fn lower_oom_score_needs_a_capability() {
    test(|t| {
        needs!(t, tests::has_capability(24), "no CAP_SYS_RESOURCE");
        assert_eq!(t.facts(t.bundle().set("/process/oomScoreAdj", json!(-500)))["oom_score_adj"], -500);
    });
}

#[test]
fn only_standard_descriptors_are_open() {
    test(|t| {
        let facts = t.facts(t.bundle());
        let fds: Vec<&String> = facts["fds"].as_object().unwrap().keys().collect();
        assert_eq!(fds, ["0", "1", "2"], "{}", facts["fds"]);
    });
}

#[test]
fn callers_descriptors_stay_outside() {
    test(|t| {
        let bundle = t.bundle().args(&["/bin/payload", "facts"]);
        bundle.write();
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", "exec \"$0\" \"$@\" 3</ 4</proc 5</etc/passwd 9</dev/null"]);
        let inner = t.command(&["run", "--bundle", bundle.dir.to_str().unwrap(), &t.id()]);
        shell.arg(inner.get_program()).args(inner.get_args()).stdin(std::process::Stdio::null());
        let facts = tests::Output::from(shell.output().unwrap()).json();
        let fds: Vec<&String> = facts["fds"].as_object().unwrap().keys().collect();
        assert_eq!(fds, ["0", "1", "2"], "{}", facts["fds"]);
    });
}

#[test]
fn preserved_descriptors_come_inside() {
    test(|t| {
        let bundle = t.bundle().sh("cat <&3; cat <&4; ls /proc/self/fd | wc -l");
        bundle.write();
        for (name, text) in [("three", "3\n"), ("four", "4\n")] {
            fs::write(t.dir.join(name), text).unwrap();
        }
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", "cd \"$0\"; exec \"$@\" 3<three 4<four 5</etc/passwd"]).arg(&t.dir);
        let inner = t.command(&["run", "--preserve-fds", "2", "--bundle", bundle.dir.to_str().unwrap(), &t.id()]);
        shell.arg(inner.get_program()).args(inner.get_args()).stdin(std::process::Stdio::null());
        // 0 to 4 and the one that reads the folder.
        assert_eq!(tests::Output::from(shell.output().unwrap()).ok(), "3\n4\n6");
    });
}

#[test]
fn standard_input_is_the_callers() {
    test(|t| {
        let bundle = t.bundle().args(&["/bin/cat"]);
        bundle.write();
        let mut command = t.command(&["run", "--bundle", bundle.dir.to_str().unwrap(), &t.id()]);
        let mut child =
            command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"through").unwrap();
        let output: tests::Output = child.wait_with_output().unwrap().into();
        assert_eq!(output.ok(), "through");
    });
}

#[test]
fn it_leads_its_own_session() {
    test(|t| {
        let facts = t.facts(t.bundle());
        assert_eq!((&facts["sid"], &facts["pgrp"]), (&json!(1), &json!(1)));
    });
}

#[test]
fn signals_are_as_a_new_process_has_them() {
    test(|t| {
        let facts = t.facts(t.bundle());
        assert_eq!(facts["status"]["SigBlk"], "0000000000000000");
        // Ignored are at most those that the caller ignores, and SIGPIPE (13) by the payload itself.
        let own = fs::read_to_string("/proc/self/status").unwrap();
        let own = own.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
        let [own, ignored] =
            [own, facts["status"]["SigIgn"].as_str().unwrap()].map(|set| u64::from_str_radix(set.trim(), 16).unwrap());
        assert_eq!(ignored & !(1 << 12) & !own, 0, "{ignored:#x}");
    });
}

#[test]
fn empty_arguments_are_refused() {
    test(|t| {
        differs!(t, Kind::Crun, "1.8 says invalid argument alone");
        t.run(&t.bundle().set("/process/args", json!([]))).fails(&["args"]);
        t.run(&t.bundle().unset("/process/args")).fails(&["args"]);
    });
}

#[test]
fn personality_of_32_bit() {
    test(|t| {
        differs!(t, Kind::Runc, "1.1 does not know personality");
        let facts = t.facts(t.bundle().set("/linux/personality", json!({"domain": "LINUX32"})));
        assert_eq!(facts["personality"], "00000008");
    });
}
