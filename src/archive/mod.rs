//! Archives: tar streams into directory trees and back, as layers (unpack) and as they are (pack, extract).
//!
//! Runs in the id worker (unpack, rebuild, remove, measure), in the files worker (pack, extract) and in the client
//! (decompression, its own side of `cp`). Nothing
//! here knows where the store keeps things: callers hand in directory descriptors.

mod attributes;
pub mod compress;
mod entry;
pub mod extract;
mod input;
pub mod measure;
mod members;
pub mod pack;
pub mod remove;
pub mod tarsplit;
mod tree;
pub mod unpack;
pub mod whiteout;

#[cfg(test)]
mod attack_tests;
#[cfg(test)]
mod extract_tests;
#[cfg(test)]
mod tar_builder;
#[cfg(test)]
mod unpack_tests;

use serde::{Deserialize, Serialize};

use crate::sys;

/// A failed system call in a form that can cross a process boundary.
///
/// Displays exactly like [`sys::Error`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedCall {
    pub call: String,
    pub args: String,
    pub errno: i32,
}

impl std::fmt::Display for FailedCall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let errno = nix::errno::Errno::from_raw(self.errno);
        write!(f, "{}({}): {}", self.call, self.args, errno.desc())
    }
}

impl std::error::Error for FailedCall {}

impl From<sys::Error> for FailedCall {
    fn from(error: sys::Error) -> FailedCall {
        FailedCall { call: error.call.to_owned(), args: error.args, errno: error.errno as i32 }
    }
}
