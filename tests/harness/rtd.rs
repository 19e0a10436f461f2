//! `rtd` with folders of its own, and clients of its socket.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;

use hyper_util::rt::TokioIo;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use proto::v1::image_service_client::ImageServiceClient;
use proto::v1::runtime_service_client::RuntimeServiceClient;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};

use crate::network;
use crate::programs::{handler_settings, program};
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
    child: Option<(Child, JoinHandle<()>)>,
    socket: PathBuf,
}

/// A test of pods: of `rtd` with the busybox image loaded. At its end no pod may be there.
pub fn pod_test(body: impl AsyncFnOnce(&mut Rtd<'_>)) {
    rtd_test(async |rtd| {
        let mut load = Command::new(program("rtctl"));
        load.env("RT_ROOT", rtd.root()).env("RT_STATE", rtd.state()).args(["load", "-q", "-i", env!("RT_TEST_IMAGE")]);
        let loaded = load.output().unwrap();
        assert!(loaded.status.success(), "{loaded:?}");
        body(rtd).await;
        let left = rtd.pods().await;
        assert!(left.is_empty(), "pods are left: {left:?}");
        network::forget_default(&rtd.state());
        for dir in [rtd.state().join("pods"), rtd.root().join("upper")] {
            let left: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
            assert!(left.is_empty(), "{left:?} are left");
        }
    });
}

/// A test of `rtd`; the body is asynchronous.
pub fn rtd_test(body: impl AsyncFnOnce(&mut Rtd<'_>)) {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // The first one of a process leaves descriptors for signals: the oracle must not see them as new.
    drop(runtime());
    test(|t| {
        let runtime = runtime();
        runtime.block_on(async {
            let mut rtd = Rtd::begin(t).await;
            body(&mut rtd).await;
            rtd.stop().await;
        });
    });
}

impl<'t> Rtd<'t> {
    async fn begin(test: &'t Test) -> Rtd<'t> {
        let socket = test.dir.join("rtd.sock");
        settle(test, "");
        let child = launch(test, &socket);
        let channel = connect(socket.clone()).await;
        let (images, runtime) = (ImageServiceClient::new(channel.clone()), RuntimeServiceClient::new(channel));
        Rtd { test, images, runtime, child: Some(child), socket }
    }

    /// Directory of images and layers.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.test.dir.join("r")
    }

    /// Directory of what runs.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.test.dir.join("s")
    }

    /// Process id of the daemon.
    #[must_use]
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.as_ref().unwrap().0.id()).unwrap()
    }

    /// Ends the daemon by SIGKILL.
    pub fn kill(&mut self) {
        let (mut child, _) = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Starts it again after [`Rtd::kill`], and connects anew.
    pub async fn restart(&mut self) {
        self.child = Some(launch(self.test, &self.socket));
        let channel = connect(self.socket.clone()).await;
        self.images = ImageServiceClient::new(channel.clone());
        self.runtime = RuntimeServiceClient::new(channel);
    }

    /// Starts it again with these settings.
    pub async fn configure(&mut self, settings: &str) {
        settle(self.test, settings);
        self.kill();
        self.restart().await;
    }

    /// Asks it to end, and waits until it has; its clients hear of it meanwhile.
    async fn stop(mut self) {
        let (mut child, said) = self.child.take().unwrap();
        kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGTERM).unwrap();
        let ended = move || {
            let status = child.wait().unwrap();
            said.join().unwrap();
            status
        };
        let status = tokio::task::spawn_blocking(ended).await.unwrap();
        assert!(status.success(), "rtd: {status}");
    }
}

impl Drop for Rtd<'_> {
    fn drop(&mut self) {
        // After a test that failed; it may have ended.
        if let Some((child, _)) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Writes its settings. Networks that this host has for other programs are none of the test's.
fn settle(test: &Test, settings: &str) {
    let mut text = settings.to_owned();
    if !settings.contains("cni_conf_dir") {
        text = format!("cni_conf_dir = {:?}\n{settings}", test.dir.join("net.d"));
    }
    std::fs::create_dir_all(test.dir.join("etc")).unwrap();
    std::fs::write(test.dir.join("etc/rtd.toml"), text).unwrap();
}

/// Starts the daemon; it serves when this returns. What it says goes on to where the test's output goes.
fn launch(test: &Test, socket: &Path) -> (Child, JoinHandle<()>) {
    let mut command = Command::new(program("rtd"));
    command.arg("--root").arg(test.dir.join("r")).arg("--state").arg(test.dir.join("s")).arg("--listen").arg(socket);
    if let Ok(path) = std::env::var("RT_HANDLER") {
        let dropins = test.dir.join("etc/rtd.toml.d");
        std::fs::create_dir_all(&dropins).unwrap();
        std::fs::write(dropins.join("handler.toml"), handler_settings(&path, "")).unwrap();
    }
    command.arg("--config").arg(test.dir.join("etc/rtd.toml"));
    command.env("RT_TEST", test.marker()).stdin(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    loop {
        let line = lines.next().expect("rtd has ended").unwrap();
        if line.contains("listening on") {
            break;
        }
        eprintln!("{line}");
    }
    let said = std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| eprintln!("{line}")));
    (child, said)
}

/// A connection to a daemon's socket.
pub async fn connect(socket: PathBuf) -> Channel {
    let connector = tower::service_fn(move |_| {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.map(TokioIo::new) }
    });
    Endpoint::from_static("http://localhost").connect_with_connector(connector).await.unwrap()
}
