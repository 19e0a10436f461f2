//! What is recorded outlives the process, the boot and the configuration: killed between steps, rebooted, damaged.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod cni_lab;

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};

use cni_lab::{BRIDGE, Lab, Netns, add, id, ready, sh, soon};
use cri::network::cni::{Client, Settings};
use serde_json::{Value, json};

const CHILD: &str = "RT_TEST_CNI";

/// Not a test of its own: the process that is killed. It works in the folder and the namespaces that it inherits.
#[test]
fn work_in_child() {
    let Ok(work) = std::env::var(CHILD) else { return };
    let (container, work) = work.split_once(' ').unwrap();
    let folder = std::env::current_dir().unwrap();
    let mut settings = Settings::new(folder.join("net"));
    settings.config_dir = folder.join("net.d");
    settings.bin_dirs = vec![folder.join("bin"), cni_lab::PLUGINS.into()];
    let client = Client::open(settings).unwrap();
    if work == "del" {
        client.delete(&id(container), soon()).unwrap();
    } else {
        // The namespace is the parent's.
        let mut request = add(container, &Netns::new());
        request.netns = work.into();
        client.add(&request, soon()).unwrap();
    }
}

fn child(lab: &Lab, work: &str, wrapper: &[&str]) -> std::process::ExitStatus {
    let program = std::env::current_exe().unwrap();
    let words: Vec<&str> = wrapper.iter().copied().chain([program.to_str().unwrap()]).collect();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).args(["--exact", "work_in_child", "--quiet"]).env(CHILD, work);
    command.current_dir(lab.dir.path()).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap()
}

/// Recovers, deletes, and sees that nothing is left.
fn recovers(lab: &Lab, container: &str, netns: &Netns, what: &str) {
    let client = lab.client();
    let recovered = client.recover(soon());
    assert!(recovered.errors.is_empty(), "{what}: {:?}", recovered.errors);
    client.delete(&id(container), soon()).unwrap();
    assert_eq!(lab.leases("lab"), [""; 0], "{what}");
    assert_eq!(lab.records(), [""; 0], "{what}");
    assert_eq!(netns.run("ip -o link show type veth"), "", "{what}");
    assert_eq!(sh("ip -o link show type veth"), "", "{what}");
}

#[test]
fn killed_by_a_plugin_between_the_steps() {
    if !ready(&["bridge", "host-local"]) {
        return;
    }
    let lab = Lab::new();
    lab.config(
        "10-lab.conflist",
        &BRIDGE
            .replace("\"plugins\": [", "\"plugins\": [{\"type\": \"before\"},")
            .replace("}\n  ]", "},{\"type\": \"after\"}\n  ]"),
    );
    let pass = r#"[ "$CNI_COMMAND" = ADD ] || exit 0; jq -c '.prevResult // {cniVersion}'"#;
    for (before, after, leases) in [("kill -9 $PPID;", "", 0), ("", "kill -9 $PPID;", 1)] {
        for stays in ["", "exec >/dev/null 2>&1; echo $$ >$D/stays; exec sleep 1000"] {
            let script = |kill: &str| {
                if kill.is_empty() {
                    pass.to_owned()
                } else {
                    format!("[ $CNI_COMMAND = ADD ] || exit 0; {kill} {stays}\n{pass}")
                }
            };
            lab.plugin("before", &script(before)).plugin("after", &script(after));
            let netns = Netns::new();
            let status = child(&lab, &format!("k1 {}", netns.path().display()), &["env"]);
            assert_eq!(status.signal(), Some(9), "{status}");
            assert_eq!(lab.leases("lab").len(), leases);
            if !stays.is_empty() {
                let plugin: i32 = wait_for(&lab.path("stays")).trim().parse().unwrap();
                let client = lab.client();
                let recovered = client.recover(soon());
                assert_eq!((recovered.ended, recovered.unfinished), (vec![plugin], vec![id("k1")]));
                fs::remove_file(lab.path("stays")).unwrap();
            }
            recovers(&lab, "k1", &netns, before);
        }
    }
}

/// What a file holds, once it holds something.
fn wait_for(path: &Path) -> String {
    loop {
        match fs::read_to_string(path) {
            Ok(text) if text.ends_with('\n') => return text,
            _ => std::thread::yield_now(),
        }
    }
}

#[test]
fn killed_at_every_call_that_changes_something() {
    if !ready(&["bridge", "host-local"]) {
        return;
    }
    let strace = ["strace", "-qq", "-o", "/dev/null", "-e", "inject=getpid:signal=KILL", "true"];
    if !Command::new(strace[0]).args(&strace[1..]).output().is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: strace is not installed or may not trace");
        return;
    }
    let lab = Lab::new();
    lab.config("10-lab.conflist", BRIDGE);
    let mut kills = 0;
    for call in [
        "mkdir",
        "openat2",
        "write",
        "renameat",
        "fdatasync",
        "fsync",
        "vfork,clone,clone3",
        "memfd_create",
        "unlinkat",
        "waitid,wait4",
    ] {
        for work in ["add", "del"] {
            for count in 1.. {
                let netns = Netns::new();
                let add = format!("k2 {}", netns.path().display());
                if work == "del" {
                    assert!(child(&lab, &add, &["env"]).success());
                }
                let inject = format!("inject={call}:signal=KILL:when={count}");
                // Not the plugins: those live on, as they do when a process is killed.
                let trace = format!("trace={call}");
                let wrapper = ["strace", "-f", "-b", "execve", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject];
                let status = child(&lab, if work == "add" { &add } else { "k2 del" }, &wrapper);
                let killed = status.signal() == Some(9);
                assert!(killed || status.success(), "{call} {work} {count}: {status}");
                recovers(&lab, "k2", &netns, &format!("{call} {work} {count}"));
                if !killed {
                    break;
                }
                kills += 1;
                assert!(count < 200, "{call} {work}");
            }
        }
    }
    assert!(kills > 20, "{kills}");
}

/// Makes what is recorded of another boot.
fn reboot(lab: &Lab) {
    for name in lab.records().into_iter().filter(|name| name.ends_with(".json")) {
        let path = lab.path("net").join(name);
        let mut record: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert_ne!(record["boot_id"], json!("other"));
        record["boot_id"] = json!("other");
        fs::write(path, record.to_string()).unwrap();
    }
}

#[test]
fn another_boot_undoes_what_was_attached() {
    if !ready(&["bridge", "host-local"]) {
        return;
    }
    let lab = Lab::new();
    lab.config("10-lab.conflist", BRIDGE);
    let netns = Netns::new();
    let client = lab.client();
    client.add(&add("r1", &netns), soon()).unwrap();
    client.add(&add("r2", &Netns::new()), soon()).unwrap();
    assert_eq!(lab.leases("lab").len(), 2);
    drop(client);
    // The same boot: nothing happens.
    let client = lab.client();
    let recovered = client.recover(soon());
    assert_eq!((recovered.attached, recovered.steps.len()), (vec![id("r1"), id("r2")], 0));
    drop(client);
    reboot(&lab);
    let client = lab.client();
    let recovered = client.recover(soon());
    assert!(recovered.errors.is_empty(), "{:?}", recovered.errors);
    assert_eq!((recovered.attached.len(), recovered.steps.len()), (0, 2));
    assert_eq!((lab.leases("lab"), lab.records()), (vec![], vec![]));
    // The namespace of that path is another boot's: it was left alone.
    assert!(netns.run("ip -o link show eth0").contains("eth0"));
}

#[test]
fn another_boot_keeps_what_could_not_be_undone_and_collects_the_rest() {
    if !ready(&[]) {
        return;
    }
    let lab = Lab::new();
    lab.config("10-lab.conflist", r#"{"cniVersion": "1.1.0", "name": "lab", "plugins": [{"type": "one"}]}"#);
    let script = r#"input=$(cat)
        echo "$CNI_COMMAND ${CNI_CONTAINERID:--} ${CNI_NETNS:--} $(echo "$input" | jq -c '."cni.dev/valid-attachments"')" >>$D/calls
        [ "$CNI_COMMAND $CNI_CONTAINERID" = "DEL s1" ] && [ ! -e $D/well ] && exit 1
        [ $CNI_COMMAND = ADD ] && echo '{}'; exit 0"#;
    lab.plugin("one", script);
    let client = lab.client();
    for container in ["s1", "s2"] {
        client.add(&add(container, &Netns::new()), soon()).unwrap();
    }
    drop(client);
    reboot(&lab);
    fs::write(lab.path("calls"), "").unwrap();
    let client = lab.client();
    let errors: Vec<String> = client.recover(soon()).errors.iter().map(ToString::to_string).collect();
    assert_eq!(errors, ["network lab, container s1, eth0: plugin one: DEL: exit code 1"]);
    let valid = r#"[{"containerID":"s1","ifname":"eth0"}]"#;
    assert_eq!(lab.read("calls"), format!("DEL s2 - null\nDEL s1 - null\nGC - - {valid}\n"));
    assert_eq!(lab.records(), ["s1@lab@eth0.json", "s1@lab@eth0.result"]);
    fs::write(lab.path("well"), "").unwrap();
    assert!(client.recover(soon()).errors.is_empty());
    assert_eq!(lab.records(), [""; 0]);
}

#[test]
fn damaged_records_are_kept_and_told() {
    if !ready(&[]) {
        return;
    }
    let lab = Lab::new();
    lab.config("10-lab.conflist", r#"{"cniVersion": "1.1.0", "name": "lab", "plugins": [{"type": "one"}]}"#);
    lab.plugin("one", r#"[ $CNI_COMMAND = GC ] && jq -c '."cni.dev/valid-attachments"' >$D/valid; [ $CNI_COMMAND = ADD ] && echo '{}'; exit 0"#);
    let client = lab.client();
    client.add(&add("d1", &Netns::new()), soon()).unwrap();
    let second = Client::open(lab.settings.clone()).unwrap_err().to_string();
    assert_eq!(second, format!("state: {} is in use by another process", lab.path("net").display()));
    drop(client);
    let good = lab.read("net/d1@lab@eth0.json");
    let put = |name: &str, text: &str| fs::write(lab.path("net").join(name), text).unwrap();
    put("d2@lab@eth0.json", &good[..good.len() / 2]);
    put("d3@lab@eth0.json", &good);
    put("d4@lab@eth0.json", &good.replace("\"version\":1", "\"version\":2"));
    put("d5@lab@eth0.json", "");
    put("d6@lab@eth0.json.new", "{");
    put("d7@lab@eth0.json", &good.replace("d1", "d7").replace("\"one\"", "\"../sh\""));
    let client = lab.client();
    let errors: Vec<String> = client.recover(soon()).errors.iter().map(ToString::to_string).collect();
    assert_eq!(errors.len(), 4, "{errors:?}");
    let shown = errors.join("\n");
    assert!(shown.contains("d2@lab@eth0.json: EOF while parsing"), "{shown}");
    assert!(shown.contains("d3@lab@eth0.json: is about d1@lab@eth0"), "{shown}");
    assert!(shown.contains("d4@lab@eth0.json: version 2 is not 1, the one this program knows"), "{shown}");
    assert!(shown.contains("d7@lab@eth0.json: network: plugins[0].type: plugin type \"../sh\""), "{shown}");
    let expected = [
        "d1@lab@eth0.json",
        "d1@lab@eth0.result",
        "d2@lab@eth0.json",
        "d3@lab@eth0.json",
        "d4@lab@eth0.json",
        "d7@lab@eth0.json",
    ];
    assert_eq!(lab.records(), expected);
    // A container whose record nobody can read is not attached again, and what it holds is not given away.
    let again = client.add(&add("d2", &Netns::new()), soon()).unwrap_err().to_string();
    assert!(again.contains("already attached, or not yet detached"), "{again}");
    client.gc(&|_| true, soon()).unwrap();
    let valid: Vec<Value> = serde_json::from_str(&lab.read("valid")).unwrap();
    assert_eq!(valid.len(), 5, "{valid:?}");
}

#[test]
fn records_that_others_may_read_are_refused() {
    if !ready(&[]) {
        return;
    }
    use std::os::unix::fs::PermissionsExt;
    let lab = Lab::new();
    let path = lab.path("net");
    fs::create_dir(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let error = Client::open(lab.settings.clone()).unwrap_err().to_string();
    assert_eq!(error, format!("state: {} has mode 0755: others may enter it; chmod 0700 it", path.display()));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    lab.client();
}
