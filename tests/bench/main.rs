//! Times the command lines of OCI runtimes side by side: `oci-bench BUNDLE ROUNDS LIVE NAME=PROGRAM...`.
//!
//! BUNDLE has a `config.json` and a root file system with `/bin/true` and `/bin/sleep`. Each round goes through the operations and, in another order
//! each time, through the programs. What is not named in an operation is not timed:
//!
//! ```text
//!  run        run of true
//!  lifecycle  create, start, and delete once it has ended, with Docker's seccomp profile
//!  exec       exec of true in a running container
//!  delete     delete --force of a running container
//! ```
//!
//! Beside the time that passes there is that of the processors, of the program and of all that it has waited for: other work on the machine
//! adds little to that.
//!
//! LIVE containers of each program run meanwhile. A program named `floor` is `hack/floor.c` and only runs. `crun` is what others are compared with.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use rustix::process::{Pid, WaitOptions, set_child_subreaper, waitpid};
use serde_json::{Value, json};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const USAGE: &str = "usage: oci-bench BUNDLE ROUNDS LIVE NAME=PROGRAM...";
const OPERATIONS: [&str; 4] = ["run", "lifecycle", "exec", "delete"];

/// How long something took.
#[derive(Debug, Clone, Copy)]
struct Took {
    passed: Duration,
    processors: Duration,
}

impl std::ops::Add for Took {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { passed: self.passed + other.passed, processors: self.processors + other.processors }
    }
}

/// A runtime, with its bundles and its state.
struct Runtime {
    name: String,
    program: PathBuf,
    dir: PathBuf,
    next: u32,
}

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [bundle, rounds, live, programs @ ..] = words.as_slice() else { return Err(USAGE.into()) };
    let (rounds, live): (u32, u32) = (rounds.parse()?, live.parse()?);
    let bundle = std::path::absolute(bundle)?;
    // The containers' processes become our children: their end is waited for.
    set_child_subreaper(Some(rustix::process::getpid()))?;

    let mut runtimes = Vec::new();
    for program in programs {
        let (name, program) = program.split_once('=').ok_or(USAGE)?;
        runtimes.push(Runtime::new(name, program, &bundle)?);
    }
    let mut held = Vec::new();
    for runtime in runtimes.iter_mut().filter(|runtime| runtime.name != "floor") {
        for _ in 0..live {
            held.push((runtime.name.clone(), runtime.hold()?));
        }
    }
    let mut times: BTreeMap<(usize, String), Vec<Took>> = BTreeMap::new();
    // The first two rounds warm the caches.
    for round in 0..rounds + 2 {
        for (number, operation) in OPERATIONS.into_iter().enumerate() {
            let count = runtimes.len();
            // Who follows whom changes from round to round.
            let mut order: Vec<usize> = (0..count).map(|at| (at + round as usize) % count).collect();
            if round / 2 % 2 == 1 {
                order.reverse();
            }
            for at in order {
                let runtime = &mut runtimes[at];
                if let Some(time) = runtime.measure(operation)?
                    && round >= 2
                {
                    times.entry((number, runtime.name.clone())).or_default().push(time);
                }
            }
        }
    }
    for (name, id) in &held {
        let runtime = runtimes.iter().find(|runtime| runtime.name == *name).ok_or(USAGE)?;
        runtime.end(id)?;
    }
    report(&times);
    Ok(())
}

impl Runtime {
    fn new(name: &str, program: &str, template: &Path) -> Result<Self> {
        let dir = template.with_file_name(format!("of-{name}"));
        let config: Value = serde_json::from_slice(&fs::read(template.join("config.json"))?)?;
        let capabilities: Vec<String> =
            serde_json::from_value(config["process"]["capabilities"]["bounding"].clone()).unwrap_or_default();
        let bounding: Vec<caps::Capability> = capabilities.iter().filter_map(|name| name.parse().ok()).collect();
        let profile = serde_json::to_value(runtime::seccomp::default_profile(&bounding))?;
        for (bundle, args, seccomp) in [
            ("run", json!(["/bin/true"]), Value::Null),
            ("lifecycle", json!(["/bin/true"]), profile),
            ("hold", json!(["/bin/sleep", "100000"]), Value::Null),
        ] {
            let mut config = config.clone();
            config["process"]["terminal"] = json!(false);
            config["process"]["args"] = args;
            config["root"]["path"] = json!(template.join("rootfs"));
            if !seccomp.is_null() {
                config["linux"]["seccomp"] = seccomp;
            }
            fs::create_dir_all(dir.join(bundle))?;
            fs::write(dir.join(bundle).join("config.json"), serde_json::to_vec_pretty(&config)?)?;
            std::os::unix::fs::symlink(template.join("rootfs"), dir.join(bundle).join("rootfs"))?;
        }
        Ok(Self { name: name.to_owned(), program: program.into(), dir, next: 0 })
    }

    /// Does one operation, and returns how long it took; nothing if the program does not have it.
    fn measure(&mut self, operation: &str) -> Result<Option<Took>> {
        let id = self.id();
        if self.name == "floor" {
            let mut floor = Command::new(&self.program);
            floor.arg(self.dir.join("run")).args(["/sys/fs/cgroup/bench", "/bin/true"]);
            return if operation == "run" { time(floor).map(Some) } else { Ok(None) };
        }
        let time = match operation {
            "run" => time(self.command(&["run", "--bundle", &self.bundle("run"), &id]))?,
            "lifecycle" => {
                let pid = self.dir.join("pid");
                let pid_file = pid.to_string_lossy().into_owned();
                let bundle = self.bundle("lifecycle");
                let before = time(self.command(&["create", "--bundle", &bundle, "--pid-file", &pid_file, &id]))?
                    + time(self.command(&["start", &id]))?;
                wait(fs::read_to_string(&pid)?.trim().parse()?)?;
                before + time(self.command(&["delete", &id]))?
            }
            "exec" => {
                let id = self.hold()?;
                let took = time(self.command(&["exec", &id, "/bin/true"]))?;
                self.end(&id)?;
                took
            }
            _ => {
                let id = self.hold()?;
                time(self.command(&["delete", "--force", &id]))?
            }
        };
        Ok(Some(time))
    }

    /// A new container that runs.
    fn hold(&mut self) -> Result<String> {
        let id = self.id();
        time(self.command(&["create", "--bundle", &self.bundle("hold"), &id]))?;
        time(self.command(&["start", &id]))?;
        Ok(id)
    }

    fn end(&self, id: &str) -> Result<()> {
        time(self.command(&["delete", "--force", id]))?;
        // Whoever ended meanwhile.
        while waitpid(None, WaitOptions::NOHANG).is_ok_and(|status| status.is_some()) {}
        Ok(())
    }

    fn id(&mut self) -> String {
        self.next += 1;
        format!("bench-{}-{}", self.name, self.next)
    }

    fn bundle(&self, name: &str) -> String {
        self.dir.join(name).to_string_lossy().into_owned()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--root").arg(self.dir.join("state")).args(args);
        command
    }
}

fn time(mut command: Command) -> Result<Took> {
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let (before, from) = (processors()?, Instant::now());
    let status = command.status()?;
    let took = Took { passed: from.elapsed(), processors: processors()?.saturating_sub(before) };
    if status.success() { Ok(took) } else { Err(format!("{command:?}: {status}").into()) }
}

/// What all children that were waited for have used.
fn processors() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let microseconds = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(Duration::from_micros(microseconds.try_into()?))
}

/// Waits for a container's process.
fn wait(pid: i32) -> Result<()> {
    let pid = Pid::from_raw(pid).ok_or("a pid file with 0")?;
    waitpid(Some(pid), WaitOptions::empty())?;
    Ok(())
}

fn report(times: &BTreeMap<(usize, String), Vec<Took>>) {
    let at = |list: &[Took], of: fn(&Took) -> Duration, part: usize| {
        let mut sorted: Vec<Duration> = list.iter().map(of).collect();
        sorted.sort_unstable();
        sorted[(sorted.len() - 1) * part / 10].as_secs_f64() * 1000.0
    };
    let passed: fn(&Took) -> Duration = |took| took.passed;
    let processors: fn(&Took) -> Duration = |took| took.processors;
    println!(
        "| operation | program | median ms | p10 | p90 | against crun | of processors, median ms | against crun |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for ((operation, name), list) in times {
        let crun = times.get(&(*operation, "crun".to_owned()));
        let ratio =
            |of| crun.map_or_else(|| "-".to_owned(), |crun| format!("{:.2}", at(list, of, 5) / at(crun, of, 5)));
        let operation = OPERATIONS[*operation];
        let [low, middle, high] = [1, 5, 9].map(|part| at(list, passed, part));
        print!("| {operation} | {name} | {middle:.2} | {low:.2} | {high:.2} | {} ", ratio(passed));
        println!("| {:.2} | {} |", at(list, processors, 5), ratio(processors));
    }
}
