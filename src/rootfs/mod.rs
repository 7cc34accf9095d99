//! What a container sees as its root file system. Runs in the container's init.

pub mod host_image;
