//! Making and joining container processes.

pub mod identity;
