//! What the tests need beside Rust programs: a payload in C (system calls of other ABIs need inline assembly, and Rust code outside of
//! `runtime::sys` has no unsafe blocks) and the busybox image.

use std::env;
use std::path::PathBuf;
use std::process::Command;

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let calls = out.join("calls");
    println!("cargo:rerun-if-changed=payload/calls.c");
    run(Command::new("cc").args(["-O1", "-static", "-Wall", "-Werror", "-o"]).arg(&calls).arg("payload/calls.c"));
    println!("cargo:rustc-env=RT_TEST_CALLS={}", calls.display());

    // Programs of the other ABIs of x86 need no libraries of theirs.
    println!("cargo:rerun-if-changed=payload/small.c");
    for (abi, flag) in [("i386", "-m32"), ("x32", "-mx32")] {
        let small = out.join(format!("small-{abi}"));
        let flags =
            [flag, "-O1", "-nostdlib", "-static", "-ffreestanding", "-fno-pic", "-fno-stack-protector", "-Wall"];
        run(Command::new("cc").args(flags).args(["-Werror", "-o"]).arg(&small).arg("payload/small.c"));
    }
    println!("cargo:rustc-env=RT_TEST_SMALL={}", out.display());

    let image = out.join("busybox.oci");
    println!("cargo:rerun-if-changed=../hack/busybox-image");
    // A new folder, not files over those of the last time.
    if let Err(error) = std::fs::remove_dir_all(&image) {
        assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{image:?}");
    }
    run(Command::new("../hack/busybox-image").arg(&image));
    println!("cargo:rustc-env=RT_TEST_IMAGE={}", image.display());
}

fn run(command: &mut Command) {
    let status = command.stdout(std::process::Stdio::null()).status();
    let status = status.unwrap_or_else(|error| panic!("{command:?}: {error} (hack/setup installs what is missing)"));
    assert!(status.success(), "{command:?}: {status}");
}
