//! Every kind of damage is found and told. Needs root.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod image_layout;

use std::ffi::CString;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use cri::image::{Blobs, Depth, Digest, Error, Format, LoadOptions, Object, Report, Source, Store};
use image_layout::{Layer, Tar, is_root, layout};
use runtime::sys::xattr;
use tar::EntryType;

/// A store with the image `app:1` of two layers with one of everything.
fn scene(scratch: &Path) -> Store {
    let mut sparse = vec![0u8; 300_000];
    sparse[200_000] = 1;
    let sparse = String::from_utf8(sparse).unwrap();
    let lower = Tar::new()
        .dir("d", 0o750, 5)
        .file("d/file", "contents")
        .hard_link("d/other", "d/file")
        .file("sparse", &sparse)
        .file("gone", "x")
        .file("twice", "first")
        .file("twice", "second")
        .symlink("link", "d/file")
        .pax(&[("SCHILY.xattr.user.note", b"value")])
        .file("noted", "x")
        .device(EntryType::Char, "null", 1, 3)
        .raw(EntryType::Fifo, b"pipe", b"", |_| {})
        .file("a/b/c/deep", "x");
    let upper =
        Tar::new().file(".wh.gone", "").file("d/new", "y").file("hidden/.wh..wh..opq", "").file("hidden/x", "x");
    layout(&scratch.join("layout"), "app:1", &[Layer::gzip(lower), Layer::gzip(upper)]);
    let store = Store::open(&scratch.join("store")).unwrap();
    store.load(Source::Path(scratch.join("layout")), &LoadOptions::default(), &mut |_| {}).unwrap();
    store.prepare("app:1", &mut |_| {}).unwrap();
    store
}

fn check(store: &Store) -> Report {
    store.verify(&[], Depth::Deep, &mut |_, _| {}).unwrap()
}

fn shown(report: &Report) -> Vec<String> {
    report.damages.iter().map(|damage| format!("{}: {}", damage.object.kind(), damage.reason)).collect()
}

/// The folders of the layers, bottom first, and that of the extra one.
fn layers(store: &Store) -> Vec<PathBuf> {
    let mut layers = store.prepare("app:1", &mut |_| {}).unwrap().layers;
    assert_eq!(layers.len(), 3, "the image has an extra layer for the folder d");
    let extra = layers.remove(0);
    layers.reverse();
    layers.push(extra);
    layers
}

#[test]
fn root_a_whole_store_has_no_damage() {
    if !is_root() {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let store = scene(scratch.path());
    let report = check(&store);
    assert_eq!((shown(&report), report.images, report.layers), (Vec::new(), 1, 2));
    assert!(report.uncompared.is_empty());
    assert_eq!(fs::read_dir(scratch.path().join("store/ingest")).unwrap().count(), 0, "nothing stays behind");
}

#[test]
fn root_every_change_of_a_layer_is_found() {
    if !is_root() {
        return;
    }
    type Change = fn(&Path);
    let changes: [(&str, usize, Change, &str); 20] = [
        ("contents", 0, |fs| change_byte(&fs.join("d/file"), 3), "\"d/file\" has other contents"),
        ("contents far behind", 0, |fs| change_byte(&fs.join("sparse"), 200_000), "\"sparse\" has other contents"),
        ("contents in a hole", 0, |fs| change_byte(&fs.join("sparse"), 100_000), "\"sparse\" has other contents"),
        ("zeros", 0, |fs| zero(&fs.join("noted")), "\"noted\" has other contents"),
        ("size", 0, |fs| append(&fs.join("noted")), "\"noted\" has 2 bytes, not 1"),
        ("empty", 0, |fs| truncate(&fs.join("sparse")), "\"sparse\" has 0 bytes, not 300000"),
        ("mode", 0, |fs| chmod(&fs.join("noted"), 0o4755), "\"noted\" has mode 4755, not 0644"),
        ("mode of a folder", 0, |fs| chmod(&fs.join("a/b"), 0o700), "\"a/b\" has mode 0700, not 0755"),
        ("owner", 0, |fs| chown(fs.join("d"), Some(7), Some(8)).unwrap(), "\"d\" belongs to 7:8, not to 5:0"),
        ("file gone", 0, |fs| fs::remove_file(fs.join("a/b/c/deep")).unwrap(), "\"a/b/c/deep\" is missing"),
        ("folder gone", 0, |fs| fs::remove_dir_all(fs.join("a/b")).unwrap(), "\"a/b\" is missing"),
        ("file more", 0, |fs| fs::write(fs.join("a/b/more"), "").unwrap(), "\"a/b/more\" is not in the archive"),
        ("folder more", 1, |fs| fs::create_dir(fs.join("more")).unwrap(), "\"more\" is not in the archive"),
        (
            "link",
            0,
            |fs| replace(&fs.join("link"), |at| symlink("/etc", at).unwrap()),
            "\"link\" points to \"/etc\", not to \"d/file\"",
        ),
        ("kind", 0, |fs| replace(&fs.join("pipe"), |at| fs::write(at, "").unwrap()), "\"pipe\" is a file, not a pipe"),
        ("device", 0, |fs| replace(&fs.join("null"), |at| device(at, 1, 8)), "\"null\" has device number 1:8, not 1:3"),
        (
            "hard link",
            0,
            |fs| replace(&fs.join("d/other"), |at| assert!(fs::copy(at.with_file_name("file"), at).is_ok())),
            "has 1 names, not 2",
        ),
        (
            "attribute",
            0,
            |fs| set(&fs.join("noted"), c"user.note", b"other"),
            "\"noted\" has another value of the attribute \"user.note\"",
        ),
        (
            "opaque",
            0,
            |fs| set(&fs.join("d"), c"trusted.overlay.opaque", b"y"),
            "\"d\" has the attribute \"trusted.overlay.opaque\"",
        ),
        ("whiteout gone", 1, |fs| fs::remove_file(fs.join("gone")).unwrap(), "\"gone\" is missing"),
    ];
    for (what, layer, change, expected) in changes {
        let scratch = tempfile::tempdir().unwrap();
        let store = scene(scratch.path());
        change(&layers(&store)[layer]);
        let found = shown(&check(&store));
        assert!(found.iter().any(|line| line.starts_with("layer: ") && line.contains(expected)), "{what}: {found:?}");
    }
}

#[test]
fn root_every_damaged_object_is_found() {
    if !is_root() {
        return;
    }
    type Change = fn(&Path, &Store);
    let changes: [(&str, Change, &[&str]); 14] = [
        ("index gone", |root, _| fs::remove_file(root.join("images/index.json")).unwrap(), &["index"]),
        ("index cut", |root, _| truncate(&root.join("images/index.json")), &["index"]),
        ("layout cut", |root, _| truncate(&root.join("images/oci-layout")), &["layout"]),
        ("manifest gone", |root, store| fs::remove_file(blob(root, &manifest(store))).unwrap(), &["manifest"]),
        ("manifest zeroed", |root, store| zero(&blob(root, &manifest(store))), &["manifest"]),
        ("config changed", |root, store| change_byte(&blob(root, &id(store)), 9), &["config"]),
        ("blob gone", |root, store| fs::remove_file(blob(root, &layer_blob(store))).unwrap(), &["blob"]),
        ("blob cut", |root, store| truncate(&blob(root, &layer_blob(store))), &["blob"]),
        ("blob zeroed", |root, store| zero(&blob(root, &layer_blob(store))), &["blob"]),
        ("seal cut", |_, store| truncate(&layers(store)[0].with_file_name("seal.json")), &["layer"]),
        ("layer gone", |_, store| fs::remove_dir_all(layers(store)[0].parent().unwrap()).unwrap(), &["layer"]),
        ("extra layer", |_, store| chmod(&layers(store)[2].join("d"), 0o777), &["extra-layer"]),
        ("killed", |root, _| fs::create_dir(root.join("ingest/1-0")).unwrap(), &["leftover"]),
        (
            "unneeded",
            |root, _| {
                fs::create_dir_all(root.join("layers/abc/fs")).unwrap();
                fs::write(blob(root, &Digest::of(b"unneeded")), "unneeded").unwrap();
            },
            &["unneeded", "unneeded"],
        ),
    ];
    for (what, change, expected) in changes {
        let scratch = tempfile::tempdir().unwrap();
        let store = scene(scratch.path());
        change(&scratch.path().join("store"), &store);
        let report = check(&store);
        let kinds: Vec<&str> = report.damages.iter().map(|damage| damage.object.kind()).collect();
        assert_eq!(kinds, expected, "{what}: {:?}", report.damages);
        let names = report.damages.iter().flat_map(|damage| &damage.images);
        assert!(names.clone().all(|name| name == "app:1"), "{what}: {:?}", report.damages);
        let unaffected =
            matches!(report.damages[0].object, Object::Index | Object::Layout) || !report.damages[0].object.matters();
        assert_eq!(names.count() == 0, unaffected, "{what}");
    }
}

#[test]
fn root_one_image_only() {
    if !is_root() {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let store = scene(scratch.path());
    layout(&scratch.path().join("other"), "other", &[Layer::plain(Tar::new().file("x", "x"))]);
    store.load(Source::Path(scratch.path().join("other")), &LoadOptions::default(), &mut |_| {}).unwrap();
    let root = scratch.path().join("store");
    fs::remove_file(blob(&root, &manifest(&store))).unwrap();
    let verify = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        store.verify(&names, Depth::Fast, &mut |_, _| {})
    };
    assert_eq!(verify(&["other"]).unwrap().damages, []);
    assert_eq!(verify(&["app:1"]).unwrap().damages.len(), 1, "found by its name although it cannot be read");
    assert!(verify(&["nothing"]).is_err());
}

fn manifest(store: &Store) -> Digest {
    store.resolve("app:1").unwrap().manifests[0].digest.clone()
}

fn id(store: &Store) -> Digest {
    store.resolve("app:1").unwrap().id
}

fn layer_blob(store: &Store) -> Digest {
    store.resolve("app:1").unwrap().layers[0].digest.clone()
}

fn blob(root: &Path, digest: &Digest) -> PathBuf {
    root.join("images/blobs/sha256").join(digest.hex())
}

/// Changes something and leaves the time as it was.
fn keeping_time(path: &Path, change: impl FnOnce(&fs::File)) {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    let time = file.metadata().unwrap().modified().unwrap();
    change(&file);
    file.set_modified(time).unwrap();
}

fn change_byte(path: &Path, at: u64) {
    keeping_time(path, |file| file.write_all_at(b"\x07", at).unwrap());
}

fn zero(path: &Path) {
    let length = usize::try_from(fs::metadata(path).unwrap().len()).unwrap();
    keeping_time(path, |file| file.write_all_at(&vec![0; length], 0).unwrap());
}

fn truncate(path: &Path) {
    keeping_time(path, |file| file.set_len(0).unwrap());
}

fn append(path: &Path) {
    OpenOptions::new().append(true).open(path).unwrap().write_all(b"x").unwrap();
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

fn replace(path: &Path, make: impl FnOnce(&Path)) {
    fs::remove_file(path).unwrap();
    make(path);
}

fn device(path: &Path, major: u64, minor: u64) {
    use nix::sys::stat::{Mode, SFlag, makedev, mknod};
    mknod(path, SFlag::S_IFCHR, Mode::S_IRUSR | Mode::S_IWUSR, makedev(major, minor)).unwrap();
}

fn set(path: &Path, name: &std::ffi::CStr, value: &[u8]) {
    xattr::fset(fs::File::open(path).unwrap(), &CString::from(name), value).unwrap();
}

/// Nobody can be asked for what is lost.
fn repair(store: &Store) -> (Vec<(Vec<&'static str>, String)>, Vec<String>) {
    let report = check(store);
    let mut nothing = |_: &cri::image::Lost| Err(Error::NotFound { query: "source".into() });
    let failed = store.repair(&report, &mut |_| None, &mut nothing, &mut |_| {}).unwrap();
    let failed = failed
        .iter()
        .map(|failed| (failed.objects.iter().map(Object::kind).collect(), failed.error.to_string()))
        .collect();
    (failed, shown(&check(store)))
}

#[test]
fn root_what_the_blobs_hold_is_repaired_from_them() {
    if !is_root() {
        return;
    }
    type Change = fn(&Path, &Store);
    let changes: [(&str, Change); 9] = [
        ("layout", |root, _| fs::remove_file(root.join("images/oci-layout")).unwrap()),
        ("contents", |_, store| change_byte(&layers(store)[0].join("d/file"), 3)),
        ("zeroed", |_, store| zero(&layers(store)[0].join("sparse"))),
        ("both layers", |_, store| {
            chmod(&layers(store)[0].join("noted"), 0o4777);
            fs::remove_file(layers(store)[1].join("gone")).unwrap();
        }),
        ("seal", |_, store| truncate(&layers(store)[0].with_file_name("seal.json"))),
        ("layer", |_, store| fs::remove_dir_all(layers(store)[1].parent().unwrap()).unwrap()),
        ("tree", |_, store| fs::remove_dir_all(&layers(store)[1]).unwrap()),
        ("extra", |_, store| fs::write(layers(store)[2].join("d/more"), "x").unwrap()),
        ("rubbish", |root, _| {
            fs::create_dir(root.join("ingest/1-0")).unwrap();
            fs::create_dir(root.join("layers/abc")).unwrap();
        }),
    ];
    for (what, change) in changes {
        let scratch = tempfile::tempdir().unwrap();
        let store = scene(scratch.path());
        change(&scratch.path().join("store"), &store);
        assert_ne!(check(&store).damages, [], "{what}");
        assert_eq!(repair(&store), (Vec::new(), Vec::new()), "{what}");
        assert_eq!(fs::read_to_string(layers(&store)[0].join("d/file")).unwrap(), "contents", "{what}");
    }
}

#[test]
fn root_what_is_lost_is_not_used() {
    if !is_root() {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let store = scene(scratch.path());
    let root = scratch.path().join("store");
    let damaged = layers(&store)[0].clone();
    change_byte(&damaged.join("d/file"), 3);
    zero(&blob(&root, &layer_blob(&store)));
    let (failed, left) = repair(&store);
    assert_eq!(failed, [(vec!["blob"], "no such image: source".to_owned())]);
    // Nobody can say whether the layer is damaged: it stays.
    assert_eq!(left.len(), 1, "{left:?}");

    // A layer that is known to be damaged, and cannot be unpacked again, loses its place.
    assert!(!blob(&root, &layer_blob(&store)).try_exists().unwrap(), "a damaged blob is of no use");
    truncate(&damaged.with_file_name("seal.json"));
    let (failed, left) = repair(&store);
    assert_eq!(failed[0].0, ["blob", "layer"]);
    assert_eq!(left, ["blob: is missing", "layer: is missing"]);
    assert!(store.prepare("app:1", &mut |_| {}).is_err());
}

#[test]
fn root_layers_of_running_containers_are_left_alone() {
    if !is_root() {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let store = scene(scratch.path());
    let damaged = layers(&store)[0].clone();
    change_byte(&damaged.join("d/file"), 3);
    let name = damaged.parent().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
    let report = check(&store);
    let mut busy = |folder: &str| (folder == name).then(|| "web".to_owned());
    let failed = store.repair(&report, &mut busy, &mut |_| panic!("nothing is lost"), &mut |_| {}).unwrap();
    assert!(failed[0].error.to_string().contains("web"), "{failed:?}");
    assert_eq!(check(&store).damages, report.damages);
}

#[test]
fn root_a_lost_index_is_made_again() {
    if !is_root() {
        return;
    }
    for change in [|path: &Path| fs::remove_file(path).unwrap(), |path: &Path| truncate(path)] {
        let scratch = tempfile::tempdir().unwrap();
        let store = scene(scratch.path());
        let id = id(&store);
        change(&scratch.path().join("store/images/index.json"));
        // An empty one in its place would make everything rubbish.
        let store = {
            drop(store);
            Store::open(&scratch.path().join("store")).unwrap()
        };
        assert!(store.list().is_err());
        assert!(store.prune(&mut |_| true, &mut |_| None).is_err());
        assert_eq!(repair(&store), (Vec::new(), Vec::new()));
        let images = store.list().unwrap();
        assert_eq!((images.len(), &images[0].id, images[0].names.len()), (1, &id, 0));
        store.tag(&id.to_string(), &"app:1".parse().unwrap()).unwrap();
        assert_eq!(fs::read_to_string(layers(&store)[0].join("d/file")).unwrap(), "contents");
    }
}

#[test]
fn root_discarded_blobs_are_no_damage() {
    if !is_root() {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let store = scene(scratch.path());
    let root = scratch.path().join("store");
    let blobs = || fs::read_dir(root.join("images/blobs/sha256")).unwrap().count();
    let load = |blobs| {
        let options = LoadOptions { blobs, ..LoadOptions::default() };
        store.load(Source::Path(scratch.path().join("layout")), &options, &mut |_| {}).unwrap();
    };
    assert_eq!(blobs(), 4, "manifest, config, two layers");
    load(Blobs::Discard);
    assert_eq!(blobs(), 2);
    let report = check(&store);
    assert_eq!((shown(&report), report.uncompared.len()), (Vec::new(), 2));
    assert_eq!(fs::read_to_string(layers(&store)[0].join("d/file")).unwrap(), "contents");
    let error = store.save(&["app:1"], Format::Oci, &mut Vec::new()).unwrap_err().to_string();
    for text in ["app:1", &layer_blob(&store).to_string(), "--discard-blobs", "rtctl pull app:1"] {
        assert!(error.contains(text), "{error}");
    }
    store.tag("app:1", &"again".parse().unwrap()).unwrap();
    store.prune(&mut |_| false, &mut |_| None).unwrap();
    assert_eq!(shown(&check(&store)), Vec::<String>::new(), "the other name knows it, too");
    // Without its blob a damaged layer cannot be unpacked again.
    truncate(&layers(&store)[0].with_file_name("seal.json"));
    assert!(store.prepare("app:1", &mut |_| {}).is_err());
    assert_eq!(repair(&store).0.len(), 1);

    load(Blobs::Keep);
    assert_eq!(blobs(), 4);
    assert_eq!((shown(&check(&store)), check(&store).uncompared), (Vec::new(), Vec::new()));
    store.save(&["app:1"], Format::Oci, &mut Vec::new()).unwrap();
}
