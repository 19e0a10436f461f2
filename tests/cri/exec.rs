//! Exec with streams.

use cri::streaming::spdy::Fin;
use proto::v1::ExecRequest;
use tests::pods::{container, pod};
use tests::{Rtd, pod_test};
use tonic::{Code, Status};

use crate::client::{Socket, Spdy, warm_up};

async fn url(rtd: &mut Rtd<'_>, id: &str, script: &str, streams: [bool; 4]) -> Result<String, Status> {
    let cmd = ["sh", "-c", script].map(str::to_owned).to_vec();
    let [stdin, stdout, stderr, tty] = streams;
    let request = ExecRequest { container_id: id.to_owned(), cmd, tty, stdin, stdout, stderr };
    Ok(rtd.runtime.exec(request).await?.into_inner().url)
}

const ALL: [bool; 4] = [true, true, true, false];
const TERMINAL: [bool; 4] = [true, true, false, true];

/// Input that ends, both outputs, the exit code: on both protocols.
#[test]
fn streams_and_exit_code() {
    warm_up();
    pod_test(async |rtd| {
        let config = pod("web");
        let id = rtd.run(&config).await.unwrap();
        let one = rtd.launch(&id, "one", "sleep 1000", &config).await;
        let script = "tr a-z A-Z; echo err >&2; exit 3";

        let url_spdy = url(rtd, &one, script, ALL).await.unwrap();
        let mut client = Spdy::command(&url_spdy, &["stdin", "stdout", "stderr"]).await;
        client.send("stdin", "quiet ", Fin::Open).await;
        client.send("stdin", "words", Fin::Last).await;
        let session = client.end().await;
        assert_eq!((session.text("stdout"), session.text("stderr"), session.code()), ("QUIET WORDS", "err\n", 3));

        let url_socket = url(rtd, &one, script, ALL).await.unwrap();
        let mut client = Socket::connect(&url_socket, "v5.channel.k8s.io").await;
        client.send("stdin", "quiet words", Fin::Last).await;
        let session = client.end().await;
        assert_eq!((session.text("stdout"), session.text("stderr"), session.code()), ("QUIET WORDS", "err\n", 3));
        rtd.remove_pod(&id).await.unwrap();
    });
}

/// A terminal has a size, which changes; the end comes although the client keeps its input open.
#[test]
fn terminal() {
    warm_up();
    pod_test(async |rtd| {
        let config = pod("web");
        let id = rtd.run(&config).await.unwrap();
        let one = rtd.launch(&id, "one", "sleep 1000", &config).await;
        let script = "trap 'stty size' WINCH; echo term $TERM; until [ $line ]; do read line; done; echo got $line; read end; exit 5";

        let address = url(rtd, &one, script, TERMINAL).await.unwrap();
        let mut client = Spdy::command(&address, &["stdin", "stdout", "resize"]).await;
        client.until("stdout", "term xterm\r\n").await;
        client.send("resize", r#"{"Width":132,"Height":43}"#, Fin::Open).await;
        client.send("stdin", "hello\n", Fin::Open).await;
        client.until("stdout", "got hello\r\n").await;
        client.send("stdin", "end\n", Fin::Open).await;
        assert_eq!(client.end().await.code(), 5);

        let address =
            url(rtd, &one, "read line; until stty size | grep 132; do :; done; read end", TERMINAL).await.unwrap();
        let mut client = Socket::connect(&address, "v5.channel.k8s.io").await;
        client.send("resize", r#"{"Width":132,"Height":43}"#, Fin::Open).await;
        client.send("stdin", "go\n", Fin::Open).await;
        client.until("stdout", "43 132").await;
        client.send("stdin", "end\n", Fin::Open).await;
        assert_eq!(client.end().await.code(), 0);
        rtd.remove_pod(&id).await.unwrap();
    });
}

/// What a program on a terminal says last arrives, although it ends at once.
#[test]
fn last_words_on_a_terminal() {
    warm_up();
    pod_test(async |rtd| {
        let config = pod("web");
        let id = rtd.run(&config).await.unwrap();
        let one = rtd.launch(&id, "one", "sleep 1000", &config).await;
        let script = "stty -echo; echo ready; read line; echo got $line; exit 5";
        for round in 0..40 {
            let address = url(rtd, &one, script, TERMINAL).await.unwrap();
            let session = if round % 2 == 0 {
                let mut client = Spdy::command(&address, &["stdin", "stdout", "resize"]).await;
                client.until("stdout", "ready\r\n").await;
                client.send("stdin", "hello\n", Fin::Open).await;
                client.end().await
            } else {
                let mut client = Socket::connect(&address, "v5.channel.k8s.io").await;
                client.until("stdout", "ready\r\n").await;
                client.send("stdin", "hello\n", Fin::Open).await;
                client.end().await
            };
            assert_eq!((session.text("stdout"), session.code()), ("ready\r\ngot hello\r\n", 5), "round {round}");
        }
        rtd.remove_pod(&id).await.unwrap();
    });
}

/// A client that leaves its terminal hangs it up: no shell is left behind.
#[test]
fn leaving_a_terminal() {
    pod_test(async |rtd| {
        let config = pod("web");
        let id = rtd.run(&config).await.unwrap();
        let one = rtd.launch(&id, "one", "sleep 1000", &config).await;
        let address = url(rtd, &one, "echo ready; exec sleep 2000", TERMINAL).await.unwrap();
        let mut client = Spdy::command(&address, &["stdin", "stdout", "resize"]).await;
        client.until("stdout", "ready").await;
        drop(client);
        let script = "while ps -o args | grep -q '^sleep 2000'; do usleep 10000; done";
        assert_eq!(rtd.exec(&one, script).await.unwrap().exit_code, 0);
        rtd.remove_pod(&id).await.unwrap();
    });
}

/// The container ends: so do its sessions.
#[test]
fn a_session_ends_with_its_container() {
    pod_test(async |rtd| {
        let config = pod("web");
        let id = rtd.run(&config).await.unwrap();
        let one = rtd.launch(&id, "one", "sleep 1000", &config).await;
        let address = url(rtd, &one, "echo ready; sleep 2000", ALL).await.unwrap();
        let mut client = Spdy::command(&address, &["stdin", "stdout", "stderr"]).await;
        client.until("stdout", "ready").await;
        rtd.stop_container(&one, 0).await.unwrap();
        assert_eq!(client.end().await.code(), 137);
        rtd.remove_pod(&id).await.unwrap();
    });
}

#[test]
fn what_is_refused() {
    pod_test(async |rtd| {
        let config = pod("web");
        let id = rtd.run(&config).await.unwrap();
        let one = rtd.create(&id, &container("one", "sleep 1000"), &config).await.unwrap();
        assert_eq!(url(rtd, &one, "true", ALL).await.unwrap_err().code(), Code::FailedPrecondition);
        rtd.start(&one).await.unwrap();
        for (streams, code) in
            [([false, false, false, false], Code::InvalidArgument), ([true, true, true, true], Code::InvalidArgument)]
        {
            assert_eq!(url(rtd, &one, "true", streams).await.unwrap_err().code(), code);
        }
        assert_eq!(url(rtd, &"0".repeat(64), "true", ALL).await.unwrap_err().code(), Code::NotFound);
        assert_eq!(url(rtd, "", "true", ALL).await.unwrap_err().code(), Code::InvalidArgument);
        // What cannot be run is said on the stream for errors.
        let request = ExecRequest {
            container_id: one.clone(),
            cmd: vec!["/nope".into()],
            stdout: true,
            ..ExecRequest::default()
        };
        let address = rtd.runtime.exec(request).await.unwrap().into_inner().url;
        let session = Spdy::command(&address, &["stdout"]).await.end().await;
        assert_eq!(session.status()["reason"], "InternalError");
        assert!(session.status()["message"].as_str().unwrap().contains("/nope"), "{session:?}");
        rtd.remove_pod(&id).await.unwrap();
    });
}

/// More addresses than may wait for clients.
#[test]
fn too_many_addresses() {
    pod_test(async |rtd| {
        let config = pod("web");
        let id = rtd.run(&config).await.unwrap();
        let one = rtd.launch(&id, "one", "sleep 1000", &config).await;
        for _ in 0..1000 {
            url(rtd, &one, "true", ALL).await.unwrap();
        }
        assert_eq!(url(rtd, &one, "true", ALL).await.unwrap_err().code(), Code::ResourceExhausted);
        rtd.remove_pod(&id).await.unwrap();
    });
}
