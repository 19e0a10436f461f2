//! The list in `index.json`: one descriptor for each name of an image, one without a name if it has none.
//!
//! Pure: old list in, new list out.

use super::digest::Digest;
use super::document::Descriptor;
use super::ingest::Blobs;
use super::reference::Reference;
use super::store::{name_of, named, with_blobs};

/// Gives `name` to the image, or keeps it without one. An image that had the name stays, without it.
pub(crate) fn assign(index: &mut Vec<Descriptor>, image: &Descriptor, name: Option<&Reference>) {
    if let Some(name) = name {
        remove_name(index, name);
        index.retain(|entry| entry.digest != image.digest || name_of(entry).is_some());
    } else if index.iter().any(|entry| entry.digest == image.digest) {
        return;
    }
    index.push(named(image, name));
}

/// Says for all names of an image whether the blobs of its layers are kept.
pub(crate) fn mark(index: &mut [Descriptor], manifest: &Digest, blobs: Blobs) {
    for entry in index.iter_mut().filter(|entry| entry.digest == *manifest) {
        *entry = with_blobs(entry, blobs);
    }
}

/// The entry of a name.
pub(crate) fn find<'i>(index: &'i [Descriptor], name: &Reference) -> Option<&'i Descriptor> {
    index.iter().find(|entry| name_of(entry).as_ref() == Some(name))
}

/// Takes a name away; the image stays, without a name if it was the last. Tells which image it was.
pub(crate) fn remove_name(index: &mut Vec<Descriptor>, name: &Reference) -> Option<Descriptor> {
    let at = index.iter().position(|entry| name_of(entry).as_ref() == Some(name))?;
    let entry = index.remove(at);
    if !index.iter().any(|other| other.digest == entry.digest) {
        index.push(named(&entry, None));
    }
    Some(entry)
}

/// Removes an image with all its names.
pub(crate) fn remove_image(index: &mut Vec<Descriptor>, manifest: &Digest) {
    index.retain(|entry| entry.digest != *manifest);
}

#[cfg(test)]
mod tests {
    use super::super::document::OCI_MANIFEST;
    use super::*;

    fn image(text: &str) -> Descriptor {
        let digest = Digest::of(text.as_bytes());
        Descriptor { media_type: OCI_MANIFEST.into(), digest, size: 1, platform: None, annotations: None }
    }

    fn shown(index: &[Descriptor]) -> Vec<String> {
        let name = |entry: &Descriptor| name_of(entry).map_or("-".into(), |name| name.familiar());
        let letter = |entry: &Descriptor| if entry.digest == image("a").digest { 'a' } else { 'b' };
        index.iter().map(|entry| format!("{} {}", letter(entry), name(entry))).collect()
    }

    #[test]
    fn names_move_and_images_stay() {
        let (one, two): (Reference, Reference) = ("x:1".parse().unwrap(), "x:2".parse().unwrap());
        let mut index = Vec::new();
        assign(&mut index, &image("a"), None);
        assign(&mut index, &image("a"), None);
        assert_eq!(shown(&index), ["a -"]);
        assign(&mut index, &image("a"), Some(&one));
        assign(&mut index, &image("a"), Some(&two));
        assign(&mut index, &image("a"), None);
        assert_eq!(shown(&index), ["a x:1", "a x:2"]);
        assign(&mut index, &image("b"), Some(&one));
        assert_eq!(shown(&index), ["a x:2", "b x:1"]);
        assign(&mut index, &image("b"), Some(&two));
        assert_eq!(shown(&index), ["b x:1", "a -", "b x:2"]);
        assert_eq!(remove_name(&mut index, &one), Some(named(&image("b"), Some(&one))));
        assert_eq!(remove_name(&mut index, &one), None);
        remove_name(&mut index, &two);
        assert_eq!(shown(&index), ["a -", "b -"]);
        remove_image(&mut index, &image("a").digest);
        assert_eq!(shown(&index), ["b -"]);
    }

    #[test]
    fn discarded_blobs_are_a_matter_of_the_image() {
        use super::super::store::blobs_of;
        let name: Reference = "x:1".parse().unwrap();
        let (one, other) = (image("a"), image("b"));
        let mut index = Vec::new();
        assign(&mut index, &one, Some(&name));
        assign(&mut index, &other, None);
        mark(&mut index, &one.digest, Blobs::Discard);
        let again = index[0].clone();
        assign(&mut index, &again, Some(&"x:2".parse().unwrap()));
        remove_name(&mut index, &name);
        assert_eq!(shown(&index), ["b -", "a x:2"]);
        assert_eq!(index.iter().map(blobs_of).collect::<Vec<_>>(), [Blobs::Keep, Blobs::Discard]);
        mark(&mut index, &one.digest, Blobs::Keep);
        assert_eq!(index[1], named(&one, Some(&"x:2".parse().unwrap())));
    }
}
