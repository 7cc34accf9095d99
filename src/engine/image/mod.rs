//! What is done with images: one file per verb. No printing, no arguments, no network but `pull`'s.

mod fetch;
pub mod import;
pub mod inspect;
pub mod list;
pub mod pull;
#[cfg(test)]
mod pull_tests;
pub mod remove;
pub mod tag;

use crate::archive::compress;
use crate::spec::digest::Digest;
use crate::spec::image_ref::{ImageRef, InvalidReference};
use crate::store::{images, layers};

/// Why an image cannot be had or changed. The words of conflicts are docker's.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("No such image: {0}")]
    NoSuch(String),
    #[error(transparent)]
    Images(images::Error),
    #[error(transparent)]
    Layers(#[from] layers::Error),
    #[error(transparent)]
    Compress(#[from] compress::Error),
    #[error("refusing to create a tag with a digest reference")]
    TagWithDigest,
    #[error(
        "conflict: unable to remove repository reference {reference:?} (must force) - container {container} is using its referenced image {}",
        .image.short()
    )]
    ReferenceInUse { reference: String, container: String, image: Digest },
    #[error("conflict: unable to delete {} (must be forced) - image is referenced in multiple repositories", .0.short())]
    ManyRepositories(Digest),
    #[error(
        "conflict: unable to delete {} ({}) - image is being used by {} container {container}",
        .image.short(),
        if *.running { "cannot be forced" } else { "must be forced" },
        if *.running { "running" } else { "stopped" }
    )]
    ImageInUse { image: Digest, container: String, running: bool },
    #[error(transparent)]
    Source(Box<dyn std::error::Error + Send + Sync>),
    #[error("cannot tell which containers use the image")]
    Containers(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<images::Error> for Error {
    /// A missing image is told by its full name, as docker does.
    fn from(error: images::Error) -> Error {
        match error {
            images::Error::NotFound(key) => {
                Error::NoSuch(ImageRef::parse(&key).map(|name| name.familiar()).unwrap_or(key))
            }
            error => Error::Images(error),
        }
    }
}

impl From<crate::store::Error> for Error {
    fn from(error: crate::store::Error) -> Error {
        Error::Images(images::Error::Store(error))
    }
}

impl From<(String, InvalidReference)> for Error {
    fn from((text, error): (String, InvalidReference)) -> Error {
        Error::Images(images::Error::Reference(text, error))
    }
}

#[cfg(test)]
mod tests;
