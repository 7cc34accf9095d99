//! The writable layer of one overlay of the clone. Runs in the container's init.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::skeleton::make_dir;

/// Files that programs change in place, copied so that they can.
const EDITED: [&str; 3] = ["/etc/passwd", "/etc/group", "/etc/hosts"];

/// Bytes up to which a file is copied.
const SMALL: u64 = 64 * 1024;

/// The directories that an overlay writes to.
pub(super) struct Layers {
    pub upper: PathBuf,
    pub work: PathBuf,
}

/// Makes the layers of an overlay over `lower` below `scratch`, or reuses what an earlier start left there.
pub(super) fn prepare(scratch: &Path, lower: &Path, mode: u32) -> io::Result<Layers> {
    let relative = lower.strip_prefix("/").unwrap_or(lower);
    let layers =
        Layers { upper: scratch.join("upper").join(relative), work: scratch.join("work").join(relative) };
    let parent = layers.upper.parent().unwrap_or(scratch);
    DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    if make_dir(&layers.upper, mode)? {
        for file in EDITED.iter().map(Path::new).filter(|file| file.parent() == Some(lower)) {
            copy_small(file, &layers.upper.join(file.file_name().unwrap_or_default()))?;
        }
    }
    // A work directory used with `volatile` is refused when used again.
    match fs::remove_dir_all(&layers.work) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => DirBuilder::new().recursive(true).mode(0o700).create(&layers.work)?,
    }
    Ok(layers)
}

/// Copies a readable regular file of at most [`SMALL`] bytes with its mode, but for set-ID bits.
///
/// `to` is in a directory that only we can write to. Returns whether it is there now, from before or by this copy.
pub(super) fn copy_small(from: &Path, to: &Path) -> io::Result<bool> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let mut source = match File::options().read(true).custom_flags(flags).open(from) {
        Ok(file) => file,
        Err(e) => return absent(e),
    };
    let metadata = source.metadata()?;
    if !metadata.is_file() || metadata.len() > SMALL {
        return Ok(false);
    }
    let mode = metadata.mode() & 0o1777;
    match OpenOptions::new().write(true).create_new(true).mode(mode).open(to) {
        // Copied by chunks until the end, should it grow meanwhile.
        Ok(mut target) => io::copy(&mut source, &mut target).map(|_| true),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(true),
        Err(e) => Err(e),
    }
}

fn absent(e: io::Error) -> io::Result<bool> {
    match e.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EACCES | Errno::EPERM | Errno::ENOENT | Errno::ELOOP | Errno::ENXIO) => Ok(false),
        _ => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_second_start_finds_what_the_first_left() {
        let dir = tempfile::tempdir().unwrap();
        let lower = dir.path().join("l");
        fs::create_dir(&lower).unwrap();
        let first = prepare(&dir.path().join("s"), &lower, 0o40755).unwrap();
        fs::write(first.upper.join("kept"), "").unwrap();
        fs::create_dir_all(first.work.join("work/incompat/volatile")).unwrap();
        let second = prepare(&dir.path().join("s"), &lower, 0o40755).unwrap();
        assert!(second.upper.join("kept").exists());
        assert_eq!(fs::read_dir(second.work).unwrap().count(), 0);
    }

    #[test]
    fn only_small_regular_files_are_copied() {
        let dir = tempfile::tempdir().unwrap();
        let [small, large, link, to] = ["small", "large", "link", "to"].map(|name| dir.path().join(name));
        fs::write(&small, "text").unwrap();
        fs::set_permissions(&small, fs::Permissions::from_mode(0o4700)).unwrap();
        fs::write(&large, vec![0; SMALL as usize + 1]).unwrap();
        std::os::unix::fs::symlink("small", &link).unwrap();
        assert!(!copy_small(&large, &to).unwrap());
        assert!(!copy_small(&link, &to).unwrap());
        assert!(!copy_small(&dir.path().join("none"), &to).unwrap());
        assert!(copy_small(&small, &to).unwrap());
        assert_eq!(fs::read(&to).unwrap(), b"text");
        assert_eq!(fs::metadata(&to).unwrap().mode() & 0o7777, 0o700);
        fs::write(&to, "changed").unwrap();
        assert!(copy_small(&small, &to).unwrap());
        assert_eq!(fs::read(&to).unwrap(), b"changed");
    }
}
