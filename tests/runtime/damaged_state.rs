//! State that is damaged: named, nothing is done by it, and the other containers are none the worse.

use std::fs;
use std::os::unix::fs::{FileTypeExt, symlink};
use std::path::Path;

use nix::sys::stat::Mode;
use serde_json::Value;
use tests::{Container, Kind, Test, kind, test};

#[test]
fn damaged_state_is_named_and_nothing_is_done() {
    test(|t| {
        if kind() != Kind::Rt {
            return t.skip("about files of ours");
        }
        let container = t.hold(t.bundle());
        let file = t.dir.join("root").join(&container.id).join("state.json");
        let text = fs::read(&file).unwrap();
        let verbs: &[&[&str]] =
            &[&["state"], &["start"], &["pause"], &["resume"], &["ps"], &["delete"], &["delete", "-f"]];
        let mut damaged: Vec<Vec<u8>> =
            vec![Vec::new(), b"{}".to_vec(), b"null".to_vec(), vec![0; 100], vec![0xff; 100]];
        damaged.extend([1, 10, text.len() / 2, text.len() - 1].map(|length| text[..length].to_vec()));
        damaged.push(String::from_utf8(text.clone()).unwrap().replace("\"version\":1", "\"version\":99").into_bytes());
        damaged.push(String::from_utf8(text.clone()).unwrap().replace("\"init\":[", "\"init\":[-").into_bytes());
        for content in &damaged {
            fs::write(&file, content).unwrap();
            for verb in verbs {
                let output = container.verb(verb[0], &verb[1..]);
                // A process id that cannot be is one that has ended.
                if content.starts_with(b"{") && content.windows(9).any(|part| part == b"\"init\":[-") {
                    break;
                }
                assert_eq!(output.code, 1, "{verb:?}: {output}");
                assert!(output.stderr.contains("state.json"), "{verb:?}: {output}");
                assert_eq!(output.stderr.trim_end().lines().count(), 1, "{verb:?}: {output}");
            }
            let listed = t.runtime(&["list"]);
            assert!(listed.stdout.contains(&container.id), "it is listed all the same: {listed}");
        }
        fs::write(&file, &text).unwrap();
        assert_eq!(container.status(), "running");
        container.end();
    });
}

/// Both are listed, the damaged one as such; the other one is what it was, and new ones come and go.
#[track_caller]
fn others_go_on(t: &Test, damaged: &str, other: &Container<'_>, what: &str) {
    let listed: Value = t.runtime(&["list", "--format", "json"]).json();
    let row = |row: &Value| (row["id"].as_str().unwrap().to_owned(), row["status"].as_str().unwrap().to_owned());
    let mut rows: Vec<_> = listed.as_array().unwrap().iter().map(row).collect();
    rows.sort_unstable();
    let mut expected = [(damaged.to_owned(), "unknown".to_owned()), (other.id.clone(), "running".to_owned())];
    expected.sort_unstable();
    assert_eq!(rows, expected, "{what}");
    assert_eq!(other.status(), "running", "{what}");
}

/// Cut off at any byte.
#[test]
fn every_truncation() {
    test(|t| {
        if kind() != Kind::Rt {
            return t.skip("about files of ours");
        }
        let (container, other) = (t.hold(t.bundle()), t.hold(t.bundle()));
        let file = t.dir.join("root").join(&container.id).join("state.json");
        let text = fs::read(&file).unwrap();
        let all = std::env::var("RT_TEST_ROUNDS").is_ok_and(|rounds| rounds == "1000");
        for length in (0..text.len()).step_by(if all { 1 } else { 97 }) {
            fs::write(&file, &text[..length]).unwrap();
            for verb in ["state", "kill", "delete"] {
                let output = container.verb(verb, &[]);
                assert_eq!(output.code, 1, "{verb} of {length} bytes: {output}");
                assert!(output.stderr.contains("state.json"), "{verb} of {length} bytes: {output}");
                assert_eq!(output.stderr.trim_end().lines().count(), 1, "{verb} of {length} bytes: {output}");
            }
            others_go_on(t, &container.id, &other, &format!("{length} bytes"));
        }
        t.run(&t.bundle()).ok();
        other.end();
        fs::write(&file, &text).unwrap();
        assert_eq!(container.status(), "running");
        container.end();
    });
}

/// Other kinds of files in its place; what is not ours to read is neither waited for nor followed.
#[test]
fn other_kinds_of_files() {
    test(|t| {
        if kind() != Kind::Rt {
            return t.skip("about files of ours");
        }
        let (container, other) = (t.hold(t.bundle()), t.hold(t.bundle()));
        let file = t.dir.join("root").join(&container.id).join("state.json");
        let text = fs::read(&file).unwrap();
        let others = t.dir.join("root").join(&other.id).join("state.json");
        type Make<'a> = &'a dyn Fn(&Path);
        let make: [(&str, Make<'_>); 7] = [
            ("a pipe", &|path| nix::unistd::mkfifo(path, Mode::S_IRWXU).unwrap()),
            ("a directory", &|path| fs::create_dir(path).unwrap()),
            ("a socket", &|path| drop(std::os::unix::net::UnixListener::bind(path).unwrap())),
            ("a link to another one's", &|path| symlink(&others, path).unwrap()),
            ("a link to nothing", &|path| symlink("nothing", path).unwrap()),
            ("large", &|path| fs::File::create_new(path).unwrap().set_len(1 << 40).unwrap()),
            ("a large document", &|path| {
                let mut long = text.clone();
                long.resize(33 << 20, b' ');
                fs::write(path, long).unwrap();
            }),
        ];
        for (what, make) in make {
            fs::remove_file(&file).unwrap();
            make(&file);
            for verb in [&["state"] as &[&str], &["kill"], &["delete"], &["delete", "-f"]] {
                let output = container.verb(verb[0], &verb[1..]);
                assert_eq!(output.code, 1, "{verb:?} of {what}: {output}");
                assert!(output.stderr.contains("state.json"), "{verb:?} of {what}: {output}");
            }
            others_go_on(t, &container.id, &other, what);
            match file.symlink_metadata().unwrap() {
                found if found.is_dir() => fs::remove_dir(&file).unwrap(),
                found => {
                    assert!(found.file_type().is_socket() == (what == "a socket"), "{what}");
                    fs::remove_file(&file).unwrap();
                }
            }
            fs::write(&file, &text).unwrap();
        }
        assert_eq!(container.status(), "running");
        container.end();
        other.end();
    });
}
