//! Pulling from a registry that does as it should.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod image_layout;
mod registry_script;

use std::path::Path;

use cri::image::registry::{Config, Credentials, Fresh, PullOptions, Pulled, Registry};
use cri::image::{Cancel, Error, Reference, Store};
use image_layout::{Layer, Tar, is_root, layout};
use registry_script::{Content, Server};

fn pull(store: &Store, name: &str) -> Result<Pulled, Error> {
    let registry = Registry::new(Config::default()).unwrap();
    let options = PullOptions { platform: None, credentials: &|_| Ok(Credentials::Anonymous), cancel: Cancel::new() };
    store.pull(&registry, &name.parse().unwrap(), &options, &mut |_| {})
}

fn image(scratch: &Path, text: &str) -> Content {
    let path = scratch.join(format!("layout-{text}"));
    let base = Layer::gzip(Tar::new().file("base", "same in all"));
    layout(&path, "app:1", &[base, Layer::plain(Tar::new().file("file", text))]);
    Content::of_layout(&path, "1")
}

#[test]
fn root_an_image_has_its_tag_and_its_digest() {
    if !is_root() {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let content = image(scratch.path(), "one");
    let server = Server::start(move |request| content.answer(request));
    let store = Store::open(&scratch.path().join("store")).unwrap();
    let name = format!("{}/app:1", server.host());
    let pulled = pull(&store, &name).unwrap();
    assert_eq!((pulled.name.familiar(), pulled.fresh), (name.clone(), Fresh::New));
    let image = store.resolve(&name).unwrap();
    assert_eq!(image.id, pulled.id);
    let digested = format!("{}/app@{}", server.host(), pulled.resolved);
    assert_eq!(image.digests.iter().map(Reference::familiar).collect::<Vec<_>>(), std::slice::from_ref(&digested));
    assert_eq!(store.resolve(&digested).unwrap().id, pulled.id);
    assert_eq!(store.prepare(&name, &mut |_| {}).unwrap().layers.len(), 2);

    let asked = server.log().len();
    assert_eq!(pull(&store, &name).unwrap().fresh, Fresh::UpToDate);
    assert!(!server.log()[asked..].iter().any(|line| line.contains("/blobs/") && !line.contains(pulled.id.hex())));
}
