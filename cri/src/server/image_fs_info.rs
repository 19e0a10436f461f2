//! ImageFsInfo.

use std::time::{Duration, Instant, SystemTime};

use proto::v1::ImageFsInfoResponse;
use tonic::Status;

use super::{Service, gather, stats_message};

/// How long the first count of the writable layers is waited for.
const FIRST: Duration = Duration::from_millis(500);

/// What images and writable layers take of their file systems. As long as the layers have never been counted their part is absent, which
/// means the same file system. CRI: ImageFsInfo
pub(super) async fn image_fs_info(service: &Service) -> Result<ImageFsInfoResponse, Status> {
    let directory = gather::layers_directory(service);
    let (layers, figures) = (service.engine.writable_layers(), std::sync::Arc::clone(&service.figures));
    service
        .on_store(move |store| {
            let images = stats_message::filesystem(&store.root(), store.footprint()?, SystemTime::now());
            let layers = figures.collector.layer(&layers, Instant::now() + FIRST);
            Ok(ImageFsInfoResponse {
                image_filesystems: vec![images],
                container_filesystems: layers
                    .iter()
                    .map(|measured| stats_message::writable_layer(&directory, measured))
                    .collect(),
            })
        })
        .await
}
