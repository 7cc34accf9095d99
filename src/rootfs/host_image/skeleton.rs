//! The host's directories as the container's own: a tree of empty ones, laid between the host's files and what the
//! container writes. Made by the init of the first container that needs it, kept in the runtime directory.
//!
//! A directory of an upper layer hides the owner of the lower one and merges with its content. So a tree of empty
//! directories, owned by the container's root, is enough to let files be made, replaced and removed there. It
//! takes 10 µs for each directory, which is too much for every start; so it is made once, and again when the host's
//! packages or settings change. What the host adds elsewhere meanwhile stays closed.

use std::collections::VecDeque;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::{AccessFlags, faccessat};

use crate::sys::xattr;

/// The user id we have in our namespace.
const CONTAINER_ROOT: u32 = 0;

/// Trees whose directories become the container's, and how many levels of them.
const TREES: [(&str, usize); 7] =
    [("/etc", 16), ("/root", 16), ("/srv", 16), ("/opt", 16), ("/usr", 16), ("/var", 16), ("/home", 1)];

/// Full of what comes and goes.
const FLEETING: [&str; 2] = ["/var/tmp", "/var/cache/man"];

/// Bounds the directories in all, the deepest left out. A system with a desktop or compilers has 20 000; on a tmpfs
/// each takes 1 KB.
const LIMIT: usize = 32768;

/// Files that package managers lock or append to, and directories only they may read: empty in the clone.
const EMPTIED: [&str; 9] = [
    "/var/lib/dpkg/lock",
    "/var/lib/dpkg/lock-frontend",
    "/var/lib/dpkg/triggers/Lock",
    "/var/lib/apt/lists/lock",
    "/var/cache/apt/archives/lock",
    "/var/cache/debconf/passwords.dat",
    "/var/log/dpkg.log",
    "/var/log/apt/history.log",
    "/var/log/apt/term.log",
];
/// What dpkg makes hard links to, which only a file's owner may.
const COPIED: [&str; 3] = ["/var/lib/dpkg/status", "/var/lib/dpkg/diversions", "/var/lib/dpkg/statoverride"];
const EMPTIED_DIRECTORIES: [&str; 2] = ["/var/lib/apt/lists/partial", "/var/cache/apt/archives/partial"];

/// Where changes of the host's packages and settings show: the times of these, and of what is in the latter.
const WATCHED: [&str; 6] = ["/etc", "/opt", "/var", "/usr/share/doc", "/usr/local/share", "/var/lib/dpkg"];
const WATCHED_INSIDE: &str = "/usr";

/// In `place` beside the tree: the watched directories and their times when it was made.
const SEEN: &str = "seen";
const TREE: &str = "tree";

/// The root of the tree, below `place`; made if it is not there or the host has changed. An error means that the
/// clone has to do without.
pub(super) fn ready(place: &Path) -> io::Result<PathBuf> {
    let tree = place.join(TREE);
    let seen = watched();
    if fs::read_to_string(place.join(SEEN)).is_ok_and(|before| before == seen) {
        return Ok(tree);
    }
    let fresh = place.with_extension(format!("new-{}", unique()));
    DirBuilder::new().mode(0o700).create(&fresh)?;
    let made = fresh.join(TREE);
    DirBuilder::new().mode(0o755).create(&made)?;
    make_directories(Path::new("/"), &made, CONTAINER_ROOT, LIMIT, &TREES)?;
    put_files(&made)?;
    fs::write(fresh.join(SEEN), seen)?;
    // A container that still shows the old tree loses the right to write where it has not yet.
    let old = place.with_extension(format!("old-{}", unique()));
    let _ = fs::rename(place, &old).and_then(|()| fs::remove_dir_all(&old));
    match fs::rename(&fresh, place) {
        // Another container was faster.
        Err(e) if e.raw_os_error().map(Errno::from_raw) == Some(Errno::ENOTEMPTY) => {
            fs::remove_dir_all(&fresh)?;
        }
        renamed => renamed?,
    }
    Ok(tree)
}

/// Our pid is 1 in every container.
fn unique() -> String {
    let bytes = crate::sys::process::random::<8>().unwrap_or_default();
    format!("{:016x}", u64::from_ne_bytes(bytes))
}

fn watched() -> String {
    let inside = fs::read_dir(WATCHED_INSIDE).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut paths: Vec<PathBuf> = WATCHED.iter().map(PathBuf::from).chain(inside).collect();
    paths.sort();
    let time = |path: &PathBuf| {
        let metadata = fs::symlink_metadata(path).ok()?;
        Some(format!("{} {}.{:09}\n", path.display(), metadata.mtime(), metadata.mtime_nsec()))
    };
    paths.iter().filter_map(time).collect()
}

/// Makes in `to` the directories of `from`'s trees that are not owned by `own`.
///
/// Level by level, so that the limit cuts off the deepest. Unreadable directories are left to the lower layer, and
/// so are mounts within a tree, which may be slow or far away.
fn make_directories(
    from: &Path,
    to: &Path,
    own: u32,
    limit: usize,
    trees: &[(&str, usize)],
) -> io::Result<()> {
    let mut made = 0;
    let trees = trees.iter().map(|(tree, levels)| (PathBuf::from(tree), *levels, None));
    let mut queue: VecDeque<(PathBuf, usize, Option<u64>)> = trees.collect();
    while let Some((path, levels, device)) = queue.pop_front() {
        let relative = path.strip_prefix("/").unwrap_or(&path);
        let source = from.join(relative);
        let Ok(metadata) = fs::symlink_metadata(&source) else { continue };
        let foreign = metadata.is_dir() && metadata.uid() != own;
        let elsewhere = device.is_some_and(|device| device != metadata.dev());
        if !foreign || elsewhere || !can_list(&source, metadata.mode()) || made == limit {
            continue;
        }
        make_dir(&to.join(relative), metadata.mode() | 0o700)?;
        made += 1;
        // On most file systems each directory below is a link more; others say 1.
        if levels == 0 || metadata.nlink() == 2 || FLEETING.iter().any(|fleeting| path == Path::new(fleeting))
        {
            continue;
        }
        let Ok(entries) = fs::read_dir(&source) else { continue };
        for entry in entries.flatten() {
            // No link is followed: the type is the entry's own.
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                queue.push_back((path.join(entry.file_name()), levels - 1, Some(metadata.dev())));
            }
        }
    }
    Ok(())
}

/// Whether the overlay will be able to show what is in a directory.
fn can_list(dir: &Path, mode: u32) -> bool {
    let wanted = AccessFlags::R_OK | AccessFlags::X_OK;
    mode & 0o555 == 0o555 || faccessat(AT_FDCWD, dir, wanted, AtFlags::AT_EACCESS).is_ok()
}

fn put_files(tree: &Path) -> io::Result<()> {
    let twin = |path: &str| tree.join(path.trim_start_matches('/'));
    let wanted = |path: &&&str| {
        let parent = twin(path).parent().is_some_and(Path::exists);
        parent && fs::symlink_metadata(path).is_ok()
    };
    for path in EMPTIED.iter().filter(wanted) {
        File::create(twin(path))?.set_permissions(fs::Permissions::from_mode(0o640))?;
    }
    for path in COPIED.iter().filter(wanted) {
        fs::copy(path, twin(path))?;
    }
    for path in EMPTIED_DIRECTORIES.iter().filter(wanted) {
        let twin = twin(path);
        make_dir(&twin, 0o755)?;
        // Where this attribute is refused the overlay would fail to list the directory.
        if xattr::set(File::open(&twin)?, c"user.overlay.opaque", b"y").is_err() {
            fs::remove_dir(&twin)?;
        }
    }
    Ok(())
}

/// Makes a directory with exactly that mode, whatever the umask; false when it exists.
pub(super) fn make_dir(path: &Path, mode: u32) -> io::Result<bool> {
    let mode = mode & 0o7777;
    match DirBuilder::new().mode(mode).create(path) {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
        Err(e) => return Err(e),
    }
    // mkdir(2) ignores the set-group-ID bit, and takes it over from the parent.
    if fs::symlink_metadata(path)?.mode() & 0o7777 != mode {
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    }
    Ok(true)
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

    fn made(lower: &Path, upper: &Path, own: u32, trees: &[(&str, usize)]) -> Vec<(String, u32)> {
        fs::create_dir(upper).unwrap();
        make_directories(lower, upper, own, 100, trees).unwrap();
        modes(upper)
    }

    #[test]
    fn directories_are_made_without_files_and_links() {
        let dir = tempfile::tempdir().unwrap();
        let (lower, upper) = (dir.path().join("l"), dir.path().join("u"));
        fs::create_dir_all(lower.join("a/b/c/d")).unwrap();
        fs::create_dir_all(lower.join("other")).unwrap();
        fs::set_permissions(lower.join("a/b"), fs::Permissions::from_mode(0o2750)).unwrap();
        fs::set_permissions(lower.join("a"), fs::Permissions::from_mode(0o1755)).unwrap();
        fs::write(lower.join("a/file"), "x").unwrap();
        std::os::unix::fs::symlink("a", lower.join("link")).unwrap();
        let expected = [("a", 0o1755), ("a/b", 0o2750), ("a/b/c", 0o755)];
        let trees = [("/a", 2), ("/link", 2), ("/absent", 2)];
        assert_eq!(
            made(&lower, &upper, foreign(), &trees),
            expected.map(|(name, mode)| (name.to_owned(), mode))
        );
    }

    #[test]
    fn directories_of_our_own_are_left_to_the_overlay() {
        let dir = tempfile::tempdir().unwrap();
        let (lower, upper) = (dir.path().join("l"), dir.path().join("u"));
        fs::create_dir_all(lower.join("a/b")).unwrap();
        assert_eq!(made(&lower, &upper, nix::unistd::geteuid().as_raw(), &[("/a", 9)]), []);
    }

    #[test]
    fn a_huge_tree_is_bounded_from_below() {
        let dir = tempfile::tempdir().unwrap();
        let (lower, upper) = (dir.path().join("l"), dir.path().join("u"));
        for i in 1..100 {
            fs::create_dir_all(lower.join(format!("a/{i}"))).unwrap();
        }
        fs::create_dir_all(lower.join("a/1/below")).unwrap();
        let made = made(&lower, &upper, foreign(), &[("/a", 9)]);
        assert_eq!(made.len(), 100);
        assert!(made.iter().all(|(name, _)| !name.contains("below")));
    }

    #[test]
    fn a_tree_is_made_once() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("host");
        let tree = ready(&place).unwrap();
        fs::write(tree.join("mark"), "").unwrap();
        assert!(ready(&place).unwrap().join("mark").exists());
        // The host has changed since.
        fs::write(place.join(SEEN), "/usr 1.0\n").unwrap();
        assert!(!ready(&place).unwrap().join("mark").exists());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
