//! load, save, images, tag, rmi, history, image inspect.

use std::fs;

use serde_json::Value;
use tests::rtctl_test;

#[test]
fn listed_and_inspected() {
    rtctl_test(|r| {
        let table = r.ok(&["images"]);
        assert!(table.lines().next().unwrap().starts_with("REPOSITORY"), "{table}");
        assert!(table.contains("busybox") && table.contains("latest"), "{table}");
        let info: Value = serde_json::from_str(&r.ok(&["image", "inspect", "busybox"])).unwrap();
        assert_eq!(info[0]["Architecture"], "amd64");
        assert_eq!(info[0]["Config"]["Cmd"][0], "sh");
        assert!(info[0]["Id"].as_str().unwrap().starts_with("sha256:"));
        let history = r.ok(&["history", "busybox"]);
        assert!(history.contains("hack/busybox-image"), "{history}");
    });
}

#[test]
fn tags() {
    rtctl_test(|r| {
        r.ok(&["tag", "busybox", "example.org/mine:1"]);
        assert_eq!(r.ok(&["run", "--rm", "example.org/mine:1", "echo", "mine"]), "mine");
        // One name goes, the other stays.
        r.ok(&["rmi", "busybox"]);
        assert_eq!(r.ok(&["run", "--rm", "example.org/mine:1", "echo", "mine"]), "mine");
        assert_eq!(r.call(&["run", "--rm", "--pull", "never", "busybox", "true"]).code, 125);
        r.call(&["tag", "nothing", "x"]).fails(&["nothing"]);
        r.call(&["tag", "example.org/mine:1", "UPPERCASE"]).fails(&[]);
        r.ok(&["rmi", "example.org/mine:1"]);
        let layers = fs::read_dir(r.root().join("layers"))
            .map_or(0, |entries| entries.filter(|entry| entry.as_ref().unwrap().path().is_dir()).count());
        assert_eq!(layers, 0, "the layers of a removed image go with it");
    });
}

#[test]
fn image_in_use_stays() {
    rtctl_test(|r| {
        let id = r.detached(&["busybox", "sleep", "1000"]);
        r.call(&["rmi", "busybox"]).fails(&[]);
        assert_eq!(r.ok(&["exec", &id, "echo", "alive"]), "alive");
        r.ok(&["rm", "-f", &id]);
        r.ok(&["rmi", "busybox"]);
    });
}

#[test]
fn saved_and_loaded() {
    rtctl_test(|r| {
        let id = r.field("busybox", "{{.Id}}");
        for format in ["docker", "oci"] {
            let file = r.test.dir.join(format);
            r.ok(&["save", "--format", format, "-o", file.to_str().unwrap(), "busybox"]);
            r.ok(&["rmi", "busybox"]);
            r.ok(&["load", "-i", file.to_str().unwrap()]);
            assert_eq!(r.field("busybox", "{{.Id}}"), id, "{format}");
            assert_eq!(r.ok(&["run", "--rm", "busybox", "echo", format]), format);
        }
        // By standard output and input, as docker does.
        let archive = r.command(&["save", "busybox"]).output().unwrap();
        assert!(archive.status.success());
        r.ok(&["rmi", "busybox"]);
        let file = r.test.dir.join("archive");
        fs::write(&file, archive.stdout).unwrap();
        let output: tests::Output = r.command(&["load"]).stdin(fs::File::open(&file).unwrap()).output().unwrap().into();
        output.ok();
        assert_eq!(r.ok(&["run", "--rm", "busybox", "echo", "again"]), "again");
    });
}

#[test]
fn damaged_archives_are_refused() {
    rtctl_test(|r| {
        let good = r.test.dir.join("good.tar");
        r.ok(&["save", "-o", good.to_str().unwrap(), "busybox"]);
        // What the store has already is not read again.
        r.ok(&["rmi", "busybox"]);
        let before = r.ok(&["images", "-q", "--no-trunc"]);
        assert_eq!(before, "");
        let bytes = fs::read(&good).unwrap();
        for (name, bytes) in
            [("cut", bytes[..bytes.len() / 2].to_vec()), ("empty", Vec::new()), ("noise", b"noise".repeat(1000))]
        {
            let file = r.test.dir.join(name);
            fs::write(&file, bytes).unwrap();
            r.call(&["load", "-i", file.to_str().unwrap()]).fails(&[]);
        }
        let mut flipped = bytes;
        let middle = flipped.len() / 2;
        flipped[middle] ^= 0x55;
        let file = r.test.dir.join("flipped");
        fs::write(&file, flipped).unwrap();
        r.call(&["load", "-i", file.to_str().unwrap()]).fails(&[]);
        assert_eq!(r.ok(&["images", "-q", "--no-trunc"]), before);
        r.ok(&["load", "-i", good.to_str().unwrap()]);
        assert_eq!(r.ok(&["run", "--rm", "busybox", "echo", "fine"]), "fine");
    });
}
