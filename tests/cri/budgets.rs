//! What a pod, a container and an exec cost, in numbers that are the same on every machine.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use proto::v1::{ContainerConfig, PodSandboxConfig};
use tests::pods::{container, pod};
use tests::{Rtd, handler_differs, has_networks, needs, pod_test};

use crate::cni;

const MEBIBYTE: u64 = 1 << 20;
const STARTS: [&str; 4] = ["clone", "clone3", "fork", "vfork"];
const WAITS: [&str; 6] = ["fsync", "fdatasync", "sync", "syncfs", "sync_file_range", "msync"];

/// `strace` of the daemon, its shims and all that they start.
struct Trace {
    strace: Child,
    file: PathBuf,
}

impl Trace {
    /// Follows the daemon from now on.
    fn begin(rtd: &Rtd<'_>) -> Trace {
        Trace::of(rtd, &[rtd.pid()])
    }

    fn of(rtd: &Rtd<'_>, pids: &[i32]) -> Trace {
        let file = rtd.test.dir.join("trace");
        let calls = format!("trace={}", [&STARTS[..], &WAITS[..], &["execve", "execveat"]].concat().join(","));
        let mut strace = Command::new("strace");
        strace.args(["-f", "-e", "signal=none", "-e", &calls, "-o"]).arg(&file);
        for pid in pids {
            strace.args(["-p", &pid.to_string()]);
        }
        let mut strace = strace.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(strace.stderr.take().unwrap()).lines();
        for pid in pids {
            let line = lines.next().unwrap().unwrap();
            assert!(line.contains(&format!("Process {pid} attached")), "{line}");
        }
        // The rest is told to nobody.
        std::thread::spawn(move || lines.for_each(drop));
        Trace { strace, file }
    }

    /// Lets go; a line a call that came to its end.
    fn end(mut self) -> Vec<String> {
        kill(Pid::from_raw(i32::try_from(self.strace.id()).unwrap()), Signal::SIGINT).unwrap();
        self.strace.wait().unwrap();
        let text = fs::read_to_string(&self.file).unwrap();
        // A call that was interrupted by another thread's line is on two lines.
        text.lines().filter(|line| !line.contains(" resumed>")).map(str::to_owned).collect()
    }
}

fn name_of(line: &str) -> &str {
    let call = line.split_once(' ').map_or(line, |(_, call)| call.trim_start());
    call.split('(').next().unwrap()
}

fn waits(calls: &[String]) -> Vec<&String> {
    calls.iter().filter(|line| WAITS.contains(&name_of(line))).collect()
}

/// Processes that were started; threads are none.
fn processes(calls: &[String]) -> Vec<&String> {
    calls.iter().filter(|line| STARTS.contains(&name_of(line)) && !line.contains("CLONE_THREAD")).collect()
}

/// Names of the programs that were executed, as they were given: a program may be executed by its descriptor.
fn programs(calls: &[String]) -> Vec<&str> {
    let executed = calls.iter().filter(|line| name_of(line).starts_with("execve") && !line.contains(" = -1 "));
    let name = |line: &'_ str| -> Option<(usize, usize)> {
        let begin = line.find("[\"")? + 2;
        Some((begin, begin + line[begin..].find('"')?))
    };
    let named = executed.map(|line| name(line).map_or(line.as_str(), |(begin, end)| &line[begin..end]));
    named.map(|path| path.rsplit('/').next().unwrap()).collect()
}

fn has_strace() -> bool {
    Command::new("strace").arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|it| it.success())
}

fn sleeping(config: ContainerConfig) -> ContainerConfig {
    ContainerConfig { command: ["/bin/sleep", "1000"].map(str::to_owned).to_vec(), ..config }
}

/// A container that is one process and stays.
fn sleeper(name: &str) -> ContainerConfig {
    sleeping(container(name, ""))
}

/// The shim of a pod, by its record.
fn shim(rtd: &Rtd<'_>, id: &str) -> i32 {
    let record = rtd.state().join("pods").join(id).join("sandbox-status.json");
    let record: serde_json::Value = serde_json::from_reader(File::open(record).unwrap()).unwrap();
    i32::try_from(record["shim"][0].as_i64().unwrap()).unwrap()
}

/// Children of a process, by all of its threads.
fn children(pid: i32) -> Vec<i32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap().map(|task| task.unwrap().path().join("children"));
    let text: String = tasks.map(|path| fs::read_to_string(path).unwrap()).collect();
    text.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

async fn start(rtd: &mut Rtd<'_>, config: &PodSandboxConfig, main: ContainerConfig) -> (String, String) {
    let id = rtd.run(config).await.unwrap();
    let container = rtd.create(&id, &main, config).await.unwrap();
    rtd.start(&container).await.unwrap();
    (id, container)
}

#[test]
fn no_wait_for_the_disk_with_the_bridge() {
    pod_test(async |rtd| {
        needs!(rtd.test, has_strace(), "no strace");
        needs!(rtd.test, has_networks(), "no nftables with NAT");
        rtd.configure("network = \"bridge\"\n").await;
        // The first pod makes the network itself.
        let (first, _) = start(rtd, &cni::networked("first"), sleeping(cni::connected("main", ""))).await;
        let trace = Trace::begin(rtd);
        let (id, _) = start(rtd, &cni::networked("web"), sleeping(cni::connected("main", ""))).await;
        let calls = trace.end();
        assert!(waits(&calls).is_empty(), "{:#?}", waits(&calls));
        for id in [first, id] {
            rtd.remove_pod(&id).await.unwrap();
        }
    });
}

#[test]
fn one_record_reaches_the_disk_with_cni() {
    pod_test(async |rtd| {
        needs!(rtd.test, has_strace(), "no strace");
        needs!(rtd.test, cni::has_plugins() && has_networks(), "no CNI plugins");
        cni::configure(rtd, &[cni::PLUGINS]).await;
        cni::network(rtd);
        cni::ready(rtd).await;
        let trace = Trace::begin(rtd);
        let (id, _) = start(rtd, &cni::networked("web"), sleeping(cni::connected("main", ""))).await;
        let calls = trace.end();
        // The record of the attachment, its bytes and its name; docs/state.md.
        let waits: Vec<&str> = waits(&calls).into_iter().map(|line| name_of(line)).collect();
        // On a file system whose log has the names along with the files; else the directory comes after the file.
        let kind = rustix::fs::statfs(rtd.root()).unwrap().f_type;
        let logged = [0xef53, 0x5846_5342, 0x9123_683e].contains(&kind);
        assert_eq!(waits, if logged { &["fsync"][..] } else { &["fdatasync", "fsync"] });
        rtd.remove_pod(&id).await.unwrap();
        cni::clean_up();
    });
}

#[test]
fn a_shim_for_a_pod_and_a_process_for_a_container() {
    pod_test(async |rtd| {
        needs!(rtd.test, has_strace(), "no strace");
        handler_differs!(rtd.test, "it is several programs");
        let config = pod("web");
        let trace = Trace::begin(rtd);
        let id = rtd.run(&config).await.unwrap();
        let calls = trace.end();
        // The shim lets go of its parent by a second fork; a third makes the namespaces, and ends.
        assert_eq!(programs(&calls), ["rt-shim"]);
        assert_eq!(processes(&calls).len(), 3, "{:#?}", processes(&calls));
        let of_pod = shim(rtd, &id);
        assert_eq!(children(of_pod), [0; 0]);

        let main = rtd.create(&id, &sleeper("main"), &config).await.unwrap();
        let trace = Trace::of(rtd, &[rtd.pid(), shim(rtd, &id)]);
        rtd.start(&main).await.unwrap();
        let calls = trace.end();
        assert_eq!(programs(&calls), ["sleep"]);
        assert_eq!(processes(&calls).len(), 1, "{:#?}", processes(&calls));

        let trace = Trace::of(rtd, &[rtd.pid(), shim(rtd, &id)]);
        let second = rtd.create(&id, &sleeper("second"), &config).await.unwrap();
        rtd.start(&second).await.unwrap();
        let calls = trace.end();
        assert_eq!(programs(&calls), ["sleep"]);
        assert_eq!(processes(&calls).len(), 1, "{:#?}", processes(&calls));

        let trace = Trace::of(rtd, &[rtd.pid(), shim(rtd, &id)]);
        assert_eq!(rtd.exec(&main, "exit 7").await.unwrap().exit_code, 7);
        let calls = trace.end();
        // One joins the container's namespaces and makes the other, which is the command: a pid namespace is entered by a child only.
        assert_eq!(programs(&calls), ["sh"]);
        assert_eq!(processes(&calls).len(), 2, "{:#?}", processes(&calls));
        // The shim and its two containers; the exec has left nothing.
        assert_eq!(children(of_pod).len(), 2);
        rtd.remove_pod(&id).await.unwrap();
    });
}

#[test]
fn memory_of_the_shim_of_an_idle_pod() {
    pod_test(async |rtd| {
        let (id, _) = start(rtd, &pod("web"), sleeper("main")).await;
        let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", shim(rtd, &id))).unwrap();
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
        };
        for name in ["Anonymous:", "Private_Dirty:"] {
            assert!(field(name) <= MEBIBYTE, "{name} {} bytes, the budget is {MEBIBYTE}", field(name));
        }
        rtd.remove_pod(&id).await.unwrap();
    });
}

/// Mounts that the host sees: file system, and where. A pod that only stands costs none either.
fn mounts() -> Vec<String> {
    let text = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
    let mut mounts: Vec<String> =
        text.lines().map(|line| line.split(' ').skip(3).collect::<Vec<_>>().join(" ")).collect();
    mounts.sort();
    mounts
}

#[test]
fn no_mount_of_the_host() {
    pod_test(async |rtd| {
        let config = pod("web");
        let before = mounts();
        let id = rtd.run(&config).await.unwrap();
        assert_eq!(mounts(), before);
        for name in ["one", "two"] {
            rtd.launch(&id, name, "sleep 1000", &config).await;
            assert_eq!(mounts(), before);
        }
        rtd.remove_pod(&id).await.unwrap();
        assert_eq!(mounts(), before);
    });
}

/// Descriptors of the daemon.
fn descriptors(rtd: &Rtd<'_>) -> Vec<String> {
    let entries = fs::read_dir(format!("/proc/{}/fd", rtd.pid())).unwrap().flatten();
    entries.filter_map(|entry| Some(fs::read_link(entry.path()).ok()?.display().to_string())).collect()
}

/// Waits until there are so many descriptors again; a test that waits for ever fails.
async fn settled(rtd: &mut Rtd<'_>, before: &[String]) {
    for _ in 0..1000 {
        if descriptors(rtd).len() == before.len() {
            return;
        }
        // An answer from the daemon: it has gone on.
        rtd.pods().await;
    }
    panic!("{:#?}, before: {before:#?}", descriptors(rtd));
}

#[test]
fn the_daemon_keeps_nothing_of_execs_and_pods() {
    pod_test(async |rtd| {
        let config = pod("web");
        // What is opened once is open from here on.
        let (warm, _) = start(rtd, &pod("warm"), sleeper("main")).await;
        rtd.remove_pod(&warm).await.unwrap();
        let (id, main) = start(rtd, &config, sleeper("main")).await;
        assert_eq!(rtd.exec(&main, "exit 0").await.unwrap().exit_code, 0);
        let before = descriptors(rtd);
        for _ in 0..100 {
            assert_eq!(rtd.exec(&main, "exit 0").await.unwrap().exit_code, 0);
        }
        settled(rtd, &before).await;
        for number in 0..50 {
            let other = rtd.run(&pod(&format!("other{number}"))).await.unwrap();
            rtd.stop_pod(&other).await.unwrap();
            rtd.remove_pod(&other).await.unwrap();
        }
        settled(rtd, &before).await;
        rtd.remove_pod(&id).await.unwrap();
    });
}
