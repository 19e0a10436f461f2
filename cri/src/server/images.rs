//! ImageService: which call is answered where.

use proto::v1::image_service_server::ImageService;
use proto::v1::*;
use tonic::{Request, Response, Status};

use super::{Service, image_fs_info, image_list, image_pull, image_remove, image_status, parts};

#[tonic::async_trait]
impl ImageService for Service {
    type StreamImagesStream = parts::Parts<StreamImagesResponse>;

    async fn list_images(&self, request: Request<ListImagesRequest>) -> Result<Response<ListImagesResponse>, Status> {
        let images = image_list::list_images(self, request.into_inner().filter).await?;
        Ok(Response::new(ListImagesResponse { images }))
    }

    async fn stream_images(
        &self,
        request: Request<StreamImagesRequest>,
    ) -> Result<Response<Self::StreamImagesStream>, Status> {
        let images = image_list::list_images(self, request.into_inner().filter).await?;
        Ok(Response::new(parts::of(&images, |images| StreamImagesResponse { images })))
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
