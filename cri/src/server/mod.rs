//! The gRPC edge: CRI v1 on a unix socket. A call is a file: decode, one call on the engine, encode.
//!
//! Only this module knows tonic and the messages of the wire.

mod failure;
mod image_fs_info;
mod image_list;
mod image_message;
mod image_pull;
mod image_remove;
mod image_status;
mod images;
mod listen;
mod observe;
mod runtime;
mod runtime_config;
mod runtime_status;
mod runtime_version;

use std::sync::Arc;
use std::time::Duration;

use proto::v1::image_service_server::ImageServiceServer;
use proto::v1::runtime_service_server::RuntimeServiceServer;
use tokio::sync::Notify;
use tokio_stream::wrappers::UnixListenerStream;

use crate::config::Settings;
use crate::image::registry::Registry;
use crate::image::{self, Store};

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
    settings: Settings,
}

impl Service {
    /// Opens what the settings name.
    ///
    /// # Errors
    /// As [`Store::open`] and [`Registry::new`].
    pub fn open(settings: &Settings) -> Result<Service, image::Error> {
        let config = settings.now();
        let registry = Registry::new(config.registry())?;
        let store = Store::open(&config.root)?;
        Ok(Service { store: Arc::new(store), registry: Arc::new(registry), settings: settings.clone() })
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
