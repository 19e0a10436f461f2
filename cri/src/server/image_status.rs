//! ImageStatus.

use std::collections::HashMap;

use proto::v1;
use tonic::Status;

use super::Service;
use super::image_message::message;
use crate::image::Error;

/// An image; one that is not there is no error. CRI: ImageStatus
pub(super) async fn image_status(
    service: &Service,
    request: v1::ImageStatusRequest,
) -> Result<v1::ImageStatusResponse, Status> {
    let name = request.image.unwrap_or_default().image;
    if name.is_empty() {
        return Err(Status::invalid_argument("image.image: empty; a name or an id is needed"));
    }
    let config = service.settings.now();
    let image = service
        .on_store(move |store| match store.resolve(&name) {
            Ok(image) => Ok(Some(message(&image, &config.pinned_images))),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        })
        .await?;
    Ok(v1::ImageStatusResponse { image, info: HashMap::new() })
}
