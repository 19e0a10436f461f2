//! Makes archives and OCI layouts by hand, also ones that no honest tool would write.
#![allow(dead_code, reason = "each test program uses its part")]
#![allow(unreachable_pub, missing_docs, reason = "a module of test programs")]

use std::fs;
use std::io::Write;
use std::path::Path;

use cri::image::Digest;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use tar::{EntryType, Header};

pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
pub const LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// Whether the tests can make device nodes and overlay attributes; says so if not.
pub fn is_root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        eprintln!("skipped: needs root (device nodes, owners, overlay attributes)");
    }
    root
}

/// A tar stream under construction.
#[derive(Clone, Default)]
pub struct Tar(pub Vec<u8>);

impl Tar {
    pub fn new() -> Tar {
        Tar::default()
    }

    /// An entry as it is, `change` may put anything into the header; the checksum is right.
    pub fn raw(mut self, kind: EntryType, name: &[u8], data: &[u8], change: impl Fn(&mut [u8; 512])) -> Tar {
        if name.len() > 100 {
            self.add(EntryType::GNULongName, b"././@LongLink", name, &|_| {});
        }
        self.add(kind, name, data, &change);
        self
    }

    fn add(&mut self, kind: EntryType, name: &[u8], data: &[u8], change: &dyn Fn(&mut [u8; 512])) {
        let mut header = Header::new_ustar();
        let short = &name[..name.len().min(100)];
        header.as_old_mut().name[..short.len()].copy_from_slice(short);
        header.set_entry_type(kind);
        header.set_size(data.len() as u64);
        header.set_mode(if kind == EntryType::Directory { 0o755 } else { 0o644 });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_000_000_000);
        change(header.as_mut_bytes());
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
    }

    pub fn file(self, name: &str, data: &str) -> Tar {
        self.raw(EntryType::Regular, name.as_bytes(), data.as_bytes(), |_| {})
    }

    pub fn dir(self, name: &str, mode: u32, uid: u32) -> Tar {
        self.raw(EntryType::Directory, name.as_bytes(), b"", |block| {
            block[100..107].copy_from_slice(format!("{mode:07o}").as_bytes());
            block[108..115].copy_from_slice(format!("{uid:07o}").as_bytes());
        })
    }

    pub fn link(self, kind: EntryType, name: &str, target: &str) -> Tar {
        let this = match target.len() > 100 {
            true => self.raw(EntryType::GNULongLink, b"././@LongLink", target.as_bytes(), |_| {}),
            false => self,
        };
        let short = target.as_bytes()[..target.len().min(100)].to_vec();
        this.raw(kind, name.as_bytes(), b"", |block| block[157..157 + short.len()].copy_from_slice(&short))
    }

    pub fn symlink(self, name: &str, target: &str) -> Tar {
        self.link(EntryType::Symlink, name, target)
    }

    pub fn hard_link(self, name: &str, target: &str) -> Tar {
        self.link(EntryType::Link, name, target)
    }

    pub fn device(self, kind: EntryType, name: &str, major: u32, minor: u32) -> Tar {
        self.raw(kind, name.as_bytes(), b"", |block| {
            block[329..336].copy_from_slice(format!("{major:07o}").as_bytes());
            block[337..344].copy_from_slice(format!("{minor:07o}").as_bytes());
        })
    }

    /// An extended header for the next entry.
    pub fn pax(self, records: &[(&str, &[u8])]) -> Tar {
        let mut bytes = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let digits = (1..).find(|digits| (rest + digits).to_string().len() == *digits).unwrap();
            bytes.extend(format!("{} {key}=", rest + digits).into_bytes());
            bytes.extend_from_slice(value);
            bytes.push(b'\n');
        }
        self.raw(EntryType::XHeader, b"pax", &bytes, |_| {})
    }

    /// The finished stream.
    pub fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// As small as gzip gets: zeros shrink a thousandfold.
pub fn gzip_tight(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A layer of a layout: its blob and what is said about it.
#[derive(Clone)]
pub struct Layer {
    pub blob: Vec<u8>,
    pub diff_id: String,
    pub media_type: String,
}

impl Layer {
    pub fn plain(tar: Tar) -> Layer {
        let blob = tar.end();
        Layer { diff_id: Digest::of(&blob).to_string(), blob, media_type: LAYER.into() }
    }

    pub fn gzip(tar: Tar) -> Layer {
        let tar = tar.end();
        Layer { blob: gzip(&tar), diff_id: Digest::of(&tar).to_string(), media_type: LAYER_GZIP.into() }
    }
}

/// Writes a blob; gives its descriptor.
pub fn blob(layout: &Path, bytes: &[u8], media_type: &str) -> Value {
    let digest = Digest::of(bytes);
    fs::create_dir_all(layout.join("blobs/sha256")).unwrap();
    fs::write(layout.join("blobs/sha256").join(digest.hex()), bytes).unwrap();
    json!({"mediaType": media_type, "digest": digest.to_string(), "size": bytes.len()})
}

pub fn config(diff_ids: &[String]) -> Value {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    json!({"architecture": architecture, "os": "linux", "config": {"Cmd": ["sh"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids}})
}

/// Writes a manifest and all that belongs to it; gives its descriptor.
pub fn manifest(layout: &Path, layers: &[Layer], config: &Value) -> Value {
    let config = blob(layout, config.to_string().as_bytes(), CONFIG);
    let layers: Vec<Value> = layers.iter().map(|layer| blob(layout, &layer.blob, &layer.media_type)).collect();
    let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers});
    blob(layout, manifest.to_string().as_bytes(), MANIFEST)
}

pub fn named(mut descriptor: Value, name: &str) -> Value {
    descriptor["annotations"] = json!({"org.opencontainers.image.ref.name": name});
    descriptor
}

pub fn index(layout: &Path, manifests: &[Value]) {
    fs::create_dir_all(layout).unwrap();
    fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests});
    fs::write(layout.join("index.json"), index.to_string()).unwrap();
}

/// A layout with one image.
pub fn layout(layout: &Path, name: &str, layers: &[Layer]) {
    let diff_ids: Vec<String> = layers.iter().map(|layer| layer.diff_id.clone()).collect();
    let image = manifest(layout, layers, &config(&diff_ids));
    index(layout, &[named(image, name)]);
}
