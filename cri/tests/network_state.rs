//! What others do at the same time, and what is left when something is killed, restarted or flushed.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod network;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use cri::network::{Attach, NewNetwork};
use network::{Host, inside, netns, open, path, plain, ports, run, tcp, tcp_server};

const CHILD: &str = "RT_TEST_NETWORK";

/// Not a test of its own: another process on the same host, which does what [`CHILD`] says.
#[test]
fn work_in_child() {
    let Ok(work) = std::env::var(CHILD) else { return };
    let mut words = work.split(' ');
    let networks = open(Path::new(words.next().unwrap()));
    match (words.next().unwrap(), words.next().unwrap()) {
        ("attach", netns) => {
            let netns = File::open(netns).unwrap();
            let ports = ports(&["8080:80", "8081:81/udp"]);
            let ip = Some("172.17.0.2".parse().unwrap());
            networks.attach(&Attach { ip, ports: &ports, ..plain("one", &netns, "bridge") }).unwrap();
        }
        ("detach", container) => drop(networks.detach(container, None).unwrap()),
        ("many", number) => {
            let containers: Vec<(File, String)> = (0..25).map(|n| (netns(), format!("{number}-{n}"))).collect();
            let ports = ports(&["80"]);
            let attached: Vec<_> = containers
                .iter()
                .map(|(netns, id)| networks.attach(&Attach { ports: &ports, ..plain(id, netns, "bridge") }).unwrap())
                .collect();
            for attached in &attached {
                let record = &attached.record;
                println!("attached {} {}", record.ip.unwrap().address, record.ports[0].host_port);
            }
            println!("attached all");
            // Until the parent is done with us.
            std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
        }
        ("create", number) => {
            for n in 0..5 {
                networks.create(&NewNetwork { name: format!("n{number}-{n}"), ..NewNetwork::default() }).unwrap();
            }
        }
        other => panic!("{other:?}"),
    }
}

fn child(folder: &Path, work: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "work_in_child", "--nocapture", "--quiet"]);
    command.env(CHILD, format!("{} {work}", folder.display()));
    command
}

fn veths() -> usize {
    run("ip -o link").lines().filter(|line| line.contains(": rtv")).count()
}

#[test]
fn root_two_hundred_at_once() {
    let Some(host) = Host::new() else { return };
    let start = |n: usize| {
        child(host.folder.path(), &format!("many {n}")).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
    };
    let mut children: Vec<Child> = (0..8).map(start).collect();
    let read = |child: &mut Child| BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut outputs: Vec<_> = children.iter_mut().map(read).collect();
    let (mut addresses, mut ports) = (BTreeSet::new(), BTreeSet::new());
    for lines in &mut outputs {
        // The test program's own words may be before it on the line.
        let found = lines.filter_map(|line| line.split_once("attached ").map(|(_, rest)| rest.to_owned()));
        for line in found.take_while(|line| line != "all") {
            let (address, port) = line.split_once(' ').unwrap();
            assert!(addresses.insert(address.to_owned()), "{address} twice");
            assert!(ports.insert(port.to_owned()), "{port} twice");
        }
    }
    assert_eq!((addresses.len(), ports.len(), veths()), (200, 200, 200));
    assert_eq!(host.networks.attachments().unwrap().len(), 200);
    assert_eq!(run("nft list ruleset").matches("tcp . ").count(), 200);
    for mut child in children {
        drop(child.stdin.take());
        assert!(child.wait().unwrap().success());
    }
    // Namespaces go with their last process, some time later.
    while veths() > 0 {
        std::thread::yield_now();
    }
    assert_eq!(host.networks.reclaim().unwrap().len(), 200);
    let rules = run("nft list ruleset");
    assert!(!rules.contains("tcp . ") && !rules.contains("rtv"), "{rules}");
}

#[test]
fn root_networks_made_at_once() {
    let Some(host) = Host::new() else { return };
    let mut children: Vec<Child> =
        (0..4).map(|n| child(host.folder.path(), &format!("create {n}")).spawn().unwrap()).collect();
    children.iter_mut().for_each(|child| assert!(child.wait().unwrap().success()));
    let networks = host.networks.list().unwrap();
    let subnets: BTreeSet<String> = networks.iter().map(|network| network.subnets[0].subnet.to_string()).collect();
    assert_eq!((networks.len(), subnets.len()), (20, 20));
}

/// Runs a child under strace, which kills it at the `count`th call of `call`. Tells whether it got that far.
fn killed(folder: &Path, work: &str, call: &str, count: usize) -> bool {
    let own = child(folder, work);
    let status = Command::new("strace")
        .args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}"), "-e"])
        .arg(format!("inject={call}:signal=KILL:when={count}"))
        .arg(own.get_program())
        .args(own.get_args())
        .env(CHILD, format!("{} {work}", folder.display()))
        .stdout(Stdio::null())
        .status()
        .unwrap();
    let by_signal = status.signal() == Some(9);
    assert!(by_signal || status.success(), "{work} {call} {count}: {status}");
    by_signal
}

#[test]
fn root_killed_between_any_two_steps() {
    let Some(host) = Host::new() else { return };
    let probe =
        Command::new("strace").args(["-qq", "-o", "/dev/null", "-e", "inject=getpid:signal=KILL", "true"]).status();
    if !probe.is_ok_and(|status| status.success()) {
        eprintln!("skipped: strace is not installed or may not trace");
        return;
    }
    let folder = host.folder.path();
    let attach = |container: &str, netns: &File| {
        let ports = ports(&["8080:80", "8081:81/udp"]);
        let ip = Some("172.17.0.2".parse().unwrap());
        host.networks.attach(&Attach { ip, ports: &ports, ..plain(container, netns, "bridge") }).unwrap()
    };
    let clean = |at: &str| {
        assert_eq!(veths(), 0, "{at}");
        let rules = run("nft list ruleset");
        assert!(!rules.contains("172.17.0.") && !rules.contains("rtv"), "{at}: {rules}");
        assert!(host.networks.attachments().unwrap().is_empty(), "{at}");
    };
    let mut kills = 0;
    for call in ["sendto", "renameat", "bind", "setns", "write", "openat2", "socket"] {
        for work in ["attach", "detach"] {
            for count in 1.. {
                let container = netns();
                let words = if work == "attach" {
                    format!("attach {}", path(&container))
                } else {
                    drop(attach("one", &container));
                    "detach one".to_owned()
                };
                let at = format!("{work} {call} {count}");
                if !killed(folder, &words, call, count) {
                    host.networks.detach("one", None).unwrap();
                    break;
                }
                kills += 1;
                // Either it is attached for good, or nothing of it is left; the address and the ports are free at once.
                if host.networks.attachments().unwrap().is_empty() {
                    let other = netns();
                    drop(attach("two", &other));
                    assert_eq!(veths(), 1, "{at}");
                    host.networks.detach("two", None).unwrap();
                } else {
                    host.networks.reclaim().unwrap();
                    let records = host.networks.attachments().unwrap();
                    assert_eq!(records.len(), veths(), "{at}");
                    let rules = run("nft list ruleset");
                    assert_eq!(records.len() * 2, rules.matches("172.17.0.2 . 8").count(), "{at}: {rules}");
                    host.networks.detach("one", None).unwrap();
                }
                clean(&at);
                if host.networks.list().unwrap().is_empty() {
                    host.networks.get("bridge").unwrap();
                }
            }
        }
    }
    eprintln!("killed {kills} times");
    assert!(kills > 40, "killed {kills} times");
}

#[test]
fn root_restarts_of_the_host() {
    let Some(host) = Host::new() else { return };
    let container = netns();
    let published = ports(&["8080:80"]);
    let attach =
        || host.networks.attach(&Attach { ports: &published, ..plain("one", &container, "bridge") }).unwrap().record;
    let first = attach();
    // What the kernel had is gone; the state folder is on a disk and is not.
    let reboot = || {
        inside(&container, || run("ip link delete eth0"));
        run("ip link delete rt0");
        run("nft flush ruleset");
    };
    reboot();
    let records: Vec<_> =
        fs::read_dir(host.folder.path().join("state/network")).unwrap().map(|entry| entry.unwrap().path()).collect();
    let record = records.iter().find(|path| path.extension().is_some_and(|end| end == "json")).unwrap();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let text = fs::read_to_string(record).unwrap();
    assert!(text.contains(boot.trim()));
    fs::write(record, text.replace(boot.trim(), "00000000-0000-4000-8000-000000000000")).unwrap();
    assert!(host.networks.attachments().unwrap().is_empty());
    assert!(host.networks.reclaim().unwrap().is_empty());
    let second = attach();
    assert_eq!((second.ip, second.network_id), (first.ip, first.network_id));
    // The state folder is on a tmpfs.
    reboot();
    fs::remove_dir_all(host.folder.path().join("state")).unwrap();
    let networks = open(host.folder.path());
    let third = networks.attach(&Attach { ports: &published, ..plain("one", &container, "bridge") }).unwrap();
    assert_eq!(third.record.ip, first.ip);
    tcp_server(&container, "0.0.0.0:80");
    assert!(tcp("127.0.0.1:8080").is_ok());
}

#[test]
fn root_rules_of_others_and_ours() {
    let Some(host) = Host::new() else { return };
    let rules = host.folder.path().join("rules");
    let mut file = File::create_new(&rules).unwrap();
    file.write_all(b"table ip filter { chain FORWARD { type filter hook forward priority 0; policy drop; ct state new counter accept\n}\n}\ntable inet other {\nset s { type ifname; elements = { \"rt0\" }\n}\n}\n").unwrap();
    run(&format!("nft -f {}", rules.display()));
    let before = run("nft list ruleset");
    let container = netns();
    let published = ports(&["8080:80"]);
    let attach = Attach { ports: &published, ..plain("one", &container, "bridge") };
    let attached = host.networks.attach(&attach).unwrap();
    assert!(attached.obstacles.iter().any(|text| text.contains("ip filter FORWARD")), "{:?}", attached.obstacles);
    host.networks.create(&NewNetwork { name: "n".into(), ..NewNetwork::default() }).unwrap();
    host.networks.attach(&plain("two", &netns(), "n")).unwrap();
    host.networks.detach("two", None).unwrap();
    host.networks.remove("n").unwrap();
    host.networks.reclaim().unwrap();
    let text = run("nft list ruleset");
    let others: Vec<&str> = text
        .split_inclusive("\n}\n")
        .filter(|table| !table.contains("table inet rt-net") && !table.contains("table bridge rt-net"))
        .collect();
    assert_eq!(others.concat(), before);

    // Somebody flushes everything: the next attachment brings back the rules of those that live, and so does a reclaim.
    tcp_server(&container, "0.0.0.0:80");
    assert!(tcp("127.0.0.1:8080").is_ok());
    run("nft flush ruleset");
    assert!(tcp("127.0.0.1:8080").is_err());
    let another = netns();
    host.networks.attach(&plain("three", &another, "bridge")).unwrap();
    assert!(tcp("127.0.0.1:8080").is_ok());
    run("nft flush ruleset");
    host.networks.detach("three", None).unwrap();
    assert!(tcp("127.0.0.1:8080").is_ok());
    let whole = run("nft list ruleset");
    run("nft flush ruleset");
    run("ip address flush dev rt0");
    host.networks.reclaim().unwrap();
    assert!(tcp("127.0.0.1:8080").is_ok());
    assert_eq!(run("nft list ruleset"), whole);
    // What nft(8) saves it can restore.
    fs::write(&rules, whole.as_bytes()).unwrap();
    run("nft flush ruleset");
    run(&format!("nft -f {}", rules.display()));
    assert_eq!(run("nft list ruleset"), whole);
    assert!(tcp("127.0.0.1:8080").is_ok());
}

#[test]
fn root_no_descriptors_and_threads_are_left() {
    let Some(host) = Host::new() else { return };
    let container = netns();
    let count = |folder: &str| fs::read_dir(folder).unwrap().count();
    let turn = || {
        drop(host.networks.attach(&plain("one", &container, "bridge")).unwrap());
        host.networks.detach("one", None).unwrap();
    };
    turn();
    // A process of its own would be needed to count exactly: other tests run beside. What leaks each time shows all the same.
    let before = count("/proc/self/fd") + count("/proc/self/task");
    (0..100).for_each(|_| turn());
    let after = count("/proc/self/fd") + count("/proc/self/task");
    assert!(after < before + 90, "{before} before, {after} after 100 turns");
}
