//! The writable layer of one overlay of the clone, filled so that programs can work on files which the container
//! does not own. Runs in the container's init.
//!
//! A directory in the upper layer hides the owner of the lower one and merges with its content. So a tree of
//! empty directories, owned by the container's root, is enough to let files be made, replaced and removed there.

use std::collections::VecDeque;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::{AccessFlags, faccessat};

/// The user id we have in our namespace.
const CONTAINER_ROOT: u32 = 0;

/// Where host-owned directories become the container's, and how many levels of them. Few, because this is on the
/// way of every start and a directory takes 5 µs on tmpfs, but 65 µs on a disk's ext4.
const WRITABLE: [(&str, usize); 8] = [
    ("/etc", 1),
    ("/root", 1),
    ("/home", 1),
    ("/srv", 1),
    ("/opt", 1),
    ("/usr", 1),
    ("/usr/local", 1),
    ("/var", 1),
];

/// Bounds the directories made below one overlay.
const LIMIT: usize = 128;

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
        prefill(lower, &layers.upper, CONTAINER_ROOT)?;
    }
    // A work directory used with `volatile` is refused when used again.
    match fs::remove_dir_all(&layers.work) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => DirBuilder::new().recursive(true).mode(0o700).create(&layers.work)?,
    }
    Ok(layers)
}

/// Makes in `upper` the directories of `lower` that are not owned by `own`, and copies the edited files.
///
/// Level by level, so that the limit cuts off the deepest. Unreadable directories are left to the lower layer.
fn prefill(lower: &Path, upper: &Path, own: u32) -> io::Result<()> {
    for file in EDITED.iter().map(Path::new).filter(|file| file.parent() == Some(lower)) {
        if let Some(name) = file.file_name() {
            copy_small(file, &upper.join(name))?;
        }
    }
    make_directories(lower, upper, own, &opens)
}

/// Whether the directories in `dir` are to be the container's.
fn opens(dir: &Path) -> bool {
    WRITABLE.iter().any(|(tree, levels)| {
        dir.strip_prefix(tree).is_ok_and(|relative| relative.components().count() < *levels)
    })
}

fn make_directories(lower: &Path, upper: &Path, own: u32, opens: &dyn Fn(&Path) -> bool) -> io::Result<()> {
    let mut made = 0;
    let mut queue = VecDeque::from([(lower.to_owned(), upper.to_owned())]);
    while let Some((from, to)) = queue.pop_front() {
        if !opens(&from) {
            continue;
        }
        let Ok(entries) = fs::read_dir(&from) else { continue };
        for entry in entries.flatten() {
            // No link is followed: the type and the metadata are the entry's own.
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            let Ok(metadata) = entry.metadata() else { continue };
            let path = entry.path();
            if metadata.uid() == own || !can_list(&path) {
                continue;
            }
            if made == LIMIT {
                return Ok(());
            }
            let twin = to.join(entry.file_name());
            make_dir(&twin, metadata.mode())?;
            made += 1;
            queue.push_back((path, twin));
        }
    }
    Ok(())
}

fn can_list(dir: &Path) -> bool {
    let wanted = AccessFlags::R_OK | AccessFlags::X_OK;
    faccessat(AT_FDCWD, dir, wanted, AtFlags::AT_EACCESS).is_ok()
}

/// Makes a directory with exactly that mode, whatever the umask; false when it exists.
fn make_dir(path: &Path, mode: u32) -> io::Result<bool> {
    let mode = mode & 0o7777;
    match DirBuilder::new().mode(mode).create(path) {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
        Err(e) => return Err(e),
    }
    // mkdir(2) ignores the set-group-ID bit.
    if mode & 0o2000 != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    }
    Ok(true)
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
    use super::*;

    fn modes(dir: &Path) -> Vec<(String, u32)> {
        let mut found = Vec::new();
        let mut todo = vec![dir.to_owned()];
        while let Some(next) = todo.pop() {
            for entry in fs::read_dir(next).unwrap().flatten() {
                let path = entry.path();
                let metadata = fs::symlink_metadata(&path).unwrap();
                let name = path.strip_prefix(dir).unwrap().to_str().unwrap().to_owned();
                found.push((name, metadata.mode() & 0o7777));
                if metadata.is_dir() {
                    todo.push(path);
                }
            }
        }
        found.sort();
        found
    }

    fn foreign() -> u32 {
        nix::unistd::geteuid().as_raw() + 1
    }

    #[test]
    fn directories_are_made_without_files_and_links() {
        let dir = tempfile::tempdir().unwrap();
        let (lower, upper) = (dir.path().join("l"), dir.path().join("u"));
        fs::create_dir_all(lower.join("a/b/c")).unwrap();
        fs::set_permissions(lower.join("a/b"), fs::Permissions::from_mode(0o2700)).unwrap();
        fs::set_permissions(lower.join("a"), fs::Permissions::from_mode(0o1755)).unwrap();
        fs::write(lower.join("a/file"), "x").unwrap();
        std::os::unix::fs::symlink("a", lower.join("link")).unwrap();
        fs::create_dir(&upper).unwrap();
        make_directories(&lower, &upper, foreign(), &|dir| !dir.ends_with("b")).unwrap();
        assert_eq!(modes(&upper), [("a".to_owned(), 0o1755), ("a/b".to_owned(), 0o2700)]);
    }

    #[test]
    fn directories_of_our_own_are_left_to_the_overlay() {
        let dir = tempfile::tempdir().unwrap();
        let (lower, upper) = (dir.path().join("l"), dir.path().join("u"));
        fs::create_dir_all(lower.join("a/b")).unwrap();
        fs::create_dir(&upper).unwrap();
        make_directories(&lower, &upper, nix::unistd::geteuid().as_raw(), &|_| true).unwrap();
        assert_eq!(modes(&upper), []);
    }

    #[test]
    fn a_huge_tree_is_bounded_from_below() {
        let dir = tempfile::tempdir().unwrap();
        let (lower, upper) = (dir.path().join("l"), dir.path().join("u"));
        for i in 0..LIMIT {
            fs::create_dir_all(lower.join(format!("{i}/below"))).unwrap();
        }
        fs::create_dir(&upper).unwrap();
        make_directories(&lower, &upper, foreign(), &|_| true).unwrap();
        let made = modes(&upper);
        assert_eq!(made.len(), LIMIT);
        assert!(made.iter().all(|(name, _)| !name.contains("below")));
    }

    #[test]
    fn levels_count_from_the_tree_and_not_from_the_overlay() {
        for open in ["/usr", "/usr/local", "/etc", "/var"] {
            assert!(opens(Path::new(open)), "{open}");
        }
        for closed in ["/usr/share", "/usr/local/lib", "/usrx", "/boot", "/etc/ssl"] {
            assert!(!opens(Path::new(closed)), "{closed}");
        }
    }

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
