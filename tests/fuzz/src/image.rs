//! What images and archives give.

use std::fs::File;
use std::path::Path;
use std::sync::OnceLock;

use cri::image::{Digest, ImageConfig, Reference, fuzz, identity};
use tempfile::TempDir;

pub(crate) fn reference(data: &[u8]) {
    let Some(reference) = text(data).and_then(|text| text.parse::<Reference>().ok()) else { return };
    let again: Reference = reference.to_string().parse().expect("what is shown can be read");
    assert_eq!(again, reference);
    let familiar: Reference = reference.familiar().parse().expect("what is shown can be read");
    assert_eq!(familiar, reference);
}

pub(crate) fn digest(data: &[u8]) {
    let Some(digest) = text(data).and_then(|text| text.parse::<Digest>().ok()) else { return };
    assert_eq!(Some(digest.to_string().as_str()), text(data));
}

pub(crate) fn manifest(data: &[u8]) {
    fuzz::manifest(data);
}

pub(crate) fn index(data: &[u8]) {
    fuzz::index(data);
}

pub(crate) fn config(data: &[u8]) {
    let _ = ImageConfig::parse(data, "config");
}

pub(crate) fn archive(data: &[u8]) {
    fuzz::archive(data);
}

pub(crate) fn layer(data: &[u8]) {
    let base = folder();
    fuzz::layer(data, base);
    let left: Vec<_> = std::fs::read_dir(base).expect("it is there").collect();
    assert!(left.is_empty(), "{left:?}");
}

/// Three parts, split at bytes of zero: the user, /etc/passwd and /etc/group.
pub(crate) fn accounts(data: &[u8]) {
    let mut parts = data.splitn(3, |byte| *byte == 0);
    let Some(user) = parts.next().and_then(text) else { return };
    let base = folder();
    let etc = base.join("etc");
    std::fs::create_dir_all(&etc).expect("a folder of our own");
    std::fs::write(etc.join("passwd"), parts.next().unwrap_or_default()).expect("a file of our own");
    std::fs::write(etc.join("group"), parts.next().unwrap_or_default()).expect("a file of our own");
    let root = File::open(base).expect("it is there");
    let _ = identity::resolve(&root, user, &[]);
    let _ = identity::resolve(&root, user, &[user.to_owned(), "0".to_owned()]);
}

fn text(data: &[u8]) -> Option<&str> {
    std::str::from_utf8(data).ok()
}

/// A folder of this process, which is removed by whoever started it: the fuzzer ends without saying so.
fn folder() -> &'static Path {
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    FOLDER.get_or_init(|| tempfile::tempdir().expect("a temporary folder")).path()
}
