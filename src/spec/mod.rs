//! The nouns: validated values and on-disk records. Pure: no I/O, no clocks, only std and serde.

pub mod container;
pub mod digest;
pub mod duration;
pub mod env;
pub mod event;
pub mod filter;
pub mod health;
pub mod id;
pub mod image;
pub mod image_ref;
pub mod log;
pub mod mount;
pub mod name;
pub mod platform;
pub mod port;
pub mod resources;
pub mod restart;
pub mod signal;
pub mod update;
pub mod user;
