//! From the settings to the end of the daemon.

use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{SignalKind, signal};

use super::log::{Level, Log, LogError};
use super::{apparmor, features, notify, process, reload};
use crate::cgroup::CgroupDriver;
use crate::config::{Loaded, NetworkKind, Reloader, Settings, Source};
use crate::server::{ListenError, OpenError, Service, listen};
use crate::{metrics, pod};

/// Most threads that wait for disks and plugins: one that is stuck must not keep the others from work.
const BLOCKING_THREADS: usize = 2048;

/// For how long work under way may go on at the end.
const LAST: Duration = Duration::from_secs(2);

/// Why the daemon could not begin, or go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Threads.
    #[error("threads: {0}")]
    Threads(std::io::Error),
    /// The directory of images.
    #[error("mkdir({root:?}): {source}")]
    Root {
        /// Which.
        root: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Signals.
    #[error("sigaction: {0}")]
    Signal(std::io::Error),
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The program rt-shim.
    #[error("readlink(/proc/self/exe): {0}; set shim")]
    Shim(std::io::Error),
    /// Images and pods.
    #[error(transparent)]
    Open(Box<OpenError>),
    /// The socket of the kubelet.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The address of the metrics.
    #[error("metrics_listen {address}: {source}")]
    Metrics {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The socket of the kubelet, later.
    #[error("{}: {source}", socket.display())]
    Serve {
        /// Which.
        socket: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Runs the daemon until it is asked to end (SIGTERM, SIGINT). The process must have one thread yet.
///
/// # Errors
/// See [`Error`].
pub fn run(source: Source, loaded: Loaded) -> Result<(), Error> {
    let mut notes = process::settle();
    let root = &loaded.config.root;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(root)
        .map_err(|source| Error::Root { root: root.clone(), source })?;
    // While there is one thread.
    let (features, missing) = features::probe(root);
    notes.extend(missing);
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.enable_all().max_blocking_threads(BLOCKING_THREADS).build().map_err(Error::Threads)?;
    let log = {
        let _inside = runtime.enter();
        Log::start(&loaded.config)?
    };
    for note in notes.iter().chain(&loaded.config.warnings()) {
        tracing::warn!("{note}");
    }
    let file = source.file.clone();
    let (reloader, settings) = Reloader::new(source, loaded);
    // The socket comes first: there is one daemon, and another one finds out before it touches anything.
    let listener = runtime.block_on(listen(&settings.now().listen))?;
    let profile = settings.now().apparmor_default.clone();
    match apparmor::provide(&profile) {
        Ok(apparmor::Profile::Loaded) => tracing::info!("AppArmor profile {profile:?} is loaded"),
        Ok(apparmor::Profile::Known | apparmor::Profile::NoAppArmor) => {}
        Err(error) => {
            tracing::warn!("apparmor_default: {error}: AppArmor does not confine containers that name no profile")
        }
    }
    let service = runtime.block_on(Service::open(&settings, pod::Settings { features, ..pods(&settings)? }));
    let service = service.map_err(|error| Error::Open(Box::new(error)))?;
    metrics::counts_from(service.counter());
    let result = runtime.block_on(serve(&service, listener, reloader, &settings, (file, log.level())));
    log.end();
    // What hangs on a disk or in a plugin is not waited for: the next daemon takes it up.
    runtime.shutdown_timeout(LAST);
    // Connections had it, too. The last one must be dropped here: its threads are waited for.
    drop(service);
    result
}

async fn serve(
    service: &Service,
    listener: UnixListener,
    reloader: Reloader,
    settings: &Settings,
    (file, level): (PathBuf, Level),
) -> Result<(), Error> {
    let config = settings.now();
    let catch = |kind| signal(kind).map_err(Error::Signal);
    let mut terminate = catch(SignalKind::terminate())?;
    let mut interrupt = catch(SignalKind::interrupt())?;
    let hangup = catch(SignalKind::hangup())?;
    if let Some(address) = config.metrics_listen {
        tokio::spawn(metrics::serve(listen_tcp(address).await?));
    }
    let socket = config.listen.display().to_string();
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "listening on {socket}");
    tokio::spawn(follow_level(settings.clone(), level));
    tokio::spawn(reload::reload(reloader, file, hangup, socket.clone()));
    tokio::spawn(notify::watchdog());
    notify::ready(&socket);
    let stop = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        notify::stopping();
        tracing::info!("stopping");
    };
    let served = service.serve(listener, stop).await;
    served.map_err(|source| Error::Serve { socket: config.listen.clone(), source: source.into() })
}

async fn listen_tcp(address: SocketAddr) -> Result<TcpListener, Error> {
    let failed = |source| Error::Metrics { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    if address.ip().is_loopback() {
        tracing::info!("metrics at http://{address}/metrics");
    } else {
        tracing::warn!("metrics at http://{address}/metrics: whoever reaches this address can read them");
    }
    Ok(listener)
}

async fn follow_level(mut settings: Settings, level: Level) {
    loop {
        level.set(settings.changed().await.log_level);
    }
}

/// What the engine of pods is told.
fn pods(daemon: &Settings) -> Result<pod::Settings, Error> {
    let config = daemon.now();
    let named = || std::env::var_os("RT_SHIM").filter(|path| !path.is_empty()).map(PathBuf::from);
    let shim = match config.shim.clone().or_else(named) {
        Some(shim) => shim,
        None => std::env::current_exe().map_err(Error::Shim)?.with_file_name("rt-shim"),
    };
    let mut settings = pod::Settings::new(&config.root, &config.state, &shim);
    settings.daemon = daemon.clone();
    settings.cgroups = CgroupDriver::new(config.cgroup_driver, shim.clone());
    settings.network = match config.network {
        NetworkKind::Auto => pod::NetworkChoice::Auto,
        NetworkKind::Cni => pod::NetworkChoice::Cni,
        NetworkKind::Bridge => pod::NetworkChoice::Bridge,
    };
    settings.cni.config_dir.clone_from(&config.cni_conf_dir);
    settings.cni.bin_dirs.clone_from(&config.cni_bin_dirs);
    Ok(settings)
}
