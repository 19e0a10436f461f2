//! A full disk: what runs is still told the truth about, ends, and can be removed, which is what makes room again.

use std::process::{Command, Stdio};

use tests::{Output, has_networks, rtctl_test};

const SCRIPT: &str = r#"
set -e
mkdir -p "$RT_STATE" && mount -t tmpfs -o size=1m,mode=0700 none "$RT_STATE"
run() { "$RTCTL" run -d --network "$NETWORK" --cgroup-parent "/$RT_TEST" "$@" >"$RT_STATE/id"; }
run --name one -v /data busybox sleep 1000
run --name two -v /data busybox sleep 1000
"$RTCTL" create --name three --network "$NETWORK" --cgroup-parent "/$RT_TEST" -v /data busybox >"$RT_STATE/id"
dd if=/dev/zero of="$RT_STATE/fill" bs=4k 2>/dev/null || true
"$RTCTL" exec one echo hello
"$RTCTL" pause one
"$RTCTL" inspect -f '{{.State.Status}}' one
"$RTCTL" unpause one
"$RTCTL" kill one
"$RTCTL" wait one
"$RTCTL" ps -a --filter name=one --format '{{.State}}'
"$RTCTL" inspect -f '{{.State.ExitCode}}' one
"$RTCTL" run --rm --network "$NETWORK" --cgroup-parent "/$RT_TEST" busybox true 2>&1 | grep -o 'No space left on device'
"$RTCTL" rm -v one
"$RTCTL" rm -f -v two
"$RTCTL" rm -v three
"$RTCTL" ps -aq
rm "$RT_STATE/fill"
ls "$RT_STATE/local" "$RT_ROOT/upper" "$RT_ROOT/volumes" "$RT_STATE/names" | grep -v : | tr -d '\n'
"#;

#[test]
fn containers_end_and_are_removed() {
    rtctl_test(|r| {
        let rtctl = r.command(&["version"]);
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", SCRIPT]).env("RTCTL", rtctl.get_program());
        command.env("NETWORK", if has_networks() { "bridge" } else { "none" });
        for (name, value) in rtctl.get_envs() {
            command.env(name, value.unwrap());
        }
        let output: Output = command.stdin(Stdio::null()).output().unwrap().into();
        assert_eq!(output.code, 0, "{output}");
        let expected = [
            "hello",
            "one",
            "paused",
            "one",
            "one",
            "137",
            "exited",
            "137",
            "No space left on device",
            "one",
            "two",
            "three",
        ];
        assert_eq!(output.stdout.lines().collect::<Vec<_>>(), expected, "{output}");
    });
}
