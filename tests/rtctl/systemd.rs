//! `rtctl generate systemd`: what the unit's commands do.

use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use tests::{Rtctl, rtctl_test};

/// Value of a key, its first one.
fn value<'u>(unit: &'u str, key: &str) -> &'u str {
    let line = unit.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    line.unwrap_or_else(|| panic!("no {key} in {unit}"))
}

/// A command of the unit with its environment, by a shell: no word here needs systemd's own escapes.
fn command(r: &Rtctl<'_>, unit: &str, key: &str) -> Command {
    // What systemd halves, a shell does not.
    let line = value(unit, key).trim_start_matches('-').replace("$$", "\\$").replace("%%", "%");
    let mut command = Command::new("sh");
    command.args(["-c", &format!("exec {line}")]).env("RT_TEST", r.test.marker());
    for line in unit.lines().filter_map(|line| line.strip_prefix("Environment=")) {
        let (name, value) = line.trim_matches('"').split_once('=').unwrap();
        command.env(name, value);
    }
    command
}

#[test]
fn the_unit_starts_and_stops_a_container() {
    rtctl_test(|r| {
        r.ok(&[
            "create",
            "--name",
            "web",
            "busybox",
            "sh",
            "-c",
            "trap 'exit 3' TERM; echo ready; while :; do sleep 0.1; done",
        ]);
        let unit = r.ok(&["generate", "systemd", "--name", "-t", "20", "web"]);
        let mut start = command(r, &unit, "ExecStart").stdout(std::process::Stdio::piped()).spawn().unwrap();
        let mut output = std::io::BufReader::new(start.stdout.take().unwrap());
        let mut line = String::new();
        std::io::BufRead::read_line(&mut output, &mut line).unwrap();
        assert_eq!(line, "ready\n");
        assert!(command(r, &unit, "ExecStop").output().unwrap().status.success());
        let status = start.wait().unwrap();
        // The main process ends as the program did.
        assert_eq!((status.code(), status.signal()), (Some(3), None));
        assert_eq!(value(&unit, "TimeoutStopSec"), "80");
        r.ok(&["rm", "web"]);
    });
}

#[test]
fn a_new_container_each_time() {
    rtctl_test(|r| {
        let script = "echo $GREETING >>/data/out; exit 4";
        r.ok(&["create", "--name", "job", "-v", "data:/data", "-e", "GREETING=hello", "busybox", "sh", "-c", script]);
        let unit = r.ok(&["generate", "systemd", "--new", "job"]);
        r.ok(&["rm", "job"]);
        for _ in 0..2 {
            assert!(command(r, &unit, "ExecStartPre").output().unwrap().status.success());
            let output = command(r, &unit, "ExecStart").output().unwrap();
            assert_eq!(output.status.code(), Some(4), "{unit}\n{}", String::from_utf8_lossy(&output.stderr));
        }
        assert_eq!(r.sh(&["-v", "data:/data"], "cat /data/out").ok(), "hello\nhello");
        assert!(unit.contains("# container-job.service\n"), "{unit}");
    });
}

#[test]
fn what_cannot_be_a_unit_is_refused() {
    rtctl_test(|r| {
        r.ok(&["create", "--name", "web", "--restart", "always", "busybox"]);
        r.call(&["generate", "systemd", "web"]).fails(&["restart policy of its own", "rtctl update --restart no web"]);
        r.call(&["generate", "systemd", "--new", "--after", "a b", "web"]).fails(&["name of a unit"]);
        r.call(&["generate", "systemd", "--new", "--container-prefix", "../x", "web"]).fails(&["no unit's name"]);
        // With --new systemd's policy takes the place of the container's.
        let unit = r.ok(&["generate", "systemd", "--new", "--restart-policy", "always", "web"]);
        assert!(!value(&unit, "ExecStart").contains("--restart"), "{unit}");
        assert_eq!(value(&unit, "Restart"), "always");
        let file =
            r.command(&["generate", "systemd", "--new", "--files", "web"]).current_dir(&r.test.dir).output().unwrap();
        let path = String::from_utf8(file.stdout).unwrap();
        assert_eq!(path.trim(), r.test.dir.join("container-web.service").to_str().unwrap());
        assert_eq!(
            std::fs::read_to_string(path.trim()).unwrap().trim_end(),
            r.ok(&["generate", "systemd", "--new", "web"])
        );
        r.ok(&["rm", "web"]);
    });
}
