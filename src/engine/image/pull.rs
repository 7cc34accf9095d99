//! STAND-IN
use super::Error;
use crate::engine::Engine;
use crate::spec::digest::Digest;
use crate::spec::image_ref::ImageRef;
use crate::spec::platform::Platform;

#[derive(Debug)]
pub struct Request {
    pub reference: ImageRef,
    pub platform: Option<Platform>,
}

#[derive(Debug)]
pub struct Report {
    pub digest: Digest,
    /// False: the image was there already.
    pub downloaded: bool,
}

/// Told what happens while it happens.
pub trait Progress: Sync {}

pub fn pull(_engine: &Engine, request: &Request, _progress: &dyn Progress) -> Result<Report, Error> {
    Err(Error::NoSuch(request.reference.familiar()))
}

/// Whether an image is stored under what the user typed: a name, an id or its prefix.
pub fn is_stored(_engine: &Engine, _key: &str) -> Result<bool, Error> {
    Ok(false)
}
