//! The verbs about images, one file each.

pub mod images;
pub mod import;
pub mod inspect;
pub mod pull;
pub mod rmi;
pub mod tag;
