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

use tests::{Bundle, Test};

/// A folder on the host that nothing may touch, and its listing.
fn outside(t: &Test) -> PathBuf {
    let folder = t.dir.join(t.id());
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("file"), "untouched").unwrap();
    folder
}

#[track_caller]
fn untouched(folder: &Path) {
    let names: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["file"], "{folder:?}");
    assert_eq!(fs::read_to_string(folder.join("file")).unwrap(), "untouched");
}

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
