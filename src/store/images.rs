//! Images: records, configurations and manifests by digest, and the names that point to them.
//!
//! Used by the client. Reading takes no lock: a name is one small file, an image is one record, and
//! both are replaced by rename. Changing needs the `ImageIndex`, the exclusive lock on all of it.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::gc::{digest_from_hex, names_in};
use super::layers::Layer;
use super::layout::{file_to_tag, make_directory};
use super::lock::Lock;
use super::staging::Staging;
use super::{IoContext, Store, read_record, record_bytes};
use crate::spec::digest::{Algorithm, Digest};
use crate::spec::image::ImageConfig;
use crate::spec::image_ref::{ImageRef, InvalidReference};

/// The version of image records and of tags.
const RECORD_VERSION: u32 = 1;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Store(#[from] super::Error),
    #[error("no such image: {0}")]
    NotFound(String),
    #[error("{1} (in {0:?})")]
    Reference(String, InvalidReference),
    #[error("{prefix:?} is the beginning of {count} image ids: give more digits")]
    Ambiguous { prefix: String, count: usize },
    #[error("the image configuration {id} is not valid")]
    Config {
        id: Digest,
        #[source]
        source: serde_json::Error,
    },
    #[error("the image configuration names {expected} layers, {found} were given")]
    LayerCount { expected: usize, found: usize },
    #[error("the image configuration wants layer {expected}, {found} was given")]
    WrongLayer { expected: Digest, found: Digest },
    #[error("the name {0} is too long to be stored")]
    NameTooLong(ImageRef),
    #[error("the configuration of image {0} is missing from the store: remove the image and pull it again")]
    ConfigMissing(Digest),
}

/// `images/<id>.json`: an image that is here as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    version: u32,
    /// The digest of the configuration's bytes.
    pub id: Digest,
    /// Diff ids, the lowest first; a layer may be there twice.
    pub layers: Vec<Digest>,
    /// Of the manifest the image was pulled by, whose bytes are kept.
    pub manifest: Option<Digest>,
    /// `name@digest` for every repository it was pulled from.
    pub repo_digests: Vec<ImageRef>,
    /// Sum of the layers' sizes in bytes.
    pub size: u64,
    /// RFC 3339, as the configuration has it.
    pub created: Option<String>,
    pub architecture: String,
    pub os: String,
    pub variant: Option<String>,
}

/// A tag's file.
#[derive(Serialize, Deserialize)]
struct TagRecord {
    version: u32,
    image: Digest,
}

/// What an image is made of.
#[derive(Debug)]
pub struct NewImage<'a> {
    /// The configuration's bytes, kept as they are.
    pub config: &'a [u8],
    pub manifest: Option<&'a [u8]>,
    /// In the configuration's order. Holding them keeps them from being removed.
    pub layers: &'a [Layer],
    /// Where it was pulled from, with the digest the registry gave.
    pub repo_digest: Option<&'a ImageRef>,
}

/// How a key given by the user matched an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Match {
    /// By its id or the beginning of it.
    Id,
    /// By a name with a tag.
    Tag(ImageRef),
    /// By a name with a digest.
    RepoDigest(ImageRef),
}

impl Store {
    /// The image a user means: a name first, then the beginning of an id (docker's order).
    pub fn find_image(&self, key: &str) -> Result<(Image, Match), Error> {
        let not_found = || Error::NotFound(key.to_owned());
        if let Some(hex) = key.strip_prefix("sha256:") {
            return self.find_by_id(hex)?.map(|image| (image, Match::Id)).ok_or_else(not_found);
        }
        match ImageRef::parse(key) {
            Ok(name) => {
                if let Some(found) = self.find_by_name(&name)? {
                    return Ok(found);
                }
            }
            Err(InvalidReference::LooksLikeId(_)) => {}
            Err(error) => return Err(Error::Reference(key.to_owned(), error)),
        }
        self.find_by_id(key)?.map(|image| (image, Match::Id)).ok_or_else(not_found)
    }

    /// The image with a name: by its digest when it has one, else by its tag.
    pub fn find_by_name(&self, name: &ImageRef) -> Result<Option<(Image, Match)>, Error> {
        if let Some(digest) = name.digest() {
            let wanted = name.with_digest(digest.clone());
            let found = self.images()?.into_iter().find(|image| image.repo_digests.contains(&wanted));
            return Ok(found.map(|image| (image, Match::RepoDigest(wanted))));
        }
        let Some(id) = self.tagged(name)? else { return Ok(None) };
        Ok(self.image(&id)?.map(|image| (image, Match::Tag(name.clone()))))
    }

    /// The image with an id.
    pub fn image(&self, id: &Digest) -> Result<Option<Image>, Error> {
        Ok(read_record(&self.layout.image(id), RECORD_VERSION)?)
    }

    /// All images, in no order.
    pub fn images(&self) -> Result<Vec<Image>, super::Error> {
        let mut images = Vec::new();
        for id in self.image_ids()? {
            // One that is removed meanwhile is no error.
            images.extend(read_record::<Image>(&self.layout.image(&id), RECORD_VERSION)?);
        }
        Ok(images)
    }

    /// All names with the ids they point to, sorted by name.
    pub fn all_tags(&self) -> Result<Vec<(ImageRef, Digest)>, super::Error> {
        let mut tags = Vec::new();
        for file in names_in(&self.layout.tags())? {
            if let Some(name) = file_to_tag(&file) {
                tags.extend(self.tagged(&name)?.map(|id| (name, id)));
            }
        }
        tags.sort();
        Ok(tags)
    }

    /// The configuration of an image, as it came.
    pub fn image_config_bytes(&self, id: &Digest) -> Result<Vec<u8>, Error> {
        let path = self.layout.config(id);
        match std::fs::read(&path) {
            Ok(bytes) => Ok(bytes),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Err(Error::ConfigMissing(id.clone()))
            }
            Err(error) => Err(error).at("read", &path).map_err(Error::Store),
        }
    }

    pub fn image_config(&self, id: &Digest) -> Result<ImageConfig, Error> {
        parse_config(&self.image_config_bytes(id)?, id)
    }

    /// The exclusive right to change images and names. Waits for others that have it.
    pub fn image_index(&self) -> Result<ImageIndex<'_>, Error> {
        let path = self.layout.images_lock();
        make_directory(&self.layout.images())?;
        Ok(ImageIndex { store: self, _lock: Lock::exclusive(&path)? })
    }

    /// Adds an image and its name, as `ImageIndex::add` does, with the lock for just that.
    pub fn add_image(&self, name: Option<&ImageRef>, new: &NewImage<'_>) -> Result<Image, Error> {
        self.image_index()?.add(name, new)
    }

    fn tagged(&self, name: &ImageRef) -> Result<Option<Digest>, super::Error> {
        let Some(path) = self.layout.tag(name) else { return Ok(None) };
        Ok(read_record::<TagRecord>(&path, RECORD_VERSION)?.map(|tag| tag.image))
    }

    fn image_ids(&self) -> Result<Vec<Digest>, super::Error> {
        let names = names_in(&self.layout.images())?;
        Ok(names.iter().filter_map(|name| digest_from_hex(name.strip_suffix(".json")?)).collect())
    }

    fn find_by_id(&self, prefix: &str) -> Result<Option<Image>, Error> {
        if prefix.is_empty() || !prefix.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Ok(None);
        }
        let mut ids = self.image_ids()?;
        ids.retain(|id| id.hex().starts_with(prefix));
        match ids.as_slice() {
            [] => Ok(None),
            [id] => self.image(id),
            several => Err(Error::Ambiguous { prefix: prefix.to_owned(), count: several.len() }),
        }
    }
}

/// The locked index of images. Everything that changes images or names goes through it.
#[derive(Debug)]
pub struct ImageIndex<'a> {
    store: &'a Store,
    _lock: Lock,
}

impl ImageIndex<'_> {
    pub fn store(&self) -> &Store {
        self.store
    }

    /// Adds an image, or what is new about one that is there, and points its name to it.
    ///
    /// A name with a digest becomes no tag (as in docker). Everything appears in an order in which
    /// each file refers only to what is there already.
    pub fn add(&self, name: Option<&ImageRef>, new: &NewImage<'_>) -> Result<Image, Error> {
        let layout = &self.store.layout;
        let image = self.record(new)?;
        let tag = match name.filter(|name| name.digest().is_none()) {
            Some(name) => Some(layout.tag(name).ok_or_else(|| Error::NameTooLong(name.clone()))?),
            None => None,
        };
        let staging = self.store.stage()?;
        staging.write("config", new.config)?;
        staging.write("image", &record_bytes(&image))?;
        if let Some(manifest) = new.manifest {
            staging.write("manifest", manifest)?;
        }
        if tag.is_some() {
            staging.write("tag", &tag_bytes(&image.id))?;
        }
        staging.sync()?;
        staging.publish("config", &layout.config(&image.id))?;
        if let Some(manifest) = new.manifest.and(image.manifest.as_ref()) {
            staging.publish("manifest", &layout.manifest(manifest))?;
        }
        staging.publish("image", &layout.image(&image.id))?;
        if let Some(tag) = tag {
            staging.publish("tag", &tag)?;
        }
        Ok(image)
    }

    /// Points a name to an image; it may have pointed elsewhere.
    pub fn tag(&self, name: &ImageRef, id: &Digest) -> Result<(), Error> {
        let path = self.store.layout.tag(name).ok_or_else(|| Error::NameTooLong(name.clone()))?;
        if self.store.image(id)?.is_none() {
            return Err(Error::NotFound(id.to_string()));
        }
        let staging = self.store.stage()?;
        staging.write("tag", &tag_bytes(id))?;
        staging.sync()?;
        Ok(staging.publish("tag", &path)?)
    }

    /// Removes a name. True when it was there.
    pub fn untag(&self, name: &ImageRef) -> Result<bool, super::Error> {
        match self.store.layout.tag(name) {
            Some(path) => remove_file(&path),
            None => Ok(false),
        }
    }

    /// Forgets that an image came from a repository at a digest.
    pub fn forget_repo_digest(&self, id: &Digest, name: &ImageRef) -> Result<(), Error> {
        let Some(mut image) = self.store.image(id)? else { return Ok(()) };
        image.repo_digests.retain(|known| known != name);
        let staging = self.store.stage()?;
        staging.write("image", &record_bytes(&image))?;
        staging.sync()?;
        Ok(staging.publish("image", &self.store.layout.image(id))?)
    }

    /// Takes an image's record out: from now on the image is not there, and names that point to it
    /// mean nothing. Until the result is dropped it can be put back.
    pub fn withdraw(&self, id: &Digest) -> Result<Withdrawn, Error> {
        let staging = self.store.stage()?;
        staging.withdraw(&self.store.layout.image(id), "image")?;
        Ok(Withdrawn { staging })
    }

    /// Puts a withdrawn image back.
    pub fn restore(&self, id: &Digest, withdrawn: Withdrawn) -> Result<(), Error> {
        Ok(withdrawn.staging.publish("image", &self.store.layout.image(id))?)
    }

    fn record(&self, new: &NewImage<'_>) -> Result<Image, Error> {
        let id = Digest::of(Algorithm::Sha256, new.config);
        let config = parse_config(new.config, &id)?;
        let wanted = &config.rootfs.diff_ids;
        if wanted.len() != new.layers.len() {
            return Err(Error::LayerCount { expected: wanted.len(), found: new.layers.len() });
        }
        for (expected, layer) in wanted.iter().zip(new.layers) {
            if expected != layer.diff_id() {
                return Err(Error::WrongLayer { expected: expected.clone(), found: layer.diff_id().clone() });
            }
        }
        let known = self.store.image(&id)?;
        let mut repo_digests = known.as_ref().map(|image| image.repo_digests.clone()).unwrap_or_default();
        if let Some(name) = new.repo_digest.filter(|name| !repo_digests.contains(name)) {
            repo_digests.push(name.clone());
        }
        let manifest = new.manifest.map(|bytes| Digest::of(Algorithm::Sha256, bytes));
        Ok(Image {
            version: RECORD_VERSION,
            layers: config.rootfs.diff_ids,
            manifest: manifest.or(known.and_then(|image| image.manifest)),
            repo_digests,
            size: new.layers.iter().map(Layer::size).fold(0, u64::saturating_add),
            created: config.created,
            architecture: config.architecture,
            os: config.os,
            variant: config.variant,
            id,
        })
    }
}

/// An image's record that is no longer there, but could be again.
#[derive(Debug)]
pub struct Withdrawn {
    staging: Staging,
}

fn parse_config(bytes: &[u8], id: &Digest) -> Result<ImageConfig, Error> {
    serde_json::from_slice(bytes).map_err(|source| Error::Config { id: id.clone(), source })
}

fn tag_bytes(id: &Digest) -> Vec<u8> {
    record_bytes(&TagRecord { version: RECORD_VERSION, image: id.clone() })
}

fn remove_file(path: &Path) -> Result<bool, super::Error> {
    match std::fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).at("remove", path),
    }
}
