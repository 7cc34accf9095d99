//! STAND-IN
use super::Error;
use crate::engine::Engine;
use crate::spec::image_ref::ImageRef;

pub fn tag(_engine: &Engine, source: &str, _target: &ImageRef) -> Result<(), Error> {
    Err(Error::NoSuch(source.to_owned()))
}
