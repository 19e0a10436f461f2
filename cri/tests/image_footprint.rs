//! What images take by what was noted, and lists that are not read twice.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod image_layout;

use std::fs;
use std::path::Path;
use std::process::Command;

use cri::image::{Force, LoadOptions, Source, Store};
use image_layout::{Layer, Tar, is_root, layout};

/// What du(1) says about the folders of the store that belong to images: blocks and inodes.
fn du(store: &Path) -> (u64, u64) {
    let count = |flags: &[&str]| {
        let output =
            Command::new("du").args(flags).arg("-c").args([store.join("images"), store.join("layers")]).output();
        let text = String::from_utf8(output.unwrap().stdout).unwrap();
        text.lines().last().unwrap().split_whitespace().next().unwrap().parse::<u64>().unwrap()
    };
    (count(&["-s", "--block-size=1"]), count(&["-s", "--inodes"]))
}

fn many_files(prefix: &str) -> Layer {
    let mut tar = Tar::new();
    for number in 0..300 {
        tar = tar.file(&format!("{prefix}/{number}/file"), &"x".repeat(number * 37));
    }
    Layer::gzip(tar.hard_link(&format!("{prefix}/again"), &format!("{prefix}/299/file")))
}

fn load(store: &Store, scratch: &Path, name: &str, layers: &[Layer]) {
    let path = scratch.join(name);
    layout(&path, name, layers);
    store.load(Source::Path(path), &LoadOptions::default(), &mut |_| {}).unwrap();
}

#[test]
fn root_footprint_is_what_du_counts() {
    if !is_root() {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path().join("store");
    let store = Store::open(&root).unwrap();
    let compare = |store: &Store, when: &str| {
        let footprint = store.footprint().unwrap();
        let (bytes, inodes) = du(&root);
        assert!(footprint.bytes.abs_diff(bytes) * 100 <= bytes, "{when}: {} bytes, du {bytes}", footprint.bytes);
        assert_eq!(footprint.inodes, inodes, "{when}");
    };
    compare(&store, "empty");
    let base = many_files("base");
    load(&store, scratch.path(), "one", &[base.clone(), many_files("one")]);
    load(&store, scratch.path(), "two", &[base, many_files("two")]);
    compare(&store, "two images with a common layer");
    compare(&Store::open(&root).unwrap(), "another process");

    // A seal of an older version says nothing: the layer is looked through.
    for layer in fs::read_dir(root.join("layers")).unwrap() {
        let seal = layer.unwrap().path().join("seal.json");
        let mut record: serde_json::Value = serde_json::from_slice(&fs::read(&seal).unwrap()).unwrap();
        let disk = record.as_object_mut().unwrap().remove("disk").expect("the figure is in the seal");
        assert!(disk["bytes"].as_u64().unwrap() > 300 * 4096, "{disk}");
        fs::write(&seal, record.to_string()).unwrap();
    }
    compare(&store, "old seals");
    compare(&store, "old seals, the second time");

    store.remove("two", Force::No, &mut |_| None).unwrap();
    compare(&store, "one removed");
}

#[test]
fn root_a_list_is_read_again_when_it_changed() {
    if !is_root() {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path().join("store");
    let (store, other) = (Store::open(&root).unwrap(), Store::open(&root).unwrap());
    load(&store, scratch.path(), "one", &[many_files("one")]);
    let first = store.list().unwrap();
    assert_eq!(store.list().unwrap(), first);
    load(&other, scratch.path(), "two", &[many_files("two")]);
    assert_eq!(store.list().unwrap(), other.list().unwrap());
    assert_eq!(store.list().unwrap().len(), 2);

    // Documents are not read again, but one that is another file now is.
    let manifest = store.resolve("two").unwrap().manifests[0].digest.hex().to_owned();
    let manifest = root.join("images/blobs/sha256").join(manifest);
    let text = fs::read(&manifest).unwrap();
    fs::write(&manifest, "{}").unwrap();
    assert!(store.list().is_err());
    fs::write(&manifest, &text).unwrap();
    assert_eq!(store.list().unwrap().len(), 2);
    fs::remove_file(&manifest).unwrap();
    assert!(store.list().is_err());
    assert_eq!(store.resolve("one").unwrap(), first[0]);
    fs::write(&manifest, &text).unwrap();

    // Layers are looked at each time.
    let before = store.resolve("two").unwrap().unpacked_bytes;
    assert_eq!(before, (0..300).map(|number| number * 37).sum::<u64>());
    let layer = other.resolve("two").unwrap().config.diff_ids[0].hex().to_owned();
    fs::remove_file(root.join("layers").join(layer).join("seal.json")).unwrap();
    assert_eq!(store.resolve("two").unwrap().unpacked_bytes, 0);
}
