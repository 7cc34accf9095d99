//! The network of one container: which stack it gets (`plan`), the files that describe it
//! (`files`), the user-mode stack's process (`userstack`), its devices and kernel settings
//! (`links`), published ports on the host (`ports`, `holder`) and the process that carries
//! their traffic (`forwarder`). `docs/networking.md` says what was chosen and measured.

pub mod files;
pub mod forwarder;
pub mod holder;
pub mod links;
pub mod plan;
pub mod ports;
pub mod userstack;
