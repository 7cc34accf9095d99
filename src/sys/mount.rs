//! Mounts, by the descriptor-based interface of Linux 5.2 and later, which nix lacks.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;

use super::error::{Error, Result};

/// Attributes of a mount (mount_setattr(2)); add them with `|`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attributes(u64);

impl Attributes {
    pub const NONE: Attributes = Attributes(0);
    pub const READ_ONLY: Attributes = Attributes(libc::MOUNT_ATTR_RDONLY);
    pub const NO_SUID: Attributes = Attributes(libc::MOUNT_ATTR_NOSUID);
    pub const NO_DEV: Attributes = Attributes(libc::MOUNT_ATTR_NODEV);
    pub const NO_EXEC: Attributes = Attributes(libc::MOUNT_ATTR_NOEXEC);
}

impl std::ops::BitOr for Attributes {
    type Output = Attributes;

    fn bitor(self, other: Attributes) -> Attributes {
        Attributes(self.0 | other.0)
    }
}

/// A file system being configured (fsopen(2)).
#[derive(Debug)]
pub struct FileSystem {
    fd: OwnedFd,
    kind: &'static str,
}

fn new_fd(call: &'static str, args: impl FnOnce() -> String, raw: libc::c_long) -> Result<OwnedFd> {
    if raw < 0 {
        return Err(Error::last(call, args()));
    }
    // SAFETY: the call that returned it gave us a new descriptor, ours alone.
    Ok(unsafe { OwnedFd::from_raw_fd(raw as RawFd) })
}

fn c_string(text: &[u8]) -> Result<CString> {
    CString::new(text).map_err(|_| Error::new("mount", String::from_utf8_lossy(text), Errno::EINVAL))
}

impl FileSystem {
    pub fn open(kind: &'static str) -> Result<FileSystem> {
        let name = c_string(kind.as_bytes())?;
        // SAFETY: `name` is a C string that outlives the call.
        let raw = unsafe { libc::syscall(libc::SYS_fsopen, name.as_ptr(), libc::FSOPEN_CLOEXEC) };
        let fs = FileSystem { fd: new_fd("fsopen", || kind.to_owned(), raw)?, kind };
        // What /proc/mounts shows as the device, as mount(8) names it.
        fs.set("source", kind.as_bytes())?;
        Ok(fs)
    }

    /// Sets `key=value`.
    pub fn set(&self, key: &str, value: &[u8]) -> Result<()> {
        let (k, v) = (c_string(key.as_bytes())?, c_string(value)?);
        self.configure(libc::FSCONFIG_SET_STRING, k.as_ptr(), v.as_ptr(), 0)
            .map_err(|errno| self.failed(format!("{key}={}", String::from_utf8_lossy(value)), errno))
    }

    /// Sets a key that takes no value.
    pub fn set_flag(&self, key: &str) -> Result<()> {
        let k = c_string(key.as_bytes())?;
        self.configure(libc::FSCONFIG_SET_FLAG, k.as_ptr(), std::ptr::null(), 0)
            .map_err(|errno| self.failed(key.to_owned(), errno))
    }

    fn configure(
        &self,
        command: libc::c_uint,
        key: *const libc::c_char,
        value: *const libc::c_char,
        aux: i32,
    ) -> std::result::Result<(), Errno> {
        // SAFETY: key and value are null or C strings that the caller keeps alive for this call.
        match unsafe { libc::syscall(libc::SYS_fsconfig, self.fd.as_raw_fd(), command, key, value, aux) } {
            0 => Ok(()),
            _ => Err(Errno::last()),
        }
    }

    /// Creates the file system and a detached mount of it (fsmount(2)).
    pub fn mount(self, attributes: Attributes) -> Result<OwnedFd> {
        self.configure(libc::FSCONFIG_CMD_CREATE, std::ptr::null(), std::ptr::null(), 0)
            .map_err(|errno| self.failed("create".to_owned(), errno))?;
        // SAFETY: takes integers only.
        let raw = unsafe {
            libc::syscall(libc::SYS_fsmount, self.fd.as_raw_fd(), libc::FSMOUNT_CLOEXEC, attributes.0)
        };
        new_fd("fsmount", || self.kind.to_owned(), raw)
    }

    /// The error with what the kernel itself says about it, read from the context (fsopen(2)).
    fn failed(&self, what: String, errno: Errno) -> Error {
        let mut said = String::new();
        let mut buffer = [0u8; 512];
        while let Ok(n) = nix::unistd::read(&self.fd, &mut buffer) {
            if n == 0 {
                break;
            }
            let line = String::from_utf8_lossy(&buffer[..n]);
            said.push_str("; kernel: ");
            said.push_str(line.trim_start_matches("e ").trim_start_matches("w ").trim());
        }
        Error::new("fsconfig", format!("{}, {what}{said}", self.kind), errno)
    }
}

/// A detached copy of the mount at `path` (open_tree(2)); `recursive` takes those below along.
pub fn clone_tree(dir: BorrowedFd<'_>, path: &Path, recursive: bool) -> Result<OwnedFd> {
    let c_path = c_string(path.as_os_str().as_bytes())?;
    let mut flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC | libc::AT_EMPTY_PATH as libc::c_uint;
    if recursive {
        flags |= libc::AT_RECURSIVE as libc::c_uint;
    }
    // SAFETY: `c_path` outlives the call.
    let raw = unsafe { libc::syscall(libc::SYS_open_tree, dir.as_raw_fd(), c_path.as_ptr(), flags) };
    new_fd("open_tree", || format!("{path:?}, CLONE"), raw)
}

/// Adds attributes to a mount, or to it and all below.
pub fn set_attributes(mount: impl AsFd, attributes: Attributes, recursive: bool) -> Result<()> {
    let raw = mount.as_fd().as_raw_fd();
    let attr = libc::mount_attr { attr_set: attributes.0, attr_clr: 0, propagation: 0, userns_fd: 0 };
    mount_setattr(raw, recursive, &attr)
        .map_err(|e| Error::new("mount_setattr", format!("{attributes:?}"), e))
}

/// Makes a mount, and all below when `recursive`, private or slave as `propagation` (MS_*) says.
pub fn set_propagation(dir: BorrowedFd<'_>, propagation: libc::c_ulong, recursive: bool) -> Result<()> {
    let attr = libc::mount_attr { attr_set: 0, attr_clr: 0, propagation, userns_fd: 0 };
    mount_setattr(dir.as_raw_fd(), recursive, &attr)
        .map_err(|e| Error::new("mount_setattr", "propagation", e))
}

fn mount_setattr(fd: RawFd, recursive: bool, attr: &libc::mount_attr) -> std::result::Result<(), Errno> {
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: `attr` points to a mount_attr of the size given; the path is an empty C string.
    match unsafe {
        libc::syscall(libc::SYS_mount_setattr, fd, c"".as_ptr(), flags, attr, size_of::<libc::mount_attr>())
    } {
        0 => Ok(()),
        _ => Err(Errno::last()),
    }
}

/// Attaches a detached mount onto what `target` refers to (move_mount(2)).
pub fn attach(mount: impl AsFd, target: impl AsFd) -> Result<()> {
    let (from, to) = (mount.as_fd().as_raw_fd(), target.as_fd().as_raw_fd());
    let flags = libc::MOVE_MOUNT_F_EMPTY_PATH | libc::MOVE_MOUNT_T_EMPTY_PATH;
    // SAFETY: both paths are empty C strings.
    match unsafe { libc::syscall(libc::SYS_move_mount, from, c"".as_ptr(), to, c"".as_ptr(), flags) } {
        0 => Ok(()),
        _ => Err(Error::last("move_mount", super::path::fd_target(target))),
    }
}

/// The classic mount(2), for file systems that kernels before 6.5 only take whole.
pub fn mount_classic(kind: &str, target: &Path, flags: libc::c_ulong, data: &[u8]) -> Result<()> {
    let (k, t, d) = (c_string(kind.as_bytes())?, c_string(target.as_os_str().as_bytes())?, c_string(data)?);
    // SAFETY: all four are C strings that outlive the call.
    match unsafe { libc::mount(k.as_ptr(), t.as_ptr(), k.as_ptr(), flags, d.as_ptr().cast()) } {
        0 => Ok(()),
        _ => Err(Error::last("mount", format!("{kind}, {target:?}, {}", String::from_utf8_lossy(data)))),
    }
}

/// Makes the directory `root` refers to the root of this mount namespace and drops the old one
/// (pivot_root(2), "pivot_root(".", ".")").
pub fn pivot_into(root: impl AsFd) -> Result<()> {
    let dot = c".".as_ptr();
    nix::unistd::fchdir(&root).map_err(|e| Error::new("fchdir", "new root", e))?;
    // SAFETY: both paths are C strings.
    if unsafe { libc::syscall(libc::SYS_pivot_root, dot, dot) } != 0 {
        return Err(Error::last("pivot_root", "."));
    }
    // The old root is now stacked on the new one; detach it before anything can walk into it.
    // SAFETY: the path is a C string.
    if unsafe { libc::umount2(dot, libc::MNT_DETACH) } != 0 {
        return Err(Error::last("umount2", "old root"));
    }
    nix::unistd::chdir("/").map_err(|e| Error::new("chdir", "/", e))
}
