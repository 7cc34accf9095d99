//! Carries out the mount plan, in the container's init before it changes its root.
//!
//! Targets are resolved inside the new root with openat2, so a symbolic link of the image leads
//! nowhere else; sources are opened in the host's tree, with the user's own rights.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, mkdirat};

use super::plan::Step;
use crate::sys;
use crate::sys::error::Context;
use crate::sys::mount::{Attributes, FileSystem, attach, clone_tree, set_attributes, set_propagation};
use crate::sys::path::Root;

#[derive(Debug, thiserror::Error)]
#[error("cannot mount {what}")]
pub struct ApplyError {
    what: String,
    #[source]
    source: sys::Error,
}

const NO_EXEC_SUID_DEV: [Attributes; 3] = [Attributes::NO_EXEC, Attributes::NO_SUID, Attributes::NO_DEV];

fn safe_attributes() -> Attributes {
    NO_EXEC_SUID_DEV.into_iter().fold(Attributes::NONE, |all, one| all | one)
}

/// What later steps of init need.
#[derive(Debug, Default)]
pub struct Applied {
    /// The container's own devpts, for its terminal.
    pub devpts: Option<OwnedFd>,
    /// What this kernel refused, one sentence each.
    pub lost: Vec<String>,
}

/// Mounts everything below `root`. `tty_group`: the mapped group of terminals, if there is one.
pub fn apply(steps: &[Step], root: &Root, tty_group: Option<u32>) -> Result<Applied, ApplyError> {
    let mut applied = Applied::default();
    for step in steps {
        one(step, root, tty_group, &mut applied)
            .map_err(|source| ApplyError { what: describe(step), source })?;
    }
    Ok(applied)
}

fn describe(step: &Step) -> String {
    match step {
        Step::Proc => "/proc".into(),
        Step::Sys { .. } => "/sys".into(),
        Step::Cgroup => "/sys/fs/cgroup".into(),
        Step::Dev { .. } => "/dev".into(),
        Step::Tmpfs { target, .. } => format!("a tmpfs on {}", target.display()),
        Step::Bind { source, target, .. } => format!("{} on {}", source.display(), target.display()),
        Step::Mask(path) => format!("a mask over {path}"),
        Step::ReadOnly(path) => format!("{path} read-only"),
        Step::ReadOnlyRoot => "the root read-only".into(),
    }
}

fn one(step: &Step, root: &Root, tty_group: Option<u32>, applied: &mut Applied) -> sys::Result<()> {
    match step {
        Step::Proc => proc(root, applied),
        Step::Sys { host } => sysfs(root, *host, applied),
        Step::Cgroup => {
            let mount = FileSystem::open("cgroup2")?.mount(safe_attributes() | Attributes::READ_ONLY)?;
            attach(mount, directory(root, Path::new("/sys/fs/cgroup"))?)
        }
        Step::Dev { terminal, .. } => {
            applied.devpts = Some(dev(root, *terminal, tty_group)?);
            Ok(())
        }
        Step::Tmpfs { target, attributes, options } => {
            let fs = FileSystem::open("tmpfs")?;
            for (key, value) in options {
                fs.set(key, value.as_bytes())?;
            }
            attach(fs.mount(*attributes)?, directory(root, target)?)
        }
        Step::Bind { source, target, read_only } => bind(root, source, target, *read_only),
        Step::Mask(path) => mask(root, Path::new(path)),
        Step::ReadOnly(path) => read_only(root, Path::new(path)),
        Step::ReadOnlyRoot => set_attributes(root, Attributes::READ_ONLY, false),
    }
}

fn proc(root: &Root, applied: &mut Applied) -> sys::Result<()> {
    let target = directory(root, Path::new("/proc"))?;
    match FileSystem::open("proc").and_then(|fs| fs.mount(safe_attributes())) {
        Ok(mount) => attach(mount, target),
        // An outer container that masks parts of /proc forbids a new one.
        Err(error) if error.is(Errno::EPERM) => {
            applied.lost.push("the container sees the host's /proc: a new one is refused here".into());
            attach(clone_tree(AT_FDCWD, Path::new("/proc"), true)?, target)
        }
        Err(error) => Err(error),
    }
}

fn sysfs(root: &Root, host: bool, applied: &mut Applied) -> sys::Result<()> {
    let target = directory(root, Path::new("/sys"))?;
    let attributes = safe_attributes() | Attributes::READ_ONLY;
    // A new sysfs may only be mounted with a network namespace of one's own.
    if !host {
        match FileSystem::open("sysfs").and_then(|fs| fs.mount(attributes)) {
            // An outer container that masks parts of /sys, or has none, forbids a new one.
            Err(error) if error.is(Errno::EPERM) => {
                applied.lost.push(
                    "the container sees the host's /sys, network devices too: a new one is refused here"
                        .into(),
                );
            }
            mounted => return attach(mounted?, target),
        }
    }
    let tree = clone_tree(AT_FDCWD, Path::new("/sys"), true)?;
    set_attributes(&tree, attributes, true)?;
    attach(tree, target)
}

const NODES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
const LINKS: [(&str, &str); 6] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("core", "/proc/kcore"),
    ("ptmx", "pts/ptmx"),
];

fn dev(root: &Root, terminal: bool, tty_group: Option<u32>) -> sys::Result<OwnedFd> {
    let fs = FileSystem::open("tmpfs")?;
    fs.set("mode", b"755")?;
    fs.set("size", b"65536k")?;
    let dev = fs.mount(Attributes::NO_SUID | Attributes::NO_EXEC)?;
    attach(&dev, directory(root, Path::new("/dev"))?)?;
    for name in NODES {
        let target = file_at(&dev, name)?;
        attach(clone_tree(AT_FDCWD, &Path::new("/dev").join(name), false)?, target)?;
    }
    for (name, target) in LINKS {
        nix::unistd::symlinkat(target, &dev, name).call("symlinkat", || format!("/dev/{name}"))?;
    }
    for name in ["pts", "shm", "mqueue"] {
        mkdirat(&dev, name, Mode::from_bits_truncate(0o755)).call("mkdirat", || format!("/dev/{name}"))?;
    }
    let child = |name: &str| {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        nix::fcntl::openat(&dev, name, flags, Mode::empty()).call("openat", || format!("/dev/{name}"))
    };
    let fs = FileSystem::open("devpts")?;
    fs.set_flag("newinstance")?;
    fs.set("ptmxmode", b"0666")?;
    fs.set("mode", b"0620")?;
    if let Some(group) = tty_group {
        fs.set("gid", group.to_string().as_bytes())?;
    }
    let devpts = fs.mount(Attributes::NO_SUID | Attributes::NO_EXEC)?;
    attach(&devpts, child("pts")?)?;
    let fs = FileSystem::open("tmpfs")?;
    fs.set("mode", b"1777")?;
    fs.set("size", b"65536k")?;
    attach(fs.mount(safe_attributes())?, child("shm")?)?;
    attach(FileSystem::open("mqueue")?.mount(safe_attributes())?, child("mqueue")?)?;
    if terminal {
        file_at(&dev, "console")?;
    }
    Ok(devpts)
}

/// Puts the terminal that init opened (always the first of its devpts) on /dev/console.
pub fn console(root: &Root, devpts: BorrowedFd<'_>) -> sys::Result<()> {
    let target = root.resolve(Path::new("/dev/console"), OFlag::O_PATH, Mode::empty())?;
    attach(clone_tree(devpts, Path::new("0"), false)?, target)
}

fn file_at(dir: &OwnedFd, name: &str) -> sys::Result<OwnedFd> {
    let flags = OFlag::O_CREAT | OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    nix::fcntl::openat(dir, name, flags, Mode::from_bits_truncate(0o666))
        .call("openat", || format!("/dev/{name}"))
}

fn bind(root: &Root, source: &Path, target: &Path, read_only: bool) -> sys::Result<()> {
    let tree = clone_tree(AT_FDCWD, source, true)?;
    // docker's rprivate: later mounts of the host do not appear in the container.
    set_propagation(tree.as_fd(), libc::MS_PRIVATE, true)?;
    if read_only {
        set_attributes(&tree, Attributes::READ_ONLY, true)?;
    }
    let place = if is_directory(&tree)? { directory(root, target)? } else { file(root, target)? };
    attach(tree, place)
}

fn stat_of(fd: impl AsFd) -> sys::Result<FileStat> {
    fstat(&fd).call("fstat", || sys::path::fd_target(&fd))
}

fn is_directory(fd: impl AsFd) -> sys::Result<bool> {
    Ok(SFlag::from_bits_truncate(stat_of(fd)?.st_mode) & SFlag::S_IFMT == SFlag::S_IFDIR)
}

fn mask(root: &Root, path: &Path) -> sys::Result<()> {
    let Some(target) = existing(root, path)? else { return Ok(()) };
    if is_directory(&target)? {
        let fs = FileSystem::open("tmpfs")?;
        fs.set("size", b"0k")?;
        return attach(fs.mount(safe_attributes() | Attributes::READ_ONLY)?, target);
    }
    attach(clone_tree(AT_FDCWD, Path::new("/dev/null"), false)?, target)
}

fn read_only(root: &Root, path: &Path) -> sys::Result<()> {
    let Some(target) = existing(root, path)? else { return Ok(()) };
    let tree = clone_tree(target.as_fd(), Path::new(""), true)?;
    set_attributes(&tree, Attributes::READ_ONLY, true)?;
    attach(tree, target)
}

/// What is there, or `None`; a path that leads nowhere needs no covering.
fn existing(root: &Root, path: &Path) -> sys::Result<Option<OwnedFd>> {
    match root.resolve(path, OFlag::O_PATH, Mode::empty()) {
        Ok(fd) => Ok(Some(fd)),
        Err(error) if error.is(Errno::ENOENT) || error.is(Errno::ENOTDIR) || error.is(Errno::EACCES) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// The directory at `path`, made with its parents (0755) where missing.
pub fn directory(root: &Root, path: &Path) -> sys::Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
    match root.resolve(path, flags, Mode::empty()) {
        Err(error) if error.is(Errno::ENOENT) => {}
        result => return result,
    }
    let mut here = PathBuf::from("/");
    let mut parent = root.resolve(&here, flags, Mode::empty())?;
    for component in path.components().filter(|c| !matches!(c, std::path::Component::RootDir)) {
        here.push(component);
        parent = match root.resolve(&here, flags, Mode::empty()) {
            Err(error) if error.is(Errno::ENOENT) => {
                make(&parent, component.as_os_str())?;
                root.resolve(&here, flags, Mode::empty())?
            }
            result => result?,
        };
    }
    Ok(parent)
}

fn make(parent: &OwnedFd, name: &OsStr) -> sys::Result<()> {
    match mkdirat(parent, name, Mode::from_bits_truncate(0o755)) {
        Ok(()) | Err(Errno::EEXIST) => Ok(()),
        Err(errno) => Err(errno).call("mkdirat", || format!("{name:?}")),
    }
}

/// The file at `path`, made empty where missing.
fn file(root: &Root, path: &Path) -> sys::Result<OwnedFd> {
    match root.resolve(path, OFlag::O_PATH, Mode::empty()) {
        Err(error) if error.is(Errno::ENOENT) => {}
        result => return result,
    }
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(sys::Error::new("open", format!("{path:?}"), Errno::EISDIR));
    };
    let parent = directory(root, parent)?;
    let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    nix::fcntl::openat(&parent, name, flags, Mode::from_bits_truncate(0o644))
        .call("openat", || format!("{path:?}"))
}
