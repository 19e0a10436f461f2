//! RemoveImage.

use proto::v1;
use tonic::Status;

use super::Service;
use crate::image::{Error, Force};

/// Removes an image with all of its names; one that is not there is done. CRI: RemoveImage
pub(super) async fn remove_image(
    service: &Service,
    request: v1::RemoveImageRequest,
) -> Result<v1::RemoveImageResponse, Status> {
    let name = request.image.unwrap_or_default().image;
    if name.is_empty() {
        return Err(Status::invalid_argument("image.image: empty; a name or an id is needed"));
    }
    service
        .on_store(move |store| {
            let removed =
                store.resolve(&name).and_then(|image| store.remove(&image.id.to_string(), Force::Yes, &mut |_| None));
            match removed {
                // Somebody else may have been faster.
                Ok(_) | Err(Error::NotFound { .. }) => Ok(()),
                Err(error) => Err(error),
            }
        })
        .await?;
    Ok(v1::RemoveImageResponse {})
}
