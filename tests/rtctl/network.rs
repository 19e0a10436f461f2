//! Networks as a person sees them: the default one, ports, and what is there in `/etc`.

use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::process::Command;

use serde_json::Value;
use tests::{Host, Rtctl, ask, has_networks, links, needs, payload, rtctl_test};

/// A test that needs bridges and nftables.
pub(crate) fn network_test(body: impl FnOnce(&Rtctl<'_>)) {
    rtctl_test(|r| {
        needs!(r.test, has_networks(), "the kernel lacks bridges, veth, nft_nat or nft_fib");
        body(r);
    });
}

/// Flags that mount the payload.
pub(crate) fn volume() -> String {
    format!("{}:/payload:ro", payload().display())
}

/// Starts a container that answers on a port.
#[track_caller]
pub(crate) fn answering(r: &Rtctl<'_>, flags: &[&str], protocol: &str, port: &str) -> String {
    let volume = volume();
    let id = r.detached(&[flags, &["-v", &volume, "busybox", "/payload", "answer", protocol, port]].concat());
    let mut logs = r.start(&["logs", "-f", &id]);
    assert_eq!(logs.line(), "ready");
    logs.child.kill().unwrap();
    logs.end();
    id
}

/// Asks from a new container.
#[track_caller]
pub(crate) fn ask_from(r: &Rtctl<'_>, flags: &[&str], protocol: &str, address: &str, port: u16) -> Option<String> {
    let (volume, port) = (volume(), port.to_string());
    let command = ["-v", &volume, "busybox", "/payload", "ask", protocol, address, &port];
    let output = r.call(&[&["run", "--rm"], flags, &command].concat());
    assert!([0, 1].contains(&output.code), "{output}");
    (output.code == 0).then(|| output.stdout.trim_end().to_owned())
}

pub(crate) fn address(r: &Rtctl<'_>, id: &str) -> String {
    r.field(id, "{{.NetworkSettings.IPAddress}}")
}

#[test]
fn bridge_is_the_default() {
    network_test(|r| {
        let id = r.detached(&["--name", "one", "busybox", "sleep", "1000"]);
        let own = address(r, "one");
        assert!(own.starts_with("172.17.0."), "{own}");
        assert_eq!(r.field("one", "{{.HostConfig.NetworkMode}}"), "bridge");
        let shown: Value = serde_json::from_str(&r.field("one", "{{json .NetworkSettings}}")).unwrap();
        assert_eq!((&shown["Gateway"], &shown["IPPrefixLen"]), (&"172.17.0.1".into(), &16.into()));
        assert_eq!(shown["Networks"]["bridge"]["IPAddress"], own.as_str());
        let inside = r.ok(&["exec", "one", "ip", "address", "show", "dev", "eth0"]);
        assert!(inside.contains(&format!("inet {own}/16")), "{inside}");
        assert!(inside.contains(shown["MacAddress"].as_str().unwrap()), "{inside}");
        let route = r.ok(&["exec", "one", "ip", "route"]);
        assert!(route.contains("default via 172.17.0.1 dev eth0"), "{route}");
        // Its own name is at its own address; there is no other container in its file.
        let hosts = r.ok(&["exec", "one", "cat", "/etc/hosts"]);
        assert!(hosts.contains(&format!("{own}\t{}\n", &id[..12])), "{hosts}");
        assert_eq!(r.ok(&["ps", "--format", "{{.Networks}}"]), "bridge");
        assert_eq!(r.ok(&["ps", "-q", "--no-trunc", "--filter", "network=bridge"]), id);
        assert_eq!(r.ok(&["ps", "-q", "--filter", "network=none"]), "");
        // Two containers and the host reach each other.
        let other = r.ok(&["run", "--rm", "busybox", "ping", "-c", "1", "-W", "3", &own]);
        assert!(other.contains("1 packets received"), "{other}");
        r.ok(&["exec", "one", "ping", "-c", "1", "-W", "3", "172.17.0.1"]);
        r.ok(&["rm", "-f", "one"]);
        assert_eq!(links(), ["lo", "rt0"]);
    });
}

#[test]
fn none_and_host_make_nothing() {
    network_test(|r| {
        r.ok(&["run", "--rm", "--network", "none", "busybox", "true"]);
        r.ok(&["run", "--rm", "--network", "host", "busybox", "true"]);
        assert_eq!(links(), ["lo"]);
        assert!(!r.state().join("network").try_exists().unwrap());
        let id = r.ok(&["create", "--network", "none", "busybox"]);
        assert!(!r.state().join("local").join(&id).join("sandbox.json").try_exists().unwrap());
        assert_eq!(r.field(&id, "{{range $name, $_ := .NetworkSettings.Networks}}{{$name}}{{end}}"), "none");
        r.ok(&["rm", &id]);
        // As docker: the same command line works with any network.
        let output = r.call(&["run", "--rm", "--network", "host", "-p", "80:80", "busybox", "true"]);
        assert_eq!(output.code, 0, "{output}");
        assert!(output.stderr.contains("discarded"), "{output}");
    });
}

#[test]
fn published_ports_are_reached_from_everywhere() {
    network_test(|r| {
        let outside = Host::cabled();
        let tcp = answering(r, &["-p", "8080:80"], "tcp", "80");
        let udp = answering(r, &["-p", "8080:80/udp"], "udp", "80");
        for (id, protocol) in [(&tcp, "tcp"), (&udp, "udp")] {
            // Another host is seen as itself.
            assert_eq!(outside.ask(protocol, "192.0.2.1", 8080).as_deref(), Some("192.0.2.2"), "{protocol}");
            for address in ["127.0.0.1", "192.0.2.1", "172.17.0.1"] {
                assert!(ask(protocol, address, 8080).is_some(), "{protocol} {address} from the host");
            }
            for address in ["192.0.2.1", "172.17.0.1"] {
                let answer = ask_from(r, &[], protocol, address, 8080);
                assert!(answer.is_some(), "{protocol} {address} from a container");
            }
            let own = address(r, id);
            assert!(ask(protocol, &own, 80).is_some(), "{protocol} {own} from the host");
            assert!(ask_from(r, &[], protocol, &own, 80).is_some(), "{protocol} {own} from a container");
            // By its own published port.
            let port = ["exec", id, "/payload", "ask", protocol, "172.17.0.1", "8080"];
            assert_eq!(r.call(&port).code, 0, "{protocol} from itself");
        }
        // What is not published is not reached from outside, even by one that knows the way.
        outside.ip("route add 172.17.0.0/16 via 192.0.2.1");
        assert_eq!(outside.ask("tcp", &address(r, &tcp), 80), None);
        r.ok(&["rm", "-f", &tcp, &udp]);
    });
}

#[test]
fn containers_reach_the_world_with_the_hosts_address() {
    network_test(|r| {
        let outside = Host::cabled();
        let mut server = outside.command(payload().to_str().unwrap(), &["answer", "tcp", "7000"]);
        let mut server = server.stdout(std::process::Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let mut stdout = std::io::BufReader::new(server.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut stdout, &mut line).unwrap();
        assert_eq!(ask_from(r, &[], "tcp", "192.0.2.2", 7000).as_deref(), Some("192.0.2.1"));
        server.kill().unwrap();
        server.wait().unwrap();
    });
}

#[test]
fn ports_by_range_by_chance_and_by_image() {
    network_test(|r| {
        let flags = ["--name", "many", "-p", "8000-8002:80-82", "-p", "127.0.0.1::90/udp", "-p", "9000-9001:91"];
        r.detached(&[&flags[..], &["--expose", "100", "busybox", "sleep", "1000"]].concat());
        let random = r.ok(&["port", "many", "90/udp"]);
        let random = random.strip_prefix("127.0.0.1:").unwrap().to_owned();
        assert!(random.parse::<u16>().unwrap() >= 1024, "{random}");
        assert_eq!(
            r.ok(&["port", "many"]),
            format!(
                "80/tcp -> 0.0.0.0:8000\n81/tcp -> 0.0.0.0:8001\n82/tcp -> 0.0.0.0:8002\n90/udp -> 127.0.0.1:{random}\n\
                 91/tcp -> 0.0.0.0:9000"
            )
        );
        assert_eq!(
            r.ok(&["ps", "--format", "{{.Ports}}"]),
            format!("0.0.0.0:8000-8002->80-82/tcp, 127.0.0.1:{random}->90/udp, 0.0.0.0:9000->91/tcp, 100/tcp")
        );
        let json = r.field("many", "{{json .NetworkSettings.Ports}}");
        let json: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["81/tcp"], serde_json::json!([{"HostIp": "0.0.0.0", "HostPort": "8001"}]));
        assert_eq!(json["100/tcp"], Value::Null);
        // The next one takes the other port of the range, the one after it finds none.
        r.detached(&["--name", "next", "-p", "9000-9001:91", "busybox", "sleep", "1000"]);
        assert_eq!(r.ok(&["port", "next", "91"]), "0.0.0.0:9001");
        r.call(&["run", "--rm", "-p", "9000-9001:91", "busybox", "true"]).fails(&["no host port is free", "9000-9001"]);
        let all = r.detached(&["-P", "--expose", "70-71/tcp", "--expose", "72/udp", "busybox", "sleep", "1000"]);
        let ports = r.ok(&["port", &all]);
        assert_eq!(
            ports.lines().map(|line| line.split(' ').next().unwrap()).collect::<Vec<_>>(),
            ["70/tcp", "71/tcp", "72/udp"]
        );
        assert_eq!(r.ok(&["ps", "-q", "--no-trunc", "--filter", "publish=70"]), all);
        assert_eq!(r.ok(&["ps", "--format", "{{.Names}}", "--filter", "expose=100/tcp"]), "many");
        r.call(&["port", "many", "1"]).fails(&["many", "1/tcp"]);
        r.ok(&["rm", "-f", "many", "next", &all]);
    });
}

#[test]
fn a_port_that_is_taken() {
    network_test(|r| {
        let first = r.detached(&["--name", "first", "-p", "8080:80", "busybox", "sleep", "1000"]);
        let run = |port: &str| r.call(&["run", "--name", "second", "-p", port, "busybox", "true"]);
        // What could not start stays, as with docker: it can be looked at, and started later.
        let refused = |port: &str, telling: &[&str]| {
            run(port).fails(telling);
            assert_eq!(r.field("second", "{{.State.Status}}"), "created");
            r.call(&["start", "second"]).fails(telling);
            r.ok(&["rm", "second"]);
            // With --rm nothing is left, not even the name.
            for _ in 0..2 {
                r.call(&["run", "--rm", "--name", "second", "-p", port, "busybox", "true"]).fails(telling);
            }
            assert_eq!(r.ok(&["ps", "-aq", "--filter", "name=second"]), "");
        };
        // By a container: its name is told.
        for port in ["8080:80", "127.0.0.1:8080:1"] {
            refused(port, &["8080", "first"]);
        }
        // Nor is it the host's own programs' any more.
        assert!(TcpListener::bind("127.0.0.1:8080").is_err());
        assert!(UdpSocket::bind("127.0.0.1:8080").is_ok());
        let tcp = TcpListener::bind("127.0.0.1:7000").unwrap();
        let udp = UdpSocket::bind("0.0.0.0:7000").unwrap();
        refused("7000:80", &["7000/tcp", "program of this host"]);
        refused("7000:80/udp", &["7000/udp", "program of this host"]);
        run("7000:80").fails(&["7000/tcp"]);
        drop((tcp, udp));
        assert_eq!(r.ok(&["start", "second"]), "second");
        r.ok(&["wait", "second"]);
        r.ok(&["rm", "second"]);
        // What cannot run has given its port back when that is told.
        for _ in 0..3 {
            r.call(&["run", "--name", "second", "-p", "7000:80", "busybox", "nosuch"]).fails(&["nosuch"]);
            r.call(&["run", "--name", "third", "-p", "7000:80", "busybox", "nosuch"]).fails(&["nosuch"]);
            r.ok(&["rm", "second", "third"]);
        }
        // Once the container has ended, whoever comes gets it.
        r.ok(&["stop", "-t", "0", "first"]);
        drop(TcpListener::bind("127.0.0.1:8080").unwrap());
        assert_eq!(run("8080:80").code, 0);
        r.ok(&["rm", "second", &first]);
    });
}

#[test]
fn the_end_gives_addresses_and_ports_back() {
    network_test(|r| {
        for _ in 0..5 {
            let id = r.detached(&["--ip", "172.17.0.200", "-p", "8080:80", "busybox", "sh", "-c", "exit 3"]);
            assert_eq!(r.ok(&["wait", &id]), "3");
            // Now, and not a moment later.
            drop(TcpListener::bind("0.0.0.0:8080").unwrap());
            r.ok(&["run", "--rm", "--ip", "172.17.0.200", "-p", "8080:80", "busybox", "true"]);
            r.ok(&["rm", &id]);
        }
    });
}

#[test]
fn addresses_that_are_asked_for() {
    network_test(|r| {
        let flags = ["--ip", "172.17.5.6", "--mac-address", "02:42:00:00:00:07", "--name", "one"];
        r.detached(&[&flags[..], &["busybox", "sleep", "1000"]].concat());
        assert_eq!(address(r, "one"), "172.17.5.6");
        assert!(r.ok(&["exec", "one", "ip", "link", "show", "eth0"]).contains("02:42:00:00:00:07"));
        assert_eq!(r.field("one", "{{.NetworkSettings.Networks.bridge.IPAMConfig.IPv4Address}}"), "172.17.5.6");
        let run = |flags: &[&str]| r.call(&[&["run", "--rm"], flags, &["busybox", "true"]].concat());
        run(&["--ip", "172.17.5.6"]).fails(&["172.17.5.6", "in use", "one"]);
        run(&["--ip", "10.9.9.9"]).fails(&["10.9.9.9"]);
        run(&["--ip", "172.17.0.1"]).fails(&["172.17.0.1"]);
        run(&["--ip6", "fd00::5"]).fails(&["fd00::5", "IPv6"]);
        run(&["--mac-address", "01:00:00:00:00:00"]).fails(&["multicast"]);
        run(&["--ip", "172.17.5.7", "--network", "none"]).fails(&["--ip", "--network none"]);
        // Stopped and started it is the same again.
        r.ok(&["stop", "-t", "0", "one"]);
        r.ok(&["start", "one"]);
        assert_eq!(address(r, "one"), "172.17.5.6");
        r.ok(&["rm", "-f", "one"]);
    });
}

#[test]
fn a_restart_keeps_address_and_ports() {
    network_test(|r| {
        let volume = volume();
        let flags =
            ["--restart", "always", "-p", "8080:80", "-v", &volume, "busybox", "/payload", "answer", "tcp", "80"];
        let id = r.detached(&flags);
        let mut logs = r.start(&["logs", "-f", &id]);
        assert_eq!(logs.line(), "ready");
        let before = (address(r, &id), r.ok(&["exec", &id, "readlink", "/proc/self/ns/net"]));
        let pid = r.field(&id, "{{.State.Pid}}");
        // Not by us: its process just dies.
        assert!(Command::new("kill").args(["-9", &pid]).status().unwrap().success());
        assert_eq!(logs.line(), "ready");
        assert_eq!((address(r, &id), r.ok(&["exec", &id, "readlink", "/proc/self/ns/net"])), before);
        assert!(ask("tcp", "127.0.0.1", 8080).is_some());
        // rtctl restart is a stop and a start: a new namespace.
        r.ok(&["restart", "-t", "0", &id]);
        logs.end();
        while ask("tcp", "127.0.0.1", 8080).is_none() {}
        r.ok(&["rm", "-f", &id]);
    });
}

#[test]
fn network_of_another_container() {
    network_test(|r| {
        let first = answering(r, &["--name", "first", "-p", "8080:80"], "tcp", "80");
        let join = ["--network", "container:first"];
        assert!(ask_from(r, &join, "tcp", "127.0.0.1", 80).is_some());
        let read = |flags: &[&str]| {
            r.ok(&[&["run", "--rm"], flags, &["busybox", "sh", "-c", "hostname; cat /etc/hosts"]].concat())
        };
        let hosts = read(&join);
        assert!(hosts.starts_with(&first[..12]) && hosts.contains(&address(r, &first)), "{hosts}");
        // What one writes the other reads.
        r.ok(&[
            "run",
            "--rm",
            "--network",
            "container:first",
            "busybox",
            "sh",
            "-c",
            "echo 1.2.3.4 there >>/etc/hosts",
        ]);
        assert!(r.ok(&["exec", "first", "cat", "/etc/hosts"]).contains("1.2.3.4 there"));
        for flags in [
            &["-p", "80:80"] as &[&str],
            &["-P"],
            &["--expose", "80"],
            &["--dns", "1.1.1.1"],
            &["--add-host", "a:1.1.1.1"],
            &["--hostname", "x"],
            &["--ip", "172.17.0.9"],
            &["--link", "first"],
        ] {
            let output = r.call(&[&["run", "--rm"], &join[..], flags, &["busybox", "true"]].concat());
            assert_eq!(output.code, 125, "{flags:?}: {output}");
            assert!(output.stderr.contains("--network container:first"), "{flags:?}: {output}");
        }
        r.call(&["run", "--rm", "--network", "container:gone", "busybox", "true"]).fails(&["no container \"gone\""]);
        r.ok(&["rm", "-f", "first"]);
    });
}

#[test]
fn in_a_user_namespace() {
    network_test(|r| {
        let flags = ["--userns", "auto", "-p", "8080:80", "--cap-add", "NET_ADMIN"];
        let id = answering(r, &flags, "tcp", "80");
        assert!(ask("tcp", "127.0.0.1", 8080).is_some());
        // The namespace is its own: it may do there what it has the capability for.
        r.ok(&["exec", &id, "ip", "link", "set", "lo", "down"]);
        r.ok(&["exec", &id, "ping", "-c", "1", "-W", "3", "172.17.0.1"]);
        r.ok(&["exec", &id, "sh", "-c", "echo 1.2.3.4 mine >>/etc/hosts"]);
        r.ok(&["rm", "-f", &id]);
    });
}

#[test]
fn name_servers() {
    network_test(|r| {
        // What the host says, for this test alone.
        let conf = r.test.dir.join("resolv.conf");
        let host = |text: &str| fs::write(&conf, text).unwrap();
        host("");
        assert!(Command::new("mount").arg("--bind").arg(&conf).arg("/etc/resolv.conf").status().unwrap().success());
        let read =
            |flags: &[&str]| r.call(&[&["run", "--rm"], flags, &["busybox", "cat", "/etc/resolv.conf"]].concat());
        host("# x\nnameserver 127.0.0.1\nnameserver 192.0.2.53\nsearch a.example\noptions ndots:2\n");
        assert_eq!(read(&[]).stdout, "nameserver 192.0.2.53\nsearch a.example\noptions ndots:2\n");
        assert!(read(&["--network", "host"]).stdout.starts_with("# x\nnameserver 127.0.0.1\n"));
        let flags = ["--dns", "192.0.2.1", "--dns", "fd00::1", "--dns-search", "b.example", "--dns-option", "ndots:3"];
        assert_eq!(
            read(&flags).stdout,
            "nameserver 192.0.2.1\nnameserver fd00::1\nsearch b.example\noptions ndots:3\n"
        );
        // Nothing that it could reach: that is said, and no other server is made up.
        host("nameserver 127.0.0.1\nsearch a.example\n");
        let output = read(&[]);
        assert_eq!(output.stdout, "search a.example\n");
        assert!(output.stderr.contains("127.0.0.1") && output.stderr.contains("--dns"), "{output}");
        assert_eq!(read(&["--dns", "192.0.2.1"]).stderr, "");
        assert_eq!(read(&["--network", "none"]).stderr, "");
        // A container that is started later gets what is true then.
        let id = r.ok(&["create", "busybox", "cat", "/etc/resolv.conf"]);
        host("nameserver 192.0.2.77\n");
        assert_eq!(r.call(&["start", "-a", &id]).stdout, "nameserver 192.0.2.77\n");
        r.ok(&["rm", &id]);
        assert!(Command::new("umount").arg("/etc/resolv.conf").status().unwrap().success());
    });
}

#[test]
fn hosts_that_are_added() {
    network_test(|r| {
        let flags = ["--add-host", "db:192.0.2.9", "--add-host", "v6=[fd00::9]", "--add-host", "me:host-gateway"];
        let hosts = r.ok(&[
            &["run", "--rm"],
            &flags[..],
            &["-h", "box", "--domainname", "a.example", "busybox", "cat", "/etc/hosts"],
        ]
        .concat());
        for line in ["192.0.2.9\tdb", "fd00::9\tv6", "172.17.0.1\tme"] {
            assert!(hosts.lines().any(|found| found == line), "no {line} in {hosts}");
        }
        assert!(hosts.contains("\tbox.a.example box\n"), "{hosts}");
        r.ok(&["run", "--rm", "--add-host", "me:host-gateway", "busybox", "ping", "-c", "1", "-W", "3", "me"]);
        let none = ["run", "--rm", "--network", "none", "--add-host", "me:host-gateway", "busybox", "true"];
        r.call(&none).fails(&["host-gateway", "no way to the host"]);
    });
}

#[test]
fn rules_of_others_are_left_alone() {
    network_test(|r| {
        let nft = |text: &str| {
            let output = Command::new("nft").arg(text).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        nft(
            "add table ip mine; add chain ip mine in { type filter hook input priority 0; }; add rule ip mine in tcp dport 1 counter drop",
        );
        let before = nft("list table ip mine");
        let id = answering(r, &["-p", "8080:80"], "tcp", "80");
        assert!(ask("tcp", "127.0.0.1", 8080).is_some());
        r.ok(&["rm", "-f", &id]);
        assert_eq!(nft("list table ip mine"), before);
        nft("delete table ip mine");
    });
}
