//! `pull`: from a name to a whole image in the store. Runs in the client; layers are fetched side by
//! side (`fetch`).
//!
//! The order: find the manifest, read the configuration, take hold of the layers that are here, fetch
//! the others, and only then add the image and its name. A pull that fails leaves the store as it was.

use std::collections::HashSet;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use super::fetch::{self, Missing};
use crate::archive::unpack::{Note, Owners, Whiteouts};
use crate::registry::{self, Client, Resolved};
use crate::spec::digest::Digest;
use crate::spec::image::ImageConfig;
use crate::spec::image_ref::ImageRef;
use crate::spec::platform::Platform;
use crate::store::images::{self, NewImage};
use crate::store::layers::{self, Layer};
use crate::store::worker::WorkerNamespace;
use crate::store::{self, Store};

/// What is wanted.
#[derive(Debug, Clone)]
pub struct Request {
    pub reference: ImageRef,
    /// `None`: this machine's, and an image for another one is not refused if there is no choice.
    pub platform: Option<Platform>,
}

/// What came of it.
#[derive(Debug)]
pub struct Report {
    /// What the name stands for in the registry: the index's digest if there is one.
    pub digest: Digest,
    /// False: name and image were here already.
    pub downloaded: bool,
    /// What of the new layers could not be kept on disk.
    pub notes: Vec<Note>,
}

/// Where new layers get their owners.
#[derive(Debug)]
pub struct Unpacking {
    /// The user's mapped namespace; `None` to unpack as the user itself.
    pub user: Option<OwnedFd>,
    pub owners: Owners,
    pub whiteouts: Whiteouts,
}

impl Unpacking {
    pub fn namespace(&self) -> WorkerNamespace<'_> {
        WorkerNamespace { user: self.user.as_ref().map(AsFd::as_fd), owners: self.owners }
    }
}

pub type BoxedError = Box<dyn std::error::Error + Send + Sync>;

/// What a pull works with.
pub struct Context<'a> {
    pub store: &'a Store,
    pub client: &'a Client,
    /// Asked for only when a layer has to be unpacked.
    pub unpacking: &'a dyn Fn() -> Result<Unpacking, BoxedError>,
}

/// A layer's way, in docker's words. A layer goes forward only, and ends in one of the last two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerState {
    Pulling,
    Waiting,
    /// Bytes of the blob; it is unpacked while it arrives.
    Downloading {
        done: u64,
        total: u64,
    },
    DownloadComplete,
    /// All bytes are here; the rest is unpacked and brought to the disk.
    Extracting,
    PullComplete,
    AlreadyExists,
}

/// Is told what happens while it happens, from several threads.
pub trait Progress: Sync {
    /// The manifest was found.
    fn started(&self, reference: &ImageRef);

    /// A layer, by its blob's digest, is in a new state.
    fn layer(&self, blob: &Digest, state: LayerState);
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Registry(#[from] registry::Error),
    #[error(transparent)]
    Image(#[from] images::Error),
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("cannot use the layers in the store")]
    Layers(#[from] layers::Error),
    #[error("the configuration of {reference} is not valid")]
    Config { reference: String, source: serde_json::Error },
    #[error("{reference} is damaged: its manifest has {layers} layers, its configuration {diff_ids}")]
    LayerCount { reference: String, layers: usize, diff_ids: usize },
    #[error("{reference} is for {os}; only images for linux can be run here")]
    NotLinux { reference: String, os: String },
    #[error(
        "image with reference {reference} was found but does not match the specified platform: \
         wanted {wanted}, actual: {actual}"
    )]
    WrongPlatform { reference: String, wanted: Box<Platform>, actual: Box<Platform> },
    #[error("not enough space in {path:?}: the layers alone take {needed} bytes, {free} are free")]
    NoSpace { path: PathBuf, needed: u64, free: u64 },
    #[error("cannot find out the free space in {path:?}")]
    FreeSpace { path: PathBuf, source: nix::Error },
    #[error("cannot unpack layers")]
    Unpacking { source: BoxedError },
    #[error("cannot fetch layer {layer} of {reference}")]
    Fetch { layer: Digest, reference: String, source: Box<registry::Error> },
    #[error("cannot fetch the configuration {config} of {reference}")]
    FetchConfig { config: Digest, reference: String, source: Box<registry::Error> },
    #[error("layer {layer} cannot be decompressed")]
    Compression { layer: Digest, source: crate::archive::compress::Error },
    #[error("layer {layer} is damaged: its compressed data cannot be read")]
    Damaged { layer: Digest, source: std::io::Error },
    #[error("cannot unpack layer {layer}")]
    Layer { layer: Digest, source: layers::Error },
}

/// Pulls an image. Nothing is written when the registry's image is the one that is here.
pub fn pull(context: &Context, request: &Request, progress: &dyn Progress) -> Result<Report, Error> {
    let Context { store, client, .. } = *context;
    let reference = &request.reference;
    let wanted = request.platform.clone().unwrap_or_else(Platform::host);
    let resolved = client.resolve(reference, &wanted)?;
    progress.started(reference);

    let repo_digest = reference.with_digest(resolved.digest().clone());
    let known = store.image(&resolved.config.digest)?;
    let config = match &known {
        Some(image) => store.image_config_bytes(&image.id)?,
        None => client.config(reference, &resolved.config).map_err(|source| Error::FetchConfig {
            config: resolved.config.digest.clone(),
            reference: reference.familiar(),
            source: source.into(),
        })?,
    };
    let diff_ids = check_config(&config, &resolved, request)?;

    let mut held: Vec<Option<Layer>> = Vec::new();
    for diff_id in &diff_ids {
        held.push(store.hold_layer(diff_id)?);
    }
    if let Some(image) = known.filter(|_| held.iter().all(Option::is_some)) {
        let is_named = reference.digest().is_some()
            || store.find_by_name(reference)?.is_some_and(|(named, _)| named.id == image.id);
        if is_named && image.repo_digests.contains(&repo_digest) {
            let digest = resolved.digest().clone();
            return Ok(Report { digest, downloaded: false, notes: Vec::new() });
        }
    } else {
        announce(&resolved, &diff_ids, &held, progress);
    }

    let missing = missing(&resolved, &diff_ids, &held);
    let mut notes = Vec::new();
    let mut made = None;
    if !missing.is_empty() {
        check_space(store.layout().root(), &missing)?;
        let unpacking = (context.unpacking)().map_err(|source| Error::Unpacking { source })?;
        let fetched =
            fetch::all(&fetch::Work { store, client, reference, unpacking: &unpacking, progress }, &missing)?;
        notes = fetched.iter().flat_map(|layer| layer.notes().iter().cloned()).collect();
        for (diff_id, place) in diff_ids.iter().zip(&mut held).filter(|(_, place)| place.is_none()) {
            // A layer may be in an image twice: each place holds it.
            *place = store.hold_layer(diff_id)?;
        }
        made = Some((unpacking, fetched));
    }
    let layers: Vec<Layer> = held.into_iter().flatten().collect();
    let new = NewImage {
        config: &config,
        manifest: Some(&resolved.manifest_bytes),
        layers: &layers,
        repo_digest: Some(&repo_digest),
    };
    match store.add_image(Some(reference), &new) {
        Ok(_) => Ok(Report { digest: resolved.digest().clone(), downloaded: true, notes }),
        Err(error) => {
            drop(layers);
            if let Some((unpacking, fetched)) = made {
                discard(store, &unpacking, fetched);
            }
            Err(error.into())
        }
    }
}

/// Reads what of the configuration decides whether the image can be had. Returns its diff ids.
fn check_config(bytes: &[u8], resolved: &Resolved, request: &Request) -> Result<Vec<Digest>, Error> {
    let reference = || request.reference.familiar();
    let config: ImageConfig =
        serde_json::from_slice(bytes).map_err(|source| Error::Config { reference: reference(), source })?;
    let actual = Platform::new(&config.os, &config.architecture, config.variant.as_deref());
    if actual.os() != "linux" {
        return Err(Error::NotLinux { reference: reference(), os: config.os });
    }
    if let Some(wanted) = request.platform.as_ref().filter(|wanted| wanted.distance(&actual).is_none()) {
        let (wanted, actual) = (Box::new(wanted.clone()), Box::new(actual));
        return Err(Error::WrongPlatform { reference: reference(), wanted, actual });
    }
    let (layers, diff_ids) = (resolved.layers.len(), config.rootfs.diff_ids.len());
    if layers != diff_ids {
        return Err(Error::LayerCount { reference: reference(), layers, diff_ids });
    }
    Ok(config.rootfs.diff_ids)
}

/// Tells where every layer starts, in the manifest's order, each once.
fn announce(resolved: &Resolved, diff_ids: &[Digest], held: &[Option<Layer>], progress: &dyn Progress) {
    let mut told = HashSet::new();
    for ((layer, diff_id), held) in resolved.layers.iter().zip(diff_ids).zip(held) {
        if told.insert(diff_id) {
            let state = if held.is_some() { LayerState::AlreadyExists } else { LayerState::Pulling };
            progress.layer(&layer.digest, state);
        }
    }
}

/// The layers to fetch, each once, the largest first: so all threads end at about the same time.
fn missing(resolved: &Resolved, diff_ids: &[Digest], held: &[Option<Layer>]) -> Vec<Missing> {
    let mut seen = HashSet::new();
    let mut missing: Vec<Missing> = Vec::new();
    for ((layer, diff_id), held) in resolved.layers.iter().zip(diff_ids).zip(held) {
        if held.is_none() && seen.insert(diff_id) {
            missing.push(Missing { blob: layer.clone(), diff_id: diff_id.clone() });
        }
    }
    missing.sort_by_key(|layer| std::cmp::Reverse(layer.blob.size));
    missing
}

/// A disk that cannot even hold the compressed layers is refused before anything is fetched.
fn check_space(root: &Path, missing: &[Missing]) -> Result<(), Error> {
    let needed = missing.iter().map(|layer| layer.blob.size).fold(0, u64::saturating_add);
    // The store may not be there yet; what counts is the file system it will be made on.
    let place = root.ancestors().find(|place| place.exists()).unwrap_or(Path::new("/"));
    let found = nix::sys::statvfs::statvfs(place)
        .map_err(|source| Error::FreeSpace { path: place.to_owned(), source })?;
    if found.blocks() == 0 {
        // Not a disk: writing will tell.
        return Ok(());
    }
    let free = found.blocks_available().saturating_mul(found.fragment_size());
    if needed > free {
        return Err(Error::NoSpace { path: place.to_owned(), needed, free });
    }
    Ok(())
}

/// Takes back layers that were made for nothing. A failure here leaves them for the next clean-up; the
/// reason why the pull failed is what the user has to know.
pub(super) fn discard(store: &Store, unpacking: &Unpacking, made: Vec<Layer>) {
    let ids: HashSet<Digest> = made.iter().map(|layer| layer.diff_id().clone()).collect();
    drop(made);
    if ids.is_empty() {
        return;
    }
    // The lock on the index is let go before the files are deleted.
    let garbage = store.image_index().map(|index| index.discard(&ids));
    if let Ok(Ok(garbage)) = garbage {
        let _ = garbage.delete(unpacking.namespace());
    }
}
