//! Generates the messages and services of `runtime/v1`, without any program that would have to be installed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = protox::compile(["runtime/v1/service.proto"], ["."])?;
    println!("cargo::rerun-if-changed=runtime");
    // A type that is large for one member only would make every list of the others large, too.
    tonic_prost_build::configure().build_transport(false).compile_fds(files)?;
    Ok(())
}
