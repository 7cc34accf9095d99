//! The security policy of a container: capabilities, seccomp filter, masked files.

pub mod caps;
mod compile;
#[cfg(test)]
mod interpreter;
pub mod masks;
mod prelude;
pub mod profile;
pub mod seccomp;
mod target;
