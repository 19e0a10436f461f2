//! Attach.

use cri::streaming::spdy::Fin;
use proto::v1::AttachRequest;
use tests::pods::{container, pod};
use tests::{Rtd, pod_test};
use tonic::{Code, Status};

use crate::client::{Socket, Spdy, warm_up};

async fn url(rtd: &mut Rtd<'_>, id: &str, tty: bool) -> Result<String, Status> {
    let (container_id, stderr) = (id.to_owned(), !tty);
    let request = AttachRequest { container_id, stdin: true, tty, stdout: true, stderr };
    Ok(rtd.runtime.attach(request).await?.into_inner().url)
}

/// Input of one client after the other; with stdin_once the first one's end is the end.
#[test]
fn input_and_output() {
    warm_up();
    pod_test(async |rtd| {
        let config = pod("web");
        let id = rtd.run(&config).await.unwrap();
        for once in [false, true] {
            let name = if once { "once" } else { "often" };
            let mut wanted = container(name, "while read line; do echo got $line; echo err >&2; done; echo end");
            (wanted.stdin, wanted.stdin_once) = (true, once);
            let one = rtd.create(&id, &wanted, &config).await.unwrap();
            rtd.start(&one).await.unwrap();

            let address = url(rtd, &one, false).await.unwrap();
            let mut client = Spdy::command(&address, &["stdin", "stdout", "stderr"]).await;
            client.send("stdin", "first\n", Fin::Open).await;
            client.until("stdout", "got first\n").await;
            client.until("stderr", "err\n").await;
            client.send("stdin", "", Fin::Last).await;
            if once {
                let session = client.end().await;
                assert!(session.text("stdout").ends_with("end\n") && session.code() == 0, "{session:?}");
                continue;
            }
            drop(client);
            let address = url(rtd, &one, false).await.unwrap();
            let mut client = Socket::connect(&address, "v5.channel.k8s.io").await;
            client.send("stdin", "second\n", Fin::Open).await;
            client.until("stdout", "got second\n").await;
            // Only what is new.
            assert!(!client.session.text("stdout").contains("first"), "{:?}", client.session);
            rtd.stop_container(&one, 0).await.unwrap();
            assert_eq!(client.end().await.code(), 0);
        }
        rtd.remove_pod(&id).await.unwrap();
    });
}

#[test]
fn terminal() {
    pod_test(async |rtd| {
        let config = pod("web");
        let id = rtd.run(&config).await.unwrap();
        let mut wanted = container("one", "while read line; do stty size; done");
        (wanted.stdin, wanted.tty) = (true, true);
        let one = rtd.create(&id, &wanted, &config).await.unwrap();
        rtd.start(&one).await.unwrap();
        let address = url(rtd, &one, true).await.unwrap();
        let mut client = Spdy::command(&address, &["stdin", "stdout", "resize"]).await;
        client.send("resize", r#"{"Width":132,"Height":43}"#, Fin::Open).await;
        // The size and the line come by different ways, so it is asked for until it is there.
        let mut asked = 0;
        while !client.session.text("stdout").contains("43 132") {
            asked += 1;
            client.send("stdin", "\n", Fin::Open).await;
            while client.session.text("stdout").matches(' ').count() < asked {
                client.more().await;
            }
        }
        drop(client);
        assert_eq!(url(rtd, &one, false).await.unwrap_err().code(), Code::InvalidArgument);
        rtd.remove_pod(&id).await.unwrap();
    });
}

#[test]
fn what_is_refused() {
    pod_test(async |rtd| {
        let config = pod("web");
        let id = rtd.run(&config).await.unwrap();
        let one = rtd.launch(&id, "one", "true", &config).await;
        rtd.ended(&one).await;
        assert_eq!(url(rtd, &one, false).await.unwrap_err().code(), Code::FailedPrecondition);
        assert_eq!(url(rtd, "nope", false).await.unwrap_err().code(), Code::NotFound);
        rtd.remove_pod(&id).await.unwrap();
    });
}
