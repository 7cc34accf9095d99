//! Packing and extracting against real directories, without privileges.
