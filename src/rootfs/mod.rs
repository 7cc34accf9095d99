//! A container's file systems: what is mounted (`plan`, pure) and the mounting (`apply`), the
//! overlay of image layers (`overlay`) and the choice of its driver (`driver`).

pub mod apply;
pub mod driver;
pub mod host_image;
pub mod overlay;
pub mod plan;
