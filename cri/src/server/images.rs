//! ImageService: which call is answered where.

use proto::v1::image_service_server::ImageService;
use proto::v1::*;
use tonic::{Request, Response, Status};

use super::{Service, image_fs_info, image_list, image_pull, image_remove, image_status};

/// Most images in a part of the list; each may have some kilobytes of names.
const PART: usize = 500;

#[tonic::async_trait]
impl ImageService for Service {
    type StreamImagesStream = tokio_stream::Iter<std::vec::IntoIter<Result<StreamImagesResponse, Status>>>;

    async fn list_images(&self, request: Request<ListImagesRequest>) -> Result<Response<ListImagesResponse>, Status> {
        let images = image_list::list_images(self, request.into_inner().filter).await?;
        Ok(Response::new(ListImagesResponse { images }))
    }

    async fn stream_images(
        &self,
        request: Request<StreamImagesRequest>,
    ) -> Result<Response<Self::StreamImagesStream>, Status> {
        let images = image_list::list_images(self, request.into_inner().filter).await?;
        let parts: Vec<_> =
            images.chunks(PART).map(|images| Ok(StreamImagesResponse { images: images.to_vec() })).collect();
        Ok(Response::new(tokio_stream::iter(parts)))
    }

    async fn image_status(
        &self,
        request: Request<ImageStatusRequest>,
    ) -> Result<Response<ImageStatusResponse>, Status> {
        image_status::image_status(self, request.into_inner()).await.map(Response::new)
    }

    async fn pull_image(&self, request: Request<PullImageRequest>) -> Result<Response<PullImageResponse>, Status> {
        image_pull::pull_image(self, request.into_inner()).await.map(Response::new)
    }

    async fn remove_image(
        &self,
        request: Request<RemoveImageRequest>,
    ) -> Result<Response<RemoveImageResponse>, Status> {
        image_remove::remove_image(self, request.into_inner()).await.map(Response::new)
    }

    async fn image_fs_info(&self, _: Request<ImageFsInfoRequest>) -> Result<Response<ImageFsInfoResponse>, Status> {
        image_fs_info::image_fs_info(self).await.map(Response::new)
    }
}
