//! Remove and auto_remove.

use std::fs;

use serde_json::json;
use shim::client::Error;
use shim::protocol::{FailureKind, Reply, Request};

use crate::place::{Place, gone};

fn remove(place: &Place, force: bool) -> Request {
    Request::Remove { container: place.id.clone(), force }
}

fn nothing_left(place: &Place) {
    assert!(!place.dir().try_exists().unwrap());
    assert!(!place.owned().try_exists().unwrap());
    assert!(!place.has_cgroup());
    assert!(fs::symlink_metadata(place.path("state/names/web")).is_err());
}

#[test]
fn by_itself_after_the_end() {
    let mut place = Place::new("echo bye; exit 2");
    place.task["auto_remove"] = json!(true);
    let (connection, shim) = place.spawn();
    place.create(&connection);
    let client = place.attach(place.connect(), false);
    let waiter = place.connect();
    waiter.send(&place.wait_request(), &[]).unwrap();
    place.start(&connection);
    let Reply::Exited { exit } = waiter.receive().unwrap() else { panic!() };
    assert_eq!(exit.code, 2);
    let (out, _, exit) = client.finish();
    assert_eq!((out.as_str(), exit.code), ("bye\n", 2));
    connection.closed().unwrap();
    nothing_left(&place);
    gone(shim);
}

#[test]
fn by_itself_when_it_never_ran() {
    let mut place = Place::new("");
    place.task["auto_remove"] = json!(true);
    place.spec["process"]["args"] = json!(["nothing"]);
    let (connection, shim) = place.spawn();
    let request = Request::Create { container: place.id.clone(), dir: ".".into() };
    let answer = connection.request(&request, &[]);
    assert!(matches!(answer, Err(Error::Failed { kind: FailureKind::CommandNotFound, .. })), "{answer:?}");
    nothing_left(&place);
    gone(shim);
}

#[test]
fn a_running_container_only_by_force() {
    let place = Place::new("sleep 1000");
    let (connection, shim, init) = place.run();
    let init = runtime::sys::process::pidfd_open(init).unwrap();
    match connection.request(&remove(&place, false), &[]) {
        Err(Error::Failed { kind: FailureKind::WrongState, message }) => {
            assert_eq!(message, "container is running; stop it first or remove it by force");
        }
        other => panic!("{other:?}"),
    }
    let client = place.exec("e", "sleep 1000", false);
    let waiter = place.connect();
    waiter.send(&place.wait_request(), &[]).unwrap();
    assert_eq!(connection.request(&remove(&place, true), &[]).unwrap(), Reply::Done);
    crate::place::ended(&init);
    assert!(matches!(waiter.receive().unwrap(), Reply::Exited { exit } if exit.code == 137));
    assert_eq!(client.finish().2.code, 137);
    nothing_left(&place);
    gone(shim);
}

#[test]
fn created_and_ended_containers_without_force() {
    for start in [false, true] {
        let place = Place::new("exit 0");
        let (connection, shim) = place.spawn();
        place.create(&connection);
        if start {
            place.start(&connection);
            place.wait(&connection);
        }
        assert_eq!(connection.request(&remove(&place, false), &[]).unwrap(), Reply::Done);
        nothing_left(&place);
        gone(shim);
    }
}

#[test]
fn while_it_waits_for_its_restart() {
    let mut place = Place::new("exit 1");
    place.task["restart"] = json!("always");
    let (connection, shim) = place.spawn();
    place.create(&connection);
    let client = place.attach(place.connect(), false);
    place.start(&connection);
    client.finish();
    assert_eq!(connection.request(&remove(&place, true), &[]).unwrap(), Reply::Done);
    nothing_left(&place);
    gone(shim);
}

#[test]
fn a_stuck_client_is_cut_off_by_force_alone() {
    let place = Place::new("head -c 1000000 /dev/zero; sleep 1000");
    let (connection, shim) = place.spawn();
    place.create(&connection);
    let mut stuck = place.attach(place.connect(), false);
    place.start(&connection);
    crate::place::readable(&stuck.stdout);
    assert_eq!(connection.request(&remove(&place, true), &[]).unwrap(), Reply::Done);
    assert_eq!(stuck.session.wait().unwrap().code, 137);
    nothing_left(&place);
    gone(shim);
}

/// What a container left in its files decides nothing about what is removed.
#[test]
fn links_and_mounts_in_its_files_are_not_followed() {
    let place = Place::new("exit 0");
    let (connection, _, _) = place.run();
    place.wait(&connection);
    let outside = place.path("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("kept"), "").unwrap();
    std::os::unix::fs::symlink(&outside, place.owned().join("link")).unwrap();
    assert_eq!(connection.request(&remove(&place, false), &[]).unwrap(), Reply::Done);
    nothing_left(&place);
    assert!(outside.join("kept").try_exists().unwrap());
}

/// A mount in the way is not crossed; removal says so, keeps the container, and can be tried again.
#[test]
fn a_mount_in_the_way_stops_it() {
    std::thread::spawn(|| {
        use nix::mount::{MsFlags, mount, umount};
        use nix::sched::{CloneFlags, unshare};
        let none: Option<&str> = None;
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
        let place = Place::new("exit 0");
        let data = place.owned().join("data");
        fs::create_dir(&data).unwrap();
        let outside = place.path("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("kept"), "").unwrap();
        mount(Some(&outside), &data, none, MsFlags::MS_BIND, none).unwrap();
        let (connection, _, _) = place.run();
        place.wait(&connection);
        match connection.request(&remove(&place, false), &[]) {
            Err(Error::Failed { kind: FailureKind::Internal, message }) => {
                assert!(message.contains("data\"): EXDEV"), "{message}");
            }
            other => panic!("{other:?}"),
        }
        assert!(outside.join("kept").try_exists().unwrap());
        assert!(place.status().error.unwrap().contains("was not removed"));
        umount(&data).unwrap();
        assert_eq!(connection.request(&remove(&place, false), &[]).unwrap(), Reply::Done);
        nothing_left(&place);
    })
    .join()
    .unwrap();
}
