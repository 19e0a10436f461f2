//! ListImages, StreamImages.

use proto::v1;
use tonic::Status;

use super::Service;
use super::image_message::message;
use crate::image::Error;

/// All images, or the one that the filter names. CRI: ListImages
pub(super) async fn list_images(service: &Service, filter: Option<v1::ImageFilter>) -> Result<Vec<v1::Image>, Status> {
    let wanted = filter.and_then(|filter| filter.image).map(|image| image.image).filter(|name| !name.is_empty());
    let config = service.settings.now();
    service
        .on_store(move |store| {
            let images = match wanted {
                None => store.list()?,
                Some(name) => match store.resolve(&name) {
                    Ok(image) => vec![image],
                    Err(Error::NotFound { .. }) => Vec::new(),
                    Err(error) => return Err(error),
                },
            };
            Ok(images.iter().map(|image| message(image, &config.pinned_images)).collect())
        })
        .await
}
