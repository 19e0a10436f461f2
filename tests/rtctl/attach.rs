//! `attach`, terminals and detach keys. `script(1)` gives the terminal.

use tests::rtctl_test;

#[test]
fn streams_of_a_detached_container() {
    rtctl_test(|r| {
        let id = r.detached(&[
            "-i",
            "busybox",
            "sh",
            "-c",
            "while read line; do [ $line = end ] && exit 6; echo got $line; done",
        ]);
        let mut session = r.start(&["attach", &id]);
        session.write("one\n");
        assert_eq!(session.line(), "got one");
        session.write("two\n");
        assert_eq!(session.line(), "got two");
        // Standard input stays open for others when one client goes: the program ends by itself.
        session.write("end\n");
        assert_eq!(session.end(), (6, String::new()));
        r.ok(&["rm", &id]);
    });
}

#[test]
fn attach_can_be_killed_without_harm() {
    rtctl_test(|r| {
        let id = r.detached(&["-i", "busybox", "cat"]);
        let mut session = r.start(&["attach", &id]);
        session.write("x\n");
        assert_eq!(session.line(), "x");
        session.signal("KILL");
        assert_eq!(session.end().0, 137);
        assert_eq!(r.field(&id, "{{.State.Running}}"), "true");
        r.ok(&["rm", "-f", &id]);
    });
}

#[test]
fn start_with_a() {
    rtctl_test(|r| {
        let id = r.ok(&["create", "busybox", "sh", "-c", "echo here; exit 8"]);
        let output = r.call(&["start", "-a", &id]);
        assert_eq!((output.code, output.stdout.as_str()), (8, "here\n"));
        r.ok(&["rm", &id]);
    });
}

#[test]
fn terminal_in_the_container() {
    rtctl_test(|r| {
        // No terminal on our side: the container has one all the same.
        let output = r.call(&["run", "--rm", "-t", "busybox", "sh", "-c", "test -t 0 && test -t 1 && tty; stty size"]);
        assert_eq!(output.code, 0, "{output}");
        assert!(output.stdout.starts_with("/dev/"), "{output}");
        assert!(output.stdout.contains("\r\n"), "a terminal ends its lines so: {output}");
    });
}
