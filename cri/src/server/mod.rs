//! The gRPC edge: CRI v1 on a unix socket. A call is a file: decode, one call on the engine, encode.
//!
//! Only this module knows tonic and the messages of the wire.

mod container_attach;
mod container_create;
mod container_events;
mod container_exec;
mod container_list;
mod container_log;
mod container_message;
mod container_remove;
mod container_start;
mod container_stats;
mod container_stats_list;
mod container_status;
mod container_stop;
mod container_update;
mod deadline;
mod decode;
mod encode;
mod exec_sync;
mod failure;
mod gather;
mod image_fs_info;
mod image_list;
mod image_message;
mod image_pull;
mod image_remove;
mod image_status;
mod images;
mod info;
mod listen;
mod metric_descriptors;
mod metric_table;
mod metrics_message;
mod observe;
mod parts;
mod patience;
mod runtime;
mod runtime_config;
mod runtime_status;
mod runtime_update;
mod runtime_version;
mod sandbox_list;
mod sandbox_message;
mod sandbox_metrics_list;
mod sandbox_port_forward;
mod sandbox_remove;
mod sandbox_run;
mod sandbox_stats;
mod sandbox_stats_list;
mod sandbox_status;
mod sandbox_stop;
mod sandbox_update;
mod select;
mod stats_message;
mod streams;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proto::v1::image_service_server::ImageServiceServer;
use proto::v1::runtime_service_server::RuntimeServiceServer;
use tokio::sync::Notify;
use tokio_stream::wrappers::UnixListenerStream;

use crate::config::Settings;
use crate::image::registry::Registry;
use crate::image::{self, Store};
use crate::metrics::Counts;
use crate::pod::{self, ContainerState, Engine};
use crate::streaming;

pub use listen::{ListenError, listen};

/// Largest message that is taken, in bytes: annotations of a pod alone may be 256 KiB. Clients take 16 MiB.
const MESSAGE_LIMIT: usize = 16 << 20;

/// How long calls may go on after the end was asked for: streams of events have none of their own.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the calls work on. The last one must be dropped outside of asynchronous code: its threads are waited for.
#[derive(Debug, Clone)]
pub struct Service {
    store: Arc<Store>,
    registry: Arc<Registry>,
    engine: Engine,
    settings: Settings,
    figures: Arc<gather::Figures>,
    streams: streaming::Address,
}

/// Why the daemon cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The image store, or the registries' settings.
    #[error(transparent)]
    Image(#[from] image::Error),
    /// Pods.
    #[error(transparent)]
    Pod(#[from] pod::Error),
    /// The streaming server.
    #[error("streaming server: {0}")]
    Streams(#[from] streaming::BindError),
}

impl Service {
    /// Opens the image store, takes up the pods that are there, and begins to serve streams.
    ///
    /// # Errors
    /// As [`Store::open`], [`Registry::new`], [`Engine::open`] and [`streaming::Server::bind`]; there are no control groups.
    pub async fn open(settings: &Settings, pods: pod::Settings) -> Result<Service, OpenError> {
        let config = settings.now();
        let registry = Arc::new(Registry::new(config.registry())?);
        let store = Arc::new(Store::open(&pods.root)?);
        let engine = Engine::open(pods, Arc::clone(&store)).await?;
        let figures = Arc::new(gather::Figures::new().map_err(pod::Error::from)?);
        let server = streaming::Server::bind(&streaming::Config::of(&config)).await?;
        let streams = server.address();
        tokio::spawn(server.run());
        Ok(Service { store, registry, engine, settings: settings.clone(), figures, streams })
    }

    /// What counts pods and containers by state.
    pub fn counter(&self) -> impl Fn() -> Counts + Send + Sync + use<> {
        let engine = self.engine.clone();
        move || {
            let (pods, containers) = (engine.pods(), engine.containers());
            let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
            let ready = pods.iter().filter(|pod| pod.ready).count();
            let state = |wanted: fn(&ContainerState) -> bool| {
                number(containers.iter().filter(|container| wanted(&container.state)).count())
            };
            Counts {
                pods: vec![("ready", number(ready)), ("not_ready", number(pods.len() - ready))],
                containers: vec![
                    ("created", state(|state| matches!(state, ContainerState::Created))),
                    ("running", state(|state| matches!(state, ContainerState::Running { .. }))),
                    ("exited", state(|state| matches!(state, ContainerState::Exited(_)))),
                ],
            }
        }
    }

    /// Serves both services on a socket until `stop` is ready. Calls under way may finish within [`PATIENCE`]; some never do.
    ///
    /// # Errors
    /// The socket failed.
    pub async fn serve(
        &self,
        listener: tokio::net::UnixListener,
        stop: impl Future<Output = ()>,
    ) -> Result<(), tonic::transport::Error> {
        let runtime = RuntimeServiceServer::new(self.clone())
            .max_decoding_message_size(MESSAGE_LIMIT)
            .max_encoding_message_size(MESSAGE_LIMIT);
        let images = ImageServiceServer::new(self.clone())
            .max_decoding_message_size(MESSAGE_LIMIT)
            .max_encoding_message_size(MESSAGE_LIMIT);
        let stopped = Notify::new();
        let told = async {
            stop.await;
            stopped.notify_one();
        };
        let serving = tonic::transport::Server::builder()
            .layer(observe::Observe)
            .layer(deadline::Deadline)
            .add_service(runtime)
            .add_service(images)
            .serve_with_incoming_shutdown(UnixListenerStream::new(listener), told);
        let overdue = async {
            stopped.notified().await;
            tokio::time::sleep(PATIENCE).await;
        };
        tokio::select! {
            result = serving => result,
            () = overdue => Ok(()),
        }
    }

    /// Works on the image store, on a thread that may wait for the disk.
    async fn on_store<T, F>(&self, work: F) -> Result<T, tonic::Status>
    where
        T: Send + 'static,
        F: FnOnce(&Store) -> Result<T, image::Error> + Send + 'static,
    {
        let store = Arc::clone(&self.store);
        let done = tokio::task::spawn_blocking(move || work(&store)).await;
        done.map_err(|panic| tonic::Status::internal(panic.to_string()))?.map_err(|error| failure::image(&error))
    }
}

/// A time as the wire has it.
fn nanoseconds(time: u64) -> i64 {
    i64::try_from(time).unwrap_or(i64::MAX)
}

/// Nanoseconds since the epoch.
fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_nanos()).unwrap_or(i64::MAX)
}
