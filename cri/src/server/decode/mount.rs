//! Mounts and devices of a container.

use std::path::PathBuf;

use proto::v1;

use super::syntax::{absolute, below, text};
use super::{Invalid, namespace};
use crate::pod::config::{Device, ImageSpec, Mount, MountSource, Propagation};

/// Options that a mount may have beside those with fields of their own, with their opposites.
const OPTIONS: [(&str, &str); 3] = [("noexec", "exec"), ("nodev", "dev"), ("nosuid", "suid")];

/// A mount: of a path of the node, or of an image, which is always read-only.
pub(super) fn mount(message: v1::Mount) -> Result<Mount, Invalid> {
    let v1::Mount {
        container_path,
        host_path,
        readonly,
        selinux_relabel,
        propagation,
        uid_mappings,
        gid_mappings,
        recursive_read_only,
        image: image_message,
        image_sub_path,
        mount_options,
    } = message;
    let container_path = absolute("container_path", container_path)?;
    let source = match image_message {
        Some(_) if !host_path.is_empty() => {
            return Err(Invalid::new("image", "and host_path exclude each other"));
        }
        Some(_) if !readonly => {
            return Err(Invalid::new("readonly", "must be true: a mounted image cannot be written to"));
        }
        Some(message) => MountSource::Image { image: image("image", message)?, sub_path: sub_path(image_sub_path)? },
        None if !image_sub_path.is_empty() => {
            return Err(Invalid::new("image_sub_path", "is given without image"));
        }
        None => MountSource::Host(PathBuf::from(absolute("host_path", host_path)?)),
    };
    let propagation = match v1::MountPropagation::try_from(propagation) {
        Ok(v1::MountPropagation::PropagationPrivate) => Propagation::Private,
        Ok(v1::MountPropagation::PropagationHostToContainer) => Propagation::HostToContainer,
        Ok(v1::MountPropagation::PropagationBidirectional) => Propagation::Bidirectional,
        Err(_) => {
            let problem =
                format!("{propagation} is no propagation; they are private, host to container and bidirectional");
            return Err(Invalid::new("propagation", problem));
        }
    };
    if recursive_read_only && !readonly {
        return Err(Invalid::new("recursive_read_only", "needs readonly"));
    }
    if recursive_read_only && propagation != Propagation::Private {
        return Err(Invalid::new(
            "recursive_read_only",
            "needs private propagation: mounts that come later stay writable",
        ));
    }
    let uid_mappings = namespace::mappings("uidMappings", uid_mappings)?;
    let gid_mappings = namespace::mappings("gidMappings", gid_mappings)?;
    if uid_mappings.is_empty() != gid_mappings.is_empty() {
        return Err(Invalid::new("gidMappings", "and uidMappings must be given together"));
    }
    Ok(Mount {
        container_path,
        source,
        readonly,
        recursive_read_only,
        selinux_relabel,
        propagation,
        uid_mappings,
        gid_mappings,
        options: options(mount_options)?,
    })
}

/// An image by the caller's name for it.
pub(super) fn image(field: &str, message: v1::ImageSpec) -> Result<ImageSpec, Invalid> {
    let v1::ImageSpec { image, annotations, user_specified_image, runtime_handler, image_ref: _ } = message;
    if image.is_empty() {
        return Err(Invalid::new(&format!("{field}.image"), "must be given"));
    }
    let image = text(&format!("{field}.image"), image)?;
    Ok(ImageSpec { image, annotations: annotations.into_iter().collect(), user_specified_image, runtime_handler })
}

fn sub_path(value: String) -> Result<String, Invalid> {
    if !value.is_empty() {
        below("image_sub_path", value.clone())?;
    }
    Ok(value)
}

fn options(list: Vec<String>) -> Result<Vec<String>, Invalid> {
    for (index, option) in list.iter().enumerate() {
        if !OPTIONS.iter().any(|(closed, open)| option == closed || option == open) {
            let problem = format!("{option:?} must be noexec, nodev, nosuid, or an opposite of these");
            return Err(Invalid::new(&format!("mount_options[{index}]"), problem));
        }
    }
    let has = |name: &str| list.iter().any(|option| option == name);
    match OPTIONS.iter().find(|(closed, open)| has(closed) && has(open)) {
        Some((closed, open)) => Err(Invalid::new("mount_options", format!("{closed} and {open} exclude each other"))),
        None => Ok(list),
    }
}

/// A device of the node.
pub(super) fn device(message: v1::Device) -> Result<Device, Invalid> {
    let v1::Device { container_path, host_path, permissions } = message;
    let known = permissions.bytes().all(|letter| b"rwm".contains(&letter));
    let once =
        permissions.len() <= 3 && b"rwm".iter().all(|letter| permissions.bytes().filter(|p| p == letter).count() <= 1);
    if permissions.is_empty() || !known || !once {
        return Err(Invalid::new("permissions", format!("{permissions:?} must be letters of rwm, each once")));
    }
    Ok(Device {
        container_path: absolute("container_path", container_path)?,
        host_path: PathBuf::from(absolute("host_path", host_path)?),
        permissions,
    })
}
