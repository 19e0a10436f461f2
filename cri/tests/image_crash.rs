//! Loading and removing are killed at every system call that changes something; the store stays whole.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod image_layout;

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use cri::image::{Depth, Digest, Force, LoadOptions, Source, Store};
use image_layout::{Layer, Tar, is_root, layout};

const CHILD: &str = "RT_TEST_CRASH";

/// Not a test of its own: the process that is killed.
#[test]
fn work_in_child() {
    let Some(work) = std::env::var_os(CHILD) else { return };
    let folder = std::env::current_dir().unwrap();
    let store = Store::open(&folder.join("store")).unwrap();
    if work == "load" {
        store.load(Source::Path(folder.join("new")), &LoadOptions::default(), &mut |_| {}).unwrap();
    } else {
        store.remove("app:1", Force::No, &mut |_| None).unwrap();
    }
}

/// Runs the child under strace, which kills it at the `count`th call of `call`. Tells whether it got that far.
fn killed(folder: &Path, work: &str, call: &str, count: usize) -> bool {
    let status = Command::new("strace")
        .args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}"), "-e"])
        .arg(format!("inject={call}:signal=KILL:when={count}"))
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "work_in_child", "--quiet"])
        .env(CHILD, work)
        .current_dir(folder)
        .stdout(std::process::Stdio::null())
        .status()
        .unwrap();
    // strace dies by the signal that killed its child.
    let by_signal = status.signal() == Some(9);
    assert!(by_signal || status.success(), "{work} {call} {count}: {status}");
    by_signal
}

fn ready() -> bool {
    if !is_root() {
        return false;
    }
    let probe =
        Command::new("strace").args(["-qq", "-o", "/dev/null", "-e", "inject=getpid:signal=KILL", "true"]).output();
    match probe {
        Ok(output) if output.status.success() => true,
        _ => {
            eprintln!("skipped: strace is not installed or may not trace");
            false
        }
    }
}

fn ids(folder: &Path, name: &str) -> Digest {
    let store = Store::open(&folder.join(format!("store-{name}"))).unwrap();
    store.load(Source::Path(folder.join(name)), &LoadOptions::default(), &mut |_| {}).unwrap().remove(0).id
}

fn copy(from: &Path, to: &Path) {
    if to.try_exists().unwrap() {
        fs::remove_dir_all(to).unwrap();
    }
    assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
}

/// The names of all files of the store, the lock aside.
fn inventory(store: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![store.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            found.push(entry.path().strip_prefix(store).unwrap().to_owned());
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            }
        }
    }
    found.sort();
    found
}

/// An old and a new image of the same name with a common layer, and a store that holds the old one.
fn scene(folder: &Path) -> (Digest, Digest) {
    let common = Layer::gzip(Tar::new().file("common", "x").hard_link("link", "common"));
    layout(&folder.join("old"), "app:1", &[common.clone(), Layer::gzip(Tar::new().file("old", "x"))]);
    let new = Tar::new().dir("d", 0o700, 3).file("d/new", "x").symlink("s", "d");
    layout(&folder.join("new"), "app:1", &[common, Layer::gzip(new), Layer::plain(Tar::new().file("d/top", "x"))]);
    (ids(folder, "old"), ids(folder, "new"))
}

#[test]
fn root_a_load_may_be_killed_anywhere() {
    if !ready() {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path();
    let (old, new) = scene(folder);
    let store_path = folder.join("store");
    copy(&folder.join("store-old"), &store_path);
    let store = Store::open(&store_path).unwrap();
    store.load(Source::Path(folder.join("new")), &LoadOptions::default(), &mut |_| {}).unwrap();
    let whole = inventory(&store_path);
    let mut kills = 0;
    for call in ["renameat", "fsync", "syncfs", "mkdirat", "openat2", "write", "flock", "unlinkat", "linkat"] {
        for count in 1.. {
            copy(&folder.join("store-old"), &store_path);
            if !killed(folder, "load", call, count) {
                assert!(count > 1 || call == "linkat", "{call} is never called");
                break;
            }
            kills += 1;
            let store = Store::open(&store_path).unwrap();
            let found = store.resolve("app:1").unwrap().id;
            assert!(found == old || found == new, "{call} {count}");
            let expected = if found == old { 2 } else { 3 };
            // The new image has one more layer for the folder that only its second layer describes.
            let layers = store.prepare("app:1", &mut |_| {}).unwrap().layers.len();
            assert!(layers == expected || layers == expected + 1, "{call} {count}: {layers}");
            store.load(Source::Path(folder.join("new")), &LoadOptions::default(), &mut |_| {}).unwrap();
            assert_eq!(store.resolve("app:1").unwrap().id, new, "{call} {count}");
            let over = |path: &PathBuf| path.display().to_string().contains("over-");
            let after: Vec<PathBuf> = inventory(&store_path).into_iter().filter(|path| !over(path)).collect();
            assert_eq!(after, whole, "{call} {count}");
        }
    }
    eprintln!("killed {kills} times");
    assert!(kills > 50, "killed {kills} times");
}

/// What a loss of power does on top of a kill: data that was not waited for is not there.
///
/// Everything of an ingest is waited for by one `syncfs` before anything gets its name, so only what is still in the staging
/// folder, and a temporary index, can be cut or empty.
fn lose_power(store: &Path) {
    for path in inventory(&store.join("ingest")) {
        let path = store.join("ingest").join(path);
        if path.symlink_metadata().unwrap().is_file() {
            fs::OpenOptions::new().write(true).open(path).unwrap().set_len(0).unwrap();
        }
    }
    let temporary = store.join("images/.index.json.new");
    if let Ok(file) = fs::OpenOptions::new().write(true).open(temporary) {
        file.set_len(file.metadata().unwrap().len() / 2).unwrap();
    }
}

/// What strace saw of a load in the order in which it happened: renames into the store come after the data was waited for.
#[test]
fn root_nothing_gets_its_name_before_its_data_is_on_the_disk() {
    if !ready() {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path();
    scene(folder);
    copy(&folder.join("store-old"), &folder.join("store"));
    let status = Command::new("strace")
        .args(["-f", "-qq", "-y", "-o", "trace", "-e", "trace=renameat,renameat2,syncfs,fsync"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "work_in_child", "--quiet"])
        .env(CHILD, "load")
        .current_dir(folder)
        .stdout(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    let trace = fs::read_to_string(folder.join("trace")).unwrap();
    let lines: Vec<&str> = trace.lines().collect();
    let all = |what: &str| (0..lines.len()).filter(|at| lines[*at].contains(what)).collect::<Vec<_>>();
    let sync = all("syncfs(");
    assert_eq!(sync.len(), 1, "{trace}");
    let layers = all("\"layer-");
    let blobs: Vec<usize> = all("/blobs/sha256>").into_iter().filter(|at| lines[*at].contains("rename")).collect();
    let seals: Vec<usize> = all("seal.json").into_iter().filter(|at| lines[*at].contains("fsync")).collect();
    let index = all(".index.json.new\"").into_iter().find(|at| lines[*at].contains("rename")).unwrap();
    assert_eq!((layers.len(), seals.len(), blobs.len()), (2, 2, 4), "{trace}");
    assert!(sync[0] < seals[0] && seals[1] < layers[0] && layers[1] < index, "{trace}");
    let folders =
        all("fsync(").into_iter().filter(|at| lines[*at].contains("/layers>) ") || lines[*at].contains("/sha256>) "));
    let folders: Vec<usize> = folders.filter(|at| *at < index && *at > layers[1]).collect();
    assert!(folders.len() >= 2, "the folders are waited for before the index: {trace}");
    let temporary = all(".index.json.new>").into_iter().find(|at| lines[*at].contains("fsync")).unwrap();
    assert!(temporary < index, "{trace}");
}

#[test]
fn root_power_may_be_lost_anywhere() {
    if !ready() {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path();
    let (old, new) = scene(folder);
    let store_path = folder.join("store");
    let mut losses = 0;
    for call in ["renameat", "fsync", "syncfs", "mkdirat"] {
        for count in 1.. {
            copy(&folder.join("store-old"), &store_path);
            if !killed(folder, "load", call, count) {
                break;
            }
            losses += 1;
            lose_power(&store_path);
            let store = Store::open(&store_path).unwrap();
            let report = store.verify(&[], Depth::Deep, &mut |_, _| {}).unwrap();
            let worse: Vec<_> = report.damages.iter().filter(|damage| damage.object.matters()).collect();
            assert!(worse.is_empty(), "{call} {count}: {worse:?}");
            let found = store.resolve("app:1").unwrap().id;
            assert!(found == old || found == new, "{call} {count}");
            let failed = store.repair(&report, &mut |_| None, &mut |_| panic!("nothing is lost"), &mut |_| {}).unwrap();
            assert!(failed.is_empty(), "{call} {count}: {failed:?}");
            assert_eq!(store.verify(&[], Depth::Deep, &mut |_, _| {}).unwrap().damages, [], "{call} {count}");
            store.load(Source::Path(folder.join("new")), &LoadOptions::default(), &mut |_| {}).unwrap();
            assert_eq!(store.resolve("app:1").unwrap().id, new, "{call} {count}");
        }
    }
    eprintln!("lost power {losses} times");
    assert!(losses > 20, "lost power {losses} times");
}

#[test]
fn root_a_removal_may_be_killed_anywhere() {
    if !ready() {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path();
    let (old, _) = scene(folder);
    let store_path = folder.join("store");
    let mut kills = 0;
    for call in ["renameat", "fsync", "mkdirat", "unlinkat", "openat2", "flock"] {
        for count in 1.. {
            copy(&folder.join("store-old"), &store_path);
            if !killed(folder, "remove", call, count) {
                break;
            }
            kills += 1;
            let store = Store::open(&store_path).unwrap();
            let left = store.list().unwrap();
            match left.as_slice() {
                [] => {}
                [image] => {
                    assert_eq!(image.id, old);
                    assert_eq!(store.prepare("app:1", &mut |_| panic!("a layer is gone")).unwrap().layers.len(), 2);
                }
                more => panic!("{more:?}"),
            }
            // The next removal clears away what the killed one left.
            store.load(Source::Path(folder.join("new")), &LoadOptions::default(), &mut |_| {}).unwrap();
            store.prune(&mut |image| image.names.is_empty(), &mut |_| None).unwrap();
            store.remove("app:1", Force::No, &mut |_| None).unwrap();
            for rest in ["layers", "ingest", "images/blobs/sha256"] {
                assert_eq!(inventory(&store_path.join(rest)), Vec::<PathBuf>::new(), "{call} {count} {rest}");
            }
        }
    }
    eprintln!("killed {kills} times");
    assert!(kills > 20, "killed {kills} times");
}
