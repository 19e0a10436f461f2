//! What docker's default profile costs: `cargo bench -p rt-runtime --bench seccomp`. Prints medians.

use std::hint::black_box;
use std::time::{Duration, Instant};

use runtime::seccomp::{compile, default_profile};

fn main() {
    if std::env::args().any(|argument| argument == "--once") {
        let profile = default_profile(&[]);
        println!("{}", time(|| drop(black_box(compile(black_box(&profile))))).as_nanos());
        return;
    }
    let profile = default_profile(&[]);
    let text = serde_json::to_vec(&profile).expect("a profile is JSON");
    let program = compile(&profile).expect("docker's profile compiles");
    println!("{} instructions, {} bytes of JSON", program.instructions.len(), text.len());

    let parse = || drop(black_box(serde_json::from_slice::<runtime::spec::Seccomp>(black_box(&text))));
    report("default_profile", median(2000, || time(|| drop(black_box(default_profile(black_box(&[])))))));
    report("parse", median(2000, || time(parse)));
    report("compile", median(2000, || time(|| drop(black_box(compile(black_box(&profile)))))));
    // The way of a short-lived program: nothing of it is in the caches of the processor, nothing of the heap is there yet.
    report("compile, first time in a process", median(50, first_time));
    // A thread each: filters add up.
    let load = || {
        let load = || {
            nix::sys::prctl::set_no_new_privs().expect("PR_SET_NO_NEW_PRIVS takes no privilege");
            time(|| assert_eq!(runtime::sys::seccomp::load(&program), Ok(None)))
        };
        std::thread::scope(|scope| scope.spawn(load).join().expect("the thread answers"))
    };
    report("load", median(200, load));
}

/// Compiles in a child process, which says how long it took.
fn first_time() -> Duration {
    let program = std::env::current_exe().expect("/proc/self/exe");
    let output = std::process::Command::new(program).arg("--once").output().expect("this program runs");
    let text = String::from_utf8(output.stdout).expect("digits");
    Duration::from_nanos(text.trim_end().parse().expect("a number"))
}

fn time(run: impl FnOnce()) -> Duration {
    let start = Instant::now();
    run();
    start.elapsed()
}

fn median(rounds: usize, mut round: impl FnMut() -> Duration) -> Duration {
    let mut times: Vec<Duration> = (0..rounds).map(|_| round()).collect();
    times.sort_unstable();
    times[rounds / 2]
}

fn report(what: &str, time: Duration) {
    println!("{what}: {:.1} µs", time.as_secs_f64() * 1e6);
}
