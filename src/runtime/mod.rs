//! Making and joining a container's processes. Files are named after the process they run in:
//! `parent` (monitor), `init` (the container's first process), `join` (exec session); `launch` is
//! the last stretch of the latter two; `view` is for
//! who looks at a container's files, `members` and `usage` for who looks for its processes.

pub mod channel;
pub mod identity;
pub mod init;
pub mod join;
pub mod launch;
pub mod members;
mod one_user;
pub mod parent;
pub mod pretender;
pub mod usage;
pub mod view;
