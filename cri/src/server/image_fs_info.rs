//! ImageFsInfo.

use std::time::{SystemTime, UNIX_EPOCH};

use proto::v1::{FilesystemIdentifier, FilesystemUsage, ImageFsInfoResponse, UInt64Value};
use tonic::Status;

use super::Service;

/// What images take of their file system. CRI: ImageFsInfo
pub(super) async fn image_fs_info(service: &Service) -> Result<ImageFsInfoResponse, Status> {
    let (footprint, mountpoint) =
        service.on_store(|store| Ok((store.footprint()?, store.root().display().to_string()))).await?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let usage = FilesystemUsage {
        timestamp: i64::try_from(now.as_nanos()).unwrap_or(i64::MAX),
        fs_id: Some(FilesystemIdentifier { mountpoint }),
        used_bytes: Some(UInt64Value { value: footprint.bytes }),
        inodes_used: Some(UInt64Value { value: footprint.inodes }),
    };
    // Writable layers are on the same file system.
    Ok(ImageFsInfoResponse { image_filesystems: vec![usage.clone()], container_filesystems: vec![usage] })
}
