//! What coracle tells about itself and the machine: one file per verb. Nothing here prints.

pub mod events;
pub mod info;
pub mod version;
