//! The verbs about coracle itself and the machine, one file each.

pub mod events;
pub mod info;
pub mod version;
