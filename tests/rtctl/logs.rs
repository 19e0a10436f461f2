//! `logs`.

use tests::rtctl_test;

#[test]
fn both_streams_come_back() {
    rtctl_test(|r| {
        let id = r.detached(&["busybox", "sh", "-c", "echo out; echo err >&2; printf partial"]);
        r.ok(&["wait", &id]);
        let output = r.call(&["logs", &id]);
        assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("out\npartial", "err\n"));
        r.ok(&["rm", &id]);
    });
}

#[test]
fn tail() {
    rtctl_test(|r| {
        let id = r.detached(&["busybox", "seq", "1", "20000"]);
        r.ok(&["wait", &id]);
        assert_eq!(r.ok(&["logs", "--tail", "3", &id]), "19998\n19999\n20000");
        assert_eq!(r.ok(&["logs", "-n", "0", &id]), "");
        assert_eq!(r.ok(&["logs", "--tail", "all", &id]).lines().count(), 20000);
        r.ok(&["rm", &id]);
    });
}

#[test]
fn follow_until_the_end() {
    rtctl_test(|r| {
        let id = r.detached(&["-i", "busybox", "sh", "-c", "echo one; read x; echo two"]);
        let mut session = r.start(&["logs", "-f", &id]);
        assert_eq!(session.line(), "one");
        let mut attached = r.start(&["attach", &id]);
        attached.write("go\n");
        assert_eq!(session.line(), "two");
        assert_eq!(session.end(), (0, String::new()));
        assert_eq!(attached.end().0, 0);
        r.ok(&["rm", &id]);
    });
}

#[test]
fn time_stamps_and_ranges() {
    rtctl_test(|r| {
        let id = r.detached(&["busybox", "echo", "line"]);
        r.ok(&["wait", &id]);
        let text = r.ok(&["logs", "-t", &id]);
        let (stamp, line) = text.split_once(' ').unwrap();
        assert_eq!(line, "line");
        assert!(stamp.starts_with("20") && stamp.contains('T') && stamp.contains('.'), "{stamp}");
        assert_eq!(r.ok(&["logs", "--since", stamp, &id]), "line");
        assert_eq!(r.ok(&["logs", "--since", "2100-01-01T00:00:00Z", &id]), "");
        assert_eq!(r.ok(&["logs", "--until", "2001-01-01T00:00:00Z", &id]), "");
        assert_eq!(r.ok(&["logs", "--since", "1h", &id]), "line");
        r.ok(&["rm", &id]);
    });
}

#[test]
fn long_lines_are_whole() {
    rtctl_test(|r| {
        let id = r.detached(&["busybox", "sh", "-c", "head -c 100000 /dev/zero | tr '\\0' x; echo; echo end"]);
        r.ok(&["wait", &id]);
        let text = r.ok(&["logs", &id]);
        let lines: Vec<usize> = text.lines().map(str::len).collect();
        assert_eq!(lines, [100_000, 3]);
        r.ok(&["rm", &id]);
    });
}
