//! Clean-up: leftovers of dead processes, and what nothing refers to any more.
//!
//! Used by the client in commands that change images; never on the way of a start. Both functions
//! are safe beside any other command: they only take what they can lock.

use std::collections::HashSet;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

use super::images::ImageIndex;
use super::lock::Lock;
use super::staging::Staging;
use super::worker::{Worker, WorkerNamespace};
use super::{Error as StoreError, IoContext, Store, layers};
use crate::spec::digest::{Algorithm, Digest};

impl Store {
    /// Removes the staging places of processes that died. Returns how many.
    pub fn sweep(&self, namespace: WorkerNamespace<'_>) -> Result<usize, layers::Error> {
        let staging = self.layout.staging();
        let mut worker = None;
        let mut swept = 0;
        let names = names_in(&staging)?;
        for name in
            names.iter().map(|name| name.strip_suffix(".lock").unwrap_or(name)).collect::<HashSet<_>>()
        {
            let lock_path = staging.join(format!("{name}.lock"));
            let lock = Lock::try_exclusive(&lock_path)?;
            // A place without a lock file is as dead as one whose lock is free.
            if lock.is_none() && lock_path.exists() {
                continue;
            }
            if staging.join(name).exists() {
                let worker = match &worker {
                    Some(worker) => worker,
                    None => worker.insert(Worker::spawn(namespace)?),
                };
                let directory = File::open(&staging).at("open", &staging)?;
                worker.remove_tree(directory.as_fd(), name)?;
                swept += 1;
            }
            if lock.is_some() {
                std::fs::remove_file(&lock_path).at("remove", &lock_path)?;
            }
        }
        Ok(swept)
    }
}

impl ImageIndex<'_> {
    /// Takes out layers, configurations and manifests that neither an image nor `also_used` refers
    /// to, and names of images that are not there. Layers somebody holds are left for the next time.
    pub fn collect(&self, also_used: &HashSet<Digest>) -> Result<Garbage, layers::Error> {
        let store = self.store();
        let images = store.images()?;
        let used: HashSet<&Digest> = images.iter().flat_map(|image| &image.layers).chain(also_used).collect();
        let layers = names_in(&store.layout.layers())?;
        let unused = layers.iter().filter_map(|name| digest_from_hex(name)).filter(|id| !used.contains(id));
        let garbage = self.withdraw_layers(unused)?;
        let ids: HashSet<&Digest> = images.iter().map(|image| &image.id).collect();
        let manifests: HashSet<&Digest> = images.iter().filter_map(|image| image.manifest.as_ref()).collect();
        for (name, id) in store.all_tags()? {
            // Left by a removal that was cut off.
            if !ids.contains(&id) {
                self.untag(&name)?;
            }
        }
        remove_unused(&store.layout.configs(), &ids)?;
        remove_unused(&store.layout.manifests(), &manifests)?;
        Ok(garbage)
    }

    /// Takes back layers that were made for an image that did not come to be, unless another image
    /// has them by now.
    pub fn discard(&self, made: &HashSet<Digest>) -> Result<Garbage, layers::Error> {
        let images = self.store().images()?;
        let used: HashSet<&Digest> = images.iter().flat_map(|image| &image.layers).collect();
        self.withdraw_layers(made.iter().filter(|id| !used.contains(id)).cloned())
    }

    /// Takes layers out, except those that somebody holds.
    fn withdraw_layers(&self, unused: impl Iterator<Item = Digest>) -> Result<Garbage, layers::Error> {
        let mut garbage = Garbage { staging: self.store().stage()?, layers: Vec::new() };
        for diff_id in unused {
            if self.store().withdraw_layer(&diff_id, &garbage.staging)? {
                garbage.layers.push(diff_id);
            }
        }
        Ok(garbage)
    }
}

/// Layers that are no longer there but still take space. The index need not be locked any more to
/// delete them; what is dropped without it is swept later.
#[must_use]
#[derive(Debug)]
pub struct Garbage {
    staging: Staging,
    layers: Vec<Digest>,
}

impl Garbage {
    /// The diff ids of the layers that went.
    pub fn layers(&self) -> &[Digest] {
        &self.layers
    }

    pub fn delete(self, namespace: WorkerNamespace<'_>) -> Result<(), layers::Error> {
        if self.layers.is_empty() {
            return Ok(());
        }
        let worker = Worker::spawn(namespace)?;
        let place = File::open(self.staging.path()).at("open", self.staging.path())?;
        for diff_id in &self.layers {
            worker.remove_tree(place.as_fd(), diff_id.hex())?;
        }
        Ok(())
    }
}

fn remove_unused(directory: &Path, used: &HashSet<&Digest>) -> Result<(), StoreError> {
    for name in names_in(directory)? {
        if digest_from_hex(&name).is_some_and(|digest| !used.contains(&digest)) {
            let path = directory.join(name);
            std::fs::remove_file(&path).at("remove", &path)?;
        }
    }
    Ok(())
}

/// The digest a file is named by; the length of its name tells the algorithm.
pub(super) fn digest_from_hex(hex: &str) -> Option<Digest> {
    let algorithm = if hex.len() == 128 { Algorithm::Sha512 } else { Algorithm::Sha256 };
    format!("{}:{hex}", algorithm.name()).parse().ok()
}

/// The names in a directory that may not be there. Names that are no text are not ours.
pub(super) fn names_in(directory: &Path) -> Result<Vec<String>, StoreError> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).at("list", directory),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.at("list", directory)?;
        names.extend(entry.file_name().into_string());
    }
    Ok(names)
}
