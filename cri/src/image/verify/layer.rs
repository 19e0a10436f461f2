//! One layer: its blob, its seal, and its files against the blob.

use std::collections::BTreeSet;
use std::os::fd::AsFd;

use runtime::rooted::Shown;
use runtime::sys::Call;

use super::super::cancel::Cancel;
use super::super::digest::Digest;
use super::super::dir::Dir;
use super::super::dirs::{check_extra, layer_name};
use super::super::error::{EntryFault, Error};
use super::super::ingest::{Blobs, Ingest};
use super::super::layer::{Seal, TREE};
use super::super::store::Store;
use super::super::unpack::{Contents, Records, Stream, unpack};
use super::compare::{Differences, compare};
use super::inventory::{Known, Needed};
use super::{Damage, Depth, Object};

const BLOB_MEANS: &str =
    "the image runs, but cannot be saved or pushed, and its layer cannot be unpacked again from it";
const LAYER_MEANS: &str = "containers of the image see wrong files";
const UNSEALED_MEANS: &str = "it is not used; the next container of the image unpacks it again";
const EXTRA_MEANS: &str = "folders in containers of the image may have a wrong owner or mode";

/// What was found about a layer.
pub(super) struct Checked {
    pub(super) damages: Vec<Damage>,
    /// Its files were compared with its blob.
    pub(super) compared: bool,
    pub(super) layer_is_whole: bool,
}

/// The layer as its blob says it should be.
struct Fresh {
    tree: Dir,
    records: Records,
    seal: Seal,
}

impl Store {
    /// Checks a layer and its blob.
    pub(super) fn check_layer(&self, layer: &Needed, depth: Depth, ingest: &mut Ingest<'_>) -> Result<Checked, Error> {
        let damage = |object, reason, meaning| Damage {
            object,
            reason,
            meaning,
            images: layer.images.clone(),
            descriptor: Some(layer.blob.clone()),
            manifests: layer.manifests.clone(),
        };
        let mut damages = Vec::new();
        let fresh = match self.read_blob(layer, depth, ingest)? {
            Ok(fresh) => fresh,
            Err(reason) => {
                damages.push(damage(Object::Blob(layer.blob.digest.clone()), reason, BLOB_MEANS));
                None
            }
        };
        let object = || Object::Layer(layer.diff_id.clone());
        let Some((dir, seal)) = self.sealed_layer(&layer.diff_id)? else {
            let there = self.layers.stat_of(layer.diff_id.hex().as_bytes())?.is_some();
            let reason = if there { "has no valid seal: it was not written to its end" } else { "is missing" };
            damages.push(damage(object(), reason.into(), UNSEALED_MEANS));
            return Ok(Checked { damages, compared: false, layer_is_whole: false });
        };
        let Some(fresh) = fresh else {
            return Ok(Checked { damages, compared: false, layer_is_whole: true });
        };
        let mut differences = match dir.sub(TREE) {
            Ok(tree) => compare(&fresh.tree, &tree, &fresh.records)?,
            Err(error) => {
                let mut differences = Differences::default();
                differences.note(error.to_string());
                differences
            }
        };
        if !seal.is_same(&fresh.seal) {
            differences.note("the seal is not that of the blob's contents".into());
        }
        let different = differences.describe();
        let layer_is_whole = different.is_none();
        damages.extend(different.map(|reason| damage(object(), reason, LAYER_MEANS)));
        Ok(Checked { damages, compared: true, layer_is_whole })
    }

    /// Reads a blob and unpacks it beside the store. The inner error says what is wrong with the blob.
    fn read_blob(
        &self,
        layer: &Needed,
        depth: Depth,
        ingest: &mut Ingest<'_>,
    ) -> Result<Result<Option<Fresh>, String>, Error> {
        let Some(mut file) = self.open_blob(&layer.blob.digest)? else {
            return Ok(match layer.blobs {
                Blobs::Keep => Err("is missing".into()),
                Blobs::Discard => Ok(None),
            });
        };
        let size = file.metadata().call(|| format!("fstat({})", Shown(&file)))?.len();
        if size != layer.blob.size {
            return Ok(Err(format!("has {size} bytes, not {}", layer.blob.size)));
        }
        if depth == Depth::Fast {
            return Ok(Ok(None));
        }
        let records = Records::new(ingest.spool()?);
        let (tree, trash) = ingest.scratch()?;
        let stream = Stream {
            input: &mut file,
            algorithm: layer.blob.digest.algorithm(),
            diff_algorithm: layer.diff_id.algorithm(),
            size: layer.blob.size,
            copy: None,
            progress: &mut |_| {},
            stop: &Cancel::new(),
        };
        let unpacked = stream
            .run(&self.limits, |plain| unpack(plain, tree.as_fd(), &trash, &self.limits, Contents::Recorded(&records)));
        let (unpacked, found) = match unpacked {
            Ok(done) => done,
            // The kernel would not do something: nothing is known about the blob.
            Err(error @ (Error::Call(_) | Error::Entry { fault: EntryFault::Call(_), .. })) => return Err(error),
            Err(error) => return Ok(Err(error.to_string())),
        };
        if found.digest != layer.blob.digest {
            return Ok(Err(format!("has the digest {}", found.digest)));
        }
        if found.diff_id != layer.diff_id {
            return Ok(Err(format!("unpacks to {}, not to {}", found.diff_id, layer.diff_id)));
        }
        Ok(Ok(Some(Fresh { tree, records, seal: Seal::new(layer.diff_id.clone(), &unpacked, None) })))
    }

    /// Checks the extra layer of an image, if it has one and all its layers are whole.
    pub(super) fn check_extra_of(&self, image: &Known, whole: &BTreeSet<Digest>) -> Result<Option<Damage>, Error> {
        let Some(name) = layer_name(&image.diff_ids) else { return Ok(None) };
        if !image.diff_ids.iter().all(|diff_id| whole.contains(diff_id)) {
            return Ok(None);
        }
        let mut stack = Vec::new();
        for diff_id in image.diff_ids.iter().rev() {
            let Some((dir, seal)) = self.sealed_layer(diff_id)? else { return Ok(None) };
            let hides_all_below = seal.opaque_root;
            stack.push((dir, seal));
            if hides_all_below {
                break;
            }
        }
        let reason = check_extra(&self.layers, &image.diff_ids, &stack)?;
        Ok(reason.map(|reason| Damage {
            object: Object::Extra(name),
            reason,
            meaning: EXTRA_MEANS,
            images: image.label.clone(),
            descriptor: None,
            manifests: [image.manifest.clone()].into(),
        }))
    }
}
