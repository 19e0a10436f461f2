//! Compiles the payloads that are C: system calls of other ABIs need inline assembly, and Rust code outside of `runtime::sys` has
//! no unsafe blocks.

use std::env;
use std::path::PathBuf;
use std::process::Command;

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let program = out.join("calls");
    println!("cargo:rerun-if-changed=payload/calls.c");
    let status = Command::new("cc")
        .args(["-O1", "-static", "-Wall", "-Werror", "-o"])
        .arg(&program)
        .arg("payload/calls.c")
        .status()
        .expect("cc starts (apt-get install gcc libc6-dev)");
    assert!(status.success(), "cc payload/calls.c: {status}");
    println!("cargo:rustc-env=RT_TEST_CALLS={}", program.display());
}
