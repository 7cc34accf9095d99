//! Safe, typed system calls. Every `unsafe` block of the project lives below this module, each
//! with the invariant that makes it sound. Nothing here knows what a container is.
#![allow(unsafe_code, reason = "this is the one module that may hold unsafe code")]

pub mod capability;
pub mod child;
pub mod confine;
pub mod error;
pub mod identity_tag;
pub mod lifeline;
pub mod memory;
pub mod message;
pub mod mount;
pub mod namespace;
pub mod netlink;
pub mod notify;
pub mod path;
pub mod process;
pub mod pty;
pub mod seccomp;
pub mod signal;
pub mod socket;
pub mod splice;
pub mod xattr;

pub use error::{Error, Result};
