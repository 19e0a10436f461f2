//! Where the programs under test and the payloads are.

use std::path::{Path, PathBuf};

/// Which OCI command line is under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Ours.
    Rt,
    /// runc.
    Runc,
    /// crun.
    Crun,
}

/// The kind of [`program`]`("rt-runtime")`, told by its file name.
pub fn kind() -> Kind {
    let path = program("rt-runtime");
    match path.file_name().and_then(|name| name.to_str()).unwrap_or_default() {
        "runc" => Kind::Runc,
        "crun" => Kind::Crun,
        _ => Kind::Rt,
    }
}

/// A program under test: `RT_RUNTIME` for `rt-runtime`, else the newest of the release and debug builds beside the tests.
pub fn program(name: &str) -> PathBuf {
    if name == "rt-runtime"
        && let Some(path) = std::env::var_os("RT_RUNTIME")
    {
        let path = PathBuf::from(path);
        return if path.components().count() > 1 { path } else { from_search_path(&path) };
    }
    if let Some(folder) = std::env::var_os("RT_PROGRAMS") {
        return PathBuf::from(folder).join(name);
    }
    let profile = profile();
    let release = profile.with_file_name("release").join(name);
    let built = |path: &Path| path.metadata().and_then(|metadata| metadata.modified()).ok();
    if built(&release) > built(&profile.join(name)) { release } else { profile.join(name) }
}

/// The runtime handler of pods in tests that do not choose one: `RT_HANDLER`, an OCI command line by name or path; empty is the
/// runtime within the shim.
pub fn handler() -> String {
    std::env::var("RT_HANDLER").map_or_else(|_| String::new(), |path| handler_name(&path))
}

/// The name of a handler after its program.
pub fn handler_name(path: &str) -> String {
    Path::new(path).file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned()
}

/// Settings that have an OCI command line as a handler; `more` are lines of its table.
pub fn handler_settings(path: &str, more: &str) -> String {
    let found = match path {
        "crun" => Path::new(env!("CARGO_MANIFEST_DIR")).join("../hack/crun"),
        path if path.starts_with('/') => PathBuf::from(path),
        path => from_search_path(Path::new(path)),
    };
    format!("[handlers.{}]\npath = {found:?}\n{more}\n", handler_name(path))
}

fn from_search_path(name: &Path) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    let found = folders.map(|folder| folder.join(name)).find(|path| path.metadata().is_ok());
    found.unwrap_or_else(|| panic!("no program {name:?} in PATH"))
}

/// The Rust payload (`tests/payload/main.rs`).
pub fn payload() -> PathBuf {
    profile().join("payload")
}

/// The C payload (`tests/payload/calls.c`).
pub fn calls() -> PathBuf {
    PathBuf::from(env!("RT_TEST_CALLS"))
}

/// The C payload of another ABI, `i386` or `x32` (`tests/payload/small.c`).
pub fn small(abi: &str) -> PathBuf {
    PathBuf::from(env!("RT_TEST_SMALL")).join(format!("small-{abi}"))
}

/// The folder of the build profile: test binaries are in its `deps`.
fn profile() -> PathBuf {
    let exe = std::env::current_exe().expect("/proc is mounted");
    exe.ancestors().nth(2).expect("target/PROFILE/deps/TEST").to_owned()
}
