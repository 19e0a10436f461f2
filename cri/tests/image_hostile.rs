//! Archives and layouts that attack: each ends in its error, nothing outside changes, nothing is left in the store.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod image_layout;

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use cri::image::{Digest, Limits, LoadOptions, Source, Store};
use image_layout::{
    INDEX, LAYER_GZIP, Layer, MANIFEST, Tar, blob, config, gzip, gzip_tight, index, is_root, layout, manifest, named,
};
use runtime::sys::xattr;
use serde_json::{Value, json};
use tar::EntryType;

/// A scratch folder: a store, and things next to it that must not change.
struct Scene {
    scratch: tempfile::TempDir,
}

impl Scene {
    fn new() -> Scene {
        let scratch = tempfile::tempdir().unwrap();
        let outside = scratch.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("secret"), "secret").unwrap();
        symlink("secret", outside.join("link")).unwrap();
        Scene { scratch }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn store(&self, limits: Limits) -> Store {
        Store::open_with(&self.path("store"), limits).unwrap()
    }

    /// Everything about what lies outside that an attack could change.
    fn outside(&self) -> String {
        let mut lines = Vec::new();
        for name in ["", "secret", "link"] {
            let path = self.path("outside").join(name);
            let stat = fs::symlink_metadata(&path).unwrap();
            lines.push(format!(
                "{name} {:o} {} {} {} {:?}",
                stat.mode(),
                stat.uid(),
                stat.nlink(),
                stat.len(),
                stat.modified()
            ));
        }
        lines.push(fs::read_to_string(self.path("outside/secret")).unwrap());
        lines.push(format!("{:?}", fs::read_dir(self.path("outside")).unwrap().count()));
        lines.join("\n")
    }

    /// Loads and expects the error; checks that nothing came of it.
    fn refused(&self, source: &Path, limits: Limits, expected: &str) {
        let before = self.outside();
        let store = self.store(limits);
        let result = store.load(Source::Path(source.to_owned()), &LoadOptions::default(), &mut |_| {});
        let text = match result {
            Ok(loaded) => panic!("{expected}: loaded {loaded:?}"),
            Err(error) => error.to_string(),
        };
        assert!(text.contains(expected), "expected {expected:?}, found {text}");
        assert_eq!(self.outside(), before, "{expected}");
        assert_eq!(self.rests(), Vec::<PathBuf>::new(), "{expected}");
        assert!(store.list().unwrap().is_empty());
    }

    /// What is in the store beside its own folders and files.
    fn rests(&self) -> Vec<PathBuf> {
        let mut rests = Vec::new();
        for folder in ["layers", "ingest", "images/blobs/sha256", "images/blobs/sha512"] {
            let path = self.path("store").join(folder);
            if path.try_exists().unwrap() {
                rests.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            }
        }
        rests
    }
}

fn small() -> Limits {
    Limits { ratio_floor_bytes: 64 << 20, ..Limits::default() }
}

#[test]
fn root_layers_that_attack() {
    if !is_root() {
        return;
    }
    let scene = Scene::new();
    let outside = scene.path("outside").display().to_string();
    let up = format!("{}{outside}", "../".repeat(30));
    let tar = Tar::new;
    let long_part = "x".repeat(256);
    let long = "abcdefg/".repeat(600);
    let deep = "a/".repeat(1100);
    let huge = |block: &mut [u8; 512]| block[124..136].copy_from_slice(b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\x00");
    let everyone = |block: &mut [u8; 512]| block[108..116].copy_from_slice(b"\x80\0\0\0\xff\xff\xff\xff");
    let rows: Vec<(Tar, &str)> = vec![
        (tar().file("../outside/new", "x"), "has a '..' in its name"),
        (tar().file("a/../../outside/new", "x"), "has a '..' in its name"),
        (tar().file("a/..", "x"), "has a '..' in its name"),
        (tar().symlink("link", &outside).file("link/new", "x"), "entry \"link/new\": lies behind a symbolic link"),
        (tar().symlink("link", &up).file("link/new", "x"), "lies behind a symbolic link"),
        (tar().symlink("link", &outside).dir("link/sub", 0o777, 5), "lies behind a symbolic link"),
        (tar().symlink("a", ".").symlink("b", "a/..").file("b/x/new", "x"), "lies behind a symbolic link"),
        (tar().symlink("link", &outside).file("link/.wh.secret", ""), "lies behind a symbolic link"),
        (tar().symlink("link", &outside).file("link/.wh..wh..opq", ""), "lies behind a symbolic link"),
        (tar().hard_link("h", &format!("{up}/secret")), "links to a name that is not valid: has a '..'"),
        (tar().hard_link("h", &format!("{outside}/secret")), "which is not in this layer"),
        (tar().hard_link("h", "/etc/passwd"), "which is not in this layer"),
        (tar().symlink("link", &outside).hard_link("h", "link/secret"), "lies behind a symbolic link"),
        (tar().hard_link("h", "h"), "links to itself"),
        (tar().dir("d", 0o755, 0).hard_link("h", "d"), "which is a folder or a whiteout"),
        (tar().file(".wh.w", "").hard_link("h", "w"), "which is a folder or a whiteout"),
        (tar().hard_link("h", ""), "has no link target"),
        (tar().symlink("s", ""), "has no link target"),
        (tar().file("f", "x").file("f/below", "x"), "lies below something that is not a folder"),
        (tar().device(EntryType::Char, "gone", 0, 0), "raw overlay whiteout"),
        (tar().device(EntryType::Block, "disk", 0o10000, 0), "device major 4096, more than 4095"),
        (tar().device(EntryType::Char, "disk", 1, 0o4000000), "device minor 1048576, more than 1048575"),
        (tar().raw(EntryType::Regular, b"f", b"", everyone), "uid 4294967295, more than 4294967294"),
        (tar().raw(EntryType::Regular, b"f", b"", huge), "more than 1099511627776"),
        (tar().raw(EntryType::GNUSparse, b"f", b"", |_| {}), "sparse map"),
        (tar().raw(EntryType::new(b'M'), b"f", b"", |_| {}), "type M are not supported"),
        (tar().file(".wh.", ""), "whiteout of nothing"),
        (tar().file("a/.wh...", ""), "whiteout of nothing"),
        (tar().dir(".wh.d", 0o755, 0), "whiteout that is not an empty file"),
        (tar().file(".wh.d/x", ""), "whiteout that is not an empty file"),
        (tar().symlink(".wh..wh..opq", "x"), "whiteout that is not an empty file"),
        (tar().symlink("./", &outside), "root of the layer and not a folder"),
        (tar().file(&long_part, ""), "more than 255 bytes"),
        (tar().file(&long, ""), "more than 4095 bytes"),
        (tar().file(&deep, ""), "more than 1024 folders deep"),
        (tar().pax(&[("path", b"a\0b")]).file("f", ""), "has a NUL"),
        (
            tar().pax(&[("GNU.sparse.realsize", b"9000000000000000"), ("GNU.sparse.map", b"0,0")]).file("f", ""),
            "more than 1099511627776",
        ),
        (tar().pax(&[("SCHILY.xattr.user.a\0b", b"x")]).file("f", ""), "attribute name with a NUL"),
        (
            tar()
                .file("ok", "x")
                .raw(EntryType::Regular, b"cut", b"", |block| block[124..135].copy_from_slice(b"00000100000")),
            "ends in the middle of an entry",
        ),
    ];
    for (tar, expected) in rows {
        let folder = scene.path("layout");
        layout(&folder, "attack", &[Layer::gzip(Tar::new().file("fine", "x")), Layer::gzip(tar)]);
        scene.refused(&folder, Limits::default(), expected);
        fs::remove_dir_all(folder).unwrap();
    }
}

/// What looks like an attack and has a harmless meaning keeps it.
#[test]
fn root_layers_that_are_tamed() {
    if !is_root() {
        return;
    }
    let scene = Scene::new();
    let outside = scene.path("outside").display().to_string();
    let before = scene.outside();
    let steering: [(&str, &[u8]); 6] = [
        ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
        ("SCHILY.xattr.trusted.overlay.redirect", b"/other"),
        ("SCHILY.xattr.user.overlay.opaque", b"y"),
        ("SCHILY.xattr.trusted.overlay.metacopy", b""),
        ("SCHILY.xattr.security.selinux", b"system_u:object_r:etc_t:s0"),
        ("SCHILY.xattr.security.capability", b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
    ];
    let name = format!("{outside}/secret");
    let tar = Tar::new()
        .file(&name, "stays inside")
        .symlink("replaced", &format!("{outside}/secret"))
        .file("replaced", "a file")
        .symlink("folder", &outside)
        .dir("folder", 0o700, 7)
        .file("folder/x", "x")
        .symlink("linked", &format!("{outside}/secret"))
        .hard_link("twice", "linked")
        .file("twice", "not through the link")
        .dir("full", 0o755, 0)
        .file("full/deep/down", "x")
        .file("full", "now a file")
        .file("early", "x")
        .file(".wh.early", "")
        .file(".wh.late", "")
        .file("late", "y")
        .file(".wh.tree", "")
        .file("tree/leaf", "y")
        .file(".wh..wh.plnk/1.2", "")
        .pax(&steering[..5])
        .dir("steered", 0o755, 0)
        .pax(&steering)
        .file("able", "x");
    let folder = scene.path("layout");
    layout(&folder, "tamed", &[Layer::plain(tar)]);
    let store = scene.store(Limits::default());
    store.load(Source::Path(folder), &LoadOptions::default(), &mut |_| {}).unwrap();
    let prepared = store.prepare("tamed", &mut |_| {}).unwrap();
    let fs_dir = &prepared.layers[0];
    let read = |name: &str| fs::read_to_string(fs_dir.join(name)).unwrap();
    assert_eq!(read(name.trim_start_matches('/')), "stays inside");
    assert_eq!(
        (read("replaced"), read("folder/x"), read("twice")),
        ("a file".into(), "x".into(), "not through the link".into())
    );
    assert_eq!((read("full"), read("early"), read("late")), ("now a file".into(), "x".into(), "y".into()));
    assert!(fs::symlink_metadata(fs_dir.join("linked")).unwrap().is_symlink());
    assert_eq!(fs::metadata(fs_dir.join("folder")).unwrap().uid(), 7);
    let attributes = |name: &str| xattr::flist(File::open(fs_dir.join(name)).unwrap()).unwrap();
    assert_eq!(attributes("steered"), Vec::<std::ffi::CString>::new());
    assert_eq!(attributes("able"), [c"security.capability".to_owned()]);
    let opaque = xattr::fget(File::open(fs_dir.join("tree")).unwrap(), c"trusted.overlay.opaque").unwrap();
    assert_eq!(opaque.as_deref(), Some(&b"y"[..]), "deleted below and made anew");
    assert!(!fs_dir.join(".wh..wh.plnk").try_exists().unwrap());
    assert_eq!(scene.outside(), before);
}

/// Changes one thing about a good layout; `expected` is the error.
type Change<'a> = (&'a str, Box<dyn Fn(&Path) -> Vec<Value>>, Limits);

#[test]
fn root_documents_that_lie() {
    if !is_root() {
        return;
    }
    let scene = Scene::new();
    let layer = || Layer::gzip(Tar::new().file("f", "x"));
    let good = move |folder: &Path| manifest(folder, &[layer()], &config(&[layer().diff_id]));
    let with = |change: fn(&mut Layer)| {
        Box::new(move |folder: &Path| {
            let mut changed = layer();
            change(&mut changed);
            let diff_id = changed.diff_id.clone();
            vec![manifest(folder, &[changed], &config(&[diff_id]))]
        })
    };
    // Changes a document that a descriptor points to, and the descriptor with it.
    let rewritten = move |media_type: &'static str, change: fn(&mut Value)| {
        Box::new(move |folder: &Path| {
            let old = good(folder);
            let digest: Digest = old["digest"].as_str().unwrap().parse().unwrap();
            let bytes = fs::read(folder.join("blobs/sha256").join(digest.hex())).unwrap();
            let mut document: Value = serde_json::from_slice(&bytes).unwrap();
            change(&mut document);
            vec![blob(folder, document.to_string().as_bytes(), media_type)]
        })
    };
    let descriptor = |change: fn(&mut Value)| {
        Box::new(move |folder: &Path| {
            let mut descriptor = good(folder);
            change(&mut descriptor);
            vec![descriptor]
        })
    };
    let with_config = |change: fn(&mut Value)| {
        Box::new(move |folder: &Path| {
            let mut config = config(&[layer().diff_id]);
            change(&mut config);
            vec![manifest(folder, &[layer()], &config)]
        })
    };
    let nested = Box::new(move |folder: &Path| {
        let mut inner = good(folder);
        for _ in 0..10 {
            let index = json!({"schemaVersion": 2, "manifests": [inner]});
            inner = blob(folder, index.to_string().as_bytes(), INDEX);
        }
        vec![inner]
    });
    let limits = Limits::default;
    let rows: Vec<Change<'_>> = vec![
        ("diffID is", with(|layer| layer.diff_id = Digest::of(b"other").to_string()), limits()),
        ("layer data: incomplete deflate stream", with(|layer| layer.blob.truncate(layer.blob.len() - 9)), limits()),
        ("invalid gzip header", with(|layer| layer.blob.extend(b"rubbish behind the end")), limits()),
        ("Dictionary mismatch", with(|layer| layer.blob = b"\x28\xb5\x2f\xfdrubbish".to_vec()), limits()),
        ("\"application/zip\" is not supported", with(|layer| layer.media_type = "application/zip".into()), limits()),
        ("is ambiguous", rewritten(MANIFEST, |document| document["manifests"] = json!([])), limits()),
        ("is ambiguous", rewritten(INDEX, |document| document["manifests"] = json!([])), limits()),
        ("calls itself", rewritten(MANIFEST, |document| document["mediaType"] = json!(INDEX)), limits()),
        ("missing field `manifests`", rewritten(INDEX, |document| document["mediaType"] = json!(INDEX)), limits()),
        ("schemaVersion is 3", rewritten(MANIFEST, |document| document["schemaVersion"] = json!(3)), limits()),
        ("has 1 diffIDs for 0 layers", rewritten(MANIFEST, |document| document["layers"] = json!([])), limits()),
        ("size is", rewritten(MANIFEST, |document| document["layers"][0]["size"] = json!(5)), limits()),
        ("size is", rewritten(MANIFEST, |document| document["layers"][0]["size"] = json!(1 << 30)), limits()),
        (
            "is not in it",
            rewritten(MANIFEST, |document| document["layers"][0]["digest"] = json!(Digest::of(b"absent").to_string())),
            limits(),
        ),
        (
            "expected value at line 1",
            rewritten(MANIFEST, |document| {
                document["config"]["digest"] = document["layers"][0]["digest"].clone();
                document["config"]["size"] = document["layers"][0]["size"].clone();
            }),
            limits(),
        ),
        (
            "expected sha256:",
            rewritten(MANIFEST, |document| {
                document["layers"][0]["digest"] = json!("sha256:../../../../outside/secret")
            }),
            limits(),
        ),
        (
            "more than 4194304 bytes",
            rewritten(MANIFEST, |document| document["config"]["size"] = json!(5 << 20)),
            limits(),
        ),
        ("size is", descriptor(|descriptor| descriptor["size"] = json!(7)), limits()),
        ("digest is", descriptor(|descriptor| descriptor["digest"] = json!(Digest::of(b"{}").to_string())), limits()),
        ("is not supported", descriptor(|descriptor| descriptor["mediaType"] = json!("text/html")), limits()),
        ("nested indexes", nested, limits()),
        ("more than 0 layers", Box::new(move |folder: &Path| vec![good(folder)]), Limits { layers: 0, ..limits() }),
        ("allowed is \"layers\"", with_config(|config| config["rootfs"]["type"] = json!("zip")), limits()),
        ("no image for linux", with_config(|config| config["os"] = json!("windows")), limits()),
        ("rootfs.diff_ids: digest", with_config(|config| config["rootfs"]["diff_ids"] = json!(["sha256:/"])), limits()),
        (
            "more than 100 bytes",
            Box::new(move |folder: &Path| vec![good(folder)]),
            Limits { document_bytes: 100, ..limits() },
        ),
    ];
    for (expected, make, limits) in rows {
        let folder = scene.path("layout");
        let mut images = make(&folder);
        if expected == "digest is" && images[0]["digest"] == json!(Digest::of(b"{}").to_string()) {
            // A blob under a name that is not its digest.
            let other = folder.join("blobs/sha256").join(Digest::of(b"{}").hex());
            fs::write(other, vec![b' '; usize::try_from(images[0]["size"].as_u64().unwrap()).unwrap()]).unwrap();
        }
        images[0] = named(images[0].clone(), "lie");
        index(&folder, &images);
        scene.refused(&folder, limits, expected);
        fs::remove_dir_all(folder).unwrap();
    }
}

/// A layer that registries need not have is taken where its bytes are; the addresses that its descriptor names are never asked.
#[test]
fn root_layers_that_registries_need_not_have() {
    if !is_root() {
        return;
    }
    let scene = Scene::new();
    let folder = scene.path("layout");
    let mut layer = Layer::gzip(Tar::new().file("f", "x"));
    layer.media_type = "application/vnd.oci.image.layer.nondistributable.v1.tar".into();
    let diff_id = layer.diff_id.clone();
    let image = manifest(&folder, &[layer], &config(&[diff_id]));
    index(&folder, &[named(image, "foreign")]);
    let store = scene.store(Limits::default());
    store.load(Source::Path(folder), &LoadOptions::default(), &mut |_| {}).unwrap();
    assert_eq!(store.list().unwrap().len(), 1);
}

#[test]
fn root_layout_folders_and_docker_archives_that_lead_out() {
    if !is_root() {
        return;
    }
    let scene = Scene::new();
    let secret = scene.path("outside/secret");
    let folder = scene.path("layout");
    layout(&folder, "x", &[Layer::gzip(Tar::new().file("f", "x"))]);
    let blobs: Vec<PathBuf> =
        fs::read_dir(folder.join("blobs/sha256")).unwrap().map(|entry| entry.unwrap().path()).collect();
    for path in &blobs {
        let bytes = fs::read(path).unwrap();
        fs::remove_file(path).unwrap();
        symlink(&secret, path).unwrap();
        scene.refused(&folder, Limits::default(), "ELOOP");
        fs::remove_file(path).unwrap();
        nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        scene.refused(&folder, Limits::default(), "is not a regular file");
        fs::remove_file(path).unwrap();
        fs::write(path, bytes).unwrap();
    }

    let config = config(&[Digest::of(b"x").to_string()]).to_string();
    let list =
        |config: &str, layer: &str| json!([{"Config": config, "RepoTags": ["x:1"], "Layers": [layer]}]).to_string();
    let up = format!("{}{}", "../".repeat(30), secret.display());
    let archive = scene.path("docker.tar");
    let hex = format!("{}.json", Digest::of(b"other").hex());
    let rows: Vec<(Tar, &str)> = vec![
        (Tar::new().file("manifest.json", &list(&up, "layer.tar")), "is not in it"),
        (Tar::new().file("manifest.json", &list("/etc/passwd", "layer.tar")), "is not in it"),
        (Tar::new().file("config", &config).file("manifest.json", &list("config", &up)), "is not in it"),
        (
            Tar::new().file("config", &config).symlink("l", &up).file("manifest.json", &list("config", "l")),
            "is not in it",
        ),
        (
            Tar::new()
                .file("config", &config)
                .symlink("l", "m")
                .symlink("m", "l")
                .file("manifest.json", &list("config", "l")),
            "is not in it",
        ),
        (Tar::new().file(&hex, &config).file("manifest.json", &list(&hex, "l")), "digest is"),
        (
            Tar::new().file("config", &config).file("l", "no tar").file("manifest.json", &list("config", "l")),
            "ends in the middle",
        ),
        (
            Tar::new().file("c", &config).file("manifest.json", &list("c", "b").replace("x:1", "../x")),
            "image reference",
        ),
        (Tar::new().file("manifest.json", "{}"), "invalid type"),
        (Tar::new().file("anything", "x"), "neither an OCI image layout"),
    ];
    for (tar, expected) in rows {
        fs::write(&archive, tar.clone().end()).unwrap();
        scene.refused(&archive, Limits::default(), expected);
        fs::write(&archive, gzip(&tar.end())).unwrap();
        scene.refused(&archive, Limits::default(), expected);
    }
    fs::write(&archive, "no archive at all").unwrap();
    scene.refused(&archive, Limits::default(), "neither an OCI image layout");
    let many = (0..20).fold(Tar::new(), |tar, at| tar.file(&format!("file-{at}"), ""));
    fs::write(&archive, many.end()).unwrap();
    scene.refused(&archive, Limits { members: 10, ..Limits::default() }, "more than 10 files");
}

/// The same gzip member many times over is one long stream; it takes no time to make.
fn repeated(start: &[u8], member: &[u8], times: usize) -> Vec<u8> {
    let (start, member) = (gzip(start), gzip_tight(member));
    let mut bytes = start;
    for _ in 0..times {
        bytes.extend_from_slice(&member);
    }
    bytes
}

fn lying_layer(blob: Vec<u8>) -> Layer {
    Layer { blob, diff_id: Digest::of(b"never reached").to_string(), media_type: LAYER_GZIP.into() }
}

/// Makes what [`load_in_child`] loads: the scenes that are large on purpose.
fn large_layer(kind: &str) -> (Layer, Limits, &'static str) {
    let no_ratio = Limits { ratio: u64::MAX, ..Limits::default() };
    match kind {
        // Ten million entries, each a whiteout, so that the file system of the test machine stays small.
        "entries" => {
            let many = (0..10_000).fold(Tar::new(), |tar, _| tar.file("d/.wh.x", ""));
            (lying_layer(repeated(b"", &many.0, 1000)), no_ratio, "more than 4000000 entries")
        }
        "files" => {
            let many = (0..60_000).fold(Tar::new(), |tar, at| tar.file(&format!("d{}/f{at}", at / 1000), ""));
            (lying_layer(gzip(&many.0)), Limits { entries: 50_000, ..no_ratio }, "more than 50000 entries")
        }
        "few-files" => {
            let many = (0..600).fold(Tar::new(), |tar, at| tar.file(&format!("d{}/f{at}", at / 100), ""));
            (lying_layer(gzip(&many.0)), Limits { entries: 500, ..no_ratio }, "more than 500 entries")
        }
        "folders" => {
            let name = |at: usize| format!("{at}/{}/f", "n".repeat(200));
            let many = (0..20_000).fold(Tar::new(), |tar, at| tar.file(&name(at), ""));
            (
                lying_layer(gzip(&many.0)),
                Limits { implied_bytes: 1 << 20, ..no_ratio },
                "more than 1048576 bytes of names",
            )
        }
        // 64 GiB of zeros behind the end of the archive, then within a file.
        "zeros" => {
            (lying_layer(repeated(&[0; 1024], &vec![0; 64 << 20], 1000)), Limits::default(), "uncompressed data of")
        }
        "zero-file" => {
            let size = |block: &mut [u8; 512]| block[124..136].copy_from_slice(b"\x80\0\0\0\0\0\0\x0f\0\0\0\0");
            let start = Tar::new().raw(EntryType::Regular, b"zeros", b"", size);
            (lying_layer(repeated(&start.0, &vec![0; 64 << 20], 1000)), small(), "uncompressed data of")
        }
        // Headers that never come to an entry.
        "headers" => {
            let many = (0..1000).fold(Tar::new(), |tar, at| tar.pax(&[("comment", format!("{at:0900}").as_bytes())]));
            (lying_layer(repeated(b"", &many.0, 100)), small(), "belongs to no entry")
        }
        other => panic!("{other}"),
    }
}

const CHILD: &str = "RT_TEST_HOSTILE";

/// Not a test of its own: a process whose memory is measured. Prints its peak in KiB.
#[test]
fn load_in_child() {
    let Some(kind) = std::env::var_os(CHILD) else { return };
    let kind = kind.into_string().unwrap();
    let scene = Scene::new();
    let folder = scene.path("layout");
    let (limits, expected) = {
        let (layer, limits, expected) = large_layer(&kind);
        layout(&folder, "large", &[layer]);
        (limits, expected)
    };
    // Forget what making the archive took.
    File::options().write(true).open("/proc/self/clear_refs").unwrap().write_all(b"5").unwrap();
    let before = memory("VmRSS:");
    scene.refused(&folder, limits, expected);
    println!("\nPEAK {}", memory("VmHWM:").saturating_sub(before));
}

fn memory(field: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Loads in a process of its own; gives by how many KiB its memory grew at most.
fn peak(kind: &str) -> u64 {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "load_in_child", "--nocapture"])
        .env(CHILD, kind)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{kind}: {text} {}", String::from_utf8_lossy(&output.stderr));
    let peak = text.lines().find_map(|line| line.strip_prefix("PEAK ")).unwrap().parse().unwrap();
    eprintln!("{kind}: {peak} KiB");
    peak
}

#[test]
fn root_memory_stays_bounded() {
    if !is_root() {
        return;
    }
    for kind in ["entries", "zeros", "zero-file", "headers", "folders"] {
        let peak = peak(kind);
        assert!(peak < 24 << 10, "{kind}: {peak} KiB");
    }
    let (few, many) = (peak("few-files"), peak("files"));
    assert!(many < few + 1024, "memory grows with the number of files: {few} KiB, {many} KiB");
}

#[test]
fn root_endless_archives_do_not_fill_the_disk() {
    if !is_root() {
        return;
    }
    let scene = Scene::new();
    let archive = scene.path("endless.tar.gz");
    let start = Tar::new().raw(EntryType::Regular, b"index.json", b"", |block| {
        block[124..136].copy_from_slice(b"\x80\0\0\0\0\0\0\x0f\0\0\0\0");
    });
    fs::write(&archive, repeated(&start.0, &vec![0; 16 << 20], 100)).unwrap();
    scene.refused(&archive, small(), "uncompressed data of");
    let store = scene.store(small());
    let mut stream = File::open(&archive).unwrap();
    let error = store.load(Source::Stream(&mut stream), &LoadOptions::default(), &mut |_| {}).unwrap_err().to_string();
    assert!(error.contains("uncompressed data of"), "{error}");
    assert_eq!(scene.rests(), Vec::<PathBuf>::new());
}
