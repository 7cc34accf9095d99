//! STAND-IN until the image operations are merged: the calls that `cli` makes.

pub mod import;
pub mod inspect;
pub mod list;
pub mod pull;
pub mod remove;
pub mod tag;

/// Why an image cannot be had or changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("No such image: {0}")]
    NoSuch(String),
}
