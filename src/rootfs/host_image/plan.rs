//! Decides of which parts the clone is made. Pure, but for `host_entries`; runs in the container's init.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use super::{Error, FileKind, Part};

/// Directories that become empty ones: the container gets its own.
const OWN: [(&str, u32); 5] =
    [("/proc", 0o555), ("/sys", 0o555), ("/dev", 0o755), ("/run", 0o755), ("/tmp", 0o1777)];

/// File systems that show the kernel's state instead of files.
const PSEUDO: [&str; 17] = [
    "proc",
    "sysfs",
    "devtmpfs",
    "devpts",
    "cgroup",
    "cgroup2",
    "mqueue",
    "debugfs",
    "tracefs",
    "securityfs",
    "fusectl",
    "configfs",
    "bpf",
    "autofs",
    "nsfs",
    "rpc_pipefs",
    "binfmt_misc",
];

/// Directories deeper than this with mounts below them are left empty.
const DEPTH: usize = 6;

/// What a directory holds, in no order.
pub type Listing = Vec<(OsString, FileKind)>;

/// Divides the host's files into parts, parents first and sorted by name.
///
/// `mountinfo` is the text of proc_pid_mountinfo(5). `exclude` names directories to hide, by absolute paths without
/// links; [`scratch`](super::Options::scratch) must lie in one of them or on another file system, because an overlay's layers must
/// not contain each other. `entries` lists a directory as [`host_entries`] does.
///
/// Errors: only when `/` cannot be listed; other directories that cannot be are left empty.
pub fn plan(
    mountinfo: &str,
    exclude: &[PathBuf],
    entries: &dyn Fn(&Path) -> io::Result<Listing>,
) -> Result<Vec<Part>, Error> {
    let planner = Planner { mounts: mount_points(mountinfo), exclude, entries };
    let mut parts = Vec::new();
    let root = Path::new("/");
    let listed = entries(root).map_err(|source| Error::List { path: root.to_owned(), source })?;
    planner.children(root, listed, 1, &mut parts);
    Ok(parts)
}

struct Planner<'a> {
    /// Mount points and their file system types; of mounts stacked on one point the last is the visible one.
    mounts: Vec<(PathBuf, String)>,
    exclude: &'a [PathBuf],
    entries: &'a dyn Fn(&Path) -> io::Result<Listing>,
}

impl Planner<'_> {
    fn children(&self, dir: &Path, mut names: Listing, depth: usize, parts: &mut Vec<Part>) {
        names.sort_by(|a, b| a.0.cmp(&b.0));
        for (name, kind) in names {
            let path = dir.join(name);
            match kind {
                FileKind::Symlink(target) => parts.push(Part::Symlink { path, target }),
                FileKind::File => parts.push(Part::File { path }),
                FileKind::Directory => self.directory(path, depth, parts),
                FileKind::Other => {}
            }
        }
    }

    fn directory(&self, path: PathBuf, depth: usize, parts: &mut Vec<Part>) {
        if path == Path::new("/lost+found") {
            return;
        }
        if let Some((_, mode)) = OWN.iter().find(|(own, _)| path == Path::new(own)) {
            return parts.push(Part::Empty { path, mode: *mode });
        }
        if self.exclude.contains(&path) || self.is_pseudo(&path) {
            return parts.push(Part::Empty { path, mode: 0o755 });
        }
        if !self.is_split(&path) {
            return parts.push(Part::Overlay { path });
        }
        let listed = if depth < DEPTH { (self.entries)(&path).ok() } else { None };
        match listed {
            Some(listed) => {
                parts.push(Part::Directory { path: path.clone() });
                self.children(&path, listed, depth + 1, parts);
            }
            None => parts.push(Part::Empty { path, mode: 0o755 }),
        }
    }

    fn is_pseudo(&self, path: &Path) -> bool {
        let visible = self.mounts.iter().rev().find(|(point, _)| point == path);
        visible.is_some_and(|(_, kind)| PSEUDO.contains(&kind.as_str()))
    }

    /// Whether something strictly below keeps an overlay from covering the directory as a whole.
    fn is_split(&self, path: &Path) -> bool {
        let below = |other: &Path| other != path && other.starts_with(path);
        self.mounts.iter().any(|(point, _)| below(point)) || self.exclude.iter().any(|hidden| below(hidden))
    }
}

fn mount_points(mountinfo: &str) -> Vec<(PathBuf, String)> {
    let parse = |line: &str| {
        let point = unescape(line.split(' ').nth(4)?);
        // The optional fields before the separator vary in number.
        let kind = line.split_once(" - ")?.1.split(' ').next()?;
        Some((point, kind.to_owned()))
    };
    mountinfo.lines().filter_map(parse).collect()
}

/// Undoes the kernel's `\040` for bytes that would break a line into wrong fields.
fn unescape(field: &str) -> PathBuf {
    let (bytes, mut out, mut i) = (field.as_bytes(), Vec::with_capacity(field.len()), 0);
    while i < bytes.len() {
        let octal = field.get(i + 1..i + 4).filter(|_| bytes[i] == b'\\');
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                out.push(byte);
                i += 4;
            }
            None => {
                out.push(bytes[i]);
                i += 1;
            }
        }
    }
    PathBuf::from(OsString::from_vec(out))
}

/// Lists a directory of this host, for [`plan`]. A name that vanishes meanwhile is left out.
pub fn host_entries(dir: &Path) -> io::Result<Listing> {
    let mut listed = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        let kind = match () {
            () if kind.is_dir() => FileKind::Directory,
            () if kind.is_file() => FileKind::File,
            () if kind.is_symlink() => match fs::read_link(entry.path()) {
                Ok(target) => FileKind::Symlink(target),
                Err(_) => continue,
            },
            () => FileKind::Other,
        };
        listed.push((entry.file_name(), kind));
    }
    Ok(listed)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A host: directories end in `/`, links are `name -> target`, all else are files (`?` in front: neither).
    fn plan_of(mountinfo: &str, exclude: &[&str], host: &[(&str, &[&str])]) -> Vec<String> {
        let entries = |dir: &Path| {
            let (_, names) = host
                .iter()
                .find(|(path, _)| Path::new(path) == dir)
                .ok_or_else(|| io::Error::from(io::ErrorKind::PermissionDenied))?;
            let kind = |text: &&str| match (text.split_once(" -> "), text.strip_suffix('/')) {
                (Some((name, target)), _) => (name.into(), FileKind::Symlink(target.into())),
                (_, Some(name)) => (name.into(), FileKind::Directory),
                _ if text.starts_with('?') => (text.into(), FileKind::Other),
                _ => (text.into(), FileKind::File),
            };
            Ok(names.iter().map(kind).collect())
        };
        let exclude: Vec<PathBuf> = exclude.iter().map(PathBuf::from).collect();
        let show = |part: &Part| match part {
            Part::Overlay { path } => format!("overlay {}", path.display()),
            Part::Directory { path } => format!("dir {}", path.display()),
            Part::Empty { path, mode } => format!("empty {} {mode:o}", path.display()),
            Part::Symlink { path, target } => format!("link {} {}", path.display(), target.display()),
            Part::File { path } => format!("file {}", path.display()),
        };
        plan(mountinfo, &exclude, &entries).unwrap().iter().map(show).collect()
    }

    const LAPTOP: &str = "\
22 27 0:21 / /proc rw,relatime shared:12 - proc proc rw
35 22 0:30 / /proc/sys/fs/binfmt_misc rw shared:14 - autofs systemd-1 rw
23 27 0:22 / /sys rw,relatime shared:2 master:1 - sysfs sysfs rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 27 254:1 / /home rw,relatime shared:3 - ext4 /dev/sda2 rw
31 27 0:40 / /run/user/1000 rw - tmpfs tmpfs rw
";

    #[test]
    fn a_plain_host_is_one_overlay_per_directory() {
        let top: &[&str] = &[
            "usr/",
            "bin -> usr/bin",
            "home/",
            "proc/",
            "sys/",
            "dev/",
            "run/",
            "tmp/",
            "lost+found/",
            "swap",
            "?s",
        ];
        assert_eq!(
            plan_of(LAPTOP, &[], &[("/", top)]),
            [
                "link /bin usr/bin",
                "empty /dev 755",
                "overlay /home",
                "empty /proc 555",
                "empty /run 755",
                "file /swap",
                "empty /sys 555",
                "empty /tmp 1777",
                "overlay /usr",
            ]
        );
    }

    #[test]
    fn a_directory_with_mounts_below_is_split() {
        let mounts = "27 1 254:0 / / rw - ext4 /dev/sda1 rw
40 27 0:25 / /mnt/a\\040b/x ro - tmpfs t rw
41 27 0:25 / /mnt/disk rw - ext4 /dev/sdb rw
42 27 0:26 / /mnt/nfs rw - autofs systemd-1 rw
43 27 0:27 / /mnt/seen rw - autofs systemd-1 rw
44 43 0:28 / /mnt/seen rw - nfs4 server:/ rw
";
        let host: &[(&str, &[&str])] = &[
            ("/", &["mnt/", "mntx/"]),
            ("/mnt", &["a b/", "disk/", "nfs/", "seen/", "note", "l -> note"]),
            ("/mnt/a b", &["x/", "y/"]),
        ];
        assert_eq!(
            plan_of(mounts, &[], host),
            [
                "dir /mnt",
                "dir /mnt/a b",
                "overlay /mnt/a b/x",
                "overlay /mnt/a b/y",
                "overlay /mnt/disk",
                "link /mnt/l note",
                "empty /mnt/nfs 755",
                "file /mnt/note",
                "overlay /mnt/seen",
                "overlay /mntx",
            ]
        );
    }

    #[test]
    fn an_excluded_directory_is_empty_and_splits_its_parents() {
        let host: &[(&str, &[&str])] =
            &[("/", &["home/"]), ("/home", &["ann/", "bob/"]), ("/home/ann", &["data/", "src/", ".profile"])];
        assert_eq!(
            plan_of(LAPTOP, &["/home/ann/data"], host),
            [
                "dir /home",
                "dir /home/ann",
                "file /home/ann/.profile",
                "empty /home/ann/data 755",
                "overlay /home/ann/src",
                "overlay /home/bob",
            ]
        );
    }

    #[test]
    fn what_cannot_be_listed_or_lies_too_deep_is_empty() {
        let mounts =
            "40 27 0:25 / /a/secret/x ro - tmpfs t rw\n41 27 0:25 / /b/2/3/4/5/6/7 ro - tmpfs t rw\n";
        let host: &[(&str, &[&str])] = &[
            ("/", &["a/", "b/"]),
            ("/a", &["secret/"]),
            ("/b", &["2/"]),
            ("/b/2", &["3/"]),
            ("/b/2/3", &["4/"]),
            ("/b/2/3/4", &["5/"]),
            ("/b/2/3/4/5", &["6/"]),
            ("/b/2/3/4/5/6", &["7/"]),
        ];
        assert_eq!(
            plan_of(mounts, &[], host),
            [
                "dir /a",
                "empty /a/secret 755",
                "dir /b",
                "dir /b/2",
                "dir /b/2/3",
                "dir /b/2/3/4",
                "dir /b/2/3/4/5",
                "empty /b/2/3/4/5/6 755"
            ]
        );
    }

    #[test]
    fn a_root_that_cannot_be_listed_is_an_error() {
        let refuse = |_: &Path| Err(io::Error::from(io::ErrorKind::PermissionDenied));
        assert!(matches!(plan("", &[], &refuse), Err(Error::List { path, .. }) if path == Path::new("/")));
    }

    #[test]
    fn escapes_in_mount_points_are_undone() {
        assert_eq!(unescape(r"/a\040b\134c\011"), Path::new("/a b\\c\t"));
        assert_eq!(unescape(r"/end\04"), Path::new(r"/end\04"));
        assert_eq!(unescape("/é\\040"), Path::new("/é "));
    }

    #[test]
    fn the_entries_of_a_directory_have_their_kinds() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("d")).unwrap();
        fs::write(dir.path().join("f"), "").unwrap();
        std::os::unix::fs::symlink("nowhere", dir.path().join("l")).unwrap();
        std::os::unix::net::UnixListener::bind(dir.path().join("s")).unwrap();
        let mut listed = host_entries(dir.path()).unwrap();
        listed.sort_by(|a, b| a.0.cmp(&b.0));
        let kinds =
            [FileKind::Directory, FileKind::File, FileKind::Symlink("nowhere".into()), FileKind::Other];
        assert_eq!(listed.into_iter().map(|(_, kind)| kind).collect::<Vec<_>>(), kinds);
    }
}
