//! TBD

pub mod image;
