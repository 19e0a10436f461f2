//! What an attachment costs: system calls are counted, time is shown beside the CNI plugin's and not tested.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod network;

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use cri::network::Attach;
use network::{Host, netns, open, path, plain, ports, run};

const CHILD: &str = "RT_TEST_NETWORK_COST";

/// Not a test of its own: one attachment and its end, for strace.
#[test]
fn work_in_child() {
    let Ok(work) = std::env::var(CHILD) else { return };
    let (folder, netns) = work.split_once(' ').unwrap();
    let networks = open(Path::new(folder));
    let netns = File::open(netns).unwrap();
    let ports = ports(&["8080:80"]);
    fs::metadata("/begin").unwrap_err();
    let attached = networks.attach(&Attach { ports: &ports, ..plain("one", &netns, "bridge") }).unwrap();
    fs::metadata("/middle").unwrap_err();
    networks.detach("one", None).unwrap();
    fs::metadata("/end").unwrap_err();
    drop(attached);
}

#[test]
fn root_system_calls_of_an_attachment() {
    let Some(host) = Host::new() else { return };
    let container = netns();
    // The bridge and the rules are there already. Without its namespace that attachment would be gone, and cleared away by the next.
    let zero = netns();
    host.networks.attach(&plain("zero", &zero, "bridge")).unwrap();
    let trace = host.folder.path().join("trace");
    let status = Command::new("strace")
        .args(["-f", "-qq", "-o", trace.to_str().unwrap()])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "work_in_child"])
        .env(CHILD, format!("{} {}", host.folder.path().display(), path(&container)))
        .stdout(Stdio::null())
        .status();
    if !status.is_ok_and(|status| status.success()) {
        eprintln!("skipped: strace is not installed or may not trace");
        return;
    }
    let text = fs::read_to_string(&trace).unwrap();
    let count = |from: &str, to: &str, call: &str| {
        let lines = text.lines().skip_while(|line| !line.contains(from)).skip(1).take_while(|line| !line.contains(to));
        // A write to a sysctl of a network is begun anew as long as others change theirs (ERESTARTNOINTR).
        let once = |line: &&str| line.contains(call) && !line.contains("resumed>") && !line.contains("ERESTART");
        lines.filter(once).count()
    };
    let attach = (count("/begin", "/middle", "("), count("/begin", "/middle", " sendto("));
    let detach = (count("/middle", "/end", "("), count("/middle", "/end", " sendto("));
    eprintln!("attach: {} system calls, {} netlink packets; detach: {}, {}", attach.0, attach.1, detach.0, detach.1);
    assert!(attach.0 <= 140 && attach.1 <= 4, "{attach:?}");
    assert!(detach.0 <= 70 && detach.1 <= 2, "{detach:?}");
    drop(zero);
}

fn median(mut times: Vec<Duration>) -> u128 {
    times.sort();
    times[times.len() / 2].as_micros()
}

/// `cargo test -p cri --release --test network_cost -- --ignored --nocapture`
#[test]
#[ignore = "a benchmark"]
fn root_bench() {
    let Some(host) = Host::new() else { return };
    let turns = 200;
    let published = ports(&["8080:80"]);
    for others in [0, 100] {
        let beside: Vec<(File, String)> = (0..others).map(|n| (netns(), format!("beside{n}"))).collect();
        let _held: Vec<_> =
            beside.iter().map(|(netns, id)| host.networks.attach(&plain(id, netns, "bridge")).unwrap()).collect();
        let (mut attach, mut detach) = (Vec::new(), Vec::new());
        for _ in 0..turns {
            let container = netns();
            let start = Instant::now();
            let attached =
                host.networks.attach(&Attach { ports: &published, ..plain("one", &container, "bridge") }).unwrap();
            attach.push(start.elapsed());
            let start = Instant::now();
            host.networks.detach("one", None).unwrap();
            detach.push(start.elapsed());
            drop(attached);
        }
        println!("{others} others: attach {} us, detach {} us (median of {turns})", median(attach), median(detach));
        beside.iter().for_each(|(_, id)| drop(host.networks.detach(id, None).unwrap()));
    }
    let plugin = "/usr/lib/cni/bridge";
    if fs::metadata(plugin).is_err() {
        println!("no {plugin}");
        return;
    }
    let config = format!(
        r#"{{"cniVersion":"1.0.0","name":"n","type":"bridge","bridge":"cni0","isGateway":true,"ipMasq":true,"ipam":{{"type":"host-local","subnet":"10.244.0.0/16","dataDir":"{}"}}}}"#,
        host.folder.path().join("cni").display()
    );
    let (mut add, mut del) = (Vec::new(), Vec::new());
    for _ in 0..turns / 4 {
        let container = netns();
        for (command, times) in [("ADD", &mut add), ("DEL", &mut del)] {
            let start = Instant::now();
            let mut child = Command::new(plugin)
                .envs([
                    ("CNI_COMMAND", command),
                    ("CNI_CONTAINERID", "one"),
                    ("CNI_IFNAME", "eth0"),
                    ("CNI_PATH", "/usr/lib/cni"),
                ])
                .env("CNI_NETNS", path(&container))
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .spawn()
                .unwrap();
            child.stdin.take().unwrap().write_all(config.as_bytes()).unwrap();
            assert!(child.wait().unwrap().success());
            times.push(start.elapsed());
        }
    }
    println!("CNI bridge plugin: ADD {} us, DEL {} us (median of {})", median(add), median(del), turns / 4);
    run("ip link delete cni0");
}
