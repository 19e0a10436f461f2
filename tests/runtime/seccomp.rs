//! `linux.seccomp` (runtime-spec config-linux.md, "Seccomp"), for each of the three ABIs of x86-64.

use serde_json::{Value, json};
use tests::{Bundle, Kind, Test, differs, kind, test};

const EPERM: &str = "-1";
const ENOSYS: &str = "-38";

/// A profile that allows all but some calls.
fn denying(rules: Value) -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": rules,
    })
}

fn with(t: &Test, profile: Value) -> Bundle {
    t.bundle().set("/linux/seccomp", profile)
}

/// What the kernel answers to one system call under the profile.
fn answer(t: &Test, profile: &Value, call: &[&str]) -> String {
    let mut args = vec!["/bin/calls"];
    args.extend(call);
    t.run(&with(t, profile.clone()).args(&args)).ok()
}

fn supported(t: &Test) -> bool {
    // User-mode Linux of Debian 12 knows filters, but only for its own ABI.
    let actions = std::fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail").unwrap_or_default();
    if !actions.contains("errno") {
        t.skip("the kernel has no seccomp filters");
    }
    actions.contains("errno")
}

#[test]
fn filter_is_loaded() {
    test(|t| {
        if !supported(t) {
            return;
        }
        let facts = t.facts(with(t, denying(json!([{"names": ["syslog"], "action": "SCMP_ACT_ERRNO"}]))));
        assert_eq!(facts["status"]["Seccomp"], "2");
        assert_eq!(t.facts(t.bundle())["status"]["Seccomp"], "0");
    });
}

#[test]
fn errno_action() {
    test(|t| {
        if !supported(t) {
            return;
        }
        let profile = denying(json!([
            {"names": ["times"], "action": "SCMP_ACT_ERRNO"},
            {"names": ["getpgrp"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38},
        ]));
        assert_eq!(answer(t, &profile, &["x86-64", "100"]), EPERM);
        assert_eq!(answer(t, &profile, &["x86-64", "111"]), ENOSYS);
        assert_eq!(answer(t, &profile, &["x86-64", "39"]), "1", "getpid is not in it");
    });
}

#[test]
fn other_abis_have_the_same_policy() {
    test(|t| {
        if !supported(t) {
            return;
        }
        // getpid; user-mode Linux takes the number for a 64-bit one.
        let i386 = t.run(&t.bundle().args(&["/bin/calls", "i386", "20"])).stdout == "1\n";
        let profile = denying(json!([{"names": ["times"], "action": "SCMP_ACT_ERRNO", "errnoRet": 99}]));
        if i386 {
            assert_eq!(answer(t, &profile, &["i386", "43"]), "-99");
            assert_eq!(answer(t, &profile, &["i386", "20"]), "1", "getpid is not in it");
        } else {
            t.skip("the kernel runs no 32-bit calls");
        }
        // A kernel without x32 answers ENOSYS itself, after the filter.
        assert_eq!(answer(t, &profile, &["x32", "100"]), "-99");
    });
}

#[test]
fn programs_of_other_abis() {
    test(|t| {
        if !supported(t) {
            return;
        }
        let profile = denying(json!([{"names": ["times"], "action": "SCMP_ACT_ERRNO", "errnoRet": 99}]));
        for abi in ["i386", "x32"] {
            let run = |bundle: Bundle| {
                std::fs::copy(tests::small(abi), bundle.rootfs().join("bin/small")).unwrap();
                t.run(&bundle.args(&["/bin/small"])).code
            };
            let free = run(t.bundle());
            if free != 0 {
                t.skip(&format!("the kernel runs no {abi} programs"));
                continue;
            }
            assert_eq!(run(with(t, profile.clone())), 99, "{abi}");
        }
    });
}

/// What the kernel answers to getpid(2) by x32, without a filter: -38 where it has no x32.
fn has_x32(t: &Test) -> bool {
    let has = t.run(&t.bundle().args(&["/bin/calls", "x32", "39"])).stdout == "1\n";
    if !has {
        t.skip("the kernel runs no x32 programs");
    }
    has
}

#[test]
fn x32_has_numbers_of_its_own() {
    test(|t| {
        if !supported(t) || !has_x32(t) {
            return;
        }
        // ioctl is 514 there, 16 is nothing; without a rule it would be EBADF.
        let profile = denying(json!([{"names": ["ioctl"], "action": "SCMP_ACT_ERRNO", "errnoRet": 99}]));
        assert_eq!(t.run(&t.bundle().args(&["/bin/calls", "x32", "514", "77"])).ok(), "-9");
        for (abi, number, answered) in
            [("x32", "514", "-99"), ("x32", "16", ENOSYS), ("x86-64", "16", "-99"), ("i386", "54", "-99")]
        {
            assert_eq!(answer(t, &profile, &[abi, number, "77"]), answered, "{abi} {number}");
        }
        // And 54, which is ioctl on i386, is setsockopt of the others (x32: 541).
        let profile = denying(json!([{"names": ["setsockopt"], "action": "SCMP_ACT_ERRNO", "errnoRet": 98}]));
        for (abi, number, answered) in
            [("x86-64", "54", "-98"), ("x32", "541", "-98"), ("i386", "366", "-98"), ("i386", "54", "-9")]
        {
            assert_eq!(answer(t, &profile, &[abi, number, "77"]), answered, "{abi} {number}");
        }
    });
}

#[test]
fn x32_has_the_answers_of_the_rules() {
    test(|t| {
        if !supported(t) || !has_x32(t) {
            return;
        }
        let equals = |value: u64| json!([{"index": 1, "op": "SCMP_CMP_EQ", "value": value}]);
        let profile = denying(json!([
            {"names": ["times"], "action": "SCMP_ACT_ERRNO"},
            {"names": ["getpgrp"], "action": "SCMP_ACT_ERRNO", "errnoRet": 200},
            {"names": ["syslog"], "action": "SCMP_ACT_KILL_PROCESS"},
            {"names": ["getpriority"], "action": "SCMP_ACT_ERRNO", "errnoRet": 97, "args": equals(7)},
        ]));
        assert_eq!(answer(t, &profile, &["x32", "39"]), "1", "getpid");
        assert_eq!(answer(t, &profile, &["x32", "100"]), EPERM, "times");
        assert_eq!(answer(t, &profile, &["x32", "111"]), "-200", "getpgrp");
        assert_eq!(answer(t, &profile, &["x32", "140", "0", "7"]), "-97", "getpriority");
        assert_ne!(answer(t, &profile, &["x32", "140", "0", "8"]), "-97", "getpriority");
        let output = t.run(&with(t, profile).args(&["/bin/calls", "x32", "103"]));
        assert_eq!(output.code, 128 + 31, "syslog: {output}");
    });
}

#[test]
fn x32_is_killed_where_it_is_not_listed() {
    test(|t| {
        if !supported(t) || !has_x32(t) {
            return;
        }
        for listed in [&["SCMP_ARCH_X86_64"][..], &["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"], &[]] {
            let mut profile = denying(json!([{"names": ["times"], "action": "SCMP_ACT_ERRNO"}]));
            profile["architectures"] = json!(listed);
            assert_eq!(answer(t, &profile, &["x86-64", "39"]), "1", "{listed:?}");
            // getpid, which no rule is about, and exit, with which a program of that ABI would end.
            let output = t.run(&with(t, profile.clone()).args(&["/bin/calls", "x32", "39"]));
            assert_eq!(output.code, 128 + 31, "{listed:?}: {output}");
            let bundle = with(t, profile);
            std::fs::copy(tests::small("x32"), bundle.rootfs().join("bin/small")).unwrap();
            let output = t.run(&bundle.args(&["/bin/small"]));
            assert_eq!(output.code, 128 + 31, "{listed:?}: {output}");
        }
    });
}

#[test]
fn abi_that_is_not_listed_is_no_open_door() {
    test(|t| {
        if !supported(t) {
            return;
        }
        let mut profile = denying(json!([{"names": ["times"], "action": "SCMP_ACT_ERRNO", "errnoRet": 99}]));
        profile["architectures"] = json!(["SCMP_ARCH_X86_64"]);
        let output = t.run(&with(t, profile.clone()).args(&["/bin/calls", "i386", "43"]));
        // Killed, or an error; never an answer.
        assert!(output.code != 0 || output.stdout.starts_with('-'), "{output}");
        let output = t.run(&with(t, profile).args(&["/bin/calls", "x32", "100"]));
        assert!(output.code != 0 || output.stdout.starts_with('-'), "{output}");
    });
}

#[test]
fn kill_action() {
    test(|t| {
        if !supported(t) {
            return;
        }
        for action in ["SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD"] {
            let profile = denying(json!([{"names": ["times"], "action": action}]));
            let output = t.run(&with(t, profile).args(&["/bin/calls", "x86-64", "100"]));
            assert_eq!(output.code, 128 + 31, "{action}: {output}");
        }
    });
}

#[test]
fn trap_and_log_actions() {
    test(|t| {
        if !supported(t) {
            return;
        }
        let profile = denying(json!([{"names": ["times"], "action": "SCMP_ACT_TRAP"}]));
        let output = t.run(&with(t, profile).args(&["/bin/calls", "x86-64", "100"]));
        assert_eq!(output.code, 128 + 31, "SIGSYS without a handler: {output}");
        let profile = denying(json!([{"names": ["times"], "action": "SCMP_ACT_LOG"}]));
        assert!(!answer(t, &profile, &["x86-64", "100"]).starts_with('-'), "it is only logged");
    });
}

#[test]
fn arguments_are_compared() {
    test(|t| {
        if !supported(t) {
            return;
        }
        // getpriority(which, who): -3 is ESRCH, -22 EINVAL; values above 32 bits are compared as well.
        let rule = |op: &str, value: u64, two: u64| json!([{"names": ["getpriority"], "action": "SCMP_ACT_ERRNO", "errnoRet": 99, "args": [{"index": 1, "op": op, "value": value, "valueTwo": two}]}]);
        for (op, value, two, argument, denied) in [
            ("SCMP_CMP_EQ", 7, 0, "7", true),
            ("SCMP_CMP_EQ", 7, 0, "8", false),
            ("SCMP_CMP_NE", 7, 0, "8", true),
            ("SCMP_CMP_NE", 7, 0, "7", false),
            ("SCMP_CMP_LT", 7, 0, "6", true),
            ("SCMP_CMP_LT", 7, 0, "7", false),
            ("SCMP_CMP_LE", 7, 0, "7", true),
            ("SCMP_CMP_LE", 7, 0, "8", false),
            ("SCMP_CMP_GT", 7, 0, "8", true),
            ("SCMP_CMP_GT", 7, 0, "7", false),
            ("SCMP_CMP_GE", 7, 0, "7", true),
            ("SCMP_CMP_GE", 7, 0, "6", false),
            ("SCMP_CMP_MASKED_EQ", 0xf0, 0x30, "0x35", true),
            ("SCMP_CMP_MASKED_EQ", 0xf0, 0x30, "0x45", false),
            ("SCMP_CMP_EQ", 1 << 32, 0, "0", false),
            ("SCMP_CMP_EQ", 1 << 32, 0, "0x100000000", true),
            ("SCMP_CMP_GT", 1 << 32, 0, "0xffffffff", false),
            ("SCMP_CMP_GT", 1 << 32, 0, "0x100000001", true),
        ] {
            let got = answer(t, &denying(rule(op, value, two)), &["x86-64", "140", "0", argument]);
            assert_eq!(got == "-99", denied, "{op} {value:#x} {two:#x} against {argument}: {got}");
        }
    });
}

#[test]
fn all_arguments_of_a_rule_must_match() {
    test(|t| {
        if !supported(t) {
            return;
        }
        let rules = json!([{"names": ["getpriority"], "action": "SCMP_ACT_ERRNO", "errnoRet": 99, "args": [
            {"index": 0, "op": "SCMP_CMP_EQ", "value": 0}, {"index": 1, "op": "SCMP_CMP_EQ", "value": 7}]}]);
        let profile = denying(rules);
        assert_eq!(answer(t, &profile, &["x86-64", "140", "0", "7"]), "-99");
        assert_ne!(answer(t, &profile, &["x86-64", "140", "0", "8"]), "-99");
        assert_ne!(answer(t, &profile, &["x86-64", "140", "1", "7"]), "-99");
    });
}

/// Enough for a static program that prints a line, and for what a runtime itself does after it has loaded the filter.
const NEEDED: &[&str] = &[
    "access",
    "arch_prctl",
    "brk",
    "capget",
    "capset",
    "chdir",
    "clone",
    "close",
    "close_range",
    "dup2",
    "dup3",
    "epoll_ctl",
    "epoll_pwait",
    "epoll_wait",
    "execve",
    "execveat",
    "exit",
    "exit_group",
    "faccessat",
    "faccessat2",
    "fchown",
    "fcntl",
    "fstat",
    "fstatfs",
    "futex",
    "getcwd",
    "getdents64",
    "getegid",
    "geteuid",
    "getgid",
    "getpid",
    "times",
    "getrandom",
    "getrlimit",
    "gettid",
    "getuid",
    "ioctl",
    "lseek",
    "lstat",
    "madvise",
    "mmap",
    "mprotect",
    "munmap",
    "nanosleep",
    "newfstatat",
    "open",
    "openat",
    "openat2",
    "pipe2",
    "poll",
    "prctl",
    "pread64",
    "prlimit64",
    "read",
    "readlink",
    "readlinkat",
    "restart_syscall",
    "rseq",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "sched_getaffinity",
    "sched_yield",
    "set_robust_list",
    "set_tid_address",
    "setgid",
    "setgroups",
    "setresgid",
    "setresuid",
    "setsid",
    "setuid",
    "sigaltstack",
    "stat",
    "statfs",
    "statx",
    "tgkill",
    "uname",
    "umask",
    "wait4",
    "write",
    "writev",
];

#[test]
fn list_of_allowed_calls() {
    test(|t| {
        if !supported(t) {
            return;
        }
        let profile = json!({
            "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 99,
            "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
            "syscalls": [{"names": NEEDED, "action": "SCMP_ACT_ALLOW"}],
        });
        // Loaded last: runc calls more than this on its way.
        let answer = |t: &Test, profile: &Value, call: &[&str]| {
            let bundle = with(t, profile.clone()).set("/process/noNewPrivileges", json!(true));
            t.run(&bundle.args(&[&["/bin/calls"], call].concat())).ok()
        };
        assert_eq!(answer(t, &profile, &["x86-64", "39"]), "1");
        assert_eq!(answer(t, &profile, &["x86-64", "103", "0", "0", "0"]), "-99", "syslog");
        // Past every table: runc answers ENOSYS there, so that libraries fall back.
        let unknown = answer(t, &profile, &["x86-64", "9999"]);
        assert_eq!(unknown, if kind() == Kind::Crun { "-99" } else { ENOSYS });
    });
}

#[test]
fn with_and_without_no_new_privileges_and_as_a_user() {
    test(|t| {
        if !supported(t) {
            return;
        }
        let profile = denying(json!([{"names": ["times"], "action": "SCMP_ACT_ERRNO", "errnoRet": 99}]));
        for flag in [true, false] {
            for uid in [0, 1000] {
                let bundle = with(t, profile.clone())
                    .set("/process/noNewPrivileges", json!(flag))
                    .set("/process/user/uid", json!(uid));
                assert_eq!(
                    t.run(&bundle.args(&["/bin/calls", "x86-64", "100"])).ok(),
                    "-99",
                    "no new privileges {flag}, uid {uid}"
                );
            }
        }
    });
}

#[test]
fn exec_has_the_filter() {
    test(|t| {
        if !supported(t) {
            return;
        }
        let container =
            t.hold(with(t, denying(json!([{"names": ["getpgrp"], "action": "SCMP_ACT_ERRNO", "errnoRet": 99}]))));
        assert_eq!(container.exec(&["/bin/calls", "x86-64", "111"]).ok(), "-99");
        container.end();
    });
}

#[test]
fn wrong_profiles_are_refused() {
    test(|t| {
        let base = || denying(json!([{"names": ["times"], "action": "SCMP_ACT_ERRNO"}]));
        let mut wrong_default = base();
        wrong_default["defaultAction"] = json!("SCMP_ACT_MAYBE");
        t.run(&with(t, wrong_default)).fails(&["SCMP_ACT_MAYBE"]);
        let mut wrong_architecture = base();
        wrong_architecture["architectures"] = json!(["SCMP_ARCH_PDP11"]);
        t.run(&with(t, wrong_architecture)).fails(&["PDP11"]);
        let wrong_operator = denying(
            json!([{"names": ["times"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_ISH"}]}]),
        );
        t.run(&with(t, wrong_operator)).fails(if kind() == Kind::Crun { &["operator"] } else { &["SCMP_CMP_ISH"] });
        let wrong_index = denying(
            json!([{"names": ["times"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 6, "value": 1, "op": "SCMP_CMP_EQ"}]}]),
        );
        t.run(&with(t, wrong_index)).fails(&[]);
    });
}

#[test]
fn unknown_call_names_are_passed_over() {
    test(|t| {
        if !supported(t) {
            return;
        }
        // Profiles are written for newer kernels than this one.
        let profile =
            denying(json!([{"names": ["not_yet_invented", "times"], "action": "SCMP_ACT_ERRNO", "errnoRet": 99}]));
        assert_eq!(answer(t, &profile, &["x86-64", "100"]), "-99");
    });
}

#[test]
fn notify_of_write_is_refused() {
    test(|t| {
        differs!(t, Kind::Crun, "1.8 takes it");
        let words: &[&str] = if kind() == Kind::Rt { &["SCMP_ACT_NOTIFY cannot be"] } else { &[] };
        let mut profile = denying(json!([{"names": ["write"], "action": "SCMP_ACT_NOTIFY"}]));
        profile["listenerPath"] = json!("/nonexistent/socket");
        t.run(&with(t, profile)).fails(words);
        let mut profile = denying(json!([]));
        profile["listenerPath"] = json!("/nonexistent/socket");
        profile["defaultAction"] = json!("SCMP_ACT_NOTIFY");
        t.run(&with(t, profile)).fails(words);
    });
}
