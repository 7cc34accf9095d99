//! What can be done with images.

mod fetch;
pub mod import;
pub mod inspect;
pub mod list;
pub mod pull;
#[cfg(test)]
mod pull_tests;
pub mod remove;
pub mod tag;

/// STAND-IN: why an image cannot be had or changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("No such image: {0}")]
    NoSuch(String),
}
