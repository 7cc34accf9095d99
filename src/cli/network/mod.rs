//! The verbs about networks, one file each.

pub mod inspect;
pub mod ls;
