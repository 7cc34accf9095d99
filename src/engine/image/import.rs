//! STAND-IN
use super::Error;
use crate::engine::Engine;
use crate::spec::digest::Digest;
use crate::spec::image_ref::ImageRef;
use crate::spec::platform::Platform;

#[derive(Debug)]
pub enum Source {
    Stdin,
    File(std::path::PathBuf),
    Url(String),
}

#[derive(Debug)]
pub struct Request {
    pub source: Source,
    pub name: Option<ImageRef>,
    pub platform: Option<Platform>,
    pub message: String,
}

pub fn import(_engine: &Engine, request: &Request) -> Result<Digest, Error> {
    Err(Error::NoSuch(format!("{:?}", request.source)))
}
