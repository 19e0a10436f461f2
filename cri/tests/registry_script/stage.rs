//! A registry with one image that has a large layer, and a store to pull it into.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cri::image::registry::{Config, Credentials, PullOptions, Pulled, Registry};
use cri::image::{Blobs, Cancel, Error, Store};

use super::{Answer, Content, Request, Server};
use crate::image_layout::{Layer, Tar, layout};

/// One image with a small and a large layer, and a store.
pub struct Stage {
    pub scratch: tempfile::TempDir,
    pub content: Content,
    /// The digest of the large layer's blob, and its bytes.
    pub large: String,
    pub blob: Vec<u8>,
}

impl Stage {
    pub fn new() -> Stage {
        Stage::of(&[Layer::gzip(Tar::new().file("small", "x"))])
    }

    /// With the large layer on these.
    pub fn of(lower: &[Layer]) -> Stage {
        let scratch = tempfile::tempdir().unwrap();
        // Bytes that do not compress, so that the blob is as long as this.
        let mut state = 1u64;
        let noise = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            char::from(b'0' + (state >> 60) as u8)
        });
        let text: String = noise.take(400_000).collect();
        let own = Layer::plain(Tar::new().file("large", &text));
        let large = cri::image::Digest::of(&own.blob).to_string();
        layout(&scratch.path().join("layout"), "app:1", &[lower, std::slice::from_ref(&own)].concat());
        let content = Content::of_layout(&scratch.path().join("layout"), "1");
        Stage { large, blob: own.blob, content, scratch }
    }

    pub fn store(&self) -> Store {
        Store::open(&self.root()).unwrap()
    }

    pub fn root(&self) -> PathBuf {
        self.scratch.path().join("store")
    }

    pub fn config(&self) -> Config {
        Config {
            hosts_dirs: vec![self.scratch.path().join("certs.d")],
            connect_timeout: Duration::from_secs(2),
            idle_timeout: Duration::from_millis(300),
            downloads: 3,
            ranges: 1,
            range_bytes: 1 << 20,
            chunk_bytes: 1 << 20,
            retries: 3,
            retry_delay: Duration::from_millis(1),
        }
    }

    /// A server that answers for the large blob as `answer` says (with the number of the request), else as it should.
    pub fn server(&self, answer: impl Fn(&Request, &[u8], usize) -> Answer + Send + Sync + 'static) -> Server {
        let (content, large, blob) = (self.content.clone(), self.large.clone(), self.blob.clone());
        let count = AtomicUsize::new(0);
        Server::start(move |request| match request.target.contains(&large) {
            true => answer(request, &blob, count.fetch_add(1, Ordering::SeqCst)),
            false => content.answer(request),
        })
    }

    pub fn good(&self) -> Server {
        let content = self.content.clone();
        Server::start(move |request| content.answer(request))
    }

    /// Nothing of a failed pull counts, and no staging folder stays.
    pub fn assert_nothing_came(&self) {
        assert!(self.store().list().unwrap().is_empty());
        let files = |folder: &str| fs::read_dir(self.root().join(folder)).unwrap().count();
        assert_eq!(files("layers"), 0);
        assert_eq!(files("ingest"), 1, "ingest/partial only");
    }

    pub fn partial(&self) -> PathBuf {
        self.root().join("ingest/partial").join(self.large.replace(':', "-"))
    }
}

pub fn anonymous() -> PullOptions {
    PullOptions {
        platform: None,
        credentials: Arc::new(|_| Ok(Credentials::Anonymous)),
        cancel: Cancel::new(),
        blobs: Blobs::Keep,
    }
}

pub fn user() -> Credentials {
    Credentials::Basic { username: "me".into(), password: "s3cret".into() }
}

pub fn pull(stage: &Stage, name: &str) -> Result<Pulled, Error> {
    let registry = Registry::new(stage.config()).unwrap();
    stage.store().pull(&registry, &name.parse().unwrap(), &anonymous(), &mut |_| {})
}

pub fn pull_as(stage: &Stage, name: &str, credentials: Credentials) -> Result<Pulled, Error> {
    let registry = Registry::new(stage.config()).unwrap();
    let options = PullOptions { credentials: Arc::new(move |_| Ok(credentials.clone())), ..anonymous() };
    stage.store().pull(&registry, &name.parse().unwrap(), &options, &mut |_| {})
}

/// The part of a blob that was asked for.
pub fn part(request: &Request, blob: &[u8]) -> Answer {
    match request.range() {
        None => Answer::new(200, blob),
        Some((first, last)) => {
            let last = last.unwrap_or(blob.len() - 1);
            let range = format!("bytes {first}-{last}/{}", blob.len());
            Answer::new(206, &blob[first..=last]).header("content-range", range)
        }
    }
}
