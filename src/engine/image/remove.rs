//! STAND-IN
use super::Error;
use crate::engine::Engine;
use crate::spec::digest::Digest;

#[derive(Debug, Clone)]
pub enum Removed {
    /// A familiar name, with a tag or a digest.
    Untagged(String),
    Deleted(Digest),
}

pub fn remove(_engine: &Engine, key: &str, _force: bool) -> Result<Vec<Removed>, Error> {
    Err(Error::NoSuch(key.to_owned()))
}
