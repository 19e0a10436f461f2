//! The store over its life: names, removal, damage, several platforms, folders of lower layers, archives out and in.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod image_layout;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use cri::image::{
    Digest, Error, Force, Format, LoadOptions, LoadedImage, Platform, Progress, Reference, Source, Store,
};
use image_layout::{INDEX, Layer, Tar, blob, config, index, is_root, layout, manifest, named};
use runtime::sys::xattr;
use serde_json::json;

fn name(text: &str) -> Reference {
    text.parse().unwrap()
}

fn load(store: &Store, path: &Path) -> Vec<LoadedImage> {
    store.load(Source::Path(path.to_owned()), &LoadOptions::default(), &mut |_| {}).unwrap()
}

/// A store with the image `app:1` of the given layers.
fn store_with(scratch: &Path, layers: &[Layer]) -> (Store, LoadedImage) {
    layout(&scratch.join("layout"), "app:1", layers);
    let store = Store::open(&scratch.join("store")).unwrap();
    let loaded = load(&store, &scratch.join("layout")).remove(0);
    (store, loaded)
}

fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn familiar(store: &Store) -> Vec<String> {
    let images = store.list().unwrap();
    images.iter().flat_map(|image| image.names.iter().map(Reference::familiar)).collect()
}

#[test]
fn root_names_and_removal() {
    if !is_root() {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let base = Layer::gzip(Tar::new().file("base", "x"));
    let (store, first) = store_with(scratch.path(), &[base.clone(), Layer::gzip(Tar::new().file("one", "1"))]);
    let other = scratch.path().join("other");
    layout(&other, "other", &[base, Layer::plain(Tar::new().file("two", "2"))]);
    let second = load(&store, &other).remove(0);
    assert_eq!(familiar(&store), ["app:1", "other:latest"]);
    assert_eq!(files(&scratch.path().join("store/layers")).len(), 3, "the common layer is there once");

    store.tag("app:1", &name("again:2")).unwrap();
    store.tag(first.id.short(), &name("other")).unwrap();
    assert_eq!(familiar(&store), ["again:2", "app:1", "other:latest"]);
    let dangling = store.resolve(second.id.short()).unwrap();
    assert!(dangling.names.is_empty());
    assert_eq!(store.resolve("other").unwrap().id, first.id);
    assert_eq!(store.resolve(&format!("app@{}", first.manifest)).unwrap().id, first.id);
    assert!(matches!(store.tag("none", &name("x")), Err(Error::NotFound { .. })));
    assert!(matches!(store.resolve("zz"), Err(Error::NotFound { .. })));
    assert!(matches!(store.resolve(""), Err(Error::NotFound { .. })));
    assert!(matches!(store.resolve("sha256:"), Err(Error::NotFound { .. })));

    let free: &mut dyn FnMut(&Digest) -> Option<String> = &mut |_| None;
    let used: &mut dyn FnMut(&Digest) -> Option<String> = &mut |_| Some("c1".into());
    let error = store.remove(first.id.short(), Force::No, free).unwrap_err().to_string();
    assert_eq!(
        error,
        format!(
            "image {} has several names: again:2, app:1, other:latest; remove the names, or force",
            first.id.short()
        )
    );
    let removed = store.remove("other", Force::No, used).unwrap();
    assert_eq!((removed.untagged, removed.deleted), (vec![name("other")], vec![]));
    let error = store.remove(first.id.short(), Force::Yes, used).unwrap_err().to_string();
    assert_eq!(error, format!("image {} is used by container c1; remove the container first", first.id.short()));
    assert_eq!(store.prune(&mut |image| image.names.is_empty(), used).unwrap().deleted, []);
    assert_eq!(store.prune(&mut |image| image.names.is_empty(), free).unwrap().deleted, [second.id]);
    assert_eq!(files(&scratch.path().join("store/layers")).len(), 2, "the common layer is still needed");
    store.prepare("app:1", &mut |_| panic!("nothing is left to do")).unwrap();
    store.remove("again:2", Force::No, free).unwrap();
    let removed = store.remove("app:1", Force::No, free).unwrap();
    assert_eq!((removed.untagged, removed.deleted), (vec![name("app:1")], vec![first.id]));
    for folder in ["layers", "ingest", "images/blobs/sha256"] {
        assert_eq!(files(&scratch.path().join("store").join(folder)), Vec::<String>::new(), "{folder}");
    }
    assert!(store.list().unwrap().is_empty());
}

#[test]
fn root_damage_heals_from_the_blobs() {
    if !is_root() {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let (store, loaded) = store_with(
        scratch.path(),
        &[Layer::gzip(Tar::new().file("f", "good")), Layer::plain(Tar::new().file("g", "x"))],
    );
    let prepared = store.prepare("app:1", &mut |_| {}).unwrap();
    let layer = prepared.layers[1].parent().unwrap().to_owned();
    let damages: [&dyn Fn(); 5] = [
        &|| fs::remove_file(layer.join("seal.json")).unwrap(),
        &|| fs::write(layer.join("seal.json"), "").unwrap(),
        &|| fs::write(layer.join("seal.json"), "{\"version\":1}").unwrap(),
        &|| fs::remove_dir_all(layer.join("fs")).unwrap(),
        &|| fs::remove_dir_all(&layer).unwrap(),
    ];
    for damage in damages {
        damage();
        let mut rebuilt = Vec::new();
        let mut note = |progress| {
            if let Progress::Unpacked { layer } = progress {
                rebuilt.push(layer.hex().to_owned());
            }
        };
        let again = store.prepare("app:1", &mut note).unwrap();
        assert_eq!(again, prepared);
        assert_eq!(rebuilt, [layer.file_name().unwrap().to_str().unwrap()]);
        assert_eq!(fs::read_to_string(layer.join("fs/f")).unwrap(), "good");
    }
    assert_eq!(files(&scratch.path().join("store/ingest")), Vec::<String>::new());

    // A damaged blob is not unpacked, and loading again puts both right.
    fs::remove_dir_all(&layer).unwrap();
    let blob =
        scratch.path().join("store/images/blobs/sha256").join(store.resolve("app:1").unwrap().layers[0].digest.hex());
    let mut bytes = fs::read(&blob).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(&blob, &bytes).unwrap();
    let error = store.prepare("app:1", &mut |_| {}).unwrap_err().to_string();
    assert!(error.contains(&format!("layer sha256:{}", layer.file_name().unwrap().to_str().unwrap())), "{error}");
    assert!(!layer.try_exists().unwrap());
    fs::remove_file(&blob).unwrap();
    let error = store.prepare("app:1", &mut |_| {}).unwrap_err().to_string();
    assert!(error.ends_with("is missing"), "{error}");
    assert_eq!(load(&store, &scratch.path().join("layout")), [loaded]);
    assert_eq!(store.prepare("app:1", &mut |_| {}).unwrap(), prepared);
}

#[test]
fn root_one_damaged_image_leaves_the_others_alone() {
    if !is_root() {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let (store, good) = store_with(scratch.path(), &[Layer::gzip(Tar::new().file("f", "x"))]);
    let other = scratch.path().join("other");
    layout(&other, "other", &[Layer::gzip(Tar::new().file("g", "x"))]);
    let bad = load(&store, &other).remove(0);
    for document in [&bad.manifest, &bad.id] {
        let path = scratch.path().join("store/images/blobs/sha256").join(document.hex());
        for damage in ["", "{\"schemaVersion\":2}"] {
            fs::write(&path, damage).unwrap();
            assert_eq!(store.prepare("app:1", &mut |_| {}).unwrap().id, good.id);
            for error in [store.list().unwrap_err(), store.resolve("other").unwrap_err()] {
                assert!(error.to_string().starts_with(&format!("blob {document}: size is")), "{error}");
            }
            let mut archive = Vec::new();
            store.save(&["app:1"], Format::Oci, &mut archive).unwrap();
            assert_eq!(load(&store, &other), std::slice::from_ref(&bad), "loading again puts it right");
            assert_eq!(store.resolve("other").unwrap().id, bad.id);
        }
    }
}

#[test]
fn root_a_full_disk_leaves_nothing_behind() {
    const CHILD: &str = "RT_TEST_FULL";
    if !is_root() {
        return;
    }
    if std::env::var_os(CHILD).is_some() {
        let store = Store::open(Path::new("store")).unwrap();
        let error =
            store.load(Source::Path("layout".into()), &LoadOptions::default(), &mut |_| {}).unwrap_err().to_string();
        assert!(error.contains("ENOSPC") || error.contains("No space left"), "{error}");
        for folder in ["layers", "ingest", "images/blobs/sha256"] {
            assert_eq!(files(&Path::new("store").join(folder)), Vec::<String>::new(), "{folder}");
        }
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let data = "0123456789abcdef".repeat(1 << 16);
    let many = (0..8).fold(Tar::new(), |tar, at| tar.file(&format!("f{at}"), &data));
    layout(&scratch.path().join("layout"), "large", &[Layer::gzip(many)]);
    fs::create_dir(scratch.path().join("store")).unwrap();
    let status = std::process::Command::new("unshare")
        .args([
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-ec",
            "mount -t tmpfs -o size=4m t store; exec \"$@\"",
            "sh",
        ])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "root_a_full_disk_leaves_nothing_behind", "--nocapture"])
        .env(CHILD, "1")
        .current_dir(scratch.path())
        .status()
        .unwrap();
    assert!(status.success());
}

#[test]
fn root_folders_that_only_a_lower_layer_describes() {
    if !is_root() {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let lower = Tar::new()
        .dir("./", 0o711, 9)
        .dir("a", 0o700, 1)
        .dir("a/b", 0o750, 2)
        .pax(&[("SCHILY.xattr.user.k", b"v"), ("mtime", b"77.5")])
        .dir("a/b/c", 0o701, 3)
        .dir("plain", 0o755, 0)
        .dir("gone", 0o700, 4)
        .dir("later", 0o700, 5)
        .dir("opaque", 0o700, 6)
        .dir("opaque/in", 0o700, 7)
        .dir("file", 0o700, 8);
    let middle = Tar::new()
        .file("a/b/c/d/file", "x")
        .file("plain/x", "")
        .file(".wh.gone", "")
        .file("later/x", "")
        .file("file/x", "");
    let upper = Tar::new()
        .file("gone/new", "x")
        .dir("later", 0o711, 55)
        .file("opaque/.wh..wh..opq", "")
        .file("opaque/in/new", "x")
        .file("file", "no folder any more");
    let (store, _) = store_with(scratch.path(), &[Layer::gzip(lower), Layer::gzip(middle), Layer::gzip(upper)]);
    let mut steps = 0;
    let prepared = store.prepare("app:1", &mut |_| steps += 1).unwrap();
    assert!(steps > 0);
    assert_eq!(prepared.layers.len(), 4);
    assert_eq!((prepared.root.mode, prepared.root.uid), (0o711, 9));
    assert_eq!(store.prepare("app:1", &mut |_| panic!("made once")).unwrap(), prepared);

    let over = &prepared.layers[0];
    let mut seen = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let stat = fs::symlink_metadata(over.join(&folder)).unwrap();
        assert!(stat.is_dir());
        seen.push(format!("{} {:o} {} {}", folder.display(), stat.mode() & 0o7777, stat.uid(), stat.mtime()));
        folders.extend(files(&over.join(&folder)).iter().map(|name| folder.join(name)));
    }
    seen.sort();
    let expected = [
        " 711 9 1000000000",
        "a 700 1 1000000000",
        "a/b 750 2 1000000000",
        "a/b/c 701 3 77",
        "opaque 700 6 1000000000",
    ];
    assert_eq!(seen, expected);
    let c = fs::File::open(over.join("a/b/c")).unwrap();
    assert_eq!(xattr::fget(&c, c"user.k").unwrap().as_deref(), Some(&b"v"[..]));

    // What a mounted overlay of these layers shows.
    let lowerdir: Vec<String> = prepared.layers.iter().map(|layer| layer.display().to_string()).collect();
    let script = "set -e; mkdir m; mount -t overlay -o ro,lowerdir=$LOWER o m; cd m
                  stat -c '%n %a %u' . a a/b a/b/c a/b/c/d plain gone later opaque opaque/in file; ls gone opaque/in";
    let output = std::process::Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c", script])
        .env("LOWER", lowerdir.join(":"))
        .current_dir(scratch.path())
        .output()
        .unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    let expected = ". 711 9\na 700 1\na/b 750 2\na/b/c 701 3\na/b/c/d 755 0\nplain 755 0\ngone 755 0\nlater 711 55\n\
                    opaque 700 6\nopaque/in 755 0\nfile 644 0\ngone:\nnew\n\nopaque/in:\nnew\n";
    assert_eq!(shown, expected, "{}", String::from_utf8_lossy(&output.stderr));

    store.remove("app:1", Force::No, &mut |_| None).unwrap();
    assert_eq!(files(&scratch.path().join("store/layers")), Vec::<String>::new());
}

#[test]
fn root_an_opaque_root_hides_everything_below() {
    if !is_root() {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let layers = [
        Tar::new().file("old", "x"),
        Tar::new().file(".wh..wh..opq", "").file("new", "x"),
        Tar::new().file("top", "x"),
    ];
    let (store, _) = store_with(scratch.path(), &layers.map(Layer::gzip));
    let prepared = store.prepare("app:1", &mut |_| {}).unwrap();
    assert_eq!(prepared.layers.iter().map(|layer| files(layer)).collect::<Vec<_>>(), [["top"], ["new"]]);
}

#[test]
fn root_saved_archives_load_again() {
    if !is_root() {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let shared = Layer::gzip(Tar::new().file("base", "x"));
    let (store, loaded) =
        store_with(scratch.path(), &[shared.clone(), Layer::plain(Tar::new().file("top", "y")), shared]);
    store.tag("app:1", &name("registry:5000/a/b:2")).unwrap();
    for format in [Format::Oci, Format::Docker] {
        let mut archive = Vec::new();
        store.save(&["registry:5000/a/b:2", "app:1"], format, &mut archive).unwrap();
        let mut again = Vec::new();
        store.save(&["registry:5000/a/b:2", "app:1"], format, &mut again).unwrap();
        assert!(archive == again, "the same image always gives the same archive");
        let other = Store::open(&scratch.path().join(format!("{format:?}"))).unwrap();
        let found = other.load(Source::Stream(&mut &archive[..]), &LoadOptions::default(), &mut |_| {}).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].id, loaded.id);
        assert_eq!(familiar(&other), ["app:1", "registry:5000/a/b:2"]);
        if format == Format::Oci {
            assert_eq!(found[0].manifest, loaded.manifest);
        }
        assert_eq!(other.prepare("app:1", &mut |_| {}).unwrap().layers.len(), 3);

        let mut nameless = Vec::new();
        store.save(&[loaded.id.short()], format, &mut nameless).unwrap();
        let options = LoadOptions { name: Some(name("given")), ..LoadOptions::default() };
        let found = other.load(Source::Stream(&mut &nameless[..]), &options, &mut |_| {}).unwrap();
        assert_eq!(found[0].names, [name("given")]);
    }
    let blob = store.resolve("app:1").unwrap().layers[0].digest.clone();
    fs::write(scratch.path().join("store/images/blobs/sha256").join(blob.hex()), "damaged").unwrap();
    for format in [Format::Oci, Format::Docker] {
        let error = store.save(&["app:1"], format, &mut Vec::new()).unwrap_err().to_string();
        assert!(error.contains("expected") || error.contains("Mismatch"), "{error}");
    }
}

#[test]
fn root_the_platform_is_chosen() {
    if !is_root() {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("layout");
    let image = |text: &str, architecture: &str, variant: Option<&str>| {
        let layer = Layer::gzip(Tar::new().file("for", text));
        let mut config = config(std::slice::from_ref(&layer.diff_id));
        config["architecture"] = json!(architecture);
        let mut descriptor = manifest(&folder, &[layer], &config);
        descriptor["platform"] = json!({"os": "linux", "architecture": architecture});
        if let Some(variant) = variant {
            descriptor["platform"]["variant"] = json!(variant);
        }
        descriptor
    };
    let host = Platform::host();
    let mut attestation = image("attestation", "unknown", None);
    attestation["platform"]["os"] = json!("unknown");
    let members = [
        attestation,
        image("arm6", "arm", Some("v6")),
        image("host", &host.architecture, None),
        image("s390x", "s390x", None),
    ];
    let list = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": members});
    index(&folder, &[named(blob(&folder, list.to_string().as_bytes(), INDEX), "multi")]);
    let loaded_for = |platform: Option<&str>| {
        let store = Store::open(&scratch.path().join(platform.unwrap_or("own").replace('/', "-"))).unwrap();
        let options = LoadOptions { platform: platform.map(|text| text.parse().unwrap()), ..LoadOptions::default() };
        store.load(Source::Path(folder.clone()), &options, &mut |_| {})?;
        let prepared = store.prepare("multi", &mut |_| {})?;
        Ok::<_, Error>(fs::read_to_string(prepared.layers[0].join("for")).unwrap())
    };
    assert_eq!(loaded_for(None).unwrap(), "host");
    assert_eq!(loaded_for(Some("linux/arm/v7")).unwrap(), "arm6");
    assert_eq!(loaded_for(Some("linux/s390x")).unwrap(), "s390x");
    let error = loaded_for(Some("linux/riscv64")).unwrap_err().to_string();
    assert!(
        error.ends_with(&format!(
            "no image for linux/riscv64; there are unknown/unknown, linux/arm/v6, linux/{}, linux/s390x",
            host.architecture
        )),
        "{error}"
    );
}

#[test]
fn root_odd_entries_survive() {
    if !is_root() {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let odd: &[u8] = b"odd\xff\n name";
    let tar = Tar::new()
        .dir("d", 0o2775, 0)
        .pax(&[("mtime", b"-5.25")])
        .raw(tar::EntryType::Regular, odd, b"data", |block| block[100..107].copy_from_slice(b"0006755"))
        .hard_link("d/other-name", "odd\u{fffd}")
        .0;
    // The hard link's target is the odd name itself.
    let mut bytes = tar;
    let at = bytes.windows(6).rposition(|window| window == "odd\u{fffd}".as_bytes()).unwrap();
    bytes[at..at + odd.len()].copy_from_slice(odd);
    let header = at - 157;
    let sum: u32 = bytes[header..header + 512]
        .iter()
        .enumerate()
        .map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u32::from(*byte) })
        .sum();
    bytes[header + 148..header + 155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    let sparse = Tar(bytes).pax(&[
        ("GNU.sparse.realsize", b"1073741824"),
        ("GNU.sparse.map", b"512,4,1073741820,4"),
        ("GNU.sparse.name", b"holes"),
    ]);
    let tar = sparse.file("ignored", "datatail").device(tar::EntryType::Block, "disk", 8, 300);
    let (store, _) = store_with(scratch.path(), &[Layer::gzip(tar)]);
    let layer = store.prepare("app:1", &mut |_| {}).unwrap().layers.remove(0);
    let path = layer.join(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(odd));
    let stat = fs::metadata(&path).unwrap();
    assert_eq!((stat.mode() & 0o7777, stat.nlink(), stat.mtime(), stat.mtime_nsec()), (0o6755, 2, -6, 750_000_000));
    assert_eq!(fs::metadata(layer.join("d")).unwrap().mode() & 0o7777, 0o2775);
    assert_eq!(fs::metadata(layer.join("d")).unwrap().mtime(), 1_000_000_000, "unchanged by what was made in it");
    let holes = fs::metadata(layer.join("holes")).unwrap();
    assert_eq!(holes.len(), 1 << 30);
    assert!(holes.blocks() < 100, "{} blocks", holes.blocks());
    let mut data = [0; 4];
    let file = fs::File::open(layer.join("holes")).unwrap();
    std::os::unix::fs::FileExt::read_exact_at(&file, &mut data, (1 << 30) - 4).unwrap();
    assert_eq!(&data, b"tail");
    assert_eq!(fs::metadata(layer.join("disk")).unwrap().rdev(), nix::sys::stat::makedev(8, 300));
}

#[test]
fn root_files_of_holes_are_as_long_as_they_were() {
    if !is_root() {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let tree = scratch.path().join("tree");
    fs::create_dir(&tree).unwrap();
    // Data at the beginning, in the middle, at the end, and none at all.
    for (name, at) in [("start", Some(0)), ("middle", Some(500_000)), ("end", Some(999_997)), ("none", None)] {
        let file = fs::File::create_new(tree.join(name)).unwrap();
        file.set_len(1_000_000).unwrap();
        if let Some(at) = at {
            std::os::unix::fs::FileExt::write_all_at(&file, b"abc", at).unwrap();
        }
    }
    for format in ["--format=gnu", "--sparse-version=0.0", "--sparse-version=0.1", "--sparse-version=1.0"] {
        let mut archive = Command::new("tar");
        archive.args(["--sparse", "--hole-detection=seek", format, "-cC"]).arg(&tree).arg(".");
        let bytes = archive.output().unwrap().stdout;
        let scratch = tempfile::tempdir().unwrap();
        // It has an end already.
        let (store, _) = store_with(scratch.path(), &[Layer::plain(Tar(bytes))]);
        let layer = store.prepare("app:1", &mut |_| {}).unwrap().layers.remove(0);
        for name in ["start", "middle", "end", "none"] {
            let (packed, found) = (fs::read(tree.join(name)).unwrap(), fs::read(layer.join(name)).unwrap());
            assert!(packed == found, "{format}: {name} has {} bytes", found.len());
        }
    }
}

#[test]
fn root_loads_at_the_same_time() {
    if !is_root() {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let common = Layer::gzip(Tar::new().file("common", "x"));
    for at in 0..4 {
        let own = Layer::gzip(Tar::new().file("own", &at.to_string()));
        layout(&scratch.path().join(format!("layout-{at}")), &format!("image-{at}"), &[common.clone(), own]);
    }
    std::thread::scope(|scope| {
        for at in 0..4 {
            let scratch = scratch.path();
            scope.spawn(move || {
                let store = Store::open(&scratch.join("store")).unwrap();
                for _ in 0..5 {
                    load(&store, &scratch.join(format!("layout-{at}")));
                    store.prepare(&format!("image-{at}"), &mut |_| {}).unwrap();
                    store.remove(&format!("image-{at}"), Force::No, &mut |_| None).unwrap();
                }
                load(&store, &scratch.join(format!("layout-{at}")));
            });
        }
    });
    let store = Store::open(&scratch.path().join("store")).unwrap();
    assert_eq!(familiar(&store).len(), 4);
    assert_eq!(files(&scratch.path().join("store/layers")).len(), 5);
    for at in 0..4 {
        store.prepare(&format!("image-{at}"), &mut |_| panic!("nothing is left to do")).unwrap();
    }
}

#[test]
fn the_store_refuses_to_be_open_to_others() {
    use std::os::unix::fs::PermissionsExt;
    let scratch = tempfile::tempdir().unwrap();
    Store::open(scratch.path()).unwrap();
    for folder in ["images", "images/blobs", "layers", "ingest"] {
        let mode = fs::metadata(scratch.path().join(folder)).unwrap().mode() & 0o7777;
        assert_eq!(mode, 0o700, "{folder}");
    }
    fs::set_permissions(scratch.path().join("layers"), fs::Permissions::from_mode(0o711)).unwrap();
    let error = Store::open(scratch.path()).unwrap_err().to_string();
    assert!(error.contains("layers: mode 0711") && error.contains("chmod 0700"), "{error}");
}
