//! Paths that somebody else can influence are opened confined to a root directory.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::Path;

use nix::fcntl::{OFlag, OpenHow, ResolveFlag};
use nix::sys::stat::Mode;

use super::error::{Context, Error, Result};

/// A directory that bounds every resolution made through it: `..` and absolute links stay inside.
#[derive(Debug)]
pub struct Root(OwnedFd);

impl Root {
    /// Opens a directory by a trusted path as the root (`O_PATH`).
    pub fn open(path: &Path) -> Result<Root> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let fd = nix::fcntl::open(path, flags, Mode::empty())
            .call("open", || format!("{path:?}, O_PATH|O_DIRECTORY"))?;
        Ok(Root(fd))
    }

    pub fn from_fd(fd: OwnedFd) -> Root {
        Root(fd)
    }

    /// Resolves `path` as if the root were `/` (openat2 RESOLVE_IN_ROOT|RESOLVE_NO_MAGICLINKS).
    pub fn resolve(&self, path: &Path, flags: OFlag, mode: Mode) -> Result<OwnedFd> {
        let resolve = ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS;
        open_confined(self.0.as_fd(), path, flags, mode, resolve)
    }

    /// Resolves `path` and refuses every symbolic link on the way (RESOLVE_BENEATH|NO_SYMLINKS).
    pub fn resolve_plain(&self, path: &Path, flags: OFlag, mode: Mode) -> Result<OwnedFd> {
        let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS;
        open_confined(self.0.as_fd(), path, flags, mode, resolve)
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn open_confined(
    dir: BorrowedFd<'_>,
    path: &Path,
    flags: OFlag,
    mode: Mode,
    resolve: ResolveFlag,
) -> Result<OwnedFd> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).mode(mode).resolve(resolve);
    loop {
        match nix::fcntl::openat2(dir, path, how) {
            // openat2(2): a racing rename during RESOLVE_IN_ROOT asks for another try.
            Err(nix::errno::Errno::EAGAIN) => continue,
            result => return result.call("openat2", || format!("{path:?}, {flags:?}, {resolve:?}")),
        }
    }
}

/// `/proc/self/fd/N`: a path that names exactly what the descriptor refers to.
pub fn fd_path(fd: impl AsFd) -> String {
    format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd())
}

/// What a descriptor refers to, for messages.
pub fn fd_target(fd: impl AsFd) -> String {
    std::fs::read_link(fd_path(fd)).map(|p| p.display().to_string()).unwrap_or_else(|_| "?".to_owned())
}

/// Takes over a descriptor number that was inherited across exec.
///
/// The caller names the number in its protocol; the descriptor is marked close-on-exec.
pub fn adopt_fd(number: i32) -> Result<OwnedFd> {
    // SAFETY: fcntl only reads the number; an invalid one is reported as EBADF.
    let flags = unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
    if flags < 0 {
        return Err(Error::last("fcntl", format!("{number}, F_SETFD")));
    }
    // SAFETY: the number is open (checked above) and the role protocol hands its ownership to us.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}
