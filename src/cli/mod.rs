//! Words in, words out.
pub mod progress;
