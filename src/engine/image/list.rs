//! STAND-IN
use super::Error;
use crate::engine::Engine;
use crate::spec::digest::Digest;

#[derive(Debug, Clone, Default)]
pub struct Request {
    /// `REPOSITORY[:TAG]` as typed.
    pub only: Option<String>,
}

/// One row of the list: an image under one of its names.
#[derive(Debug, Clone)]
pub struct Listed {
    pub id: Digest,
    /// Familiar name; `None` for an image without one.
    pub repository: Option<String>,
    pub tag: Option<String>,
    pub digest: Option<Digest>,
    /// RFC 3339; empty when the image does not say.
    pub created: String,
    /// Bytes, unpacked.
    pub size: u64,
}

pub fn list(_engine: &Engine, _request: &Request) -> Result<Vec<Listed>, Error> {
    Ok(Vec::new())
}
