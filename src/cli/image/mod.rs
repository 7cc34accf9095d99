//! The verbs about images, one file each.

pub mod import;
pub mod inspect;
pub mod list;
pub mod pull;
pub mod remove;
pub mod tag;
