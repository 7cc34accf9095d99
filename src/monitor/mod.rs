//! A container from start to clean-up.

pub mod protocol;
