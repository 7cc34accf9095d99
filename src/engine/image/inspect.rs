//! STAND-IN
use super::Error;
use crate::engine::Engine;

#[derive(Debug, serde::Serialize)]
pub struct Inspected {}

pub fn inspect(_engine: &Engine, key: &str) -> Result<Inspected, Error> {
    Err(Error::NoSuch(key.to_owned()))
}
