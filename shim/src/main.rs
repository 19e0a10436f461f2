//! `rt-shim --dir DIR`: parent of the containers of the directory DIR, started by `shim::client::spawn`, which gives it the first
//! connection as standard input.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    match &arguments[..] {
        [flag, dir] if flag == "--dir" && Path::new(dir).is_absolute() => match shim::server::serve(Path::new(dir)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("rt-shim: {error}");
                ExitCode::FAILURE
            }
        },
        [flag] if flag == "--version" => {
            println!("rt-shim {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!("usage: rt-shim --dir DIR (absolute), with a connected SOCK_SEQPACKET socket as standard input");
            ExitCode::from(2)
        }
    }
}
