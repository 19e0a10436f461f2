//! Attacks from images, configurations and containers, as published: each test names the CVE whose class it tries. How each was
//! seen to succeed without its defence is in docs/security.md.

mod devices;
mod entering;
mod host;
mod input;
mod links;
mod procfs;
mod races;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use tests::Bundle;

/// Replaces a folder of the root file system by a symlink.
fn link(bundle: &Bundle, name: &str, target: impl AsRef<Path>) {
    let path = bundle.rootfs().join(name);
    if path.symlink_metadata().is_ok() {
        fs::remove_dir_all(&path).unwrap();
    }
    symlink(target, path).unwrap();
}

/// A link target that leads to `path` by any number of `..`.
fn upwards(path: &Path) -> PathBuf {
    PathBuf::from("../../../../../../../../..").join(path.strip_prefix("/").unwrap())
}
