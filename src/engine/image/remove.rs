//! `rmi`: removes a name, and the image with its last one. The rules are docker's.
//!
//! A container may be created from the image at the same moment. Whoever creates one writes its
//! record and then looks again whether the image is there; here the image is taken out and then the
//! containers are looked at again. So one of the two sees the other.

use std::collections::HashSet;

use super::Error;
use crate::spec::digest::{Algorithm, Digest};
use crate::spec::id::ContainerId;
use crate::spec::image_ref::ImageRef;
use crate::store::Store;
use crate::store::events::of_image;
use crate::store::gc::Garbage;
use crate::store::images::{Image, ImageIndex, Match};
use crate::store::worker::WorkerNamespace;

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removed {
    /// A familiar name, with a tag or a digest.
    Untagged(String),
    /// The image, or the chain id of a layer that went with it.
    Deleted(Digest),
}

/// What a container needs of the store.
#[derive(Debug, Clone)]
pub struct ImageUser {
    pub container: ContainerId,
    pub image: Digest,
    pub layers: Vec<Digest>,
    pub running: bool,
}

/// Lists the containers that were made from stored images, each time it is called.
pub type Users<'a> = &'a dyn Fn() -> Result<Vec<ImageUser>, Box<dyn std::error::Error + Send + Sync>>;

/// Removes what `key` means. With `force`, several names and stopped containers are no obstacle.
pub fn remove(
    store: &Store,
    namespace: WorkerNamespace<'_>,
    key: &str,
    force: bool,
    users: Users<'_>,
) -> Result<Vec<Removed>, Error> {
    let index = store.image_index()?;
    let (image, how) = store.find_image(key)?;
    let image_id = image.id.to_string();
    let mut removal = Removal { index: &index, image, force, users, report: Vec::new() };
    let deleted_by_name = match how {
        Match::Id => {
            removal.drop_only_repository()?;
            false
        }
        Match::Tag(name) | Match::RepoDigest(name) => {
            if removal.untag(key, &name)? {
                note(store, &image_id, &removal.report);
                return Ok(removal.report);
            }
            true
        }
    };
    let garbage = removal.delete(deleted_by_name)?;
    let report = removal.report;
    note(store, &image_id, &report);
    // Deleting many files takes time, and nobody need wait for it.
    drop(index);
    if let Some(garbage) = garbage {
        garbage.delete(namespace)?;
    }
    Ok(report)
}

/// docker's events of a removal, in its order.
fn note(store: &Store, image: &str, report: &[Removed]) {
    for removed in report {
        match removed {
            Removed::Untagged(_) => store.note(&of_image(image, image, "untag")),
            Removed::Deleted(id) if id.to_string() == image => store.note(&of_image(image, image, "delete")),
            Removed::Deleted(_) => {}
        }
    }
}

struct Removal<'a> {
    index: &'a ImageIndex<'a>,
    image: Image,
    force: bool,
    users: Users<'a>,
    report: Vec<Removed>,
}

impl Removal<'_> {
    /// Removes one name. True when the image keeps others, and so stays.
    fn untag(&mut self, key: &str, name: &ImageRef) -> Result<bool, Error> {
        let names = self.names()?;
        if !self.force
            && is_single_repository(&names)
            && let Some(user) = self.first_user(|_| true)?
        {
            return Err(Error::ReferenceInUse {
                reference: key.to_owned(),
                container: user.container.short().to_owned(),
                image: self.image.id.clone(),
            });
        }
        self.drop_name(name)?;
        let mut left = self.names()?;
        let same_repository = |other: &&ImageRef| other.name() == name.name();
        if name.digest().is_none()
            && !left.iter().filter(same_repository).any(|other| other.digest().is_none())
        {
            // With the repository's last tag go the digests it was pulled by.
            for digest in left.iter().filter(same_repository) {
                self.drop_name(digest)?;
            }
            left = self.names()?;
        }
        Ok(!left.is_empty())
    }

    /// An id removes all names of one repository, when there is at most one tag among them.
    fn drop_only_repository(&mut self) -> Result<(), Error> {
        let names = self.names()?;
        if is_single_repository(&names) {
            self.check_users()?;
            for name in &names {
                self.drop_name(name)?;
            }
        }
        Ok(())
    }

    /// Takes out the image with whatever names it has left, and all that nothing else needs.
    fn delete(&mut self, by_name: bool) -> Result<Option<Garbage>, Error> {
        let names = self.names()?;
        if !self.force && !names.is_empty() {
            return Err(Error::ManyRepositories(self.image.id.clone()));
        }
        match self.check_users() {
            Ok(()) => {}
            // The name is gone, as was asked; the image stays for its container.
            Err(Error::ImageInUse { .. }) if by_name => return Ok(None),
            Err(error) => return Err(error),
        }
        let id = self.image.id.clone();
        let withdrawn = self.index.withdraw(&id)?;
        if let Err(error) = self.check_users() {
            self.index.restore(&id, withdrawn)?;
            return Err(error);
        }
        drop(withdrawn);
        for name in &names {
            self.drop_name(name)?;
        }
        self.report.push(Removed::Deleted(id));
        let needed: HashSet<Digest> = self.users()?.into_iter().flat_map(|user| user.layers).collect();
        let garbage = self.index.collect(&needed)?;
        for (layer, chain_id) in chain_ids(&self.image.layers).into_iter().rev() {
            if garbage.layers().contains(layer) {
                self.report.push(Removed::Deleted(chain_id));
            }
        }
        Ok(Some(garbage))
    }

    /// Running containers always forbid it, stopped ones unless it is forced.
    fn check_users(&self) -> Result<(), Error> {
        let image = self.image.id.clone();
        match self.first_user(|user| user.running || !self.force)? {
            Some(user) => {
                let container = user.container.short().to_owned();
                Err(Error::ImageInUse { image, container, running: user.running })
            }
            None => Ok(()),
        }
    }

    /// A container of this image; a running one before others.
    fn first_user(&self, wanted: impl Fn(&ImageUser) -> bool) -> Result<Option<ImageUser>, Error> {
        let users = self.users()?.into_iter().filter(|user| user.image == self.image.id && wanted(user));
        Ok(users.max_by_key(|user| user.running))
    }

    fn users(&self) -> Result<Vec<ImageUser>, Error> {
        (self.users)().map_err(Error::Containers)
    }

    /// The tags and repository digests that point to the image now.
    fn names(&self) -> Result<Vec<ImageRef>, Error> {
        let store = self.index.store();
        let tags = store.all_tags()?.into_iter().filter(|(_, id)| *id == self.image.id).map(|(name, _)| name);
        let digests = store.image(&self.image.id)?.map(|image| image.repo_digests).unwrap_or_default();
        Ok(tags.chain(digests).collect())
    }

    fn drop_name(&mut self, name: &ImageRef) -> Result<(), Error> {
        if name.digest().is_some() {
            self.index.forget_repo_digest(&self.image.id, name)?;
        } else {
            self.index.untag(name)?;
        }
        self.report.push(Removed::Untagged(name.familiar()));
        Ok(())
    }
}

/// Whether all names are of one repository and at most one of them is a tag. False for none.
fn is_single_repository(names: &[ImageRef]) -> bool {
    let Some((first, rest)) = names.split_first() else { return false };
    rest.iter().all(|name| name.name() == first.name())
        && names.iter().filter(|name| name.digest().is_none()).count() <= 1
}

/// Each layer with the id of the chain that ends in it (image-spec config.md, "Layer ChainID").
fn chain_ids(layers: &[Digest]) -> Vec<(&Digest, Digest)> {
    let mut chain: Option<Digest> = None;
    let mut ids = Vec::with_capacity(layers.len());
    for layer in layers {
        let next = match chain {
            None => layer.clone(),
            Some(parent) => Digest::of(Algorithm::Sha256, format!("{parent} {layer}").as_bytes()),
        };
        chain = Some(next.clone());
        ids.push((layer, next));
    }
    ids
}
