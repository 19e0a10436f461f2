//! Networks that a user makes: `rtctl network`, names of containers for each other.

use std::time::{Duration, Instant};

use serde_json::Value;
use tests::{Rtctl, links};

use super::network::{address, answering, ask_from, network_test};

fn sleeping(r: &Rtctl<'_>, flags: &[&str]) -> String {
    r.detached(&[flags, &["busybox", "sleep", "1000"]].concat())
}

#[track_caller]
fn reaches(r: &Rtctl<'_>, from: &str, name: &str) -> bool {
    let output = r.call(&["exec", from, "ping", "-c", "1", "-W", "3", name]);
    assert!([0, 1].contains(&output.code), "{output}");
    output.code == 0
}

/// The lines of `/etc/hosts` that are kept current: address and names.
#[track_caller]
fn current(r: &Rtctl<'_>, container: &str) -> Vec<String> {
    let hosts = r.ok(&["exec", container, "cat", "/etc/hosts"]);
    let lines = hosts.lines().skip_while(|line| !line.starts_with("# its networks")).skip(1);
    lines.take_while(|line| !line.starts_with('#')).map(|line| line.replace('\t', " ")).collect()
}

#[test]
fn made_listed_inspected_removed() {
    network_test(|r| {
        let flags = ["--subnet", "10.99.0.0/24", "--gateway", "10.99.0.254", "--ip-range", "10.99.0.128/25"];
        let more = ["--label", "tier=db", "--opt", "com.docker.network.driver.mtu=1400"];
        let id = r.ok(&[&["network", "create"], &flags[..], &more, &["mine"]].concat());
        assert_eq!(id.len(), 64);
        let text = r.ok(&["network", "inspect", "mine"]);
        let shown: Value = serde_json::from_str(&text).unwrap();
        let shown = &shown[0];
        assert_eq!((&shown["Id"], &shown["Driver"]), (&id.as_str().into(), &"bridge".into()));
        let config =
            serde_json::json!([{"Subnet": "10.99.0.0/24", "Gateway": "10.99.0.254", "IPRange": "10.99.0.128/25"}]);
        assert_eq!(shown["IPAM"]["Config"], config);
        assert_eq!(shown["Labels"], serde_json::json!({"tier": "db"}));
        let list = |flags: &[&str]| r.ok(&[&["network", "ls", "--format", "{{.Name}}"], flags].concat());
        assert_eq!(list(&[]), "bridge\nhost\nmine\nnone");
        for (filter, names) in [
            ("type=custom", "mine"),
            ("label=tier=db", "mine"),
            ("label=tier=web", ""),
            ("driver=null", "none"),
            ("name=in", "mine"),
            ("dangling=true", "mine"),
        ] {
            assert_eq!(list(&["--filter", filter]), names, "{filter}");
        }
        assert_eq!(r.ok(&["network", "ls", "-q", "--no-trunc", "-f", "name=mine"]), id);
        let table = r.ok(&["network", "ls"]);
        assert!(table.starts_with("NETWORK ID     NAME     DRIVER   SCOPE"), "{table}");
        sleeping(r, &["--name", "one", "--network", &id[..12]]);
        assert_eq!(address(r, "one"), "10.99.0.128");
        assert!(r.ok(&["exec", "one", "ip", "link", "show", "eth0"]).contains("mtu 1400"));
        assert_eq!(r.field("one", "{{.HostConfig.NetworkMode}}"), "mine");
        let members = "{{range .Containers}}{{.Name}} {{.IPv4Address}}{{end}}";
        assert_eq!(r.ok(&["network", "inspect", "-f", members, "mine"]), "one 10.99.0.128/24");
        r.call(&["network", "rm", "mine"]).fails(&["mine", "one"]);
        r.ok(&["rm", "-f", "one"]);
        assert_eq!(r.ok(&["network", "rm", &id[..8]]), id[..8]);
        r.call(&["network", "inspect", "mine"]).fails(&["mine", "network create"]);
        r.call(&["network", "rm", "mine"]).fails(&["mine"]);
        assert_eq!(r.call(&["network", "rm", "-f", "mine"]).code, 0);
        assert_eq!(links(), ["lo"]);
    });
}

#[test]
fn refused() {
    network_test(|r| {
        let create = |flags: &[&str]| r.call(&[&["network", "create"], flags].concat());
        for (flags, words) in [
            (&["bridge"] as &[&str], &["bridge"] as &[&str]),
            (&["host"], &["host"]),
            (&["a b"], &["a b"]),
            (&["../x"], &["../x"]),
            (&["--driver", "macvlan", "x"], &["macvlan", "not built"]),
            (&["--subnet", "10.99.0.1/24", "x"], &["10.99.0.1/24"]),
            (&["--subnet", "10.99.0.0/24", "--gateway", "10.98.0.1", "x"], &["10.98.0.1"]),
            (&["--opt", "speed=9", "x"], &["speed"]),
            (&["--opt", "mtu=9", "x"], &["mtu", "9"]),
        ] {
            create(flags).fails(words);
        }
        r.call(&["network", "rm", "bridge"]).fails(&["bridge"]);
        r.call(&["network", "rm", "host"]).fails(&["host", "predefined"]);
        let output = r.call(&["run", "--rm", "--network", "nope", "busybox", "true"]);
        assert_eq!(output.code, 125);
        output.fails(&["nope", "network ls", "network create nope"]);
        r.ok(&["network", "create", "--subnet", "10.99.0.0/24", "mine"]);
        create(&["mine"]).fails(&["mine", "exists"]);
        create(&["--subnet", "10.99.0.0/25", "other"]).fails(&["10.99.0.0/25", "mine"]);
        for flags in [
            &["--network", "none", "--network", "host"] as &[&str],
            &["--network", "mine", "--network", "mine"],
            &["--network", "mine", "--network", "host"],
            &["--network-alias", "db"],
            &["--network", "none", "--network-alias", "db"],
            &["--network", "mine:ip=x"],
        ] {
            let output = r.call(&[&["run", "--rm"], flags, &["busybox", "true"]].concat());
            assert_eq!(output.code, 125, "{flags:?}: {output}");
        }
        r.ok(&["network", "rm", "mine"]);
    });
}

#[test]
fn names_of_containers() {
    network_test(|r| {
        r.ok(&["network", "create", "mine"]);
        let db = sleeping(r, &["--name", "db", "--network", "mine:alias=sql", "--network-alias", "store"]);
        let web = sleeping(r, &["--name", "web", "--network", "mine"]);
        for name in ["db", "sql", "store", &db[..12]] {
            assert!(reaches(r, "web", name), "{name}");
        }
        // The one that was there first finds the one that came later.
        assert!(reaches(r, "db", "web"));
        let own = |id: &str| format!("{} {}", r.field(id, "{{.NetworkSettings.Networks.mine.IPAddress}}"), &id[..12]);
        let db_line = format!("{} db sql store {}", own(&db).split(' ').next().unwrap(), &db[..12]);
        assert_eq!(current(r, "web"), [own(&web), db_line]);
        // Its programs may write to the file; what they add stays.
        r.ok(&["exec", "web", "sh", "-c", "echo 1.2.3.4 there >>/etc/hosts"]);
        r.ok(&["rename", "db", "database"]);
        assert!(current(r, "web")[1].contains(" database sql store "));
        r.ok(&["stop", "-t", "0", "database"]);
        assert_eq!(current(r, "web"), [own(&web)]);
        assert!(r.ok(&["exec", "web", "cat", "/etc/hosts"]).contains("1.2.3.4 there"));
        r.ok(&["start", "database"]);
        assert!(reaches(r, "web", "database"));
        // One that ends by itself goes, too.
        r.ok(&["run", "--rm", "--network", "mine", "--name", "guest", "busybox", "ping", "-c", "1", "-W", "3", "web"]);
        assert_eq!(current(r, "web").len(), 2);
        // On the default network there are no names; on another one nobody knows them.
        sleeping(r, &["--name", "plain"]);
        sleeping(r, &["--name", "plain2"]);
        assert!(!reaches(r, "plain", "plain2") && !reaches(r, "plain", "web"));
        // And no way between networks.
        assert!(!reaches(r, "plain", &address(r, "web")));
        r.ok(&["rm", "-f", "web", "database", "plain", "plain2"]);
        r.ok(&["network", "rm", "mine"]);
    });
}

/// Root writes names into a file that processes of a container may hold on to.
#[test]
fn nobody_waits_for_the_hosts_file_of_another_one() {
    network_test(|r| {
        r.ok(&["network", "create", "mine"]);
        let calls = format!("{}:/calls:ro", tests::calls().display());
        let held = |script: &str| {
            let id = r.detached(&["--network", "mine", "-v", &calls, "busybox", "sh", "-c", script]);
            let mut logs = r.start(&["logs", "-f", &id]);
            assert_eq!(logs.line(), "0", "{script}");
            logs.child.kill().unwrap();
            logs.end();
            id
        };
        // fcntl(3, F_SETLEASE, F_WRLCK): others' open(2) waits for /proc/sys/fs/lease-break-time, 45 s.
        let leased = held("exec 3<>/etc/hosts; /calls x86-64 72 3 1024 1; exec sleep 1000");
        // pause(): nobody writes to a program that is executed.
        let executed = held(
            "cat /calls >/etc/hosts; chmod +x /etc/hosts; /etc/hosts x86-64 34 & \
             until readlink /proc/$!/exe | grep -q hosts; do :; done; echo 0; wait",
        );
        let size = r.ok(&["exec", &executed, "stat", "-c", "%s", "/etc/hosts"]);
        assert!(size.parse::<u64>().unwrap() < 1 << 20, "{size}: would not be read at all");
        let before = Instant::now();
        r.ok(&["run", "--rm", "--network", "mine", "busybox", "true"]);
        assert!(before.elapsed() < Duration::from_secs(30), "{:?}", before.elapsed());
        r.ok(&["rm", "-f", &leased, &executed]);
        r.ok(&["network", "rm", "mine"]);
    });
}

#[test]
fn links_on_the_default_network() {
    network_test(|r| {
        let db = sleeping(r, &["--name", "db"]);
        let web = sleeping(r, &["--name", "web", "--link", "db:store"]);
        assert!(reaches(r, "web", "store") && reaches(r, "web", "db"));
        assert!(!reaches(r, "db", "web"));
        // It comes back with another address.
        r.ok(&["stop", "-t", "0", "db"]);
        assert!(!reaches(r, "web", "store"));
        r.ok(&["run", "--rm", "busybox", "true"]);
        r.ok(&["start", "db"]);
        assert!(reaches(r, "web", "store"));
        r.call(&["run", "--rm", "--link", "gone", "busybox", "true"]).fails(&["gone"]);
        r.ok(&["rm", "-f", &db, &web]);
    });
}

#[test]
fn connected_and_disconnected() {
    network_test(|r| {
        r.ok(&["network", "create", "--subnet", "10.99.0.0/24", "mine"]);
        let db = sleeping(r, &["--name", "db", "--network", "mine"]);
        let web = sleeping(r, &["--name", "web"]);
        assert!(!reaches(r, "web", "db"));
        r.ok(&["network", "connect", "--ip", "10.99.0.77", "--alias", "front", "mine", "web"]);
        assert!(reaches(r, "web", "db") && reaches(r, "db", "front"));
        assert_eq!(r.field("web", "{{.NetworkSettings.Networks.mine.IPAddress}}"), "10.99.0.77");
        assert!(r.ok(&["exec", "web", "ip", "address", "show", "eth1"]).contains("10.99.0.77/24"));
        assert!(r.ok(&["exec", "web", "ip", "route"]).contains("default via 172.17.0.1 dev eth0"));
        r.call(&["network", "connect", "mine", "web"]).fails(&["web", "mine", "already"]);
        // A start later it is on both.
        r.ok(&["restart", "-t", "0", "web"]);
        assert_eq!(r.field("web", "{{.NetworkSettings.Networks.mine.IPAddress}}"), "10.99.0.77");
        assert!(reaches(r, "web", "db"));
        r.ok(&["network", "disconnect", "bridge", "web"]);
        assert!(reaches(r, "web", "db"));
        assert!(r.ok(&["exec", "web", "ip", "route"]).contains("default via 10.99.0.1"));
        r.ok(&["network", "disconnect", "mine", "web"]);
        assert!(!reaches(r, "web", "10.99.0.1"));
        assert_eq!(
            current(r, "db"),
            [format!("{} {}", r.field("db", "{{.NetworkSettings.Networks.mine.IPAddress}}"), &db[..12])]
        );
        assert!(current(r, "web").is_empty());
        r.call(&["network", "disconnect", "mine", "web"]).fails(&["web", "not on network mine"]);
        // One that does not run is where it is to be once it is started.
        r.ok(&["stop", "-t", "0", "web"]);
        r.ok(&["network", "connect", "mine", "web"]);
        r.ok(&["start", "web"]);
        assert!(reaches(r, "web", "db"));
        // What cannot be is not noted.
        r.ok(&["network", "create", "--subnet", "10.98.0.0/24", "other"]);
        r.call(&["network", "connect", "--ip", "10.97.0.1", "other", "web"]).fails(&["10.97.0.1"]);
        assert_eq!(r.field("web", "{{len .NetworkSettings.Networks}}"), "1");
        let host = sleeping(r, &["--network", "host"]);
        r.call(&["network", "connect", "mine", &host]).fails(&["--network host"]);
        r.ok(&["rm", "-f", &db, &web, &host]);
        r.ok(&["network", "rm", "mine", "other"]);
    });
}

#[test]
fn several_networks_from_the_start() {
    network_test(|r| {
        r.ok(&["network", "create", "--subnet", "10.99.0.0/24", "one"]);
        r.ok(&["network", "create", "--subnet", "10.98.0.0/24", "two"]);
        let id = answering(
            r,
            &["--network", "one:ip=10.99.0.9", "--network", "name=two,ip=10.98.0.9", "-p", "8080:80"],
            "tcp",
            "80",
        );
        assert_eq!(address(r, &id), "10.99.0.9");
        assert_eq!(r.ok(&["ps", "--format", "{{.Networks}}"]), "one,two");
        assert!(ask_from(r, &["--network", "two"], "tcp", "10.98.0.9", 80).is_some());
        assert!(tests::ask("tcp", "127.0.0.1", 8080).is_some());
        r.ok(&["rm", "-f", &id]);
        // A second network that cannot be: the first is left as well, and nothing of the container stays.
        let taken = sleeping(r, &["--network", "two:ip=10.98.0.9"]);
        let flags = ["--name", "both", "--network", "one", "--network", "two:ip=10.98.0.9", "-p", "8080:80"];
        r.call(&[&["run", "--rm"], &flags[..], &["busybox", "true"]].concat()).fails(&["10.98.0.9", "in use"]);
        assert_eq!(r.ok(&["network", "inspect", "-f", "{{len .Containers}}", "one"]), "0");
        r.ok(&["rm", "-f", &taken]);
        r.ok(&["network", "rm", "one", "two"]);
    });
}

#[test]
fn internal_networks_have_no_way_out() {
    network_test(|r| {
        let outside = tests::Host::cabled();
        r.ok(&["network", "create", "--internal", "--subnet", "10.99.0.0/24", "closed"]);
        let one = answering(r, &["--network", "closed"], "tcp", "80");
        assert!(ask_from(r, &["--network", "closed"], "tcp", &address(r, &one), 80).is_some());
        assert!(!reaches(r, &one, "192.0.2.2") && !reaches(r, &one, "192.0.2.1"));
        drop(outside);
        r.ok(&["rm", "-f", &one]);
        r.ok(&["network", "rm", "closed"]);
    });
}

#[test]
fn ipv6() {
    network_test(|r| {
        let outside = tests::Host::cabled();
        r.ok(&["network", "create", "--ipv6", "--subnet", "fd00:99::/64", "six"]);
        let id = answering(r, &["--network", "six", "--ip6", "fd00:99::9", "-p", "8080:80"], "tcp", "80");
        assert_eq!(r.field(&id, "{{.NetworkSettings.GlobalIPv6Address}}"), "fd00:99::9");
        assert!(ask_from(r, &["--network", "six"], "tcp", "fd00:99::9", 80).is_some());
        assert_eq!(outside.ask("tcp", "2001:db8::1", 8080).as_deref(), Some("2001:db8::2"));
        assert_eq!(outside.ask("tcp", "192.0.2.1", 8080).as_deref(), Some("192.0.2.2"));
        assert_eq!(r.ok(&["port", &id]), "80/tcp -> 0.0.0.0:8080\n80/tcp -> [::]:8080");
        assert!(current(r, &id).iter().any(|line| line.starts_with("fd00:99::9 ")));
        r.ok(&["rm", "-f", &id]);
        r.ok(&["network", "rm", "six"]);
    });
}

#[test]
fn prune_leaves_what_is_used() {
    network_test(|r| {
        for name in ["free", "running", "stopped"] {
            r.ok(&["network", "create", "--label", &format!("name={name}"), name]);
        }
        let running = sleeping(r, &["--network", "running"]);
        let stopped = r.ok(&["create", "--network", "stopped", "busybox"]);
        r.call(&["network", "prune"]).fails(&["--force"]);
        assert_eq!(r.ok(&["network", "prune", "-f", "--filter", "label=name=running"]), "");
        assert_eq!(r.ok(&["network", "prune", "-f"]), "Deleted Networks:\nfree");
        r.ok(&["rm", "-f", &running, &stopped]);
        assert_eq!(r.ok(&["network", "prune", "-f"]), "Deleted Networks:\nrunning\nstopped");
        assert_eq!(r.ok(&["network", "prune", "-f"]), "");
    });
}
