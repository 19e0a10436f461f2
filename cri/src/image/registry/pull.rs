//! Bringing an image from a registry into the store.

use std::sync::Arc;
use std::time::Duration;

use super::super::cancel::Cancel;
use super::super::choose::{Layers, Reading};
use super::super::digest::Digest;
use super::super::document::{Descriptor, Kind, parse_index};
use super::super::error::Error;
use super::super::ingest::{Blobs, Ingest};
use super::super::names;
use super::super::partial::Turn;
use super::super::platform::Platform;
use super::super::progress::Progress;
use super::super::receive::{Bytes, Incoming};
use super::super::reference::Reference;
use super::super::store::Store;
use super::super::verify::Lost;
use super::Registry;
use super::credentials::Lookup;
use super::download::Download;
use super::source::Repository;

/// How often an equal pull is looked after.
const POLL: Duration = Duration::from_millis(100);

/// What to pull, and how.
pub struct PullOptions {
    /// The machine that the image is for; `None`: this one.
    pub platform: Option<Platform>,
    /// How to log in.
    pub credentials: Lookup,
    /// Ends the pull from outside.
    pub cancel: Cancel,
    /// Whether the blobs of layers are kept.
    pub blobs: Blobs,
}

/// What is to be fetched.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    reference: &'a Reference,
    purpose: Purpose<'a>,
}

/// What a pull is for.
#[derive(Clone, Copy)]
enum Purpose<'a> {
    /// A name is to mean the image.
    Name,
    /// Parts of an image that has its names are to be replaced.
    Repair(&'a Lost),
}

/// An image that was pulled.
#[derive(Clone, Debug, PartialEq)]
pub struct Pulled {
    /// Its id: the digest of its config.
    pub id: Digest,
    /// The digest of its manifest.
    pub manifest: Digest,
    /// The digest that the reference has in the registry: that of the manifest, or of the index it was chosen from.
    pub resolved: Digest,
    /// The name it has now: with the tag, or with the digest if one was asked for.
    pub name: Reference,
    /// The machine it is for.
    pub platform: Platform,
    /// Whether the store had it under this name before.
    pub fresh: Fresh,
}

/// Whether a pull changed anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fresh {
    /// The name means another image now, or one at all.
    New,
    /// It is the image that the name meant before.
    UpToDate,
}

impl Store {
    /// Brings an image from its registry, or from a mirror of it, into the store. Layers that are there are not fetched.
    ///
    /// Blocks the calling thread; must not be called from within an asynchronous task.
    ///
    /// # Errors
    /// [`Error::Registry`] with every endpoint that was tried; what [`Store::load`] says about images.
    pub fn pull(
        &self,
        registry: &Registry,
        reference: &Reference,
        options: &PullOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Pulled, Error> {
        self.bring(registry, &Wanted { reference, purpose: Purpose::Name }, options, progress)
    }

    /// Fetches what is lost of an image from where it came from. Names stay as they are.
    ///
    /// # Errors
    /// As [`Store::pull`], of the first place; [`Error::Damaged`] if there is none.
    pub fn refetch(
        &self,
        registry: &Registry,
        lost: &Lost,
        options: &PullOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), Error> {
        let mut first = None;
        for source in &lost.sources {
            let wanted = Wanted { reference: source, purpose: Purpose::Repair(lost) };
            match self.bring(registry, &wanted, options, progress) {
                Ok(_) => return Ok(()),
                Err(Error::Cancelled) => return Err(Error::Cancelled),
                Err(error) => drop(first.get_or_insert(error)),
            }
        }
        Err(first.unwrap_or_else(|| Error::Damaged {
            what: "image".into(),
            reason: "has no name that says where it came from; load or pull it again".into(),
        }))
    }

    fn bring(
        &self,
        registry: &Registry,
        wanted: &Wanted<'_>,
        options: &PullOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Pulled, Error> {
        let Wanted { reference, purpose } = *wanted;
        let what = reference.familiar();
        let repository = Repository::new(&registry.inner, reference, &options.credentials, self.limits.document_bytes)?;
        let repository = Arc::new(repository);
        let (descriptor, bytes) = registry.block_on(&options.cancel, repository.resolve())?;
        let fetch = |wanted: &Descriptor| match wanted.digest == descriptor.digest {
            true => Ok(bytes.clone()),
            false => match self.read_document(wanted) {
                Ok(bytes) => Ok(bytes),
                Err(_) => registry.block_on(&options.cancel, repository.document(wanted)),
            },
        };
        let reading = Reading { what: &what, fetch: &fetch, platform: options.platform.as_ref(), limits: &self.limits };
        let manifest = match Kind::of(&descriptor.media_type, &what)? {
            Kind::Manifest => descriptor.clone(),
            Kind::Index => reading.choose(parse_index(&bytes, &what, &self.limits)?.manifests, &what, 1)?,
        };
        // Before the config is fetched: who waited finds it in the store.
        let _turn = self.wait_for_turn(registry, &manifest.digest, &options.cancel, progress)?;
        let image = reading.oci_image(manifest)?;
        let Layers::Manifest { descriptor: manifest, bytes: manifest_bytes, manifest: parsed } = &image.layers else {
            return Err(Error::NotAnImage { what });
        };
        let downloads = parsed.layers.iter().map(|layer| {
            let partials = Arc::new(self.partials(&layer.digest)?);
            Ok(Download::new(&registry.inner, registry.runtime.handle(), &repository, &partials, layer.bare()))
        });
        let downloads = downloads.collect::<Result<Vec<_>, Error>>()?;
        let incoming: Vec<Incoming<'_>> = image
            .config
            .diff_ids
            .iter()
            .zip(&downloads)
            .map(|(diff_id, download)| Incoming {
                diff_id: diff_id.clone(),
                digest: Some(download.blob.digest.clone()),
                size: download.blob.size,
                bytes: Bytes::Registry(download),
            })
            .collect();
        let mut ingest = Ingest::begin(self)?.keeping(match purpose {
            Purpose::Name => options.blobs,
            Purpose::Repair(lost) => lost.blobs,
        });
        if let Purpose::Repair(lost) = purpose {
            lost.layers.iter().for_each(|diff_id| ingest.distrust(diff_id));
        }
        ingest.layers(&incoming, &options.cancel, progress)?;
        let id = parsed.config.digest.clone();
        ingest.add_document(&id, &image.config_bytes)?;
        ingest.add_document(&manifest.digest, manifest_bytes)?;
        let entry = Descriptor { platform: Some(image.config.platform.clone()), ..manifest.bare() };
        let digested = reference.with_digest(&descriptor.digest);
        let name = if reference.digest().is_some() { digested.clone() } else { reference.clone() };
        let mut fresh = Fresh::New;
        ingest.commit(progress, |mut index| {
            if matches!(purpose, Purpose::Repair(_)) {
                return Ok(index);
            }
            if names::find(&index, &name).is_some_and(|old| old.digest == manifest.digest) {
                fresh = Fresh::UpToDate;
            }
            names::assign(&mut index, &entry, Some(&name));
            names::assign(&mut index, &entry, Some(&digested));
            names::mark(&mut index, &entry.digest, options.blobs);
            Ok(index)
        })?;
        Ok(Pulled {
            id,
            manifest: manifest.digest.clone(),
            resolved: descriptor.digest.clone(),
            name,
            platform: image.config.platform,
            fresh,
        })
    }

    /// Equal pulls, also of other processes: one works, and what it brought the others find.
    fn wait_for_turn(
        &self,
        registry: &Registry,
        manifest: &Digest,
        cancel: &Cancel,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Turn, Error> {
        let mut told = false;
        loop {
            if let Some(turn) = self.take_turn(manifest)? {
                return Ok(turn);
            }
            if !told {
                progress(Progress::Waiting { layer: manifest.clone() });
                told = true;
            }
            registry.block_on(cancel, async {
                tokio::time::sleep(POLL).await;
                Ok(())
            })?;
        }
    }
}
