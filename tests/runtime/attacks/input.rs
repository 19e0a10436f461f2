//! Names, numbers and sizes that are not what they seem.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use serde_json::json;
use tests::{Kind, differs, kind, test};

/// CVE-2026-30892: `-u 1` became root by a parser that took the rest of a string for nothing.
#[test]
fn user_strings_are_parsed_strictly() {
    test(|t| {
        let container = t.hold(t.bundle());
        for (given, uid, gid) in [("1", "1", "0"), ("1:2", "1", "2"), ("1000:1000", "1000", "1000"), ("0:5", "0", "5")]
        {
            let facts = container.exec_with(&["--user", given], &["/bin/payload", "facts"]).json();
            assert_eq!(facts["status"]["Uid"].as_str().unwrap().split('\t').next(), Some(uid), "{given}");
            assert_eq!(facts["status"]["Gid"].as_str().unwrap().split('\t').next(), Some(gid), "{given}");
        }
        let wrong = [
            "",
            ":",
            "1:",
            ":1",
            "1x",
            "x",
            "-1",
            "1:-1",
            "1:2:3",
            " 1",
            "4294967296",
            "1:4294967296",
            "0x1",
            "1:x",
            "+1",
        ];
        let known = |given: &str| {
            kind() != Kind::Rt
                && [
                    "",
                    ":",
                    "1:",
                    ":1",
                    "-1",
                    "1:-1",
                    " 1",
                    "4294967296",
                    "1:4294967296",
                    "0x1",
                    "+1",
                    "x",
                    "1x",
                    "1:x",
                    "1:2:3",
                ]
                .contains(&given)
        };
        for given in wrong {
            let output = container.exec_with(&["--user", given], &["/bin/id", "-u"]);
            assert!(output.code != 0 || known(given), "{given:?} was taken: {output}");
        }
        container.end();
    });
}

/// crun 1.28 notes: ids are names of folders.
#[test]
fn ids_cannot_leave_the_state_folder() {
    test(|t| {
        differs!(t, Kind::Crun, "1.8 takes .. for an id and deletes the folder");
        let bundle = t.bundle();
        bundle.write();
        let long = "a".repeat(1025);
        for id in
            ["..", ".", "../escape", "a/b", "/abs", "", "a b", "a\nb", "ä", "\u{7f}", &long, "a\\b", ".hidden/..", "*"]
        {
            let code = t.detached(&["create", "--bundle", bundle.dir.to_str().unwrap(), "--", id]).code;
            if code == 0 {
                // What is allowed beyond our rule stays below the folder.
                assert_ne!(kind(), Kind::Rt, "{id:?} was taken");
                let state = t.runtime(&["state", id]).json();
                t.runtime(&["delete", "-f", id]).ok();
                t.wait_pid(state["pid"].as_i64().unwrap().try_into().unwrap());
            }
            for verb in ["state", "start", "kill", "delete"] {
                t.runtime(&[verb, "--", id]).fails(&[]);
            }
        }
        for id in ["a", "A-1_2.3+x", "0"] {
            let name = format!("{id}{}", t.marker());
            let output = t.runtime(&["run", "--bundle", bundle.dir.to_str().unwrap(), &name]);
            output.ok();
        }
        assert!(!t.dir.join("escape").try_exists().unwrap());
        if kind() == Kind::Rt {
            for byte in (1..=255u8).filter(|byte| !byte.is_ascii_alphanumeric() && !b"_+-.".contains(byte)) {
                let mut command = t.command(&["create", "--bundle", bundle.dir.to_str().unwrap(), "--"]);
                command.arg(OsStr::from_bytes(&[b'a', byte, b'b']));
                assert_ne!(command.output().unwrap().status.code(), Some(0), "byte {byte} was taken");
            }
        }
    });
}

/// CVE-2021-43784: a length of 16 bits for what is longer made the rest of a value into instructions.
#[test]
fn long_values_stay_values() {
    test(|t| {
        let long = "x".repeat(100_000);
        // What fits is passed on whole, and changes nothing else.
        let groups: Vec<u32> = (2000..2000 + 20_000).collect();
        let mut bundle = t
            .bundle()
            .push("/process/env", json!(format!("LONG={long}")))
            .set("/process/user/additionalGids", json!(groups))
            .set("/annotations", json!({"long": "y".repeat(1 << 20)}))
            .sh("echo ${#LONG} ${#0}; id -G | wc -w; for n in mnt pid net; do readlink /proc/self/ns/$n; done");
        bundle.spec["process"]["args"].as_array_mut().unwrap().push(json!(long));
        let output = t.run(&bundle);
        let text = output.ok();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[..2], ["100000 100000", "20001"], "{text}");
        for (name, link) in ["mnt", "pid", "net"].iter().zip(&lines[2..]) {
            let host = std::fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
            assert_ne!(host.to_str(), Some(*link), "{name}");
        }
        // What does not is an error with the name of the member; nothing is cut off.
        let cases: [(&str, serde_json::Value, &str); 8] = [
            ("/hostname", json!(long), "hostname"),
            ("/process/cwd", json!(format!("/{long}")), "cwd"),
            ("/process/args", json!([format!("/{long}")]), ""),
            ("/root/path", json!(long), "root.path"),
            ("/linux/cgroupsPath", json!(format!("/{long}")), ""),
            ("/linux/maskedPaths", json!([format!("/{long}")]), ""),
            ("/linux/sysctl", json!({"kernel.shmmni": long}), "shmmni"),
            ("/mounts", json!([{"destination": format!("/{long}"), "type": "tmpfs", "source": "tmpfs"}]), "mounts[0]"),
        ];
        for (pointer, value, member) in cases {
            let output = t.run(&t.bundle().set(pointer, value));
            assert!(output.code != 0 && !output.stderr.contains("panicked"), "{pointer}: {}", output.code);
            assert!(kind() != Kind::Rt || output.stderr.contains(member), "{pointer}: {:.300}", output.stderr);
        }
    });
}
