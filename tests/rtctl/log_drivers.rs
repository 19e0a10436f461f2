//! `--log-driver` and `--log-opt`.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tests::{Rtctl, rtctl_test};

/// The files of a log that there are, oldest first.
fn files(path: &Path) -> Vec<PathBuf> {
    let rotated = (1..20).rev().map(|number| path.with_added_extension(number.to_string()));
    rotated.chain([path.to_owned()]).filter(|path| path.try_exists().unwrap()).collect()
}

fn log_path(r: &Rtctl<'_>, id: &str) -> PathBuf {
    PathBuf::from(r.field(id, "{{.LogPath}}"))
}

#[test]
fn json_file_is_dockers() {
    rtctl_test(|r| {
        let id = r.detached(&[
            "--log-driver",
            "json-file",
            "--log-opt",
            "tag={{.Name}}",
            "--log-opt",
            "labels=team",
            "--log-opt",
            "env=MODE",
            "--name",
            "writer",
            "-l",
            "team=red",
            "-e",
            "MODE=x",
            "busybox",
            "sh",
            "-c",
            r"printf 'a<b>\n\377\n'; echo err >&2; printf half",
        ]);
        r.ok(&["wait", &id]);
        assert_eq!(
            r.field(&id, "{{.HostConfig.LogConfig.Type}} {{index .HostConfig.LogConfig.Config \"labels\"}}"),
            "json-file team"
        );
        let text = fs::read_to_string(log_path(r, &id)).unwrap();
        let records: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let of = |stream: &str| -> Vec<String> {
            let wanted = records.iter().filter(|record| record["stream"] == stream);
            wanted.map(|record| record["log"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(of("stdout"), ["a<b>\n", "\u{fffd}\n", "half"]);
        assert_eq!(of("stderr"), ["err\n"]);
        for record in &records {
            assert_eq!(record["attrs"].to_string(), r#"{"MODE":"x","tag":"writer","team":"red"}"#);
        }
        assert!(text.contains(r"a\u003cb\u003e\n"), "{text}");
        let shown = r.call(&["logs", &id]);
        assert_eq!((shown.stdout.as_str(), shown.stderr.as_str()), ("a<b>\n\u{fffd}\nhalf", "err\n"));
        assert!(r.ok(&["logs", "--details", "-n", "1", &id]).contains("MODE=x,tag=writer,team=red "));
        r.ok(&["rm", &id]);
    });
}

#[test]
fn both_formats_rotate_and_are_read_as_one() {
    rtctl_test(|r| {
        for driver in ["k8s-file", "json-file"] {
            let flags = ["--log-driver", driver, "--log-opt", "max-size=20k", "--log-opt", "max-file=8"];
            let id = r.detached(&[&flags[..], &["busybox", "seq", "1", "1500"]].concat());
            r.ok(&["wait", &id]);
            let files = files(&log_path(r, &id));
            assert!(files.len() >= 3, "{driver}: {files:?}");
            for file in &files {
                let text = fs::read_to_string(file).unwrap();
                assert!(text.len() <= 20 << 10 && text.ends_with('\n'), "{file:?}: {}", text.len());
            }
            let expected: Vec<String> = (1..=1500).map(|number| number.to_string()).collect();
            assert!(r.ok(&["logs", &id]) == expected.join("\n"), "{driver}");
            assert!(r.ok(&["logs", "-n", "1100", &id]) == expected[400..].join("\n"), "{driver}");
            r.ok(&["rm", &id]);
        }
    });
}

#[test]
fn what_is_too_old_goes() {
    rtctl_test(|r| {
        let flags = ["--log-opt", "max-size=4k", "--log-opt", "max-file=2"];
        let id = r.detached(&[&flags[..], &["busybox", "seq", "1", "1000"]].concat());
        r.ok(&["wait", &id]);
        let path = log_path(r, &id);
        assert_eq!(files(&path).len(), 2);
        let shown = r.ok(&["logs", &id]);
        let numbers: Vec<u32> = shown.lines().map(|line| line.parse().unwrap()).collect();
        assert_eq!(numbers.last(), Some(&1000));
        assert!(numbers.len() > 80 && numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
        r.ok(&["rm", &id]);
    });
}

#[test]
fn a_follower_sees_every_line_over_rotations() {
    rtctl_test(|r| {
        for driver in ["k8s-file", "json-file"] {
            let flags = ["-i", "--log-driver", driver, "--log-opt", "max-size=16k", "--log-opt", "max-file=50"];
            let script = "read x; seq 1 5000; read x";
            let id = r.detached(&[&flags[..], &["busybox", "sh", "-c", script]].concat());
            let mut session = r.start(&["logs", "-f", &id]);
            let mut attached = r.start(&["attach", &id]);
            attached.write("go\n");
            for number in 1..=5000 {
                assert_eq!(session.line(), number.to_string(), "{driver}");
            }
            attached.write("end\n");
            assert_eq!(session.end(), (0, String::new()));
            attached.end();
            r.ok(&["rm", &id]);
        }
    });
}

#[test]
fn a_log_elsewhere_stays() {
    rtctl_test(|r| {
        let path = r.test.dir.join("own.log");
        let option = format!("path={}", path.display());
        r.ok(&["run", "--rm", "--log-opt", &option, "busybox", "echo", "kept"]);
        assert!(fs::read_to_string(&path).unwrap().ends_with("stdout F kept\n"));
        let option = format!("path={}/no/dir.log", r.test.dir.display());
        let refused = r.call(&["create", "--log-opt", &option, "busybox", "true"]);
        assert_eq!(refused.code, 125);
        assert!(refused.stderr.contains("--log-opt path: open(") && refused.stderr.contains("ENOENT"), "{refused}");
    });
}

#[test]
fn none_keeps_nothing_and_says_so() {
    rtctl_test(|r| {
        let output = r.call(&["run", "--name", "quiet", "--log-driver", "none", "busybox", "echo", "shown"]);
        assert_eq!(output.stdout, "shown\n");
        assert_eq!(r.field("quiet", "{{.HostConfig.LogConfig.Type}} [{{.LogPath}}]"), "none []");
        let logs = r.call(&["logs", "quiet"]);
        assert_eq!((logs.code, logs.stderr.contains("--log-driver none")), (1, true), "{logs}");
        r.ok(&["rm", "quiet"]);
    });
}

#[test]
fn drivers_and_options_that_there_are_not() {
    rtctl_test(|r| {
        for (flags, text) in [
            (&["--log-driver", "syslog"][..], "syslog is not built"),
            (&["--log-driver", "local"], "docker's own binary format"),
            (&["--log-opt", "max-size=0"], "must be more than 0"),
            (&["--log-opt", "compress=true"], "not built"),
            (&["--log-driver", "journald", "--log-opt", "max-size=1m"], "the journald driver has no such option"),
        ] {
            let output = r.call(&[&["run", "--rm"], flags, &["busybox", "true"]].concat());
            assert_eq!(output.code, 125, "{output}");
            assert!(output.stderr.contains(text), "{output}");
        }
    });
}

#[test]
fn a_log_that_is_moved_away_goes_on_after_a_restart() {
    rtctl_test(|r| {
        let id = r.detached(&["busybox", "echo", "one"]);
        r.ok(&["wait", &id]);
        let path = log_path(r, &id);
        fs::rename(&path, path.with_added_extension("1")).unwrap();
        r.ok(&["start", &id]);
        r.ok(&["wait", &id]);
        assert_eq!(r.ok(&["logs", &id]), "one\none");
        r.ok(&["rm", &id]);
    });
}

/// A socket in place of journald's: this machine has none. What real fields look like is in systemd.journal-fields(7).
fn fake_journal(r: &Rtctl<'_>) -> (PathBuf, UnixDatagram) {
    let path = r.test.dir.join("journal");
    let socket = UnixDatagram::bind(&path).unwrap();
    (path, socket)
}

#[test]
fn the_journal_gets_dockers_fields() {
    rtctl_test(|r| {
        let (path, socket) = fake_journal(r);
        let args =
            ["run", "-d", "--name", "web", "--log-driver", "journald", "--log-opt", "labels=team", "-l", "team=red"];
        let mut command =
            r.command(&[&args[..], &["busybox", "sh", "-c", "echo hello; echo err >&2; printf half"]].concat());
        let output = command.env("RT_JOURNAL_SOCKET", &path).output().unwrap();
        let id = String::from_utf8(output.stdout).unwrap().trim().to_owned();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut records = Vec::new();
        let mut buffer = vec![0; 64 << 10];
        for _ in 0..3 {
            let size = socket.recv(&mut buffer).unwrap();
            records.push(String::from_utf8(buffer[..size].to_vec()).unwrap());
        }
        r.ok(&["wait", &id]);
        let of =
            |message: &str| records.iter().find(|record| record.starts_with(&format!("MESSAGE={message}\n"))).unwrap();
        assert!(of("hello").contains("\nPRIORITY=6\n") && !of("hello").contains("PARTIAL"));
        assert!(of("err").contains("\nPRIORITY=3\n"));
        assert!(of("half").contains("\nCONTAINER_PARTIAL_MESSAGE=true\n"));
        let short = &id[..12];
        for field in [
            format!("CONTAINER_ID={short}"),
            format!("CONTAINER_ID_FULL={id}"),
            "CONTAINER_NAME=web".to_owned(),
            format!("CONTAINER_TAG={short}"),
            format!("SYSLOG_IDENTIFIER={short}"),
            "TEAM=red".to_owned(),
        ] {
            assert!(of("hello").lines().any(|line| line == field), "{field}: {}", of("hello"));
        }
        // journalctl is what reads it.
        if std::process::Command::new("journalctl").arg("--version").output().is_err() {
            let logs = r.call(&["logs", &id]);
            assert_eq!(
                (logs.code, logs.stderr.contains("journalctl, which reads it, is not installed")),
                (1, true),
                "{logs}"
            );
        }
        r.ok(&["rm", &id]);
    });
}

#[test]
fn a_missing_journal_is_named_and_a_stuck_one_loses_counted_output() {
    rtctl_test(|r| {
        let path = r.test.dir.join("journal");
        let run = |script: &str| {
            let args = ["run", "-d", "--log-driver", "journald", "busybox", "sh", "-c", script];
            r.command(&args).env("RT_JOURNAL_SOCKET", &path).output().unwrap()
        };
        let output = run("true");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(125));
        assert!(text.contains("no journal listens at") && text.contains("use k8s-file or json-file"), "{text}");
        // Nobody reads from it.
        let _socket = UnixDatagram::bind(&path).unwrap();
        let output = run("seq 1 20000");
        let id = String::from_utf8(output.stdout).unwrap().trim().to_owned();
        assert_eq!(r.ok(&["wait", &id]), "0");
        assert!(r.field(&id, "{{.State.Error}}").contains("the log loses output: send("), "{}", r.inspect(&id));
        let status = fs::read_to_string(r.state().join("local").join(&id).join("status.json")).unwrap();
        let status: Value = serde_json::from_str(&status).unwrap();
        assert!(status["log_dropped"].as_u64().unwrap() > 100_000, "{status}");
        r.ok(&["rm", &id]);
    });
}
