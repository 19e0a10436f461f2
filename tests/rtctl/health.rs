//! Health checks.

use std::process::Command;

use serde_json::Value;
use tests::{Rtctl, needs, rtctl_test};

/// Runs a container that is well as long as its file /well is there, checked every 50 ms.
fn watched(r: &Rtctl<'_>, flags: &[&str], script: &str) -> String {
    let check = ["--health-cmd", "echo checked; test -e /well", "--health-interval", "50ms", "--health-retries", "2"];
    r.detached(&[&check[..], flags, &["busybox", "sh", "-c", script]].concat())
}

/// Waits for an event of a container.
fn wait_for(r: &Rtctl<'_>, id: &str, event: &str) {
    let filter = format!("container={id}");
    let mut session = r.start(&["events", "--since", "1h", "--filter", &filter, "--format", "{{.Action}}"]);
    session.wait_for(event);
    session.signal("KILL");
    session.end();
}

fn status(r: &Rtctl<'_>, id: &str) -> String {
    r.field(id, "{{.State.Health.Status}}")
}

#[test]
fn from_starting_to_healthy_and_unhealthy() {
    rtctl_test(|r| {
        let id = watched(r, &["--name", "web"], "touch /well; sleep 1000");
        wait_for(r, &id, "health_status: healthy");
        assert_eq!(status(r, &id), "healthy");
        assert!(r.ok(&["ps", "--format", "{{.Status}}"]).ends_with(" (healthy)"));
        assert_eq!(r.ok(&["ps", "-q", "--no-trunc", "--filter", "health=healthy"]), id);
        assert_eq!(r.ok(&["ps", "-q", "--filter", "health=none", "--filter", "health=unhealthy"]), "");
        assert_eq!(r.call(&["healthcheck", "run", "web"]).code, 0);
        r.ok(&["exec", "web", "rm", "/well"]);
        wait_for(r, &id, "health_status: unhealthy");
        let health = r.inspect(&id)["State"]["Health"].clone();
        assert_eq!(health["Status"], "unhealthy");
        assert!(health["FailingStreak"].as_u64().unwrap() >= 2, "{health}");
        let log = health["Log"].as_array().unwrap();
        let last = log.last().unwrap();
        assert_eq!((&last["ExitCode"], &last["Output"]), (&Value::from(1), &Value::from("checked\n")));
        assert!(log.len() <= 5 && last["Start"].as_str().unwrap() <= last["End"].as_str().unwrap());
        assert!(r.ok(&["ps", "--format", "{{.Status}}"]).ends_with(" (unhealthy)"));
        let run = r.call(&["healthcheck", "run", "web"]);
        assert_eq!((run.code, run.stdout.as_str(), run.stderr.as_str()), (1, "unhealthy\n", "checked\n"));
        // It is checked, not stopped.
        assert_eq!(r.field(&id, "{{.State.Status}}"), "running");
        r.ok(&["exec", "web", "touch", "/well"]);
        let filter = format!("container={id}");
        while r.ok(&[
            "events",
            "--no-stream",
            "--filter",
            &filter,
            "--filter",
            "event=health_status",
            "--format",
            "{{.Action}}",
        ]) != "health_status: healthy\nhealth_status: unhealthy\nhealth_status: healthy"
        {}
        r.ok(&["rm", "-f", &id]);
    });
}

#[test]
fn it_is_starting_in_its_start_period() {
    rtctl_test(|r| {
        let flags = ["--health-start-period", "1h", "--health-start-interval", "20ms"];
        let id = watched(r, &flags, "sleep 1000");
        // Enough failures to be unhealthy otherwise.
        while r.inspect(&id)["State"]["Health"]["Log"].as_array().unwrap().len() < 4 {}
        assert_eq!(r.field(&id, "{{.State.Health.Status}} {{.State.Health.FailingStreak}}"), "starting 0");
        assert!(r.ok(&["ps", "--format", "{{.Status}}"]).ends_with(" (health: starting)"));
        let run = r.call(&["healthcheck", "run", &id]);
        assert_eq!((run.code, run.stdout.as_str()), (1, "starting\n"));
        r.ok(&["exec", &id, "touch", "/well"]);
        wait_for(r, &id, "health_status: healthy");
        r.ok(&["rm", "-f", &id]);
    });
}

#[test]
fn what_takes_too_long_is_killed_with_its_children() {
    rtctl_test(|r| {
        needs!(r.test, r.test.cgroups.has("pids"), "no pids controller");
        let flags = [
            "--health-cmd",
            "echo begun; sleep 777 & setsid sleep 778 & sleep 779",
            "--health-timeout",
            "200ms",
            "--health-retries",
            "1",
        ];
        let id = r.detached(&[&flags[..], &["--health-interval", "10ms", "busybox", "sleep", "1000"]].concat());
        wait_for(r, &id, "health_status: unhealthy");
        let last = r.inspect(&id)["State"]["Health"]["Log"][0].clone();
        assert_eq!(last["ExitCode"], -1);
        assert_eq!(last["Output"], "Health check exceeded timeout (200ms): begun\n");
        // One was begun after that; when it is over, nothing of either is left.
        r.ok(&["pause", &id]);
        r.ok(&["unpause", &id]);
        r.ok(&["update", "--pids-limit", "100", &id]);
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        loop {
            let processes = r.ok(&["top", &id, "args"]);
            if !processes.contains("sleep 77") {
                break;
            }
            assert!(std::time::Instant::now() < deadline, "{processes}");
        }
        r.ok(&["rm", "-f", &id]);
    });
}

#[test]
fn it_runs_as_the_containers_user_with_its_environment() {
    rtctl_test(|r| {
        let flags = ["-u", "65534", "-e", "MARK=yes", "-w", "/tmp", "--health-interval", "20ms"];
        let command = r#"["sh", "-c", "id -u; pwd; echo $MARK"]"#;
        let id = r.detached(&[&flags[..], &["--health-cmd", command, "busybox", "sleep", "1000"]].concat());
        wait_for(r, &id, "health_status: healthy");
        assert_eq!(r.inspect(&id)["State"]["Health"]["Log"][0]["Output"], "65534\n/tmp\nyes\n");
        let config = r.inspect(&id)["Config"]["Healthcheck"].clone();
        assert_eq!(config["Test"][0], "CMD");
        assert_eq!(config["Interval"], 20_000_000);
        r.ok(&["rm", "-f", &id]);
    });
}

#[test]
fn output_is_bounded_and_a_missing_command_is_a_failure() {
    rtctl_test(|r| {
        let fast = ["--health-interval", "20ms", "--health-retries", "1"];
        let id = r.detached(
            &[&fast[..], &["--health-cmd", "head -c 100000 /dev/zero | tr '\\0' x", "busybox", "sleep", "1000"]]
                .concat(),
        );
        wait_for(r, &id, "health_status: healthy");
        let output = r.inspect(&id)["State"]["Health"]["Log"][0]["Output"].clone();
        assert_eq!(output.as_str().unwrap().len(), 4096 + "...".len());
        r.ok(&["rm", "-f", &id]);
        let id = r.detached(&[&fast[..], &["--health-cmd", r#"["/no/such"]"#, "busybox", "sleep", "1000"]].concat());
        wait_for(r, &id, "health_status: unhealthy");
        let last = r.inspect(&id)["State"]["Health"]["Log"][0].clone();
        assert_eq!(last["ExitCode"], -1);
        assert!(last["Output"].as_str().unwrap().contains("/no/such"), "{last}");
        r.ok(&["rm", "-f", &id]);
    });
}

#[test]
fn a_paused_container_is_not_checked() {
    rtctl_test(|r| {
        let id = watched(r, &[], "touch /well; sleep 1000");
        wait_for(r, &id, "health_status: healthy");
        r.ok(&["pause", &id]);
        let run = r.call(&["healthcheck", "run", &id]);
        assert_eq!((run.code, run.stderr.contains("is paused")), (125, true), "{run}");
        let before = r.inspect(&id)["State"]["Health"].clone();
        // As long as ten checks would take.
        Command::new("timeout").args(["0.5", "tail", "-f", "/dev/null"]).status().unwrap();
        assert_eq!(r.inspect(&id)["State"]["Health"], before);
        r.ok(&["unpause", &id]);
        while r.inspect(&id)["State"]["Health"] == before {}
        assert_eq!(status(r, &id), "healthy");
        r.ok(&["rm", "-f", &id]);
    });
}

#[test]
fn what_an_unhealthy_container_gets() {
    rtctl_test(|r| {
        let id = watched(r, &["--health-on-failure", "kill"], "sleep 1000");
        assert_eq!(r.ok(&["wait", &id]), "137");
        r.ok(&["rm", &id]);
        let id = watched(
            r,
            &["--health-on-failure", "stop", "--restart", "always"],
            "trap 'exit 9' TERM; while :; do sleep 0.02; done",
        );
        assert_eq!(r.ok(&["wait", &id]), "9");
        assert_eq!(r.field(&id, "{{.State.Status}} {{.RestartCount}}"), "exited 0");
        r.ok(&["rm", &id]);
        let script = "trap 'exit 0' TERM; while :; do sleep 0.02; done";
        let id = watched(r, &["--health-on-failure", "restart"], script);
        while r.field(&id, "{{.RestartCount}}") != "2" {}
        r.ok(&["stop", &id]);
        assert_eq!(r.field(&id, "{{.State.Status}}"), "exited");
        r.ok(&["rm", &id]);
    });
}

#[test]
fn none_and_what_does_not_fit() {
    rtctl_test(|r| {
        let id = r.detached(&["--no-healthcheck", "busybox", "sleep", "1000"]);
        assert_eq!(r.inspect(&id)["State"].get("Health"), None);
        let run = r.call(&["healthcheck", "run", &id]);
        assert_eq!((run.code, run.stderr.contains("has no health check")), (125, true), "{run}");
        assert_eq!(r.ok(&["ps", "-q", "--no-trunc", "--filter", "health=none"]), id);
        r.ok(&["rm", "-f", &id]);
        for (flags, text) in [
            (&["--health-interval", "1s"][..], "give one with --health-cmd"),
            (&["--health-cmd", "true", "--no-healthcheck"], "exclude each other"),
            (&["--health-cmd", "true", "--health-interval", "5"], "write it as 30s"),
            (&["--health-cmd", "[\"CMD\"]"], "the command is missing"),
        ] {
            let output = r.call(&[&["run", "--rm"], flags, &["busybox", "true"]].concat());
            assert_eq!((output.code, output.stderr.contains(text)), (125, true), "{output}");
        }
    });
}

#[test]
fn a_container_that_ends_in_the_middle_of_a_check() {
    rtctl_test(|r| {
        let flags = ["--health-cmd", "touch /begun; sleep 1000", "--health-interval", "1ms"];
        let id = r.detached(
            &[&flags[..], &["busybox", "sh", "-c", "until test -e /begun; do sleep 0.01; done; exit 4"]].concat(),
        );
        assert_eq!(r.ok(&["wait", &id]), "4");
        assert_eq!(r.field(&id, "{{.State.Health.Status}} {{.State.Health.Log}}"), "starting []");
        // A new run begins anew.
        r.ok(&["start", &id]);
        assert_eq!(r.ok(&["wait", &id]), "4");
        r.ok(&["rm", &id]);
    });
}
