//! Extended attributes by descriptor; nothing here follows a symbolic link.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;

use super::error::{Error, Result};

/// Sets an attribute of an open file or directory (fsetxattr(2); not for `O_PATH` descriptors).
pub fn set(fd: impl AsFd, name: &CStr, value: &[u8]) -> Result<()> {
    // SAFETY: the name is NUL-terminated and the value is read for exactly the length given.
    let result = unsafe {
        libc::fsetxattr(fd.as_fd().as_raw_fd(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0)
    };
    check(result as isize, "fsetxattr", name).map(|_| ())
}

/// Sets an attribute of the directory entry itself, be it a link or a special file (lsetxattr(2)).
pub fn set_at(directory: impl AsFd, entry: &[u8], name: &CStr, value: &[u8]) -> Result<()> {
    let mut path = super::path::fd_path(directory).into_bytes();
    path.push(b'/');
    path.extend_from_slice(entry);
    let path = CString::new(path).map_err(|_| Error::new("lsetxattr", format!("{name:?}"), Errno::EINVAL))?;
    // SAFETY: both strings are NUL-terminated and the value is read for exactly the length given.
    let result =
        unsafe { libc::lsetxattr(path.as_ptr(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0) };
    check(result as isize, "lsetxattr", name).map(|_| ())
}

/// Reads an attribute of an open file or directory; `None` when it has none of that name.
pub fn get(fd: impl AsFd, name: &CStr) -> Result<Option<Vec<u8>>> {
    let mut value = vec![0; 256];
    loop {
        // SAFETY: the name is NUL-terminated and the buffer is writable for the length given.
        let result = unsafe {
            libc::fgetxattr(fd.as_fd().as_raw_fd(), name.as_ptr(), value.as_mut_ptr().cast(), value.len())
        };
        match check(result, "fgetxattr", name) {
            Ok(length) => {
                value.truncate(length);
                return Ok(Some(value));
            }
            Err(error) if error.is(Errno::ENODATA) => return Ok(None),
            // XATTR_SIZE_MAX is 64 KiB.
            Err(error) if error.is(Errno::ERANGE) && value.len() < 65536 => value.resize(65536, 0),
            Err(error) => return Err(error),
        }
    }
}

fn check(result: isize, call: &'static str, name: &CStr) -> Result<usize> {
    usize::try_from(result).map_err(|_| Error::last(call, format!("{name:?}")))
}
