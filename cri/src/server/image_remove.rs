//! RemoveImage.

use proto::v1;
use tonic::Status;

use super::Service;
use crate::image::{Digest, Error, Force};

/// Removes an image with all of its names; one that is not there is done. CRI: RemoveImage
pub(super) async fn remove_image(
    service: &Service,
    request: v1::RemoveImageRequest,
) -> Result<v1::RemoveImageResponse, Status> {
    let name = request.image.unwrap_or_default().image;
    if name.is_empty() {
        return Err(Status::invalid_argument("image.image: empty; a name or an id is needed"));
    }
    let engine = service.engine.clone();
    service
        .on_store(move |store| {
            // Its layers are what the container's root file system is made of.
            let in_use = &mut |id: &Digest| engine.user_of_image(id).map(|id| id.to_string());
            let removed =
                store.resolve(&name).and_then(|image| store.remove(&image.id.to_string(), Force::Yes, in_use));
            match removed {
                // Somebody else may have been faster.
                Ok(_) | Err(Error::NotFound { .. }) => Ok(()),
                Err(error) => Err(error),
            }
        })
        .await?;
    Ok(v1::RemoveImageResponse {})
}
