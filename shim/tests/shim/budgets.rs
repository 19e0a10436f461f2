//! What a shim costs.

use std::fs;

use crate::place::{Place, program};

/// Private anonymous memory of an idle shim, in KiB.
pub(crate) const MEMORY_LIMIT: u64 = 1024;

/// Size of the release-built program, in bytes.
const SIZE_LIMIT: u64 = 2 << 20;

pub(crate) fn anonymous(pid: nix::unistd::Pid) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let line = text.lines().find(|line| line.starts_with("Anonymous:")).unwrap();
    line.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn idle_memory() {
    let place = Place::new("seq 1 100000; echo err >&2; echo ready; exec sleep 1000");
    let (connection, shim) = place.spawn();
    place.create(&connection);
    let mut client = place.attach(place.connect(), false);
    place.start(&connection);
    client.read_until("ready\n");
    for n in 0..10 {
        place.exec(&format!("e{n}"), "seq 1 10000", false).finish();
    }
    drop(client);
    place.state(&connection);
    let used = anonymous(shim);
    eprintln!("anonymous memory of an idle shim: {used} KiB");
    assert!(used <= MEMORY_LIMIT, "{used} KiB");
}

#[test]
fn descriptors_do_not_leak() {
    let place = Place::new("exec sleep 1000");
    let (connection, shim, _) = place.run();
    let open = || fs::read_dir(format!("/proc/{shim}/fd")).unwrap().count();
    let before = open();
    for n in 0..20 {
        place.exec(&format!("e{n}"), "echo x", true).finish();
        drop(place.attach(place.connect(), true));
    }
    place.state(&connection);
    // Connections that have just been closed are noticed one by one: ask until they are.
    while open() > before {
        place.state(&connection);
    }
    assert_eq!(open(), before);
}

#[test]
fn program_size() {
    if std::env::var_os("RT_SHIM").is_none() {
        eprintln!("skipped: the size budget is for a release build, named by RT_SHIM");
        return;
    }
    let size = fs::metadata(program()).unwrap().len();
    eprintln!("rt-shim: {size} bytes");
    assert!(size < SIZE_LIMIT, "{size}");
}
