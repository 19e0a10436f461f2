//! Plugins that fail, hang, lie and do not stop: shell scripts in a folder of plugins.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod cni_lab;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, Instant};

use cni_lab::{Lab, Netns, add, id, ready, soon};
use cri::network::cni::{Client, Command, Error, Fault};

/// Succeeds at everything, and writes down what it was asked: `<command> <type> <netns or ->`.
const GOOD: &str = r#"
input=$(cat)
type=$(echo "$input" | jq -r .type)
echo "$CNI_COMMAND $type ${CNI_NETNS:--} $(echo "$input" | jq -c '.prevResult.ips // [] | map(.address)')" >>$D/calls
if [ "$CNI_COMMAND" = ADD ]; then
    echo "$input" | jq -c '{cniVersion, ips: ((.prevResult.ips // []) + [{address: "10.0.0.\((.prevResult.ips // []) | length + 1)/24"}])}'
fi"#;

fn list(version: &str, kinds: &[&str]) -> String {
    let plugins: Vec<String> = kinds.iter().map(|kind| format!(r#"{{"type": "{kind}"}}"#)).collect();
    format!(r#"{{"cniVersion": "{version}", "name": "lab", "plugins": [{}]}}"#, plugins.join(","))
}

/// A lab with one network of these plugins.
fn lab(kinds: &[&str]) -> Lab {
    let lab = Lab::new();
    lab.config("10-lab.conflist", &list("1.0.0", kinds));
    lab
}

/// The fault of the plugin that `error` is about.
#[track_caller]
fn fault(error: &Error, expected: &str, what: Command) -> Fault {
    match error {
        Error::Plugin { plugin, command, subject, fault } => {
            assert_eq!((plugin.as_str(), *command), (expected, what));
            assert_eq!(subject.network.as_str(), "lab");
            (**fault).clone()
        }
        other => panic!("{other}"),
    }
}

fn add_fails(lab: &Lab) -> Error {
    lab.client().add(&add("c1", &Netns::new()), soon()).unwrap_err()
}

#[test]
fn a_chain() {
    if !ready(&[]) {
        return;
    }
    let lab = lab(&["one", "two", "three"]);
    for kind in ["one", "two", "three"] {
        lab.plugin(kind, GOOD);
    }
    let (client, netns) = (lab.client(), Netns::new());
    let added = client.add(&add("c1", &netns), soon()).unwrap();
    let ips: Vec<String> = added.attachment.ips.iter().map(|ip| ip.address.to_string()).collect();
    assert_eq!(ips, ["10.0.0.1/24", "10.0.0.2/24", "10.0.0.3/24"]);
    let steps: Vec<(&str, bool)> = added.steps.iter().map(|step| (step.plugin.as_str(), step.ok)).collect();
    assert_eq!(steps, [("one", true), ("two", true), ("three", true)]);
    // What DEL does is what was recorded, whatever became of the configuration.
    lab.config("10-lab.conflist", &list("1.0.0", &["missing"]));
    client.reload();
    let network = "lab".parse().unwrap();
    client.check(&id("c1"), &network, &"eth0".parse().unwrap(), soon()).unwrap();
    client.delete(&id("c1"), soon()).unwrap();
    let path = netns.path().display().to_string();
    let all = r#"["10.0.0.1/24","10.0.0.2/24","10.0.0.3/24"]"#;
    let expected = [
        format!("ADD one {path} []"),
        format!(r#"ADD two {path} ["10.0.0.1/24"]"#),
        format!(r#"ADD three {path} ["10.0.0.1/24","10.0.0.2/24"]"#),
        format!("CHECK one {path} {all}"),
        format!("CHECK two {path} {all}"),
        format!("CHECK three {path} {all}"),
        format!("DEL three {path} {all}"),
        format!("DEL two {path} {all}"),
        format!("DEL one {path} {all}"),
    ];
    assert_eq!(lab.read("calls").lines().collect::<Vec<_>>(), expected);
    assert_eq!(lab.records(), [""; 0]);
    let error = client.check(&id("c1"), &network, &"eth0".parse().unwrap(), soon()).unwrap_err();
    assert_eq!(error.to_string(), "network lab, container c1, eth0: not attached");
}

#[test]
fn nothing_but_what_is_said_is_in_the_environment() {
    if !ready(&[]) {
        return;
    }
    let lab = lab(&["one"]);
    lab.plugin("one", "env | sort >$D/env; ls -l /proc/self/fd >$D/fds; echo '{}'");
    let netns = Netns::new();
    lab.client().add(&add("c1", &netns), soon()).unwrap();
    let env = lab.read("env");
    let names: Vec<&str> = env.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    let shell = ["OLDPWD", "PWD", "_", "SHLVL"];
    let names: Vec<&str> = names.into_iter().filter(|name| !shell.contains(name)).collect();
    assert_eq!(names, ["CNI_ARGS", "CNI_COMMAND", "CNI_CONTAINERID", "CNI_IFNAME", "CNI_NETNS", "CNI_PATH", "PATH"]);
    assert!(env.contains(&format!("CNI_PATH={}:/usr/lib/cni\n", lab.path("bin").display())), "{env}");
    assert!(env.contains("CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web;"), "{env}");
    let fds = lab.read("fds");
    let ours = |line: &&str| {
        line.contains("/net") || line.contains("net:[") || line.contains("memfd:") || line.contains("/bin")
    };
    // Standard input alone: neither the records, nor the namespace, nor the program.
    let ours: Vec<&str> = fds.lines().filter(ours).collect();
    assert!(ours.len() == 1 && ours[0].contains(" 0 -> /memfd:cni-input"), "{ours:?}");
}

#[test]
fn a_failed_add_is_undone_by_all_plugins() {
    if !ready(&[]) {
        return;
    }
    let lab = lab(&["one", "two", "three"]);
    lab.plugin("one", GOOD).plugin("three", GOOD);
    let fails =
        r#"[ "$CNI_COMMAND" = ADD ] && { echo '{"code": 11, "msg": "no", "details": "address left"}'; exit 1; }"#;
    lab.plugin("two", &format!("{fails}\n{GOOD}"));
    let error = add_fails(&lab);
    assert_eq!(
        error.to_string(),
        "network lab, container c1, eth0: plugin two: ADD: no; address left (code 11: try again later)"
    );
    assert_eq!(fault(&error, "two", Command::Add).message().unwrap().code, 11);
    let calls = lab.read("calls");
    let calls: Vec<&str> =
        calls.lines().map(|line| line.rsplit_once(' ').unwrap().0.rsplit_once(' ').unwrap().0).collect();
    assert_eq!(calls, ["ADD one", "DEL three", "DEL two", "DEL one"]);
    assert_eq!(lab.records(), [""; 0]);
}

#[test]
fn what_cannot_be_undone_is_kept_and_tried_again() {
    if !ready(&[]) {
        return;
    }
    let lab = lab(&["one", "two"]);
    lab.plugin("one", GOOD);
    let broken = r#"[ -e $D/well ] || { echo '{"code": 5, "msg": "broken"}'; exit 1; }"#;
    lab.plugin("two", &format!("{broken}\n{GOOD}"));
    let (client, netns) = (lab.client(), Netns::new());
    let error = client.add(&add("c1", &netns), soon()).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, Error::NotUndone { .. }), "{text}");
    assert!(text.contains("plugin two: ADD: broken (code 5: I/O failure); undoing it: "), "{text}");
    assert!(text.contains("plugin two: DEL: broken (code 5: I/O failure); it is recorded and tried again"), "{text}");
    // The other plugin has given back what it had all the same.
    assert!(lab.read("calls").contains("DEL one"));
    assert_eq!(lab.records(), ["c1@lab@eth0.json", "c1@lab@eth0.result"]);
    let again = client.add(&add("c1", &netns), soon()).unwrap_err();
    assert_eq!(
        again.to_string(),
        "network lab, container c1, eth0: already attached, or not yet detached; detach it first"
    );
    fault(&client.delete(&id("c1"), soon()).unwrap_err(), "two", Command::Del);
    drop(client);
    let client = lab.client();
    assert_eq!(client.recover(soon()).unfinished, [id("c1")]);
    fs::write(lab.path("well"), "").unwrap();
    client.delete(&id("c1"), soon()).unwrap();
    assert_eq!(lab.records(), [""; 0]);
    client.add(&add("c1", &netns), soon()).unwrap();
    client.delete(&id("c1"), soon()).unwrap();
}

#[test]
fn a_hang_is_killed_with_all_it_started_and_undone_in_time_of_its_own() {
    if !ready(&[]) {
        return;
    }
    let lab = lab(&["one"]);
    let hang = r#"[ "$CNI_COMMAND" = ADD ] || exit 0
        echo waiting >&2
        sleep 1000 & echo $! >$D/grandchild
        wait"#;
    lab.plugin("one", hang);
    let client = lab.client();
    let error = client.add(&add("c1", &Netns::new()), Instant::now() + Duration::from_millis(400)).unwrap_err();
    let Fault::TimedOut { after, stderr } = fault(&error, "one", Command::Add) else { panic!("{error}") };
    assert!(after >= Duration::from_millis(300) && after < Duration::from_secs(20), "{after:?}");
    assert_eq!(stderr, "waiting");
    assert!(error.to_string().ends_with(": \"waiting\""), "{error}");
    let grandchild = lab.read("grandchild");
    // It has been sent SIGKILL; dying takes as long as it takes.
    let deadline = Instant::now() + Duration::from_secs(10);
    while !ended(grandchild.trim()) {
        assert!(Instant::now() < deadline, "{grandchild}");
        std::thread::yield_now();
    }
    assert_eq!(lab.records(), [""; 0]);
}

/// Whether a process is gone, or only waits to be reaped by whoever inherited it.
fn ended(pid: &str) -> bool {
    match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z')),
        Err(_) => true,
    }
}

#[test]
fn what_a_plugin_leaves_running_is_not_waited_for() {
    if !ready(&[]) {
        return;
    }
    let lab = lab(&["one"]);
    // It keeps the pipes open for as long as the FIFO has no reader.
    let daemon = r#"[ "$CNI_COMMAND" = ADD ] || exit 0
        mkfifo $D/fifo; (echo >$D/fifo) & echo '{"ips": [{"address": "10.0.0.9/24"}]}'"#;
    lab.plugin("one", daemon);
    let (client, netns) = (lab.client(), Netns::new());
    let added = client.add(&add("c1", &netns), soon()).unwrap();
    assert_eq!(added.attachment.container_ips().count(), 1);
    fs::read(lab.path("fifo")).unwrap();
    client.delete(&id("c1"), soon()).unwrap();
}

#[test]
fn answers_that_are_none() {
    if !ready(&[]) {
        return;
    }
    let lab = lab(&["one"]);
    let garbage = |script: &str| {
        lab.plugin("one", &format!("[ $CNI_COMMAND = ADD ] || exit 0\n{script}"));
        let error = add_fails(&lab);
        assert_eq!(lab.records(), [""; 0]);
        (fault(&error, "one", Command::Add), error.to_string().split_once("ADD: ").unwrap().1.to_owned())
    };
    let (_, text) = garbage(":");
    assert_eq!(text, "answer is not JSON: EOF while parsing a value at line 1 column 0: \"\"");
    let (_, text) = garbage(r#"printf 'panic: \033[31mred\0 \377 ok\n'"#);
    assert_eq!(
        text,
        "answer is not JSON: expected value at line 1 column 1: \"panic: \\u{1b}[31mred\\u{0} \u{fffd} ok\""
    );
    let (fault, text) = garbage("yes x | head -c 5000");
    assert!(matches!(fault, Fault::Garbage { .. }) && text.ends_with(" […]\"") && text.len() < 1200, "{text}");
    let (fault, text) = garbage("exec yes");
    assert!(matches!(fault, Fault::TooMuch { limit: 1_048_576 }), "{fault:?}");
    assert_eq!(text, "killed: wrote more than 1048576 bytes");
    let (fault, text) = garbage("echo out; echo err >&2; exit 7");
    assert!(matches!(fault, Fault::Exit { code: 7, .. }), "{fault:?}");
    assert_eq!(text, "exit code 7: \"out\": \"err\"");
    let (fault, _) = garbage("kill -11 $$");
    assert!(matches!(fault, Fault::Signal { signal: 11, .. }), "{fault:?}");
    let (fault, text) = garbage(r#"echo '{"code": 150, "msg": "own"}'; exit 1"#);
    assert_eq!((fault.message().unwrap().code, text.as_str()), (150, "own (code 150)"));
    let (_, text) = garbage(r#"echo '{"cniVersion": "0.2.0", "ip4": {"ip": "1.2.3.4/5"}}'"#);
    assert!(text.starts_with("answer cniVersion: CNI version \"0.2.0\" is not supported"), "{text}");
}

#[test]
fn much_on_standard_error_does_no_harm() {
    if !ready(&[]) {
        return;
    }
    let lab = lab(&["one"]);
    lab.plugin("one", "yes noise | head -c 3000000 >&2; echo '{}'");
    lab.client().add(&add("c1", &Netns::new()), soon()).unwrap();
}

#[test]
fn a_large_configuration_reaches_a_plugin_that_reads_late() {
    if !ready(&[]) {
        return;
    }
    let lab = Lab::new();
    let config = list("1.0.0", &["one"]).replace(r#""type""#, &format!(r#""x": "{}", "type""#, "y".repeat(900_000)));
    lab.config("10-lab.conflist", &config);
    lab.plugin("one", r#"head -c 200000 /dev/zero >&2; wc -c >$D/count; echo '{}'"#);
    lab.client().add(&add("c1", &Netns::new()), soon()).unwrap();
    assert!(lab.read("count").trim().parse::<usize>().unwrap() > 900_000);
}

#[test]
fn a_program_that_is_being_installed_is_waited_for() {
    if !ready(&[]) {
        return;
    }
    let lab = lab(&["one"]);
    lab.plugin("one", "echo '{}'");
    let writer = fs::File::options().append(true).open(lab.path("bin/one")).unwrap();
    let client = lab.client();
    let netns = Netns::new();
    let error = client.add(&add("c1", &netns), Instant::now() + Duration::from_millis(50)).unwrap_err().to_string();
    assert!(error.contains("plugin one: ADD: execve(") && error.contains("ETXTBSY"), "{error}");
    assert_eq!(lab.records(), [""; 0]);
    std::thread::scope(|scope| {
        let adding = scope.spawn(|| client.add(&add("c2", &netns), soon()));
        while !lab.records().contains(&"c2@lab@eth0.json".to_owned()) {
            std::thread::yield_now();
        }
        drop(writer);
        adding.join().unwrap().unwrap();
    });
    client.delete(&id("c2"), soon()).unwrap();
}

#[test]
fn a_plugin_that_is_missing_has_nothing_to_undo() {
    if !ready(&[]) {
        return;
    }
    let lab = lab(&["one", "missing", "two"]);
    lab.plugin("one", GOOD).plugin("two", GOOD);
    let text = add_fails(&lab).to_string();
    assert!(text.starts_with("network lab, container c1, eth0: plugin missing: ADD: no such program in "), "{text}");
    let calls = lab.read("calls");
    let calls: Vec<&str> = calls.lines().map(|line| &line[..7]).collect();
    assert_eq!(calls, ["ADD one", "DEL two", "DEL one"]);
    assert_eq!(lab.records(), [""; 0]);
}

#[test]
fn programs_that_must_not_be_executed() {
    if !ready(&[]) {
        return;
    }
    let mut lab = lab(&["one"]);
    let text = |lab: &Lab| add_fails(lab).to_string();
    let missing = text(&lab);
    let dirs = format!("no such program in {}, /usr/lib/cni; install it there", lab.path("bin").display());
    assert!(missing.contains(&dirs), "{missing}");
    // No plugin was started: there is nothing to undo.
    assert_eq!(lab.records(), [""; 0]);
    lab.plugin("one", "echo '{}'");
    let path = lab.path("bin/one");
    let mode = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    let again = |lab: &Lab| {
        let text = text(lab);
        assert_eq!(lab.records(), [""; 0]);
        text
    };
    mode(0o644);
    assert!(again(&lab).contains("is not executable; chmod +x it"));
    mode(0o757);
    assert!(again(&lab).contains("may be written by every user, and would be executed as root; chmod o-w it"));
    fs::remove_file(&path).unwrap();
    symlink("/bin/true", &path).unwrap();
    assert!(
        again(&lab).contains("is a link that leads out of the plugin directory; add the directory it leads to instead")
    );
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(again(&lab).contains("is not a regular file"));
    fs::remove_dir(&path).unwrap();
    fs::write(&path, "#!/no/such/interpreter\n").unwrap();
    mode(0o755);
    assert!(again(&lab).contains("its interpreter (the first line of a script, or the loader) is missing"));
    fs::remove_file(&path).unwrap();
    // A link to another name in the directory is how one program has many.
    lab.plugin("all-in-one", "echo '{}'");
    symlink("all-in-one", &path).unwrap();
    let client = lab.client();
    client.add(&add("c1", &Netns::new()), soon()).unwrap();
    client.delete(&id("c1"), soon()).unwrap();
    drop(client);
    for (dirs, reason) in [
        (vec![], "bin_dirs: at least one directory is needed"),
        (vec!["opt".into()], "bin_dirs: opt: absolute paths without : are allowed"),
        (vec!["/a:b".into()], "bin_dirs: /a:b: absolute paths without : are allowed"),
    ] {
        lab.settings.bin_dirs = dirs;
        assert_eq!(Client::open(lab.settings.clone()).unwrap_err().to_string(), reason);
    }
}

#[test]
fn namespaces_that_must_not_be_touched() {
    if !ready(&[]) {
        return;
    }
    let lab = lab(&["one"]);
    lab.plugin("one", GOOD);
    let client = lab.client();
    let netns = Netns::new();
    let refused = |path: &Path| {
        let add = cri::network::cni::Add { netns: path.into(), ..add("c1", &netns) };
        client.add(&add, soon()).unwrap_err().to_string()
    };
    let host = "/proc/thread-self/ns/net";
    assert_eq!(
        refused(host.as_ref()),
        format!("network namespace {host}: is the host's own, where nothing is attached and detached")
    );
    assert_eq!(refused("/proc/self/ns/mnt".as_ref()), "network namespace /proc/self/ns/mnt: is no network namespace");
    assert!(refused("/no/such".as_ref()).contains("open(\"/no/such\", O_RDONLY): ENOENT"));
    assert_eq!((lab.records(), lab.read("calls").as_str()), (vec![], ""));
}

#[test]
fn a_namespace_that_is_gone_is_told_as_none() {
    if !ready(&[]) {
        return;
    }
    let lab = lab(&["one"]);
    lab.plugin("one", GOOD);
    let client = lab.client();
    let link = lab.path("netns");
    let (first, second) = (Netns::new(), Netns::new());
    symlink(first.path(), &link).unwrap();
    let request = cri::network::cni::Add { netns: link.clone(), ..add("c1", &first) };
    for replace in [true, false] {
        client.add(&request, soon()).unwrap();
        fs::remove_file(&link).unwrap();
        if replace {
            // The same path, another namespace: as when a process id is used again.
            symlink(second.path(), &link).unwrap();
        }
        client.delete(&id("c1"), soon()).unwrap();
        assert!(lab.read("calls").ends_with("DEL one - [\"10.0.0.1/24\"]\n"), "{}", lab.read("calls"));
        if replace {
            fs::remove_file(&link).unwrap();
            symlink(first.path(), &link).unwrap();
        }
    }
}
