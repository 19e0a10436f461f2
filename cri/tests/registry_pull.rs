//! Pulling from a registry that does as it should.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod image_layout;
mod registry_script;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use cri::image::registry::{Config, Credentials, Fresh, PullOptions, Pulled, PushOptions, Registry};
use cri::image::{Blobs, Cancel, Error, LoadOptions, Progress, Reference, Sent, Source, Store};
use image_layout::{Layer, Tar, is_root, layout};
use registry_script::{Content, Server};

fn pull(store: &Store, name: &str) -> Result<Pulled, Error> {
    let registry = Registry::new(Config::default()).unwrap();
    let options = PullOptions {
        platform: None,
        credentials: Arc::new(|_| Ok(Credentials::Anonymous)),
        cancel: Cancel::new(),
        blobs: Blobs::Keep,
    };
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

/// docker's own registry on a port of its choice, with a folder of its own.
struct Distribution {
    child: Child,
    host: String,
    _folder: tempfile::TempDir,
}

impl Distribution {
    /// `None`, and it is said: the program is not installed.
    fn start() -> Option<Distribution> {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("config.yml");
        let storage = folder.path().join("data");
        fs::write(
            &config,
            format!(
                "version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: 127.0.0.1:0}}\n",
                storage.display()
            ),
        )
        .unwrap();
        let spawned = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let Ok(mut child) = spawned else {
            eprintln!("skipped: docker-registry is not installed (hack/setup)");
            return None;
        };
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        let host = loop {
            line.clear();
            assert_ne!(log.read_line(&mut line).unwrap(), 0, "docker-registry ended");
            if let Some((_, rest)) = line.split_once("listening on ") {
                let end = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.' && letter != ':');
                break rest[..end.unwrap_or(rest.len())].to_owned();
            }
        };
        // It must not stop because nobody reads what it logs.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Some(Distribution { child, host, _folder: folder })
    }
}

impl Drop for Distribution {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn root_what_is_pushed_is_pulled() {
    if !is_root() {
        return;
    }
    let Some(server) = Distribution::start() else { return };
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("layout");
    let base = Layer::gzip(Tar::new().file("base", "same in all"));
    layout(&path, "app:1", &[base.clone(), Layer::plain(Tar::new().file("file", "x")), base]);
    let store = Store::open(&scratch.path().join("store")).unwrap();
    let loaded = store.load(Source::Path(path), &LoadOptions::default(), &mut |_| {}).unwrap().remove(0);
    let registry = Registry::new(Config::default()).unwrap();
    let push = |target: &str| {
        let mut sent = Vec::new();
        let options = PushOptions {
            image: loaded.id.short().into(),
            credentials: Arc::new(|_| Ok(Credentials::Anonymous)),
            cancel: Cancel::new(),
        };
        let target = format!("{}/{target}", server.host).parse().unwrap();
        let pushed = store
            .push(&registry, &target, &options, &mut |event| {
                if let Progress::Pushed { how, .. } = event {
                    sent.push(how);
                }
            })
            .unwrap();
        assert_eq!(pushed.digest, loaded.manifest);
        store.tag(loaded.id.short(), &target).unwrap();
        sent
    };
    assert_eq!(push("team/app:1"), [Sent::Sent; 3], "a blob that is in twice is sent once");
    assert_eq!(push("team/app:2"), [Sent::There; 3]);
    assert_eq!(push("other/app:1"), [Sent::Mounted; 3]);

    let second = Store::open(&scratch.path().join("second")).unwrap();
    let name = format!("{}/other/app:1", server.host);
    let pulled = pull(&second, &name).unwrap();
    assert_eq!((&pulled.id, &pulled.resolved), (&loaded.id, &loaded.manifest));
    assert_eq!(second.prepare(&name, &mut |_| {}).unwrap().layers.len(), 3);
    let error = pull(&second, &format!("{}/other/app:9", server.host)).unwrap_err().to_string();
    assert!(error.ends_with("404 Not Found: MANIFEST_UNKNOWN: manifest unknown"), "{error}");
}
