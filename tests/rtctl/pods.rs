//! Pods: containers that share namespaces which the pod's shim keeps; podman's commands.

use std::fs;
use std::process::{Command, Stdio};

use tests::{Rtctl, has_networks, needs, rtctl_test};

/// `run` with a pod, in the test's cgroup.
fn run(r: &Rtctl<'_>, pod: &str, name: &str, script: &str) -> String {
    r.detached(&["--pod", pod, "--name", name, "busybox", "sh", "-c", script])
}

/// Waits until the container has logged a line.
fn logged(r: &Rtctl<'_>, name: &str, line: &str) -> String {
    let mut session = r.start(&["logs", "-f", name]);
    session.wait_for(line);
    session.signal("KILL");
    session.end();
    r.ok(&["logs", name])
}

fn shim(r: &Rtctl<'_>, pod: &str) -> i32 {
    r.ok(&["pod", "inspect", "-f", "{{.Sandbox.ShimPid}}", pod]).parse().unwrap()
}

fn state(r: &Rtctl<'_>, pod: &str) -> String {
    r.ok(&["pod", "inspect", "-f", "{{.State}}", pod])
}

fn children(pid: i32) -> usize {
    fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap().split_ascii_whitespace().count()
}

/// Nothing of a pod may be left at the end of a test.
fn pods_test(body: impl FnOnce(&Rtctl<'_>)) {
    rtctl_test(|r| {
        body(r);
        assert_eq!(r.ok(&["pod", "ls", "-q"]), "", "pods are left");
        let left = fs::read_dir(r.state().join("pods-local")).map_or(0, Iterator::count);
        assert_eq!(left, 0, "directories of pods are left");
    });
}

const SHOW: &str =
    "for n in net ipc uts pid mnt; do readlink /proc/self/ns/$n; done; hostname; echo shown; exec sleep 1000";

#[test]
fn containers_share_what_the_pod_shares() {
    pods_test(|r| {
        let id = r.ok(&["pod", "create", "--name", "web", "--label", "tier=front"]);
        assert_eq!(state(r, "web"), "Created");
        run(r, "web", "one", SHOW);
        run(r, "web", "two", SHOW);
        let (one, two) = (logged(r, "one", "shown"), logged(r, "two", "shown"));
        let (one, two): (Vec<&str>, Vec<&str>) = (one.lines().collect(), two.lines().collect());
        assert_eq!(one[..3], two[..3], "net, ipc, uts");
        assert!(one[3] != two[3] && one[4] != two[4], "pid and mnt are their own");
        assert_eq!((one[5], two[5]), ("web", "web"));
        let host = |kind: &str| fs::read_link(format!("/proc/self/ns/{kind}")).unwrap().display().to_string();
        assert!(one[0] != host("net") && one[1] != host("ipc") && one[2] != host("uts"));
        // The shim and the containers, and nothing else.
        assert_eq!(children(shim(r, "web")), 2);
        assert_eq!(state(r, &id[..12]), "Running");
        assert_eq!(r.ok(&["ps", "--format", "{{.Names}} {{.PodName}}", "--filter", "pod=web"]), "two web\none web");
        assert!(r.ok(&["ps", "--pod"]).lines().next().unwrap().ends_with("POD ID         PODNAME"));
        let list = r.ok(&[
            "pod",
            "ls",
            "--format",
            "{{.ID}} {{.Name}} {{.Status}} {{.NumberOfContainers}} {{.Label \"tier\"}}",
        ]);
        assert_eq!(list, format!("{} web Running 2 front", &id[..12]));
        for (filter, found) in [
            ("label=tier=front", 1),
            ("label=tier=back", 0),
            ("status=running", 1),
            ("ctr-names=one", 1),
            ("ctr-number=3", 0),
        ] {
            assert_eq!(r.ok(&["pod", "ls", "-q", "--filter", filter]).lines().count(), found, "{filter}");
        }
        // All verbs of containers work on them.
        assert_eq!(r.ok(&["exec", "one", "hostname"]), "web");
        r.ok(&["exec", "one", "sh", "-c", "echo shared > /dev/shm/x"]);
        assert_eq!(r.ok(&["exec", "two", "cat", "/dev/shm/x"]), "shared");
        assert!(r.ok(&["pod", "top", "web"]).lines().count() == 3);
        r.ok(&["pod", "rm", "-f", "web"]);
        assert_eq!(r.call(&["pod", "exists", "web"]).code, 1);
    });
}

#[test]
fn the_network_is_one_for_all_of_its_containers() {
    pods_test(|r| {
        needs!(r.test, has_networks(), "the kernel lacks bridges, veth, nft_nat or nft_fib");
        r.ok(&["pod", "create", "--name", "net", "--sysctl", "net.ipv4.ip_unprivileged_port_start=70"]);
        run(
            r,
            "net",
            "server",
            "echo hello > /index.html; cat /proc/sys/net/ipv4/ip_unprivileged_port_start; echo up; exec httpd -f -p 127.0.0.1:80 -h /",
        );
        let text = logged(r, "server", "up");
        assert!(text.starts_with("70\n"), "{text}");
        let fetch = "until wget -qO- http://127.0.0.1/index.html 2>/dev/null; do :; done";
        let output = r.call(&["run", "--rm", "--pod", "net", "busybox", "sh", "-c", fetch]);
        assert_eq!(output.stdout, "hello\n", "{output}");
        r.ok(&["pod", "rm", "-f", "net"]);
    });
}

#[test]
fn a_pod_joins_networks_once_for_all() {
    pods_test(|r| {
        needs!(r.test, has_networks(), "the kernel lacks bridges, veth, nft_nat or nft_fib");
        r.ok(&["pod", "create", "--name", "front", "-p", "127.0.0.1:18080:80", "--add-host", "extra:10.9.8.7"]);
        run(r, "front", "httpd", "echo hello > /index.html; echo up; exec httpd -f -p 80 -h /");
        logged(r, "httpd", "up");
        let address = r.ok(&["pod", "inspect", "-f", "{{.Networks.bridge.IPAddress}}", "front"]);
        assert!(address.contains('.'), "{address:?}");
        let hosts = r.ok(&["run", "--rm", "--pod", "front", "busybox", "cat", "/etc/hosts"]);
        assert!(hosts.contains("10.9.8.7\textra") && hosts.contains(&format!("{address}\tfront")), "{hosts}");
        // From a container elsewhere, and by the published port from here.
        let fetch = format!("until wget -qO- http://{address}/index.html 2>/dev/null; do :; done");
        assert_eq!(r.ok(&["run", "--rm", "busybox", "sh", "-c", &fetch]), "hello");
        let taken = std::net::TcpListener::bind("127.0.0.1:18080");
        assert!(taken.is_err(), "the port is reserved");
        // The address stays when containers go and come; with the pod it is given back.
        r.ok(&["restart", "-t", "0", "httpd"]);
        assert_eq!(r.ok(&["pod", "inspect", "-f", "{{.Networks.bridge.IPAddress}}", "front"]), address);
        r.ok(&["pod", "stop", "-t", "0", "front"]);
        assert_eq!(r.ok(&["pod", "inspect", "-f", "{{json .Networks}}", "front"]), "{}");
        std::net::TcpListener::bind("127.0.0.1:18080").unwrap();
        r.ok(&["pod", "start", "front"]);
        assert_eq!(state(r, "front"), "Running");
        r.ok(&["pod", "rm", "-f", "front"]);
    });
}

#[test]
fn shared_pids_have_a_small_process_one() {
    pods_test(|r| {
        r.ok(&["pod", "create", "--name", "pids", "--share", "+pid"]);
        run(r, "pids", "one", "echo up; exec sleep 1234");
        logged(r, "one", "up");
        let shown = r.ok(&["run", "--rm", "--pod", "pids", "busybox", "sh", "-c", "cat /proc/1/comm; ps"]);
        assert!(shown.starts_with("init\n") && shown.contains("sleep 1234"), "{shown}");
        // Its end is not the end of the pod; a container that ends neither.
        r.ok(&["kill", "one"]);
        r.ok(&["wait", "one"]);
        assert_eq!(state(r, "pids"), "Degraded");
        let init = r.ok(&["pod", "inspect", "-f", "{{.Sandbox.InitPid}}", "pids"]);
        assert_ne!(init, "0");
        r.ok(&["start", "one"]);
        assert_eq!(r.ok(&["pod", "inspect", "-f", "{{.Sandbox.InitPid}}", "pids"]), init);
        assert_eq!(children(shim(r, "pids")), 2);
        r.ok(&["pod", "rm", "-f", "pids"]);
    });
}

#[test]
fn tracers_from_elsewhere_are_refused() {
    pods_test(|r| {
        r.ok(&["pod", "create", "--name", "shared", "--share", "+pid"]);
        run(r, "shared", "one", "exec sleep 1000");
        let output = r.call(&["run", "--rm", "--pid", "container:one", "--cap-add", "SYS_PTRACE", "busybox", "true"]);
        assert_eq!(output.code, 125, "{output}");
        assert!(output.stderr.contains("in a pod that shares pids"), "{output}");
        // One of the pod may: it is frozen while others enter.
        r.ok(&[
            "run",
            "-d",
            "--pod",
            "shared",
            "--name",
            "tracer",
            "--cap-add",
            "SYS_PTRACE",
            "busybox",
            "sleep",
            "1000",
        ]);
        r.ok(&["run", "--rm", "--pod", "shared", "busybox", "true"]);
        r.ok(&["exec", "tracer", "true"]);
        r.ok(&["pod", "rm", "-f", "shared"]);
    });
}

#[test]
fn restarts_keep_the_namespaces() {
    pods_test(|r| {
        r.ok(&["pod", "create", "--name", "again"]);
        r.detached(&[
            "--pod",
            "again",
            "--name",
            "flaky",
            "--restart",
            "on-failure:2",
            "busybox",
            "sh",
            "-c",
            "readlink /proc/self/ns/net; exit 1",
        ]);
        r.ok(&["wait", "flaky"]);
        r.ok(&["start", "flaky"]);
        r.ok(&["wait", "flaky"]);
        let text = r.ok(&["logs", "flaky"]);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines.len() >= 4 && lines.iter().all(|line| *line == lines[0]), "{text}");
        // A pod that is stopped and started has new ones.
        r.ok(&["pod", "stop", "-t", "0", "again"]);
        assert_eq!(state(r, "again"), "Exited");
        r.ok(&["pod", "start", "again"]);
        r.ok(&["pod", "rm", "-f", "again"]);
    });
}

#[test]
fn life_of_a_pod() {
    pods_test(|r| {
        r.ok(&["pod", "create", "--name", "life"]);
        for name in ["one", "two"] {
            run(r, "life", name, "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.1; done");
            logged(r, name, "up");
        }
        assert_eq!(r.ok(&["pod", "pause", "life"]), "life");
        assert_eq!(state(r, "life"), "Paused");
        r.ok(&["pod", "unpause", "life"]);
        assert_eq!(state(r, "life"), "Running");
        let refused = r.call(&["pod", "rm", "life"]);
        assert_eq!(refused.code, 1);
        assert!(refused.stderr.contains("rtctl pod stop life first"), "{refused}");
        r.ok(&["pod", "stop", "life"]);
        assert_eq!(state(r, "life"), "Exited");
        assert!(r.ok(&["logs", "one"]).ends_with("bye"));
        assert_eq!(r.field("one", "{{.State.Status}} {{.State.ExitCode}}"), "exited 0");
        r.ok(&["pod", "stop", "life"]);
        r.ok(&["pod", "start", "life"]);
        assert_eq!(r.field("two", "{{.State.Running}}"), "true");
        r.ok(&["pod", "restart", "-t", "0", "life"]);
        assert_eq!(state(r, "life"), "Running");
        r.ok(&["pod", "kill", "life"]);
        r.ok(&["wait", "one", "two"]);
        assert_eq!(state(r, "life"), "Degraded");
        // A container alone can go, and one that is started brings its pod up.
        r.ok(&["rm", "one"]);
        r.ok(&["pod", "stop", "life"]);
        r.ok(&["start", "two"]);
        assert_eq!(state(r, "life"), "Running");
        r.ok(&["stop", "-t", "0", "two"]);
        r.ok(&["pod", "prune", "-f"]);
    });
}

#[test]
fn a_new_pod_comes_with_its_first_container() {
    pods_test(|r| {
        needs!(r.test, has_networks(), "the kernel lacks bridges, veth, nft_nat or nft_fib");
        let shown = r.ok(&["run", "--rm", "--pod", "new:fresh", "busybox", "hostname"]);
        assert_eq!(shown, "fresh");
        assert_eq!(r.ok(&["ps", "-aq"]), "");
        assert_eq!(state(r, "fresh"), "Running");
        // What cannot be made leaves no pod.
        let failed = r.call(&["run", "--pod", "new:other", "no-such-image"]);
        assert_eq!(failed.code, 125, "{failed}");
        assert_eq!(r.call(&["pod", "exists", "other"]).code, 1);
        r.ok(&["pod", "rm", "fresh"]);
    });
}

#[test]
fn the_end_of_run_is_the_end_of_the_container() {
    pods_test(|r| {
        r.ok(&["pod", "create", "--name", "busy"]);
        // Many files: their removal takes long enough to be seen by whoever does not wait for it.
        let script = "mkdir /many; cd /many; seq 3000 | xargs touch";
        for _ in 0..3 {
            r.ok(&["run", "--rm", "--pod", "busy", "busybox", "sh", "-c", script]);
            assert_eq!(fs::read_dir(r.root().join("upper")).unwrap().count(), 0);
        }
        r.ok(&["pod", "rm", "busy"]);
    });
}

#[test]
fn user_namespaces_of_pods() {
    pods_test(|r| {
        r.ok(&["pod", "create", "--name", "mapped", "--userns", "auto", "--share", "+pid"]);
        let script = "cat /proc/self/uid_map; readlink /proc/self/ns/user; id -u; touch /dev/shm/$HOSTNAME.$$; echo shown; exec sleep 1000";
        run(r, "mapped", "one", script);
        run(r, "mapped", "two", script);
        assert_eq!(logged(r, "one", "shown"), logged(r, "two", "shown"));
        let init = r.ok(&["pod", "inspect", "-f", "{{.Sandbox.InitPid}}", "mapped"]);
        let map = fs::read_to_string(format!("/proc/{init}/uid_map")).unwrap();
        assert_ne!(map.split_ascii_whitespace().nth(1).unwrap(), "0");
        // Another one gets other ids.
        r.ok(&["pod", "create", "--name", "second", "--userns", "auto"]);
        let of = |pod: &str| r.ok(&["pod", "inspect", "-f", "{{json .UidMap}}", pod]);
        assert_ne!(of("mapped"), of("second"));
        r.ok(&["pod", "rm", "-f", "mapped", "second"]);
    });
}

#[test]
fn what_is_the_pods_is_refused_for_its_containers() {
    pods_test(|r| {
        needs!(r.test, has_networks(), "the kernel lacks bridges, veth, nft_nat or nft_fib");
        r.ok(&["pod", "create", "--name", "strict"]);
        for (flags, expected) in [
            (&["--network", "host"][..], "--network and --pod exclude each other"),
            (&["-p", "80"], "--publish and --pod exclude each other"),
            (&["--hostname", "x"], "--hostname and --pod exclude each other"),
            (&["--ipc", "host"], "--ipc and --pod exclude each other"),
            (&["--userns", "auto"], "--userns and --pod exclude each other"),
            (&["--dns", "1.1.1.1"], "--dns and --pod exclude each other"),
            (&["--sysctl", "net.ipv4.ip_forward=1"], "--sysctl net.ipv4.ip_forward=1 and --pod"),
        ] {
            let output = r.call(&[&["run", "--rm", "--pod", "strict"], flags, &["busybox", "true"]].concat());
            assert_eq!(output.code, 125, "{output}");
            assert!(output.stderr.contains(expected), "{output}");
        }
        for (args, expected) in [
            (&["--name", "strict"][..], "taken by another pod"),
            (&["--share", "mnt"], "must be of ipc, net, uts, pid, or none"),
            (&["--infra=true"], "there is no infra container"),
            (&["--sysctl", "vm.swappiness=1"], "--sysctl \"vm.swappiness\": is not separate"),
            (&["--share", "none", "--hostname", "x"], "needs a shared uts namespace"),
            (&["--network", "container:x"], "a pod's network is none, host, or networks that it joins"),
        ] {
            let output = r.call(&[&["pod", "create"], args].concat());
            assert_ne!(output.code, 0, "{output}");
            assert!(output.stderr.contains(expected), "{output}");
        }
        let missing = r.call(&["run", "--pod", "nope", "busybox"]);
        assert!(missing.stderr.contains("no pod \"nope\": rtctl pod ls lists them"), "{missing}");
        r.ok(&["pod", "rm", "strict"]);
    });
}

#[test]
fn a_pod_whose_shim_is_killed() {
    pods_test(|r| {
        r.ok(&["pod", "create", "--name", "dead", "--share", "+pid"]);
        let id = run(r, "dead", "one", "echo up; exec sleep 1000");
        logged(r, "one", "up");
        let pid: i32 = r.field(&id, "{{.State.Pid}}").parse().unwrap();
        let (shim, init) = (shim(r, "dead"), r.ok(&["pod", "inspect", "-f", "{{.Sandbox.InitPid}}", "dead"]));
        assert!(Command::new("kill").args(["-9", &shim.to_string()]).status().unwrap().success());
        assert_eq!(r.test.wait_pid(shim), 137);
        // Process 1 ends once all others of its namespace are reaped.
        r.test.wait_pid(pid);
        r.test.wait_pid(init.parse().unwrap());
        assert_eq!(r.field("one", "{{.State.Status}} {{.State.ExitCode}}"), "exited 255");
        assert_eq!(state(r, "dead"), "Exited");
        assert_eq!(r.ok(&["pod", "inspect", "-f", "{{.Sandbox.Error}}", "dead"]), "the shim died");
        // It can be started again, and removed.
        r.ok(&["pod", "start", "dead"]);
        assert_eq!(state(r, "dead"), "Running");
        let again = self::shim(r, "dead");
        assert!(Command::new("kill").args(["-9", &again.to_string()]).status().unwrap().success());
        r.test.wait_pid(again);
        r.ok(&["pod", "rm", "-f", "dead"]);
    });
}

/// Runs rtctl and kills it at its Nth system call of one kind, after the call.
fn kill_at(r: &Rtctl<'_>, call: &str, number: u32, args: &[&str]) {
    let inner = r.command(args);
    let mut strace = Command::new("strace");
    strace.args(["-qq", "-o", "/dev/null", "-e", &format!("trace=/^{call}")]);
    strace.args(["-e", &format!("inject=/^{call}:signal=KILL:when={number}")]);
    strace.arg(inner.get_program()).args(inner.get_args());
    for (name, value) in inner.get_envs() {
        strace.env(name, value.unwrap());
    }
    strace.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    strace.status().unwrap();
}

#[test]
fn rtctl_killed_at_any_step() {
    pods_test(|r| {
        for call in ["mkdir", "rename", "openat"] {
            for number in [1, 2, 3, 5, 8, 20] {
                kill_at(r, call, number, &["pod", "create", "--name", "half"]);
                // Either it is there as a whole, or its name is free.
                if r.call(&["pod", "exists", "half"]).code == 1 {
                    r.ok(&["pod", "create", "--name", "half"]);
                }
                kill_at(r, call, number, &["run", "-d", "--pod", "half", "busybox", "sleep", "1000"]);
                r.ok(&["ps", "-a"]);
                kill_at(r, call, number, &["pod", "rm", "-f", "half"]);
                r.ok(&["pod", "rm", "-f", "half"]);
                assert_eq!(r.ok(&["pod", "ls", "-q"]), "", "{call} {number}");
            }
        }
        // What was left of containers and pods without records goes with the next ones.
        r.ok(&["pod", "create", "--name", "last"]);
        r.ok(&["run", "--rm", "--pod", "last", "busybox", "true"]);
        r.ok(&["pod", "rm", "last"]);
    });
}

#[test]
fn names_of_containers_and_pods_do_not_mix() {
    pods_test(|r| {
        r.ok(&["pod", "create", "--name", "same"]);
        run(r, "same", "same", "exec sleep 1000");
        r.ok(&["rm", "-f", "same"]);
        r.ok(&["pod", "rm", "same"]);
        let output = r.call(&["pod", "rm", "same"]);
        assert_eq!((output.code, output.stderr.contains("no pod \"same\"")), (1, true), "{output}");
        r.ok(&["pod", "rm", "-f", "same"]);
    });
}
