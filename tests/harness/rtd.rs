//! `rtd` with folders of its own, and clients of its socket.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use hyper_util::rt::TokioIo;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use proto::v1::image_service_client::ImageServiceClient;
use proto::v1::runtime_service_client::RuntimeServiceClient;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};

use crate::programs::program;
use crate::test::{Test, test};

/// A running `rtd`; dropped, it is stopped, and must end well.
#[derive(Debug)]
pub struct Rtd<'t> {
    /// The test around it.
    pub test: &'t Test,
    /// Client of the calls on images.
    pub images: ImageServiceClient<Channel>,
    /// Client of all other calls.
    pub runtime: RuntimeServiceClient<Channel>,
    child: Option<Child>,
}

/// A test of `rtd`; the body is asynchronous.
pub fn rtd_test(body: impl AsyncFnOnce(&mut Rtd<'_>)) {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // The first one of a process leaves descriptors for signals: the oracle must not see them as new.
    drop(runtime());
    test(|t| {
        let runtime = runtime();
        runtime.block_on(async {
            let mut rtd = Rtd::start(t).await;
            body(&mut rtd).await;
            rtd.stop().await;
        });
    });
}

impl<'t> Rtd<'t> {
    async fn start(test: &'t Test) -> Rtd<'t> {
        let socket = test.dir.join("rtd.sock");
        let mut command = Command::new(program("rtd"));
        command.arg("--root").arg(test.dir.join("r")).arg("--listen").arg(&socket);
        command.env("RT_TEST", test.marker()).stdin(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let first = lines.next().unwrap().unwrap();
        assert!(first.contains("listening on"), "{first}");
        let channel = connect(socket).await;
        let (images, runtime) = (ImageServiceClient::new(channel.clone()), RuntimeServiceClient::new(channel));
        Rtd { test, images, runtime, child: Some(child) }
    }

    /// Asks it to end, and waits until it has; its clients hear of it meanwhile.
    async fn stop(mut self) {
        let mut child = self.child.take().unwrap();
        kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGTERM).unwrap();
        let status = tokio::task::spawn_blocking(move || child.wait().unwrap()).await.unwrap();
        assert!(status.success(), "rtd: {status}");
    }
}

impl Drop for Rtd<'_> {
    fn drop(&mut self) {
        // After a test that failed; it may have ended.
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

async fn connect(socket: PathBuf) -> Channel {
    let connector = tower::service_fn(move |_| {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.map(TokioIo::new) }
    });
    Endpoint::from_static("http://localhost").connect_with_connector(connector).await.unwrap()
}
