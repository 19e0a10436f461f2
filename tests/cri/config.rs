//! `rtd` as a daemon that an operator runs: its settings, and what the service manager hears.

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use proto::v1::image_service_client::ImageServiceClient;
use proto::v1::runtime_service_client::RuntimeServiceClient;
use proto::v1::{GetEventsRequest, ListImagesRequest};
use tests::program;

use crate::daemon::{Daemon, PATIENCE, config_test, dropin, file, load, rtd, run, settings};

#[test]
fn printed_defaults_are_accepted() {
    config_test(|t| {
        let (code, defaults, _) = run(t, &["config", "default"]);
        assert_eq!(code, Some(0));
        let path = t.dir.join("defaults.toml");
        std::fs::write(&path, &defaults).unwrap();
        let path = path.to_str().unwrap();
        let expected = (Some(0), "nothing is wrong\n".to_owned(), String::new());
        assert_eq!(run(t, &["config", "check", path]), expected);
        let (_, shown, _) = run(t, &["--config", path, "config", "show"]);
        let line = defaults.lines().position(|line| line == "log_level = \"info\"").unwrap() + 1;
        assert!(shown.lines().any(|shown| shown == format!("log_level = \"info\" # {path}:{line}")), "{shown}");
    });
}

#[test]
fn where_values_come_from() {
    config_test(|t| {
        settings(t, "stream_port = 1\n[handlers.crun]\npath = \"/usr/bin/crun\"\n");
        let dropin = dropin(t, "50-site.toml", "\nstream_port = 2\n");
        let (config, dropin) = (file(t).display().to_string(), dropin.display().to_string());
        let (code, shown, _) = run(t, &["config", "show", "--config", &config, "--listen", "/x"]);
        assert_eq!(code, Some(0));
        for line in [
            format!("stream_port = 2 # {dropin}:2"),
            format!("root = \"{}/r\" # {config}:1", t.dir.display()),
            "listen = \"/x\" # --listen".to_owned(),
            "log_format = \"text\" # default".to_owned(),
            "[handlers.crun]".to_owned(),
            format!("path = \"/usr/bin/crun\" # {config}:6"),
        ] {
            assert!(shown.lines().any(|shown| shown == line), "{line}\n{shown}");
        }
    });
}

/// What the command line says stands over the files, before or after a command.
#[test]
fn flags_stand_over_the_files() {
    config_test(|t| {
        settings(t, "log_level = \"error\"\n");
        let config = file(t).display().to_string();
        let flags = ["--root", "/a", "--state", "/b", "--listen", "/c", "--log-level", "debug", "--config", &config];
        for args in [[&["config", "show"][..], &flags].concat(), [&flags[..], &["config", "show"]].concat()] {
            let (code, shown, _) = run(t, &args);
            assert_eq!(code, Some(0), "{args:?}");
            for (key, value, flag) in [
                ("root", "/a", "--root"),
                ("state", "/b", "--state"),
                ("listen", "/c", "--listen"),
                ("log_level", "debug", "--log-level"),
            ] {
                let line = format!("{key} = \"{value}\" # {flag}");
                assert!(shown.lines().any(|shown| shown == line), "{line}\n{shown}");
            }
        }
        let other = t.dir.join("other.sock").display().to_string();
        let mut command = rtd(t);
        command.args(["--config", &config, "--log-level", "info", "--listen", &other]);
        let daemon = Daemon::start(t, command);
        daemon.line(&["listening on", &other]);
        daemon.stop();
        for (args, code, part) in [
            (&["--log-level", "loud"][..], 1, "rtd: --log-level: \"loud\" is not allowed; allowed is "),
            (&["--root", "here"], 1, "rtd: --root: \"here\" is not allowed; allowed is an absolute path\n"),
            (&["--listen", ""], 1, "rtd: --listen: \"\" is not allowed; allowed is an absolute path\n"),
            (&["--root", "/a", "--root", "/b"], 2, "--root"),
            (&["--rot", "/a"], 2, "--root"),
            (&["--root"], 2, "--root"),
            (&["serve"], 2, "serve"),
            (&["config"], 2, "Usage: rtd config"),
        ] {
            let (got, out, told) = run(t, &[&["--config", &config], args].concat());
            assert_eq!((got, out.as_str()), (Some(code), ""), "{args:?}: {told}");
            assert!(told.contains(part), "{args:?}: {told}");
        }
    });
}

#[test]
fn mistakes_are_told_and_nothing_starts() {
    config_test(|t| {
        settings(t, "stream_prot = 1\n");
        let dropin = dropin(t, "50-site.toml", "log_level = \"loud\"\n");
        let (config, dropin) = (file(t).display().to_string(), dropin.display().to_string());
        let expected = format!(
            "rtd: {config}:4: stream_prot: there is no such key; the nearest is stream_port\n\
             rtd: {dropin}:1: log_level: \"loud\" is not allowed; allowed is \"error\", \"warn\", \"info\", \"debug\" or \"trace\"\n"
        );
        for args in
            [&["config", "check", &config][..], &["--config", &config, "config", "check"], &["--config", &config]]
        {
            assert_eq!(run(t, args), (Some(1), String::new(), expected.clone()), "{args:?}");
        }
        let missing = t.dir.join("none.toml");
        let missing = missing.to_str().unwrap();
        let (code, _, told) = run(t, &["--config", missing]);
        assert_eq!((code, told), (Some(1), format!("rtd: {missing}: No such file or directory (os error 2)\n")));
        settings(t, "auth_file = \"/nowhere/auth\"\n[handlers.k]\npath = \"/nowhere/k\"\n");
        std::fs::remove_file(&dropin).unwrap();
        let warning = "rtd: warning: auth_file: access(\"/nowhere/auth\"): ENOENT\n\
                       rtd: warning: handlers.k.path: access(\"/nowhere/k\"): ENOENT\n"
            .to_owned();
        assert_eq!(run(t, &["config", "check", &config]), (Some(0), "nothing is wrong\n".to_owned(), warning));
    });
}

#[test]
fn changes_are_taken_while_it_runs() {
    config_test(|t| {
        let mut command = rtd(t);
        // By a path from where it was started.
        command.current_dir(&t.dir).args(["--config", "etc/rtd.toml"]);
        let mut rtd = Daemon::start(t, command);
        rtd.line(&["listening on"]);
        rtd.version();

        // A drop-in that appears: one key counts now, the other one after a restart.
        dropin(t, "50-site.toml", "log_level = \"debug\"\nstream_port = 7\n");
        rtd.line(&["INFO", "configuration read again", "applied=\"log_level\"", "needs_restart=\"stream_port\""]);
        rtd.version();
        rtd.line(&["DEBUG", "Version{", "code=\"OK\"", "done"]);

        // A broken one changes nothing: debug lines are still there.
        let broken = dropin(t, "60-broken.toml", "log_level = \"warn\"\nkeep_blob = true\n");
        let place = format!("{}:2: keep_blob: there is no such key; the nearest is keep_blobs", broken.display());
        rtd.line(&["ERROR", "configuration not taken, nothing has changed", &place]);
        rtd.version();
        rtd.line(&["DEBUG", "Version{"]);
        rtd.signal(Signal::SIGHUP);
        rtd.line(&["ERROR", "configuration not taken", &place]);

        // Replaced by a rename, as editors do.
        let new = t.dir.join("etc/new");
        std::fs::write(&new, "log_level = \"info\"\n").unwrap();
        std::fs::rename(&new, &broken).unwrap();
        rtd.line(&["configuration read again", "applied=\"log_level\""]);

        // Asked for, although there is nothing new.
        rtd.signal(Signal::SIGHUP);
        rtd.line(&["configuration read again", "applied=\"\"", "needs_restart=\"stream_port\""]);
        rtd.version();
        let rest = rtd.stop();
        assert!(!rest.iter().any(|line| line.contains("DEBUG")), "{rest:#?}");
    });
}

/// The first one goes on; the second one has touched nothing.
#[test]
fn there_is_one_daemon() {
    config_test(|t| {
        let mut first = Daemon::with(t, "");
        first.line(&["listening on"]);
        let (code, _, told) = run(t, &["--config", file(t).to_str().unwrap()]);
        let expected = format!(
            "rtd: {}: another program listens there; stop it, or choose another socket",
            first.socket.display()
        );
        assert_eq!((code, told.lines().last()), (Some(1), Some(expected.as_str())));
        first.version();
        first.stop();
    });
}

/// A client that stays does not keep the daemon from ending well.
#[test]
fn it_ends_while_a_client_listens() {
    config_test(|t| {
        let mut rtd = Daemon::with(t, "");
        rtd.line(&["listening on"]);
        let mut client = RuntimeServiceClient::new(rtd.channel());
        let events = rtd.runtime.block_on(client.get_container_events(GetEventsRequest::default())).unwrap();
        let rest = rtd.stop();
        assert!(!rest.iter().any(|line| line.contains("panicked")), "{rest:#?}");
        drop(events);
    });
}

#[test]
fn images_are_pinned_while_it_runs() {
    config_test(|t| {
        let mut rtd = Daemon::with(t, "");
        rtd.line(&["listening on"]);
        load(t);
        let mut images = ImageServiceClient::new(rtd.channel());
        let mut pinned = |rtd: &Daemon| {
            let answer = rtd.runtime.block_on(images.list_images(ListImagesRequest::default())).unwrap().into_inner();
            answer.images.iter().map(|image| image.pinned).collect::<Vec<_>>()
        };
        assert_eq!(pinned(&rtd), [false]);
        dropin(t, "50-site.toml", "pinned_images = [\"nobody\", \"docker.io/library/busy*\"]\n");
        rtd.line(&["configuration read again", "pinned_images"]);
        assert_eq!(pinned(&rtd), [true]);
        drop(images);
        rtd.stop();
    });
}

#[test]
fn the_service_manager_is_told() {
    config_test(|t| {
        let path = t.dir.join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        manager.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut command = rtd(t);
        command.arg("--config").arg(file(t)).env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "300000");
        let rtd = Daemon::start(t, command);
        let told = |wanted: &str| {
            let mut buffer = [0; 4096];
            loop {
                let length = manager.recv(&mut buffer).unwrap_or_else(|error| panic!("{wanted}: {error}"));
                let text = String::from_utf8(buffer[..length].to_vec()).unwrap();
                if text.contains(wanted) {
                    return text;
                }
                assert_eq!(text, "WATCHDOG=1\n", "{wanted}");
            }
        };
        let ready = told("READY=1");
        assert!(ready.contains(&format!("STATUS=serves {}", rtd.socket.display())), "{ready}");
        // It is ready when it says so, and root alone may connect.
        let mode = std::os::unix::fs::PermissionsExt::mode(&rtd.socket.metadata().unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
        for _ in 0..3 {
            told("WATCHDOG=1");
        }
        rtd.signal(Signal::SIGHUP);
        let reloading = told("RELOADING=1");
        let time = reloading.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")).unwrap();
        assert!(time.parse::<u64>().unwrap() > 0);
        told("READY=1");
        rtd.signal(Signal::SIGTERM);
        told("STOPPING=1");
        // A second one does no harm.
        rtd.stop();
    });
}

#[test]
fn the_process_is_settled() {
    config_test(|t| {
        let mut shell = Command::new("/bin/sh");
        let script = "ulimit -S -n 200; exec 7</dev/null; umask 022; exec \"$0\" --config \"$1\"";
        shell.args(["-c", script]).arg(program("rtd")).arg(file(t)).env("RT_TEST", t.marker()).stdin(Stdio::null());
        let rtd = Daemon::start(t, shell);
        rtd.line(&["listening on"]);
        let proc = PathBuf::from(format!("/proc/{}", rtd.pid()));
        let read = |name: &str| std::fs::read_to_string(proc.join(name)).unwrap();
        assert!(read("status").contains("\nUmask:\t0077\n"), "{}", read("status"));
        let limits = read("limits");
        let files: Vec<&str> =
            limits.lines().find(|line| line.starts_with("Max open files")).unwrap().split_whitespace().collect();
        assert!(files[3] == files[4] && files[3] != "200", "{files:?}");
        // O_CLOEXEC
        assert!(read("fdinfo/7").contains("flags:\t02100000") || read("fdinfo/7").contains("flags:\t02000000"));
        let score: i32 = read("oom_score_adj").trim().parse().unwrap();
        let own: i32 = std::fs::read_to_string("/proc/self/oom_score_adj").unwrap().trim().parse().unwrap();
        assert!(score == -999 || score == own, "{score}");
        rtd.stop();
        assert!(!Path::new(&proc).join("status").is_file());
    });
}
