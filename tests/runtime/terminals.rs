//! `process.terminal`: console sockets and sizes.

use serde_json::json;
use tests::{ConsoleSocket, Kind, kind, test};

#[test]
fn console_socket_gets_the_terminal() {
    test(|t| {
        let socket = ConsoleSocket::listen(&t.dir);
        let path = socket.path.clone();
        let script = "tty; stat -c '%t %a' $(tty); test -t 0 && test -t 1 && test -t 2 && echo all; read line; echo got $line; exit 5";
        let bundle = t.bundle().sh(script).set("/process/terminal", json!(true));
        let mut container = t.try_create(&bundle, &["--console-socket", path.to_str().unwrap()]).unwrap();
        let mut console = socket.accept();
        container.start().ok();
        let tty = console.line();
        assert!(tty.starts_with("/dev/pts/") || tty == "/dev/console", "{tty}");
        assert!(console.line().starts_with("88 6"), "a pseudo terminal");
        assert_eq!(console.line(), "all");
        console.write("words\n");
        assert_eq!(console.line(), "words");
        assert_eq!(console.line(), "got words");
        assert_eq!(console.rest(), "");
        assert_eq!(container.wait(), 5);
        container.delete();
    });
}

#[test]
fn it_is_the_controlling_terminal() {
    test(|t| {
        let socket = ConsoleSocket::listen(&t.dir);
        let path = socket.path.clone();
        let bundle = t.bundle().sh("echo up >/dev/tty; exec payload hold").set("/process/terminal", json!(true));
        let mut container = t.try_create(&bundle, &["--console-socket", path.to_str().unwrap()]).unwrap();
        let mut console = socket.accept();
        container.start().ok();
        assert_eq!(console.line(), "up");
        assert_eq!(console.line(), "ready");
        // Ctrl-C: the line discipline turns it into a signal for the foreground group.
        console.write("\x03");
        let line = console.line();
        assert!(line.ends_with("SIGINT"), "{line:?}");
        assert_eq!(container.wait(), 3);
        container.delete();
    });
}

#[test]
fn console_is_at_dev_console() {
    test(|t| {
        let socket = ConsoleSocket::listen(&t.dir);
        let path = socket.path.clone();
        let bundle =
            t.bundle().sh("stat -c '%F %t' /dev/console; echo out >/dev/console").set("/process/terminal", json!(true));
        let mut container = t.try_create(&bundle, &["--console-socket", path.to_str().unwrap()]).unwrap();
        let mut console = socket.accept();
        container.start().ok();
        assert_eq!(console.line(), "character special file 88");
        assert_eq!(console.line(), "out");
        assert_eq!(container.wait(), 0);
        container.delete();
    });
}

#[test]
fn size_is_as_configured_and_can_change() {
    test(|t| {
        let socket = ConsoleSocket::listen(&t.dir);
        let path = socket.path.clone();
        let bundle = t.bundle().sh("stty size; payload hold").set("/process/terminal", json!(true));
        let bundle = bundle.set("/process/consoleSize", json!({"height": 40, "width": 100}));
        let mut container = t.try_create(&bundle, &["--console-socket", path.to_str().unwrap()]).unwrap();
        let mut console = socket.accept();
        container.start().ok();
        assert_eq!(console.line(), "40 100");
        assert_eq!(console.line(), "ready");
        console.resize(50, 120);
        assert_eq!(console.line(), "SIGWINCH");
        container.kill("KILL").ok();
        assert_eq!(container.wait(), 137);
        container.delete();
    });
}

#[test]
fn terminal_without_a_socket_is_refused() {
    test(|t| {
        let bundle = t.bundle().set("/process/terminal", json!(true));
        let Err(output) = t.try_create(&bundle, &[]) else { panic!("created") };
        output.fails(&["console"]);
    });
}

#[test]
fn socket_without_a_terminal_is_refused() {
    test(|t| {
        let socket = ConsoleSocket::listen(&t.dir);
        let result = t.try_create(&t.bundle(), &["--console-socket", socket.path.to_str().unwrap()]);
        match result {
            Err(output) => drop(output.fails(&["console"])),
            Ok(container) => {
                assert_eq!(kind(), Kind::Crun, "1.8 does not mind");
                container.verb("delete", &["-f"]).ok();
                t.wait_pid(container.pid);
            }
        }
        std::fs::remove_file(&socket.path).unwrap();
    });
}

#[test]
fn socket_that_does_not_answer_is_an_error() {
    test(|t| {
        let bundle = t.bundle().set("/process/terminal", json!(true));
        let Err(output) = t.try_create(&bundle, &["--console-socket", "/nonexistent/socket"]) else {
            panic!("created")
        };
        output.fails(&["/nonexistent/socket"]);
    });
}

#[test]
fn owner_of_the_terminal_is_the_user() {
    test(|t| {
        let socket = ConsoleSocket::listen(&t.dir);
        let path = socket.path.clone();
        let bundle = t
            .bundle()
            .sh("stat -c %u $(tty); echo x >/dev/tty")
            .set("/process/terminal", json!(true))
            .set("/process/user", json!({"uid": 1000, "gid": 1000}));
        let mut container = t.try_create(&bundle, &["--console-socket", path.to_str().unwrap()]).unwrap();
        let mut console = socket.accept();
        container.start().ok();
        assert_eq!(console.line(), "1000");
        assert_eq!(console.line(), "x");
        assert_eq!(container.wait(), 0);
        container.delete();
    });
}

#[test]
fn exec_with_a_terminal() {
    test(|t| {
        let container = t.hold(t.bundle());
        let socket = ConsoleSocket::listen(&t.dir);
        let path = socket.path.clone();
        let pid_file = t.dir.join("exec.pid");
        let args =
            ["--tty", "--detach", "--console-socket", path.to_str().unwrap(), "--pid-file", pid_file.to_str().unwrap()];
        container.exec_with(&args, &["sh", "-c", "test -t 0 && tty; exit 9"]).ok();
        let mut console = socket.accept();
        assert!(console.line().starts_with("/dev/pts/"));
        let pid = std::fs::read_to_string(&pid_file).unwrap().trim().parse().unwrap();
        assert_eq!(t.wait_pid(pid), 9);
        container.end();
    });
}
