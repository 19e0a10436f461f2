//! ExecSync.

use std::time::{Duration, Instant};

use proto::v1::{ExecSyncRequest, ExecSyncResponse};
use tests::pods::{container, pod};
use tests::{Rtd, pod_test};
use tonic::{Code, Status};

async fn sync(rtd: &mut Rtd<'_>, id: &str, script: &str, timeout: i64) -> Result<ExecSyncResponse, Status> {
    let cmd = ["sh", "-c", script].map(str::to_owned).to_vec();
    let request = ExecSyncRequest { container_id: id.to_owned(), cmd, timeout };
    Ok(rtd.runtime.exec_sync(request).await?.into_inner())
}

/// Processes of a container, as one of them sees them.
async fn sleepers(rtd: &mut Rtd<'_>, id: &str) -> String {
    let answer = sync(rtd, id, "ps -o args | grep '^sleep' | sort; true", 0).await.unwrap();
    String::from_utf8(answer.stdout).unwrap()
}

/// Waits until these are its processes.
async fn until_sleepers(rtd: &mut Rtd<'_>, id: &str, wanted: &str) {
    let script = format!("until [ \"$(ps -o args | grep '^sleep' | sort)\" = '{wanted}' ]; do usleep 10000; done");
    assert_eq!(sync(rtd, id, &script, 30).await.unwrap().exit_code, 0);
}

#[test]
fn output_and_exit_code() {
    pod_test(async |rtd| {
        let config = pod("web");
        let id = rtd.run(&config).await.unwrap();
        let one = rtd.launch(&id, "one", "sleep 1000", &config).await;
        let answer = sync(rtd, &one, "echo out; echo err >&2; exit 7", 10).await.unwrap();
        assert_eq!((&answer.stdout[..], &answer.stderr[..], answer.exit_code), (&b"out\n"[..], &b"err\n"[..], 7));
        // It reads nothing, and has the container's own environment and working directory.
        let answer = sync(rtd, &one, "cat; echo $PATH; pwd; kill -9 $$", 0).await.unwrap();
        let text = String::from_utf8(answer.stdout).unwrap();
        assert!(text.contains("/bin") && text.ends_with("\n/\n"), "{text}");
        assert_eq!(answer.exit_code, 137);
        rtd.remove_pod(&id).await.unwrap();
    });
}

#[test]
fn what_is_refused() {
    pod_test(async |rtd| {
        let config = pod("web");
        let id = rtd.run(&config).await.unwrap();
        let one = rtd.create(&id, &container("one", "sleep 1000"), &config).await.unwrap();
        let mut refused = async |container_id: &str, cmd: &[&str], timeout| {
            let cmd = cmd.iter().map(|word| (*word).to_owned()).collect();
            let request = ExecSyncRequest { container_id: container_id.to_owned(), cmd, timeout };
            rtd.runtime.exec_sync(request).await.unwrap_err()
        };
        assert_eq!(refused(&one, &["true"], 0).await.code(), Code::FailedPrecondition);
        assert_eq!(refused("", &["true"], 0).await.code(), Code::InvalidArgument);
        assert_eq!(refused(&one, &[], 0).await.code(), Code::InvalidArgument);
        assert_eq!(refused(&one, &["true"], -1).await.code(), Code::InvalidArgument);
        assert_eq!(refused(&"0".repeat(64), &["true"], 0).await.code(), Code::NotFound);
        rtd.start(&one).await.unwrap();
        let request = ExecSyncRequest { container_id: one.clone(), cmd: vec!["/nope".into()], timeout: 5 };
        let missing = rtd.runtime.exec_sync(request).await.unwrap_err();
        assert_eq!(missing.code(), Code::Unknown);
        assert!(missing.message().contains("/nope"), "{missing}");
        rtd.remove_pod(&id).await.unwrap();
    });
}

/// All that the command started is killed: also what left its session and its parent; nothing else of the container is.
#[test]
fn a_timeout_kills_the_whole_tree() {
    pod_test(async |rtd| {
        let config = pod("web");
        let id = rtd.run(&config).await.unwrap();
        let one = rtd.launch(&id, "one", "sleep 1001 & sleep 1000", &config).await;
        until_sleepers(rtd, &one, "sleep 1000\nsleep 1001").await;
        let script = "sleep 2001 & setsid sleep 2002 & (setsid sleep 2003 &) ; sleep 2000";
        let begun = Instant::now();
        let error = sync(rtd, &one, script, 1).await.unwrap_err();
        assert_eq!(error.code(), Code::DeadlineExceeded, "{error}");
        assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
        assert_eq!(sleepers(rtd, &one).await, "sleep 1000\nsleep 1001\n");
        rtd.remove_pod(&id).await.unwrap();
    });
}

/// A command that ends in time may leave something running, which holds its pipes: the answer does not wait for it.
#[test]
fn what_holds_the_pipe_is_not_waited_for() {
    pod_test(async |rtd| {
        let config = pod("web");
        let id = rtd.run(&config).await.unwrap();
        let one = rtd.launch(&id, "one", "sleep 1000", &config).await;
        for timeout in [0, 100] {
            let answer = sync(rtd, &one, &format!("echo before; sleep 200{timeout} & exit 3"), timeout).await.unwrap();
            assert_eq!((&answer.stdout[..], answer.exit_code), (&b"before\n"[..], 3));
        }
        until_sleepers(rtd, &one, "sleep 1000\nsleep 2000\nsleep 200100").await;
        rtd.remove_pod(&id).await.unwrap();
    });
}

/// Each stream is answered up to 16 MiB; the command writes on undisturbed.
#[test]
fn output_is_bounded() {
    pod_test(async |rtd| {
        let config = pod("web");
        let id = rtd.run(&config).await.unwrap();
        let one = rtd.launch(&id, "one", "sleep 1000", &config).await;
        let script = "dd if=/dev/zero bs=1M count=20 2>/dev/null; echo done >&2; exit 4";
        let cmd = ["sh", "-c", script].map(str::to_owned).to_vec();
        let mut client = rtd.runtime.clone().max_decoding_message_size(16 << 20);
        let request = ExecSyncRequest { container_id: one.clone(), cmd, timeout: 0 };
        let answer = client.exec_sync(request).await.unwrap().into_inner();
        assert_eq!((&answer.stderr[..], answer.exit_code), (&b"done\n"[..], 4));
        assert!(answer.stdout.len() > (16 << 20) - 1024 && answer.stdout.len() <= 16 << 20, "{}", answer.stdout.len());
        rtd.remove_pod(&id).await.unwrap();
    });
}

/// Nobody waits for the answer any more: the command does not go on.
#[test]
fn a_client_that_gives_up() {
    pod_test(async |rtd| {
        let config = pod("web");
        let id = rtd.run(&config).await.unwrap();
        let one = rtd.launch(&id, "one", "mkfifo /began; sleep 1000", &config).await;
        let cmd =
            ["sh", "-c", "until [ -p /began ]; do :; done; echo > /began; sleep 2000"].map(str::to_owned).to_vec();
        let request = ExecSyncRequest { container_id: one.clone(), cmd, timeout: 0 };
        let mut other = rtd.runtime.clone();
        let call = tokio::spawn(async move { other.exec_sync(request).await });
        assert_eq!(sync(rtd, &one, "until [ -p /began ]; do :; done; cat /began", 0).await.unwrap().exit_code, 0);
        call.abort();
        assert!(call.await.unwrap_err().is_cancelled());
        // It ends when it is gone.
        let script = "while ps -o args | grep -q '^sleep 2000'; do usleep 10000; done";
        assert_eq!(sync(rtd, &one, script, 30).await.unwrap().exit_code, 0);
        rtd.remove_pod(&id).await.unwrap();
    });
}

/// The daemon is killed while a command with a limit runs: it is ended all the same.
#[test]
fn the_limit_holds_without_a_daemon() {
    pod_test(async |rtd| {
        let config = pod("web");
        let id = rtd.run(&config).await.unwrap();
        let one = rtd.launch(&id, "one", "mkfifo /began; sleep 1000", &config).await;
        let cmd = ["sh", "-c", "(setsid sleep 2000 &); until [ -p /began ]; do :; done; echo > /began; sleep 2001"]
            .map(str::to_owned)
            .to_vec();
        let request = ExecSyncRequest { container_id: one.clone(), cmd, timeout: 2 };
        let mut other = rtd.runtime.clone();
        let call = tokio::spawn(async move { other.exec_sync(request).await });
        assert_eq!(sync(rtd, &one, "until [ -p /began ]; do :; done; cat /began", 0).await.unwrap().exit_code, 0);
        rtd.kill();
        assert!(call.await.unwrap().is_err());
        rtd.restart().await;
        let script = "while ps -o args | grep -q '^sleep 200'; do usleep 10000; done";
        assert_eq!(sync(rtd, &one, script, 30).await.unwrap().exit_code, 0);
        rtd.remove_pod(&id).await.unwrap();
    });
}
