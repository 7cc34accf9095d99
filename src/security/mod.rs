//! STAND-IN until the security branch is merged.

pub mod caps;
pub mod masks;
