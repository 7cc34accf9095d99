//! What can be done with images.

mod fetch;
pub mod pull;
#[cfg(test)]
mod pull_tests;
