//! `--mount type=image`: the files of an image, read-only.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::Command;

use serde_json::json;
use tests::{Rtctl, maps_ids, needs, payload, rtctl_test};

fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Loads an image whose layers are these folders, the lowest first.
fn load(r: &Rtctl<'_>, name: &str, folders: &[&Path]) {
    let dir = r.test.dir.join(format!("image-{name}"));
    fs::create_dir(&dir).unwrap();
    let mut layers = Vec::new();
    let mut digests = Vec::new();
    for (index, folder) in folders.iter().enumerate() {
        let layer = format!("{index}.tar");
        let tar = dir.join(&layer);
        output(Command::new("tar").args(["--numeric-owner", "-C"]).arg(folder).arg("-cf").arg(&tar).arg("."));
        let sum = output(Command::new("sha256sum").arg(&tar));
        digests.push(format!("sha256:{}", sum.split(' ').next().unwrap()));
        layers.push(layer);
    }
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let config = json!({
        "architecture": architecture, "os": "linux", "config": {"Cmd": ["sh"]},
        "rootfs": {"type": "layers", "diff_ids": digests},
    });
    fs::write(dir.join("config.json"), config.to_string()).unwrap();
    let manifest = json!([{"Config": "config.json", "RepoTags": [format!("{name}:1")], "Layers": layers}]);
    fs::write(dir.join("manifest.json"), manifest.to_string()).unwrap();
    let archive = dir.join("image.tar");
    let mut files = vec!["manifest.json".to_owned(), "config.json".to_owned()];
    files.extend(layers);
    output(Command::new("tar").arg("-C").arg(&dir).arg("-cf").arg(&archive).args(files));
    r.ok(&["load", "-i", archive.to_str().unwrap()]);
}

/// An image of two layers: what the upper one hides, links that want to get out, other users' files.
fn layered(r: &Rtctl<'_>) {
    let [below, above] = ["below", "above"].map(|name| r.test.dir.join(name));
    for folder in [below.join("etc"), below.join("bin"), above.join("etc")] {
        fs::create_dir_all(folder).unwrap();
    }
    fs::write(below.join("etc/one"), "one").unwrap();
    fs::write(below.join("etc/two"), "two below").unwrap();
    fs::write(above.join("etc/two"), "two above").unwrap();
    fs::write(below.join("gone"), "").unwrap();
    fs::write(above.join(".wh.gone"), "").unwrap();
    symlink("/etc", below.join("absolute")).unwrap();
    symlink("../../../../../../../../etc", below.join("up")).unwrap();
    symlink("/proc/self/root/etc", below.join("magic")).unwrap();
    fs::write(below.join("user"), "").unwrap();
    chown(below.join("user"), Some(1000), Some(1001)).unwrap();
    fs::copy(payload(), below.join("bin/payload")).unwrap();
    fs::set_permissions(below.join("bin/payload"), fs::Permissions::from_mode(0o4755)).unwrap();
    load(r, "layered", &[&below, &above]);
}

#[test]
fn files_are_seen_and_cannot_be_changed() {
    rtctl_test(|r| {
        layered(r);
        let mount = "type=image,source=layered:1,destination=/deep/image";
        let script = "cd /deep/image; cat etc/one etc/two; ls -d gone; ./bin/payload facts >/dev/null && echo ran; echo x >etc/new";
        let output = r.sh(&["--mount", mount], script);
        assert_eq!(output.stdout, "onetwo aboveran\n", "{output}");
        assert!(output.stderr.contains("Read-only file system"), "{output}");
        // One layer alone is no less protected, whatever the container may do to its mounts.
        for (source, at) in [("busybox", "/i/bin"), ("layered:1", "/i/etc")] {
            for flags in [&["--userns", "auto"][..], &[]] {
                if !flags.is_empty() && !maps_ids(&r.test.dir) {
                    continue;
                }
                let mount = format!("type=image,source={source},destination=/i");
                let flags =
                    [flags, &["--cap-add", "SYS_ADMIN", "--security-opt", "seccomp=unconfined", "--mount", &mount]]
                        .concat();
                let script = format!(
                    "mount -o remount,rw,bind /i; mount -o remount,rw /i; echo evil >{at}/new; ls {at} | grep -c new"
                );
                let output = r.sh(&flags, &script);
                assert_eq!(output.stdout, "0\n", "{output}");
                assert!(output.stderr.contains("Read-only file system"), "{output}");
            }
        }
    });
}

#[test]
fn part_of_an_image() {
    rtctl_test(|r| {
        layered(r);
        let host = r.test.dir.join("marker");
        fs::write(&host, "").unwrap();
        let show = |subpath: &str, file: &str| {
            let mount = format!("type=image,source=layered:1,destination=/i,subpath={subpath}");
            r.sh(&["--mount", &mount], &format!("cat /i{file}"))
        };
        assert_eq!(show("etc", "/two").ok(), "two above");
        assert_eq!(show("etc/one", "").ok(), "one");
        // Links lead to places in the image, never out of it.
        for link in ["absolute", "up"] {
            assert_eq!(show(link, "/one").ok(), "one", "{link}");
            assert!(show(link, "/passwd").stderr.contains("No such file"), "{link}");
        }
        show("magic", "/passwd").fails(&["subpath=magic"]);
        show("gone", "").fails(&["subpath=gone", "has no such directory or file"]);
        show("../etc", "").fails(&["without .."]);
        // Of an image of one layer, too.
        let mount = "type=image,source=busybox,destination=/i,image-subpath=bin";
        assert_eq!(r.sh(&["--mount", mount], "/i/busybox echo ran").ok(), "ran");
    });
}

#[test]
fn in_a_user_namespace() {
    rtctl_test(|r| {
        needs!(r.test, maps_ids(&r.test.dir), "the file system cannot map ids");
        layered(r);
        let mount = "type=image,source=layered:1,destination=/i";
        let flags = ["--userns", "auto", "--user", "1000", "--mount", mount];
        let output = r.sh(&flags, "stat -c '%u %g' /i/user /i/etc/one; /i/bin/payload facts; echo x >/i/user");
        assert!(output.stdout.starts_with("1000 1001\n0 0\n"), "{output}");
        // Set-user-id programs are the container's root's.
        assert!(output.stdout.contains("1000\\t0\\t0\\t0"), "{output}");
        assert!(output.stderr.contains("Read-only file system"), "{output}");
        let mount = "type=image,source=layered:1,destination=/i,subpath=etc";
        assert_eq!(
            r.sh(&["--userns", "auto", "--mount", mount], "stat -c '%u %g' /i/one; cat /i/two").ok(),
            "0 0\ntwo above"
        );
    });
}

#[test]
fn an_image_that_is_mounted_is_in_use() {
    rtctl_test(|r| {
        layered(r);
        let id =
            r.detached(&["--name", "holder", "--mount", "type=image,src=layered:1,dst=/i", "busybox", "sleep", "1000"]);
        assert_eq!(
            r.field(&id, "{{range .Mounts}}{{.Type}} {{.Source}} {{.Destination}} {{.RW}}{{end}}"),
            "image layered:1 /i false"
        );
        r.call(&["rmi", "layered:1"]).fails(&["holder"]);
        // Another one may have it from there.
        assert_eq!(r.sh(&["--volumes-from", "holder"], "cat /i/etc/one").ok(), "one");
        assert_eq!(r.ok(&["exec", "holder", "cat", "/i/etc/two"]), "two above");
        r.ok(&["restart", "-t", "0", "holder"]);
        assert_eq!(r.ok(&["exec", "holder", "cat", "/i/etc/two"]), "two above");
        r.ok(&["rm", "-f", "holder"]);
        r.ok(&["rmi", "layered:1"]);
        r.call(&["run", "--rm", "--pull", "never", "--mount", "type=image,src=layered:1,dst=/i", "busybox"])
            .fails(&["image layered:1 at /i", "no image"]);
        r.call(&["run", "--rm", "--mount", "type=image,src=busybox,dst=/i,rw=true", "busybox"])
            .fails(&["mounted read-only"]);
    });
}

/// A link where the image is to be mounted leads to a place in the container.
#[test]
fn links_in_the_way_stay_inside() {
    rtctl_test(|r| {
        layered(r);
        let outside = r.test.dir.join("outside");
        fs::create_dir(&outside).unwrap();
        let root = r.test.dir.join("tree");
        fs::create_dir(&root).unwrap();
        for folder in ["bin", "proc", "dev", "sys"] {
            fs::create_dir(root.join(folder)).unwrap();
        }
        fs::copy(payload(), root.join("bin/payload")).unwrap();
        symlink(&outside, root.join("link")).unwrap();
        load(r, "linked", &[&root]);
        let mount = "type=image,source=layered:1,destination=/link/there";
        let output = r.call(&["run", "--rm", "--mount", mount, "linked:1", "/bin/payload", "facts"]);
        assert!(output.code == 0 && output.stdout.contains("there"), "{output}");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    });
}
