//! `images`: what is stored, one row per name.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;

use super::Error;
use crate::spec::digest::Digest;
use crate::spec::image_ref::ImageRef;
use crate::store::Store;
use crate::store::images::Image;

#[derive(Debug, Clone, Default)]
pub struct Request {
    /// `REPOSITORY[:TAG]` as typed: only images of exactly that repository (and tag).
    pub only: Option<String>,
}

/// One row of the list: an image under one of its names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub id: Digest,
    /// Familiar name; `None` for an image without one.
    pub repository: Option<String>,
    pub tag: Option<String>,
    /// The digest it was pulled by under this repository.
    pub digest: Option<Digest>,
    /// RFC 3339; empty when the image does not say.
    pub created: String,
    /// Bytes, unpacked.
    pub size: u64,
}

/// The newest image first; the names of one image in alphabetical order.
pub fn list(store: &Store, request: &Request) -> Result<Vec<Listed>, Error> {
    let only = match request.only.as_deref() {
        None | Some("") => None,
        // As in docker: what is no name matches nothing.
        Some(text) => match Only::parse(text) {
            Ok(only) => Some(only),
            Err(_) => return Ok(Vec::new()),
        },
    };
    let mut names: HashMap<Digest, Vec<ImageRef>> = HashMap::new();
    for (name, id) in store.all_tags()? {
        names.entry(id).or_default().push(name);
    }
    let mut images = store.images()?;
    images.sort_by_cached_key(|image| (std::cmp::Reverse(created(image)), image.id.clone()));
    let mut rows = Vec::new();
    for image in &images {
        let tags = names.remove(&image.id).unwrap_or_default();
        rows.extend(rows_of(image, &tags, only.as_ref()));
    }
    Ok(rows)
}

/// The rows of one image: per tag, else per repository it was pulled from, else one without a name.
fn rows_of(image: &Image, tags: &[ImageRef], only: Option<&Only>) -> Vec<Listed> {
    let digests: BTreeMap<String, &Digest> =
        image.repo_digests.iter().filter_map(|name| Some((name.name(), name.digest()?))).collect();
    let row = |name: Option<&ImageRef>| Listed {
        id: image.id.clone(),
        repository: name.map(ImageRef::familiar_name),
        tag: name.and_then(ImageRef::tag).map(str::to_owned),
        digest: name.and_then(|name| digests.get(&name.name())).map(|&digest| digest.clone()),
        created: image.created.clone().unwrap_or_default(),
        size: image.size,
    };
    let named = if tags.is_empty() { image.repo_digests.as_slice() } else { tags };
    match (named, only) {
        ([], None) => vec![row(None)],
        ([], Some(_)) => Vec::new(),
        (named, only) => named
            .iter()
            .filter(|name| only.is_none_or(|only| only.matches(name)))
            .map(|name| row(Some(name)))
            .collect(),
    }
}

/// The argument of `images`: a repository, with a tag when one was typed.
struct Only {
    repository: String,
    tag: Option<String>,
}

impl Only {
    fn parse(text: &str) -> Result<Only, Error> {
        let name = ImageRef::parse(text).map_err(|error| (text.to_owned(), error))?;
        // The parser adds the default tag; without one typed, all tags are meant.
        let typed = text.rsplit('/').next().is_some_and(|last| last.contains(':'));
        Ok(Only { repository: name.name(), tag: name.tag().filter(|_| typed).map(str::to_owned) })
    }

    fn matches(&self, name: &ImageRef) -> bool {
        name.name() == self.repository && (self.tag.is_none() || self.tag.as_deref() == name.tag())
    }
}

fn created(image: &Image) -> Timestamp {
    image.created.as_deref().and_then(|text| text.parse().ok()).unwrap_or(Timestamp::UNIX_EPOCH)
}
