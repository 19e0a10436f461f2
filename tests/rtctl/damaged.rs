//! Records of one container that are damaged, in whatever way: it is shown as such, and the others are none the worse.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use nix::sys::stat::Mode;
use tests::{Rtctl, rtctl_test};

const RECORDS: [&str; 6] =
    ["container.json", "config.json", "shim.json", "status.json", "networks.json", "health.json"];

/// Puts something else in the place of a record, whose text is given.
type Damage = fn(&Path, &[u8]);

/// All ways of it.
const WAYS: [(&str, Damage); 12] = [
    ("nothing", |_, _| {}),
    ("an empty file", |path, _| fs::write(path, "").unwrap()),
    ("the first byte", |path, text| fs::write(path, &text[..1]).unwrap()),
    ("half of it", |path, text| fs::write(path, &text[..text.len() / 2]).unwrap()),
    ("all but the last byte", |path, text| fs::write(path, &text[..text.len() - 1]).unwrap()),
    ("a list", |path, text| fs::write(path, [b"[", text, b"]"].concat()).unwrap()),
    ("null", |path, _| fs::write(path, "null").unwrap()),
    ("noise", |path, text| fs::write(path, vec![0xff; text.len()]).unwrap()),
    ("a large file", |path, _| fs::File::create_new(path).unwrap().set_len(1 << 40).unwrap()),
    ("a pipe", |path, _| nix::unistd::mkfifo(path, Mode::S_IRWXU).unwrap()),
    ("a directory", |path, _| fs::create_dir(path).unwrap()),
    ("a link", |path, _| symlink("/dev/zero", path).unwrap()),
];

/// What is said of the others does not depend on it.
#[track_caller]
fn others_go_on(r: &Rtctl<'_>, what: &str) {
    let listed = r.ok(&["ps", "-a", "--format", "{{.Names}} {{.State}}"]);
    assert!(listed.lines().any(|line| line == "other running"), "{what}: {listed}");
    assert!(r.ok(&["ps", "-aq"]).lines().count() >= 1, "{what}");
    assert_eq!(r.field("other", "{{.State.Status}}"), "running", "{what}");
    assert_eq!(r.ok(&["exec", "other", "echo", "alive"]), "alive", "{what}");
}

/// Without its record it is like one that is being removed, but nobody does so.
#[test]
fn record_that_is_gone_while_the_container_runs() {
    rtctl_test(|r| {
        let id = r.detached(&["--network", "none", "--name", "lost", "busybox", "sleep", "1000"]);
        let dir = r.state().join("local").join(&id);
        fs::remove_file(dir.join("container.json")).unwrap();
        for verb in [&["inspect"] as &[&str], &["start"], &["stop", "-t", "0"], &["logs"]] {
            let output = r.call(&[verb, &["lost"]].concat());
            output.fails(&["container lost: container.json is missing; remove it with rtctl rm -f lost"]);
        }
        r.call(&["rm", "lost"]).fails(&[]);
        r.ok(&["rm", "-f", "lost"]);
        assert!(!dir.try_exists().unwrap());
        r.call(&["inspect", "lost"]).fails(&["no container"]);
    });
}

#[test]
fn records_of_another_container() {
    rtctl_test(|r| {
        let none = ["--network", "none"];
        r.detached(&[&none[..], &["--name", "other", "busybox", "sleep", "1000"]].concat());
        let id = r.detached(&[&none[..], &["--name", "damaged", "busybox", "sleep", "1000"]].concat());
        let dir = r.state().join("local").join(&id);
        let mut seen = 0;
        for record in RECORDS {
            let path = dir.join(record);
            let Ok(text) = fs::read(&path) else { continue };
            for (what, damage) in WAYS {
                fs::remove_file(&path).unwrap();
                damage(&path, &text);
                let what = format!("{record}: {what}");
                others_go_on(r, &what);
                // An answer, whatever it is.
                r.call(&["inspect", &id]);
                r.call(&["stop", "-t", "0", "no-such"]).fails(&["no-such"]);
                match path.symlink_metadata() {
                    Ok(found) if found.is_dir() => fs::remove_dir(&path).unwrap(),
                    Ok(_) => fs::remove_file(&path).unwrap(),
                    Err(_) => {}
                }
                fs::write(&path, &text).unwrap();
                seen += 1;
            }
        }
        assert!(seen >= 48, "{seen}");
        assert_eq!(r.field("damaged", "{{.State.Status}}"), "running");
        r.ok(&["rm", "-f", "damaged"]);
        // One whose shim is gone can be removed by force alone.
        let id = r.ok(&["create", "--network", "none", "--name", "damaged", "busybox"]);
        let record = r.state().join("local").join(&id).join("container.json");
        fs::write(&record, "{").unwrap();
        r.call(&["start", "damaged"]).fails(&["container.json"]);
        others_go_on(r, "created");
        r.ok(&["rm", "-f", "damaged"]);
        r.ok(&["rm", "-f", "other"]);
    });
}
