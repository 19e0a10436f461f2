//! Session keyrings, keyrings(7): a container has one of its own, or with `--no-new-keyring` the caller's.

use std::fs;
use std::process::{Command, Stdio};

use tests::{Container, Kind, Test, differs, needs, test};

const KEY: &str = "rt-test";

/// What the session keyring has.
const TELL: [&str; 3] = ["/bin/calls", "key", KEY];

/// The runtime, called with a key in its session keyring.
fn with_key(t: &Test, args: &[&str]) -> Command {
    let inner = t.command(args);
    let mut command = Command::new(tests::calls());
    command.args(["with-key", KEY, "the caller's"]).arg(inner.get_program()).args(inner.get_args());
    command.env("RT_TEST", t.marker()).stdin(Stdio::null());
    command
}

fn have_keyrings() -> bool {
    let mut told = Command::new(tests::calls());
    let told = told.args(["with-key", KEY, "x"]).arg(tests::calls()).args(["key", KEY]).output().unwrap();
    told.stdout == b"x\n"
}

/// Made with `flags`; it holds.
fn held<'t>(t: &'t Test, flags: &[&str]) -> Container<'t> {
    let mut container = t.try_create(&t.bundle().args(&["/bin/payload", "hold"]), flags).unwrap();
    container.start().ok();
    assert_eq!(container.line(), "ready");
    container
}

#[test]
fn keys_of_the_caller_are_seen_when_asked_for() {
    test(|t| {
        needs!(t, have_keyrings(), "the kernel has no keyrings");
        for (flags, seen) in [(&[][..], "none"), (&["--no-new-keyring"], "the caller's")] {
            let bundle = t.bundle().args(&TELL);
            bundle.write();
            let dir = bundle.dir.to_str().unwrap();
            let id = t.id();
            let output = with_key(t, &[&["run", "--bundle", dir], flags, &[&id]].concat()).output().unwrap();
            assert_eq!(tests::Output::from(output).ok(), seen, "run {flags:?}");
            // Of `create`, not of `start`.
            let (id, said) = (t.id(), t.dir.join(t.id()));
            let mut create = with_key(t, &[&["create", "--bundle", dir], flags, &[&id]].concat());
            assert!(create.stdout(fs::File::create_new(&said).unwrap()).status().unwrap().success());
            let pid = t.runtime(&["state", &id]).json()["pid"].as_i64().unwrap();
            t.runtime(&["start", &id]).ok();
            assert_eq!(t.wait_pid(pid.try_into().unwrap()), 0);
            t.runtime(&["delete", &id]).ok();
            assert_eq!(fs::read_to_string(&said).unwrap().trim_end(), seen, "create {flags:?}");
        }
    });
}

/// `exec` has no flag of its own: the container's counts.
#[test]
fn a_process_that_enters_has_no_keys_of_its_caller() {
    test(|t| {
        needs!(t, have_keyrings(), "the kernel has no keyrings");
        differs!(t, Kind::Crun, "1.8 makes none for exec");
        for (flags, seen) in [(&[][..], "none"), (&["--no-new-keyring"], "the caller's")] {
            let container = held(t, flags);
            let exec = with_key(t, &[&["exec", &container.id], &TELL[..]].concat()).output().unwrap();
            assert_eq!(tests::Output::from(exec).ok(), seen, "{flags:?}");
            container.end();
        }
    });
}

/// A keyring is found by its name by all processes of its owner, in whichever container: what one leaves there under the name that the
/// runtime would use is not taken for another's own.
#[test]
fn keyrings_of_another_container_are_not_joined() {
    test(|t| {
        needs!(t, have_keyrings(), "the kernel has no keyrings");
        differs!(t, Kind::Runc, "1.1 joins by the container's name");
        differs!(t, Kind::Crun, "1.8 joins by the container's name");
        for name in ["_ses".to_owned(), format!("_ses.{}", t.marker()), t.marker().to_owned()] {
            let offer = ["/bin/calls", "offer-key", &name, KEY, "another's"];
            let mut other = t.create(&t.bundle().args(&offer));
            other.start().ok();
            assert_eq!(other.line(), "offered");
            let bundle = t.bundle().args(&TELL);
            bundle.write();
            let id = t.marker();
            let output = t.runtime(&["run", "--bundle", bundle.dir.to_str().unwrap(), id]);
            assert_eq!(output.ok(), "none", "{name}: run");
            let container = t.hold(t.bundle());
            assert_eq!(container.exec(&TELL).ok(), "none", "{name}: exec");
            container.end();
            other.end();
        }
    });
}
