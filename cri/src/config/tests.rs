use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;
use toml::de::DeValue;

use super::parse::{Places, lay};
use super::value::from_toml;
use super::*;

const FILE: &str = "/etc/rt/rtd.toml";

/// What is said of a file, and what it makes of the defaults.
fn laid(text: &str) -> (Vec<String>, Config) {
    let mut config = Loaded::defaults().config;
    let mut places = Places::new();
    let mut problems = lay(text, Path::new(FILE), &mut config, &mut places);
    if problems.is_empty() {
        problems = check::contradictions(&config, &places);
    }
    (problems.iter().map(ToString::to_string).collect(), config)
}

#[test]
fn the_defaults_are_a_file_that_changes_nothing() {
    let (problems, config) = laid(&defaults());
    assert_eq!(problems, [""; 0]);
    assert_eq!(config, Loaded::defaults().config);
    // And each default is written in the way in which it would be shown.
    for key in Config::KEYS {
        let shown = config.get(key.name).unwrap();
        let plain = key.default.replace('_', "");
        assert!(shown == key.default || shown == plain, "{}: {} is shown as {shown}", key.name, key.default);
    }
    for key in Config::KEYS.iter().chain(Handler::KEYS) {
        assert!(key.doc.iter().all(|line| !line.trim().is_empty()), "{}", key.name);
        assert!(key.doc.last().unwrap().ends_with('.'), "{}", key.name);
    }
}

#[test]
fn values() {
    let (problems, config) = laid(
        r#"
        cgroup_driver = "systemd"
        default_ulimits = ["nofile=1024:524288", "core=unlimited"]
        max_log_line = "8KiB"
        pids_limit = 0x400
        stream_idle_timeout = "1h30m"
        metrics_listen = "[::1]:9464"
        pinned_images = ["busybox", "registry.k8s.io/*"]
        pod_cidrs = ["10.85.0.0/16", "fd00:85::/64"]
        handlers.crun = { path = "/usr/bin/crun", annotations = ["run.oci.*", "a"] }
        [handlers.plain]
        "#,
    );
    assert_eq!(problems, [""; 0]);
    assert_eq!(config.cgroup_driver, CgroupDriver::Systemd);
    let limits: Vec<_> = config.default_ulimits.iter().map(Ulimit::rlimit).collect();
    assert_eq!((limits[0].kind.as_str(), limits[0].soft, limits[0].hard), ("RLIMIT_NOFILE", 1024, 524_288));
    assert_eq!((limits[1].kind.as_str(), limits[1].soft, limits[1].hard), ("RLIMIT_CORE", u64::MAX, u64::MAX));
    assert_eq!((config.max_log_line.bytes(), config.pids_limit.get()), (8192, 1024));
    assert_eq!(config.stream_idle_timeout.get(), Duration::from_secs(5400));
    assert_eq!(config.metrics_listen.unwrap().to_string(), "[::1]:9464");
    assert_eq!(config.handlers.keys().collect::<Vec<_>>(), ["crun", "plain", "rt"]);
    let crun = &config.handlers["crun"];
    assert_eq!(crun.path.as_deref(), Some(Path::new("/usr/bin/crun")));
    let seen = |name: &str| crun.annotations.iter().any(|pattern| pattern.matches(name));
    assert_eq!((seen("run.oci.x"), seen("a"), seen("ab")), (true, true, false));
    let pinned = |name: &str| config.pinned_images.iter().any(|pattern| pattern.matches(&name.parse().unwrap()));
    for (name, expected) in [
        ("busybox", true),
        ("docker.io/library/busybox:latest", true),
        ("busybox:1", false),
        ("registry.k8s.io/pause:3.9", true),
        ("registry.k8s.io.evil/pause:3.9", false),
    ] {
        assert_eq!(pinned(name), expected, "{name}");
    }
}

/// Each mistake, and what is said of it: where, which key, what was found, what is allowed.
#[test]
fn mistakes() {
    let ulimits = "allowed is a list, each of it \"NAME=SOFT[:HARD]\", numbers or \"unlimited\", the name one of as, core, cpu, data, \
                   fsize, locks, memlock, msgqueue, nice, nofile, nproc, rss, rtprio, rttime, sigpending, stack";
    for (text, expected) in [
        ("stream_prot = 1", "1: stream_prot: there is no such key; the nearest is stream_port"),
        ("\n\nlog-level = \"info\"", "3: log-level: there is no such key; the nearest is log_level"),
        ("Root = \"/\"", "1: Root: there is no such key; the nearest is root"),
        ("idle_timeout = \"1s\"", "1: idle_timeout: there is no such key; the nearest is stream_idle_timeout"),
        ("zzz = 1", "1: zzz: there is no such key; `rtd config default` prints them all"),
        ("[plugins.cri]", "1: plugins: there is no such key; `rtd config default` prints them all"),
        ("stream_port = 65536", "1: stream_port: 65536 is not allowed; allowed is a whole number from 0 to 65535"),
        ("stream_port = \"1\"", "1: stream_port: \"1\" is not allowed; allowed is a whole number from 0 to 65535"),
        ("stream_port = -1", "1: stream_port: -1 is not allowed; allowed is a whole number from 0 to 65535"),
        ("root = \"here\"", "1: root: \"here\" is not allowed; allowed is an absolute path"),
        ("root = 1.5", "1: root: 1.5 is not allowed; allowed is an absolute path"),
        ("root = [\"/\"]", "1: root: a list is not allowed; allowed is an absolute path"),
        ("root = \"\"", "1: root: \"\" is not allowed; allowed is an absolute path"),
        ("shim = {}", "1: shim: a table is not allowed; allowed is an absolute path, or \"\""),
        ("keep_blobs = 1", "1: keep_blobs: 1 is not allowed; allowed is true or false"),
        (
            "cgroup_driver = \"Systemd\"",
            "1: cgroup_driver: \"Systemd\" is not allowed; allowed is \"auto\", \"cgroupfs\" or \"systemd\"",
        ),
        (
            "stream_idle_timeout = \"4 hours\"",
            "1: stream_idle_timeout: \"4 hours\" is not allowed; allowed is a time such as \"90s\", \"1h30m\" or \"500ms\"",
        ),
        (
            "max_log_line = \"1MB\"",
            "1: max_log_line: \"1MB\" is not allowed; allowed is a size such as \"1KiB\", from 1KiB to 1MiB",
        ),
        (
            "max_log_line = 10",
            "1: max_log_line: 10 is not allowed; allowed is a size such as \"1KiB\", from 1KiB to 1MiB",
        ),
        (
            "otlp_endpoint = \"https://a:1\"",
            "1: otlp_endpoint: \"https://a:1\" is not allowed; allowed is \"http://HOST:PORT\", or \"\"",
        ),
        (
            "metrics_listen = \"9464\"",
            "1: metrics_listen: \"9464\" is not allowed; allowed is an IP address and a port, such as \"127.0.0.1:9464\" or \
             \"[::1]:9464\", or \"\"",
        ),
        (
            "default_ulimits = [\"nofile=1\",\n\"files=1\"]",
            &format!("1: default_ulimits: \"files=1\" is not allowed; {ulimits}"),
        ),
        (
            "default_ulimits = [\"nofile=2:1\"]",
            &format!("1: default_ulimits: \"nofile=2:1\" is not allowed; {ulimits}"),
        ),
        ("handlers = 1", "1: handlers: allowed are tables [handlers.NAME]"),
        ("[handlers]\nx = 1", "2: handlers.x: allowed is a table [handlers.NAME]"),
        ("[handlers.Kata]", "1: handlers.Kata: a name has up to 63 small letters, digits and - between them"),
        ("[handlers.k]\npaht = \"/x\"", "2: handlers.k.paht: there is no such key; the nearest is path"),
        (
            "[handlers.k]\npath = \"x\"",
            "2: handlers.k.path: \"x\" is not allowed; allowed is an absolute path, or \"\"",
        ),
        ("[handlers.k]\nargs = [\"-v\"]", "2: handlers.k.args: path is missing"),
        ("[handlers.k]\nroot = \"/x\"", "2: handlers.k.root: path is missing"),
        (
            "[handlers.rt]\npath = \"/x\"",
            "2: handlers.rt.path: rt is the runtime within rtd's own shim; use another name",
        ),
        ("default_handler = \"kata\"", "1: default_handler: there is no handler \"kata\"; there is rt"),
        ("stream_tls_cert = \"/x\"", "1: stream_tls_cert: stream_tls_key is missing"),
        ("\nstream_tls_key = \"/x\"", "2: stream_tls_key: stream_tls_cert is missing"),
        ("stream_tls_client_ca = \"/x\"", "1: stream_tls_client_ca: stream_tls_cert is missing"),
        ("pod_cidrs = [\"10.0.0.0/16\", \"10.1.0.0/16\"]", "1: pod_cidrs: there is more than one IPv4 subnet"),
        (
            "pod_cidrs = [\"10.0.0.1/16\"]",
            "1: pod_cidrs: \"10.0.0.1/16\" is not allowed; allowed is a list, each of it subnets such as \"10.85.0.0/16\" or \
             \"fd00:85::/64\"",
        ),
        ("cni_bin_dirs = []", "1: cni_bin_dirs: at least one directory is needed"),
        ("cni_bin_dirs = [\"/a:b\"]", "1: cni_bin_dirs: /a:b: plugins are told of paths with : between them"),
        ("log_level = \"info\"\nlog_level = \"warn\"", "2: duplicate key"),
        ("\nroot = ", "2: string values must be quoted, expected literal string"),
    ] {
        assert_eq!(laid(text).0, [format!("{FILE}:{expected}")], "{text}");
    }
    let long = format!("listen = \"/{}\"", "x".repeat(107));
    assert_eq!(laid(&long).0, [format!("{FILE}:1: listen: the path of a socket has at most 107 bytes")]);
    let (problems, _) = laid("a = 1\nb = 2\nroot = 3");
    assert_eq!(problems.len(), 3);
    // What is wrong with a long value can be seen from its beginning.
    let (problems, _) = laid(&format!("log_level = \"{}\"", "x".repeat(1000)));
    assert!(problems[0].contains("x… is not allowed") && problems[0].len() < 250, "{problems:?}");
}

struct Files(tempfile::TempDir);

impl Files {
    fn new(files: &[(&str, &str)]) -> Files {
        let files_of = Files(tempfile::tempdir().unwrap());
        std::fs::create_dir(files_of.path("rtd.toml.d")).unwrap();
        for (name, text) in files {
            files_of.write(name, text);
        }
        files_of
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn source(&self, flags: Vec<Flag>) -> Source {
        Source { file: self.path("rtd.toml"), required: false, flags }
    }
}

#[test]
fn the_later_one_counts() {
    let files = Files::new(&[
        (
            "rtd.toml",
            "log_level = \"warn\"\nstream_port = 1\nlisten = \"/a\"\n[handlers.k]\npath = \"/k\"\nargs = [\"-v\"]",
        ),
        ("rtd.toml.d/20-b.toml", "stream_port = 3\n[handlers.k]\npath = \"/l\""),
        ("rtd.toml.d/10-a.toml", "\nstream_port = 2\npids_limit = 7\ncdi_spec_dirs = [\"/only\"]"),
        ("rtd.toml.d/.30-c.toml", "stream_port = 4"),
        ("rtd.toml.d/30-c.toml.bak", "nonsense"),
    ]);
    let flag = |name, key, value: &str| Flag { name, key, value: value.to_owned() };
    let flags = vec![flag("--listen", "listen", "/b")];
    let loaded = files.source(flags).load().unwrap();
    let config = &loaded.config;
    assert_eq!((config.stream_port, config.pids_limit.get(), config.log_level), (3, 7, LogLevel::Warn));
    assert_eq!((config.listen.to_str(), config.cdi_spec_dirs.len()), (Some("/b"), 1));
    let handler = &config.handlers["k"];
    assert_eq!((handler.path.as_deref(), handler.args.len()), (Some(Path::new("/l")), 1));
    let dropin = |name: &str, line| Place::Line(files.path(name), line);
    for (key, place) in [
        ("stream_port", dropin("rtd.toml.d/20-b.toml", 1)),
        ("pids_limit", dropin("rtd.toml.d/10-a.toml", 3)),
        ("log_level", dropin("rtd.toml", 1)),
        ("listen", Place::Flag("--listen")),
        ("root", Place::Default),
        ("handlers.k.path", dropin("rtd.toml.d/20-b.toml", 3)),
        ("handlers.k.args", dropin("rtd.toml", 6)),
        ("handlers.k.root", Place::Default),
    ] {
        assert_eq!(*loaded.place(key), place, "{key}");
    }
    let shown = shown(&loaded);
    for line in [
        format!("stream_port = 3 # {}:1", files.path("rtd.toml.d/20-b.toml").display()),
        "listen = \"/b\" # --listen".to_owned(),
        "root = \"/var/lib/rt\" # default".to_owned(),
        "[handlers.k]".to_owned(),
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line}\n{shown}");
    }
    // What is shown is a file that means the same.
    assert_eq!(laid(&shown).1, loaded.config);

    let flags = vec![flag("--log-level", "log_level", "loud")];
    let refused = files.source(flags).load().unwrap_err().to_string();
    let expected =
        "--log-level: \"loud\" is not allowed; allowed is \"error\", \"warn\", \"info\", \"debug\" or \"trace\"";
    assert_eq!(refused, expected);
}

#[test]
fn files_that_cannot_be_read() {
    let files = Files::new(&[]);
    assert_eq!(files.source(Vec::new()).load().unwrap(), Loaded::defaults());
    let missing = Source { required: true, ..files.source(Vec::new()) };
    let expected = format!("{}: No such file or directory (os error 2)", files.path("rtd.toml").display());
    assert_eq!(missing.load().unwrap_err().to_string(), expected);
    std::fs::write(files.path("rtd.toml"), b"root = \"\xff\"").unwrap();
    std::fs::create_dir(files.path("rtd.toml.d/x.toml")).unwrap();
    let wrong = missing.load().unwrap_err();
    let dropin = files.path("rtd.toml.d/x.toml");
    assert_eq!(wrong.0.len(), 2, "{wrong}");
    assert_eq!(
        wrong.0[0].to_string(),
        format!("{}: stream did not contain valid UTF-8", files.path("rtd.toml").display())
    );
    assert_eq!(wrong.0[1].to_string(), format!("{}: Is a directory (os error 21)", dropin.display()));
    std::fs::remove_dir(dropin).unwrap();
    files.write("rtd.toml", &"#".repeat(1 << 20));
    assert!(files.source(Vec::new()).load().is_ok());
    files.write("rtd.toml", &"#".repeat((1 << 20) + 1));
    let expected = format!("{}: it is larger than 1 MiB", files.path("rtd.toml").display());
    assert_eq!(files.source(Vec::new()).load().unwrap_err().to_string(), expected);
}

#[test]
fn reload() {
    let files = Files::new(&[("rtd.toml", "log_level = \"info\"")]);
    let source = files.source(Vec::new());
    let (mut reloader, settings) = Reloader::new(source.clone(), source.load().unwrap());
    let before = settings.now();
    assert_eq!(reloader.reload().unwrap(), Reloaded::default());
    files.write("rtd.toml", "log_level = \"debug\"\nstream_port = 7\n[handlers.k]\npath = \"/k\"");
    let reloaded = reloader.reload().unwrap();
    assert_eq!(reloaded, Reloaded { applied: vec!["log_level", "handlers"], waiting: vec!["stream_port"] });
    let now = settings.now();
    // What needs a restart is as it was, and who had the old settings still has them.
    assert_eq!((now.log_level, now.stream_port, now.handlers.len()), (LogLevel::Debug, 0, 2));
    assert_eq!((before.log_level, before.handlers.len()), (LogLevel::Info, 1));
    files.write("rtd.toml.d/broken.toml", "log_level = 1");
    assert!(reloader.reload().is_err());
    assert_eq!(settings.now(), now);
    std::fs::remove_file(files.path("rtd.toml.d/broken.toml")).unwrap();
    assert_eq!(reloader.reload().unwrap(), Reloaded { applied: Vec::new(), waiting: vec!["stream_port"] });
}

/// docs/configuration.md has the table as `rtd config default --markdown` prints it.
#[test]
fn the_page_has_the_table() {
    let page = include_str!("../../../docs/configuration.md");
    assert!(
        page.ends_with(&markdown()),
        "write the end of docs/configuration.md anew by rtd config default --markdown"
    );
}

/// The files for an operator are what they should be.
#[test]
fn samples() {
    let list = include_bytes!("../../../hack/dist/10-rt.conflist");
    let list = crate::network::cni::parse_list(list).unwrap();
    assert_eq!(list.name.as_str(), "rt");
    let socket = format!("unix://{}", Config::defaults().listen.display());
    let crictl = include_str!("../../../hack/dist/crictl.yaml");
    for key in ["runtime-endpoint", "image-endpoint"] {
        assert!(crictl.lines().any(|line| line == format!("{key}: {socket}")), "{crictl}");
    }
    let unit = include_str!("../../../hack/dist/rtd.service");
    for line in ["Type=notify", "KillMode=process", "Delegate=yes", "Restart=always", "TasksMax=infinity"] {
        assert!(unit.lines().any(|found| found == line), "{line}");
    }
}

proptest! {
    #[test]
    fn no_file_makes_it_panic(text in "[a-z_.\\[\\]={}\"'0-9\n #,]{0,80}") {
        let _ = laid(&text);
    }

    #[test]
    fn no_value_makes_it_panic(key in 0..Config::KEYS.len(), value in "\\PC{0,30}") {
        let key = Config::KEYS[key].name;
        let (problems, config) = laid(&format!("{key} = {}", value::quote(&value)));
        // What is taken is written so that it is read again as the same.
        if problems.is_empty() {
            let written = config.get(key).unwrap();
            let (again, same) = laid(&format!("{key} = {written}"));
            prop_assert_eq!(again, Vec::<String>::new());
            prop_assert_eq!(same, config);
        }
    }

    #[test]
    fn spans_and_sizes(milliseconds in 0_u64..31_536_000_000, bytes in 1024_u64..=1_048_576) {
        let span: Span = from_toml(&format!("\"{milliseconds}ms\"")).unwrap();
        prop_assert_eq!(u128::from(milliseconds), span.get().as_millis());
        prop_assert_eq!(from_toml::<Span>(&span.write()).unwrap(), span);
        let size: Size<1024, 1_048_576> = from_toml(&bytes.to_string()).unwrap();
        prop_assert_eq!(from_toml::<Size<1024, 1_048_576>>(&size.write()).unwrap(), size);
    }

    #[test]
    fn quoted_strings_are_read_as_they_were(text in "\\PC*|[\\x00-\\x7f]*") {
        let quoted = value::quote(&text);
        let value = DeValue::parse(&quoted).unwrap();
        prop_assert_eq!(value.get_ref().as_str(), Some(text.as_str()));
    }
}
