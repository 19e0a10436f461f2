//! The log file under rotation and on a full disk, and how fast it is.

use std::fs;
use std::io::Write;
use std::time::Instant;

use nix::mount::{MsFlags, mount, umount};
use nix::sched::{CloneFlags, unshare};
use serde_json::json;
use shim::protocol::{Reply, Request};

use crate::place::{Place, gone};

#[test]
fn rotation_loses_nothing() {
    let mut place = Place::new("while read line; do echo $line; done");
    place.task["stdin"] = json!("once");
    let (connection, _) = place.spawn();
    place.create(&connection);
    let mut client = place.attach(place.connect(), true);
    place.start(&connection);
    let log = place.owned().join("log");
    for part in ["one", "two"] {
        writeln!(client.stdin.as_mut().unwrap(), "{part}").unwrap();
        client.read_until(&format!("{part}\n"));
        if part == "one" {
            fs::rename(&log, place.owned().join("log.1")).unwrap();
            let reopen = Request::ReopenLog { container: place.id.clone() };
            assert_eq!(connection.request(&reopen, &[]).unwrap(), Reply::Done);
        }
    }
    client.finish();
    assert!(fs::read_to_string(place.owned().join("log.1")).unwrap().ends_with(" stdout F one\n"));
    assert!(fs::read_to_string(&log).unwrap().ends_with(" stdout F two\n"));
    assert_eq!(place.log().len(), 1);
}

/// A tmpfs of one page or so takes the place of a full disk; in a mount namespace of the test's own.
#[test]
fn a_full_disk_does_not_stop_the_container() {
    std::thread::spawn(|| {
        let none: Option<&str> = None;
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
        let mut place = Place::new("seq 1 100000; exit 3");
        let disk = place.path("disk");
        fs::create_dir(&disk).unwrap();
        mount(Some("tmpfs"), &disk, Some("tmpfs"), MsFlags::empty(), Some("size=64k")).unwrap();
        place.task["log"] = json!({"k8s-file": {"path": disk.join("log"), "max_files": 1}});
        let (connection, shim) = place.spawn();
        place.create(&connection);
        let client = place.attach(place.connect(), false);
        place.start(&connection);
        let (out, _, exit) = client.finish();
        assert_eq!((out.lines().count(), exit.code), (100_000, 3));
        let status = place.status();
        let log = fs::read_to_string(disk.join("log")).unwrap();
        assert!(log.ends_with('\n') && !log.is_empty(), "whole records only");
        let written = log.len() as u64;
        let all: u64 = (1..=100_000_u64).map(|n| 40 + n.to_string().len() as u64 + 1).sum();
        assert_eq!(status.log_dropped, all - written);
        let error = status.error.unwrap();
        assert!(error.starts_with("the log loses output: write(\"") && error.contains("ENOSPC"), "{error}");
        // Only then can the test's directory go.
        drop(connection);
        gone(shim);
        umount(&disk).unwrap();
    })
    .join()
    .unwrap();
}

#[test]
fn a_log_that_cannot_be_made_is_an_error_of_create() {
    let mut place = Place::new("");
    place.task["log"] = json!({"k8s-file": {"path": place.path("no/such/log"), "max_files": 1}});
    let (connection, _) = place.spawn();
    let request = Request::Create { container: place.id.clone(), dir: ".".into() };
    let error = connection.request(&request, &[]).unwrap_err().to_string();
    assert!(error.starts_with("open(\"") && error.contains("/no/such/log\", O_WRONLY|O_APPEND|O_CREAT"), "{error}");
}

/// Not a test of speed: it says what this machine does, and that nothing is lost on the way.
#[test]
fn throughput() {
    for (name, script, bytes) in [
        (
            "lines of 80 bytes",
            "yes 0123456789012345678901234567890123456789012345678901234567890123456789012345678 | head -c 80000000",
            80_000_000_u64,
        ),
        ("one long line", "head -c 80000000 /dev/zero", 80_000_000),
    ] {
        let place = Place::new(script);
        let (connection, shim) = place.spawn();
        place.create(&connection);
        // Nanoseconds on a processor, the first number.
        let busy = || -> f64 {
            let text = fs::read_to_string(format!("/proc/{shim}/schedstat")).unwrap();
            text.split(' ').next().unwrap().parse().unwrap()
        };
        let (begun, used) = (Instant::now(), busy());
        place.start(&connection);
        assert_eq!(place.wait(&connection).code, 0);
        let (seconds, used) = (begun.elapsed().as_secs_f64(), (busy() - used) / 1e9);
        #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
        let megabytes = bytes as f64 / 1e6;
        let size = fs::metadata(place.owned().join("log")).unwrap().len();
        assert!(size > bytes);
        eprintln!("log, {name}: {:.0} MB/s, {:.0} MB per second of the shim's", megabytes / seconds, megabytes / used);
    }
}
