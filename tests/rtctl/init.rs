//! `--init`: a process 1 that reaps orphans and passes signals on.

use tests::rtctl_test;

#[test]
fn process_1_is_a_small_init() {
    rtctl_test(|r| {
        let output = r.sh(&["--init"], "cat /proc/1/cmdline | tr '\\0' ' '; echo; cat /proc/1/environ; exit 7");
        assert_eq!((output.code, output.stdout.trim()), (7, "init"), "{}", output.stdout);
        // Nothing of the host is seen in it.
        assert!(output.stderr.contains("Permission denied"), "{}", output.stderr);
    });
}

#[test]
fn orphans_are_reaped() {
    rtctl_test(|r| {
        // The child of the subshell ends after its parent, and is nobody's but process 1's.
        let script = "(sleep 0.1 & echo $! >/tmp/pid); pid=$(cat /tmp/pid); while [ -e /proc/$pid ]; do sleep 0.05; done; echo gone";
        assert_eq!(r.sh(&["--init", "--tmpfs", "/tmp"], script).stdout, "gone\n");
    });
}

#[test]
fn signals_reach_the_program() {
    rtctl_test(|r| {
        // As process 1 sleep would not hear of SIGTERM.
        r.call(&["run", "-d", "--init", "--name", "sleeper", "busybox", "sleep", "1000"]).ok();
        r.call(&["stop", "-t", "60", "sleeper"]).ok();
        assert_eq!(r.call(&["inspect", "-f", "{{.State.ExitCode}}", "sleeper"]).stdout, "143\n");
        r.call(&["rm", "sleeper"]).ok();
    });
}

#[test]
fn a_missing_program_is_told() {
    rtctl_test(|r| {
        let output = r.call(&["run", "--rm", "--init", "busybox", "nothing-here"]);
        assert_eq!(output.code, 127, "{}", output.stderr);
    });
}
