//! The program that the tests run inside containers: it tells what the kernel says about it, or does one simple thing.

#![forbid(unsafe_code)]

mod facts;
mod pry;
mod talk;

use std::io::{Write, stdout};
use std::process::exit;
use std::thread;

use nix::sys::signal::{SigSet, Signal};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["facts", ..] => println!("{}", facts::facts()),
        ["hold"] => hold(),
        ["eat", mebibytes] => eat(mebibytes.parse().expect("a number")),
        ["threads", count] => threads(count.parse().expect("a number")),
        ["hunt", path] => hunt(path),
        ["pry", path] => pry::pry(path),
        ["connect", path] => match std::os::unix::net::UnixStream::connect(path) {
            Ok(_) => say("connected"),
            Err(error) => say(&error.to_string()),
        },
        ["answer", protocol, port] => talk::answer(protocol, port.parse().expect("a number")),
        ["ask", protocol, host, port] => match talk::ask(protocol, host, port.parse().expect("a number")) {
            Some(answer) => print!("{answer}"),
            None => exit(1),
        },
        _ => {
            eprintln!(
                "usage: payload facts|hold|eat MIB|threads N|hunt PATH|pry PATH|connect PATH|answer PROTOCOL PORT|ask PROTOCOL ADDRESS PORT"
            );
            exit(2);
        }
    }
}

/// Says `ready`, then the name of each signal that comes, until SIGTERM ends it with code 0.
fn hold() {
    let signals = SigSet::all();
    signals.thread_block().expect("valid signals");
    say("ready");
    loop {
        let signal = signals.wait().expect("valid signals");
        say(signal.as_str());
        match signal {
            Signal::SIGTERM => exit(0),
            Signal::SIGINT => exit(3),
            _ => {}
        }
    }
}

/// Allocates and touches memory, a mebibyte at a time, then says `ate`.
fn eat(mebibytes: usize) {
    let mut food = Vec::new();
    for _ in 0..mebibytes {
        food.push(vec![1u8; 1 << 20]);
    }
    say(if std::hint::black_box(&food).len() == mebibytes { "ate" } else { "not hungry" });
}

/// Starts threads and says how many the kernel allowed.
fn threads(count: usize) {
    let mut started = 0;
    for _ in 0..count {
        match thread::Builder::new().stack_size(64 << 10).spawn(|| {
            loop {
                thread::park()
            }
        }) {
            Ok(_) => started += 1,
            Err(_) => break,
        }
    }
    say(&started.to_string());
    exit(0);
}

/// Looks for a file below the root directories of other processes, the youngest first, and says what is in it.
fn hunt(path: &str) {
    say("ready");
    let mut youngest = 1;
    loop {
        let known = youngest;
        for pid in known..known + 8 {
            if let Ok(text) = std::fs::read_to_string(format!("/proc/{pid}/root/{path}")) {
                say(&text);
            }
            if std::fs::symlink_metadata(format!("/proc/{pid}")).is_ok() {
                youngest = pid;
            }
        }
    }
}

fn say(line: &str) {
    let mut out = stdout().lock();
    // Whoever listened may be gone; the signal still counts.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
