//! Parts of a container's status.

use proto::v1;

use super::pod::mapping;
use crate::pod::config::{ContainerMetadata, ImageSpec, Mount, MountSource, Propagation};
use crate::server::decode::signal;

/// Who a container is.
pub(crate) fn container_metadata(value: &ContainerMetadata) -> v1::ContainerMetadata {
    v1::ContainerMetadata { name: value.name.clone(), attempt: value.attempt }
}

/// An image as the caller named it, and what that is: an image's id, or empty text where it is not known.
pub(crate) fn image_spec(value: &ImageSpec, image_ref: &str) -> v1::ImageSpec {
    let ImageSpec { image, annotations, user_specified_image, runtime_handler } = value.clone();
    v1::ImageSpec {
        image,
        annotations: annotations.into_iter().collect(),
        user_specified_image,
        runtime_handler,
        image_ref: image_ref.to_owned(),
    }
}

/// A mount; `image_ref` is the id of the image that is mounted.
pub(crate) fn mount(value: &Mount, image_ref: &str) -> v1::Mount {
    let (host_path, image, image_sub_path) = match &value.source {
        MountSource::Host(path) => (path.to_string_lossy().into_owned(), None, String::new()),
        MountSource::Image { image, sub_path } => (String::new(), Some(image_spec(image, image_ref)), sub_path.clone()),
    };
    let propagation = match value.propagation {
        Propagation::Private => v1::MountPropagation::PropagationPrivate,
        Propagation::HostToContainer => v1::MountPropagation::PropagationHostToContainer,
        Propagation::Bidirectional => v1::MountPropagation::PropagationBidirectional,
    };
    v1::Mount {
        container_path: value.container_path.clone(),
        host_path,
        readonly: value.readonly,
        selinux_relabel: value.selinux_relabel,
        propagation: propagation as i32,
        uid_mappings: value.uid_mappings.iter().copied().map(mapping).collect(),
        gid_mappings: value.gid_mappings.iter().copied().map(mapping).collect(),
        recursive_read_only: value.recursive_read_only,
        image,
        image_sub_path,
        mount_options: value.options.clone(),
    }
}

/// The interface's number of a signal of Linux.
pub(crate) fn stop_signal(number: i32) -> i32 {
    signal::message(number)
}
