//! A failed system call that prints the call.

use nix::errno::Errno;

/// A failed system call: which call, on what, and the errno.
///
/// Displays like `openat2("etc/passwd", O_RDONLY): No such file or directory`.
#[derive(Debug, Clone)]
pub struct Error {
    /// The system call's name, as in its man page.
    pub call: &'static str,
    /// The arguments that matter to a reader.
    pub args: String,
    pub errno: Errno,
}

pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub fn new(call: &'static str, args: impl Into<String>, errno: Errno) -> Error {
        Error { call, args: args.into(), errno }
    }

    /// The error of the libc call that just failed on this thread.
    pub fn last(call: &'static str, args: impl Into<String>) -> Error {
        Error::new(call, args, Errno::last())
    }

    pub fn is(&self, errno: Errno) -> bool {
        self.errno == errno
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}({}): {}", self.call, self.args, self.errno.desc())
    }
}

impl std::error::Error for Error {}

impl From<Error> for std::io::Error {
    fn from(e: Error) -> Self {
        std::io::Error::from_raw_os_error(e.errno as i32)
    }
}

/// Adds the call and its arguments to a bare errno, as nix returns it.
pub trait Context<T> {
    fn call(self, call: &'static str, args: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Context<T> for nix::Result<T> {
    fn call(self, call: &'static str, args: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|errno| Error::new(call, args(), errno))
    }
}

impl<T> Context<T> for std::io::Result<T> {
    fn call(self, call: &'static str, args: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|e| Error::new(call, args(), Errno::from_raw(e.raw_os_error().unwrap_or(libc::EIO))))
    }
}
