//! The command line from outside: what it refuses, and how.

use std::path::Path;
use std::process::{Command, Output};

fn rtctl(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rtctl"));
    command.env("RT_ROOT", dir.join("root")).env("RT_STATE", dir.join("state")).env_remove("RT_SHIM");
    command.args(args).output().expect("rtctl runs")
}

/// Exit code and error output.
fn refused(args: &[&str]) -> (i32, String) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let output = rtctl(dir.path(), args);
    assert!(output.stdout.is_empty(), "{args:?}: {}", String::from_utf8_lossy(&output.stdout));
    // A refusal leaves no container behind.
    let left = std::fs::read_dir(dir.path().join("state/local")).map_or(0, Iterator::count);
    assert_eq!(left, 0, "{args:?} left a container");
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn what_is_not_built_is_refused_by_name() {
    for (args, expected) in [
        (&["run", "--link-local-ip", "169.254.0.2", "x"][..], "rtctl: --link-local-ip is not built yet"),
        (&["network", "create", "-d", "macvlan", "x"], "macvlan is not built yet"),
        (&["run", "--log-driver", "syslog", "x"], "syslog is not built"),
        (&["search", "busybox"], "rtctl: search is not built yet"),
        (&["build", "."], "rtctl: build is not built yet"),
    ] {
        let (code, text) = refused(args);
        assert_eq!(code, 125, "{args:?}: {text}");
        assert!(text.contains(expected), "{args:?}: {text}");
    }
}

#[test]
fn bad_input_says_what_and_what_to_do() {
    for (args, code, expected) in [
        (&["run", "--frob", "x"][..], 125, "unexpected argument '--frob'"),
        (&["run"], 125, "name an image"),
        (&["run", "-m", "lots", "x"], 125, "is no size"),
        (&["run", "--pull", "never", "-m", "1m", "x"], 125, "--pull never"),
        (&["run", "--name", "no/good", "x"], 125, "is no container name"),
        (&["run", "--rm", "--restart", "always", "x"], 125, "--rm and --restart exclude each other"),
        (&["run", "-v", "relative", "x"], 125, "must be absolute"),
        (&["run", "--rootfs", "/there/is/no/such"], 125, "--rootfs"),
        (&["run", "--rootfs", "/:O", "--network", "container:gone", "sh"], 125, "no container \"gone\""),
        (&["run", "--rootfs", "/:O"], 125, "no command"),
        (&["run", "--rootfs", "/:O", "--cap-add", "NOPE", "true"], 125, "unknown capability \"NOPE\""),
        (&["run", "--rootfs", "/:O", "--sysctl", "vm.swappiness=1", "true"], 125, "would change the whole host"),
        (&["run", "--rootfs", "/:O", "-u", "nobody-of-this-name", "true"], 125, "nobody-of-this-name"),
        (
            &["run", "--rootfs", "/:O", "--gpus", "all", "--cdi-spec-dir", "/nosuch", "true"],
            125,
            "no spec of kind nvidia.com/gpu in /nosuch; nvidia-ctk cdi generate",
        ),
        (&["run", "--rootfs", "/:O", "--device", "vendor.com/class", "true"], 125, "vendor.com/class=name"),
        (&["exec", "gone", "true"], 125, "no container \"gone\": rtctl ps -a lists them"),
        (&["start", "gone"], 1, "no container \"gone\""),
        (&["inspect", "--type", "container", "-f", "{{.Id}}", "gone"], 1, "no container \"gone\""),
        (&["ps", "--filter", "status=gone"], 125, "must be one of created"),
        (&["ps", "--format", "{{"], 1, "unclosed action"),
    ] {
        let (got, text) = refused(args);
        assert!(text.contains(expected), "{args:?}: {text}");
        assert_eq!(got, code, "{args:?}: {text}");
        assert!(text.starts_with("rtctl: "), "{args:?}: {text}");
    }
}

#[test]
fn created_listed_renamed_removed() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let run = |args: &[&str]| {
        let output = rtctl(dir.path(), args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    let id =
        run(&["create", "--rootfs", "/:O", "--name", "one", "-l", "a=b", "-e", "X=1", "-m", "64m", "sh", "-c", "-x"]);
    assert!(id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    assert_eq!(run(&["ps", "-q"]), "");
    assert_eq!(run(&["ps", "-aq", "--no-trunc"]), id);
    assert_eq!(
        run(&["ps", "-a", "--format", "{{.Names}} {{.Status}} {{.Label \"a\"}} {{.Command}}"]),
        "one Created b \"sh -c -x\""
    );
    assert_eq!(
        run(&["inspect", "-f", "{{.State.Status}} {{.HostConfig.Memory}} {{.Path}} {{len .Args}}", &id[..6]]),
        "created 67108864 sh 2"
    );
    let taken = rtctl(dir.path(), &["create", "--name", "one", "--rootfs", "/:O", "true"]);
    assert_eq!(taken.status.code(), Some(125));
    assert!(String::from_utf8_lossy(&taken.stderr).contains("the name \"one\" is taken by container"));
    run(&["rename", "one", "two"]);
    assert_eq!(run(&["inspect", "-f", "{{.Name}}", "two"]), "/two");
    run(&["update", "-m", "128m", "--restart", "always", "two"]);
    assert_eq!(
        run(&["inspect", "-f", "{{.HostConfig.Memory}} {{.HostConfig.RestartPolicy.Name}}", "two"]),
        "134217728 always"
    );
    assert_eq!(run(&["rm", "two"]), "two");
    assert_eq!(run(&["ps", "-aq"]), "");
    for place in ["state/local", "root/upper"] {
        let left = std::fs::read_dir(dir.path().join(place)).expect("it is there").count();
        assert_eq!(left, 0, "{place}");
    }
}
