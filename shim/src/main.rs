//! `rt-shim --dir DIR`: parent of the containers of the directory DIR, started by `shim::client::spawn`, which gives it the first
//! connection as standard input. `rt-shim --hold` does nothing until its standard input ends.

#![cfg_attr(not(test), no_main)]

use std::path::Path;

#[cfg(not(test))]
runtime::entry!(run);

#[cfg_attr(test, expect(dead_code, reason = "the test harness is the program then"))]
fn run() -> i32 {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    match &arguments[..] {
        [flag, dir] if flag == "--dir" && Path::new(dir).is_absolute() => match shim::server::serve(Path::new(dir)) {
            Ok(()) => 0,
            Err(error) => {
                eprintln!("rt-shim: {error}");
                1
            }
        },
        // Keeps a new cgroup from being empty, for whoever has the other end of its standard input.
        [flag] if flag == "--hold" => {
            while std::io::Read::read(&mut std::io::stdin(), &mut [0; 64]).is_ok_and(|count| count > 0) {}
            0
        }
        [flag] if flag == "--version" => {
            println!("rt-shim {}", env!("CARGO_PKG_VERSION"));
            0
        }
        _ => {
            eprintln!("usage: rt-shim --dir DIR (absolute), with a connected SOCK_SEQPACKET socket as standard input");
            2
        }
    }
}
