//! An image as the wire has it.

use proto::v1;

use crate::config::ImagePattern;
use crate::image::Image;

/// The message of an image. The size is what it takes on the disk, compressed and unpacked: what removing it would free, if it
/// shares nothing. One of the names that `pinned` means keeps the kubelet from removing it.
pub(super) fn message(image: &Image, pinned: &[ImagePattern]) -> v1::Image {
    let mut names = image.names.iter().chain(&image.digests);
    let blobs: u64 = image.layers.iter().map(|layer| layer.size).sum();
    let documents: u64 = image.manifests.iter().map(|manifest| manifest.size).sum();
    let (uid, username) = user(&image.config.user);
    v1::Image {
        id: image.id.to_string(),
        repo_tags: image.names.iter().map(ToString::to_string).collect(),
        repo_digests: image.digests.iter().map(ToString::to_string).collect(),
        size: (blobs + documents + image.unpacked_bytes).max(1),
        uid: uid.map(|value| v1::Int64Value { value }),
        username,
        spec: None,
        pinned: names.any(|name| pinned.iter().any(|pattern| pattern.matches(name))),
    }
}

/// The user of an image: a number, or else a name; what follows a colon is the group.
fn user(text: &str) -> (Option<i64>, String) {
    let user = text.split(':').next().unwrap_or_default();
    match user.parse::<u32>() {
        Ok(uid) => (Some(i64::from(uid)), String::new()),
        Err(_) => (None, user.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users() {
        let table = [
            ("", None, ""),
            ("1002", Some(1002), ""),
            ("0:0", Some(0), ""),
            ("1003:1004", Some(1003), ""),
            ("www-data", None, "www-data"),
            ("www-data:1004", None, "www-data"),
        ];
        for (text, uid, name) in table {
            assert_eq!(user(text), (uid, name.to_owned()), "{text}");
        }
    }
}
