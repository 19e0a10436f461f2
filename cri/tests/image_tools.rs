//! Images that other tools wrote, and ours read by them: umoci and skopeo of Debian. Needs root.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod image_layout;

use std::fs::File;
use std::path::Path;
use std::process::Command;

use cri::image::{Digest, Format, LoadOptions, LoadedImage, Source, Store};

/// Whether everything this file needs is there; says so if not.
fn ready() -> bool {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: needs root (device nodes, owners, overlay attributes)");
        return false;
    }
    for tool in ["skopeo", "umoci", "busybox"] {
        if Command::new(tool).arg("--version").output().is_err() {
            eprintln!("skipped: {tool} is not installed");
            return false;
        }
    }
    true
}

fn run(folder: &Path, line: &str) -> String {
    let output = Command::new("sh").arg("-ec").arg(line).current_dir(folder).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// An OCI layout `layout` with the image `busybox`: two layers, the second deletes and hides.
fn make_layout(folder: &Path) {
    run(
        folder,
        "umoci init --layout layout; umoci new --image layout:busybox
         umoci unpack --image layout:busybox one
         mkdir -p one/rootfs/bin one/rootfs/etc one/rootfs/gone one/rootfs/hidden
         cp $(which busybox) one/rootfs/bin/busybox; ln one/rootfs/bin/busybox one/rootfs/bin/sh
         ln -s busybox one/rootfs/bin/ls; mknod one/rootfs/null c 1 3; mkfifo one/rootfs/fifo
         echo root:x:0:0:root:/root:/bin/sh > one/rootfs/etc/passwd; chown 3000000000:7 one/rootfs/etc/passwd
         chmod 4755 one/rootfs/bin/busybox; touch one/rootfs/gone/file one/rootfs/hidden/file; touch -d @7 one/rootfs/etc
         umoci repack --image layout:busybox one; umoci config --image layout:busybox --config.cmd sh --config.env PATH=/bin
         umoci unpack --image layout:busybox two; rm -r two/rootfs/gone; echo x > two/rootfs/new
         umoci repack --image layout:busybox two; rm -r one two",
    );
}

fn load(store: &Store, source: Source<'_>) -> Vec<LoadedImage> {
    store.load(source, &LoadOptions::default(), &mut |_| {}).unwrap()
}

#[test]
fn root_loads_what_skopeo_wrote() {
    if !ready() {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path();
    make_layout(folder);
    run(folder, "skopeo copy --insecure-policy oci:layout:busybox docker-archive:docker.tar:busybox:docker");
    run(folder, "skopeo copy --insecure-policy oci:layout:busybox oci-archive:oci.tar:busybox:oci");
    run(folder, "gzip -k oci.tar docker.tar");

    let mut ids = Vec::new();
    for (source, name) in [
        ("layout", "busybox:latest"),
        ("oci.tar", "busybox:oci"),
        ("oci.tar.gz", "busybox:oci"),
        ("docker.tar", "busybox:docker"),
        ("docker.tar.gz", "busybox:docker"),
    ] {
        let store = Store::open(&folder.join(format!("store-{source}"))).unwrap();
        let loaded = load(&store, Source::Path(folder.join(source)));
        assert_eq!(loaded[0].names[0].familiar(), name);
        let prepared = store.prepare(name, &mut |_| panic!("nothing is left to do")).unwrap();
        assert_eq!(prepared.config.cmd, ["sh"]);
        assert_eq!(prepared.layers.len(), 2);
        let (top, bottom) = (&prepared.layers[0], &prepared.layers[1]);
        let stat = run(
            folder,
            &format!(
                "cd {}; stat -c '%a %u %g %h %F' bin/busybox bin/sh bin/ls null fifo etc/passwd",
                bottom.display()
            ),
        );
        let busybox = "4755 0 0 2 regular file\n";
        let rest = "777 0 0 1 symbolic link\n644 0 0 1 character special file\n644 0 0 1 fifo\n644 3000000000 7 1 regular file\n";
        assert_eq!(stat, format!("{busybox}{busybox}{rest}"));
        assert_eq!(run(bottom, "stat -c %t:%T null; stat -c %.1Y etc"), "1:3\n7.0\n");
        assert_eq!(run(top, "stat -c '%F %t:%T' gone; cat new"), "character special file 0:0\nx\n");
        run(bottom, "chroot . /bin/sh -c 'test -e /etc/passwd'");
        ids.push(loaded[0].id.clone());
    }
    assert!(ids.iter().all(|id| *id == ids[0]), "the same image has the same id wherever it comes from: {ids:?}");
}

#[test]
fn root_loads_a_stream_and_is_read_by_skopeo() {
    if !ready() {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path();
    make_layout(folder);
    run(folder, "skopeo copy --insecure-policy oci:layout:busybox oci-archive:oci.tar:busybox:oci");
    let store = Store::open(&folder.join("store")).unwrap();
    let mut archive = std::fs::File::open(folder.join("oci.tar")).unwrap();
    let loaded = load(&store, Source::Stream(&mut archive));
    let inspected = run(folder, "skopeo inspect oci:store/images:docker.io/library/busybox:oci");
    assert!(inspected.contains(&loaded[0].manifest.to_string()), "{inspected}");
    run(folder, "skopeo copy --insecure-policy oci:store/images:docker.io/library/busybox:oci dir:copy");
    assert_eq!(run(folder, "ls store/ingest"), "");
}

#[test]
fn root_skopeo_reads_what_we_save() {
    if !ready() {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path();
    make_layout(folder);
    let store = Store::open(&folder.join("store")).unwrap();
    let id = load(&store, Source::Path(folder.join("layout"))).remove(0).id;
    for (format, transport, file) in
        [(Format::Oci, "oci-archive", "oci.tar"), (Format::Docker, "docker-archive", "docker.tar")]
    {
        let mut output = File::create_new(folder.join(file)).unwrap();
        store.save(&["busybox"], format, &mut output).unwrap();
        let name = if format == Format::Oci { "docker.io/library/busybox:latest" } else { "busybox:latest" };
        run(folder, &format!("skopeo copy --insecure-policy {transport}:{file}:{name} oci:back-{file}:back"));
        let config = run(folder, &format!("skopeo inspect --raw {transport}:{file}:{name}"));
        assert!(config.contains(&id.to_string()), "the id survives: {config}");
        // umoci checks and unpacks it as it does with its own.
        run(
            folder,
            &format!("umoci unpack --image back-{file}:back bundle-{file}; test -u bundle-{file}/rootfs/bin/busybox"),
        );
    }
}

/// GNU tar unpacks a layer of real files; ours must look the same, whichever way it was packed.
#[test]
fn root_a_large_tree_comes_out_as_tar_unpacks_it() {
    if !ready() {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path();
    run(
        folder,
        "tar --sort=name -cf layer.tar -C / etc usr/share/zoneinfo 2>/dev/null || tar --sort=name -cf layer.tar -C / etc",
    );
    run(folder, "mkdir expected; tar -xpf layer.tar -C expected --xattrs --numeric-owner");
    let tar = std::fs::read(folder.join("layer.tar")).unwrap();
    let zstd = zstd::encode_all(&tar[..], 1).unwrap();
    let packed = [
        (image_layout::LAYER, tar.clone()),
        (image_layout::LAYER_GZIP, image_layout::gzip(&tar)),
        ("application/vnd.oci.image.layer.v1.tar+zstd", zstd),
    ];
    let diff_id = Digest::of(&tar).to_string();
    for (at, (media_type, blob)) in packed.into_iter().enumerate() {
        let layout = folder.join(format!("layout-{at}"));
        let layer = image_layout::Layer { blob, diff_id: diff_id.clone(), media_type: media_type.into() };
        image_layout::layout(&layout, "tree", &[layer]);
        let store = Store::open(&folder.join(format!("store-{at}"))).unwrap();
        load(&store, Source::Path(layout));
        let prepared = store.prepare("tree", &mut |_| {}).unwrap();
        let list = "find . -mindepth 1 -printf '%P|%y|%m|%U|%G|%n|%s|%l|%T@\\n' | sort";
        let contents = "find . -type f -print0 | sort -z | xargs -0 sha256sum";
        // A folder's size and link count are the file system's; usr and usr/share have no entry in the archive.
        let entries = |path: &Path| {
            let text = run(path, list);
            let wanted = |line: &&str| !line.starts_with("usr|") && !line.starts_with("usr/share|");
            text.lines().filter(wanted).map(without_folder_size).collect::<Vec<_>>()
        };
        let (expected, found) = (folder.join("expected"), &prepared.layers[0]);
        let (left, right) = (entries(&expected), entries(found));
        assert!(left.len() > 100);
        assert_eq!(left, right, "{media_type}");
        assert_eq!(run(&expected, contents), run(found, contents), "{media_type}");
    }
}

/// Folders: their size and link count depend on the file system.
fn without_folder_size(line: &str) -> String {
    let fields: Vec<&str> = line.split('|').collect();
    if fields.get(1) == Some(&"d") {
        format!("{} {:?} {:?}", fields[0], &fields[2..5], fields.last())
    } else {
        line.to_owned()
    }
}
