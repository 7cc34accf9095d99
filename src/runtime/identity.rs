//! Who `user[:group]` is in a container: looked up in the container's own /etc/passwd and /etc/group.
//! Runs in the container's init and in exec sessions, once the root file system is mounted.
//!
//! The rules are docker's. The files belong to the image: they are opened confined to its root, and
//! one that is not a regular file counts as absent.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;

use crate::spec::user::{MAX_ID, Principal, UserSpec};
use crate::sys;
use crate::sys::error::Context;
use crate::sys::path::Root;

const PASSWD: &str = "/etc/passwd";
const GROUP: &str = "/etc/group";
/// Far more than any real system has; a larger file is an attack on our memory.
const MAX_FILE: u64 = 8 << 20;

/// Whom a process runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub uid: u32,
    pub gid: u32,
    /// For setgroups(2): `gid` itself, then the supplementary groups.
    pub groups: Vec<u32>,
    /// The default of HOME; `/` for a user that passwd does not have.
    pub home: String,
}

#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error("unable to find user {0}: no matching entries in passwd file")]
    NoUser(String),
    #[error("unable to find group {0}: no matching entries in group file")]
    NoGroup(String),
    #[error("unable to look up a user: {0} of the container is larger than 8 MiB")]
    TooLarge(&'static str),
    #[error("unable to look up a user: {path} of the container cannot be read")]
    Read { path: &'static str, source: sys::Error },
}

/// Resolves a user below `root`, the container's root directory.
///
/// A number needs no entry; with one it gets the entry's group and home too. A group that is given
/// replaces the user's own and all supplementary ones.
pub fn resolve(root: &Root, spec: &UserSpec) -> Result<Identity, IdentityError> {
    let passwd = read_file(root, PASSWD)?;
    let group = read_file(root, GROUP)?;
    identify(spec, &passwd, &group)
}

/// [`resolve`] on the contents of the two files.
fn identify(spec: &UserSpec, passwd: &[u8], group: &[u8]) -> Result<Identity, IdentityError> {
    let wanted = spec.user.as_ref().unwrap_or(&Principal::Id(0));
    let entry = passwd_entries(passwd).find(|entry| is(wanted, entry.name, entry.uid));
    let (uid, own_gid) = match (&entry, wanted) {
        (Some(entry), _) => (entry.uid, entry.gid),
        (None, Principal::Id(uid)) => (*uid, 0),
        (None, Principal::Name(name)) => return Err(IdentityError::NoUser(name.clone())),
    };
    let gid = match &spec.group {
        None => own_gid,
        Some(Principal::Id(gid)) => *gid,
        Some(wanted @ Principal::Name(name)) => {
            let found = group_entries(group).find(|entry| is(wanted, entry.name, entry.gid));
            found.ok_or_else(|| IdentityError::NoGroup(name.clone()))?.gid
        }
    };
    let mut groups = vec![gid];
    if let (None, Some(user)) = (&spec.group, &entry) {
        for entry in group_entries(group).filter(|entry| entry.has_member(user.name)) {
            if !groups.contains(&entry.gid) {
                groups.push(entry.gid);
            }
        }
    }
    let home = entry.map(|entry| String::from_utf8_lossy(entry.home).into_owned());
    let home = home.filter(|home| !home.is_empty()).unwrap_or_else(|| "/".to_owned());
    Ok(Identity { uid, gid, groups, home })
}

/// A number means the id alone, even if somebody's name is that number.
fn is(wanted: &Principal, name: &[u8], id: u32) -> bool {
    match wanted {
        Principal::Id(wanted) => *wanted == id,
        Principal::Name(wanted) => wanted.as_bytes() == name,
    }
}

/// A line of passwd(5): name:password:uid:gid:comment:home:shell.
struct PasswdEntry<'a> {
    name: &'a [u8],
    uid: u32,
    gid: u32,
    home: &'a [u8],
}

/// A line of group(5): name:password:gid:members.
struct GroupEntry<'a> {
    name: &'a [u8],
    gid: u32,
    members: &'a [u8],
}

impl GroupEntry<'_> {
    fn has_member(&self, user: &[u8]) -> bool {
        self.members.split(|b| *b == b',').any(|member| member == user)
    }
}

/// Lines whose ids cannot be read are skipped: taken for 0, as docker does, they would mean root.
fn passwd_entries(content: &[u8]) -> impl Iterator<Item = PasswdEntry<'_>> {
    lines(content).filter_map(|line| {
        let mut fields = line.split(|b| *b == b':');
        let name = fields.next()?;
        let uid = parse_id(fields.nth(1)?)?;
        let gid = parse_id(fields.next()?)?;
        Some(PasswdEntry { name, uid, gid, home: fields.nth(1).unwrap_or_default() })
    })
}

fn group_entries(content: &[u8]) -> impl Iterator<Item = GroupEntry<'_>> {
    lines(content).filter_map(|line| {
        let mut fields = line.split(|b| *b == b':');
        let name = fields.next()?;
        let gid = parse_id(fields.nth(1)?)?;
        Some(GroupEntry { name, gid, members: fields.next().unwrap_or_default() })
    })
}

fn lines(content: &[u8]) -> impl Iterator<Item = &[u8]> {
    let lines = content.split(|b| *b == b'\n').map(<[u8]>::trim_ascii);
    lines.filter(|line| !line.is_empty() && !line.starts_with(b"#"))
}

fn parse_id(field: &[u8]) -> Option<u32> {
    let id: u32 = std::str::from_utf8(field).ok()?.parse().ok()?;
    (id <= MAX_ID).then_some(id)
}

/// The content of a file of the container; empty when there is no such regular file.
fn read_file(root: &Root, path: &'static str) -> Result<Vec<u8>, IdentityError> {
    // Non-blocking: the image may have put a fifo there.
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let fd = match root.resolve(Path::new(path), flags, Mode::empty()) {
        Ok(fd) => fd,
        Err(e)
            if [Errno::ENOENT, Errno::ENOTDIR, Errno::ELOOP, Errno::ENXIO, Errno::EACCES]
                .contains(&e.errno) =>
        {
            return Ok(Vec::new());
        }
        Err(source) => return Err(IdentityError::Read { path, source }),
    };
    let mut content = Vec::new();
    let file = File::from(fd);
    let failed = |source| IdentityError::Read { path, source };
    if !file.metadata().call("fstat", || path.to_owned()).map_err(failed)?.is_file() {
        return Ok(Vec::new());
    }
    file.take(MAX_FILE + 1).read_to_end(&mut content).call("read", || path.to_owned()).map_err(failed)?;
    if content.len() as u64 > MAX_FILE {
        return Err(IdentityError::TooLarge(path));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    const PASSWD_TEXT: &[u8] = b"root:x:0:0:root:/root:/bin/sh\n\
        # comment\n\
        \n\
        broken\n\
        toor:x:zero:0::/nowhere:/bin/sh\n\
        1000:x:7:7:a number as a name:/seven:/bin/sh\n\
        \xff\xfe:x:5:5:not UTF-8:/five:/bin/sh\n\
        redis:x:999:998::/data:/bin/sh\n\
        app:x:1000:1001:,,,:/home/app:/bin/sh\n\
        app2:x:1000:1002::/home/app2:/bin/sh\n\
        nohome:x:8:8\n";
    const GROUP_TEXT: &[u8] = b"root:x:0:\n\
        bin:x:1:root,bin\n\
        #app:x:2:app\n\
        odd:x:minus:app\n\
        docker:x:50:app,redis\n\
        app:x:1001:app\n\
        1001:x:60:\n\
        web:x:61:redisx,app";

    fn who(spec: &str) -> (u32, u32, Vec<u32>, String) {
        let Identity { uid, gid, groups, home } =
            identify(&spec.parse().expect(spec), PASSWD_TEXT, GROUP_TEXT).expect(spec);
        (uid, gid, groups, home)
    }

    fn unknown(spec: &str) -> String {
        identify(&spec.parse().expect(spec), PASSWD_TEXT, GROUP_TEXT).expect_err(spec).to_string()
    }

    #[test]
    fn users() {
        assert_eq!(who(""), (0, 0, vec![0, 1], "/root".to_owned()));
        assert_eq!(who("root"), who(""));
        assert_eq!(who("0"), who(""));
        assert_eq!(who("redis"), (999, 998, vec![998, 50], "/data".to_owned()));
        assert_eq!(who("1000"), (1000, 1001, vec![1001, 50, 61], "/home/app".to_owned()));
        assert_eq!(who("app2"), (1000, 1002, vec![1002], "/home/app2".to_owned()));
        assert_eq!(who("4711"), (4711, 0, vec![0], "/".to_owned()));
        assert_eq!(who("nohome"), (8, 8, vec![8], "/".to_owned()));
    }

    #[test]
    fn given_groups_replace_all_others() {
        assert_eq!(who("app:web"), (1000, 61, vec![61], "/home/app".to_owned()));
        assert_eq!(who("app:1001"), (1000, 1001, vec![1001], "/home/app".to_owned()));
        assert_eq!(who("4711:4712"), (4711, 4712, vec![4712], "/".to_owned()));
        assert_eq!(who(":docker"), (0, 50, vec![50], "/root".to_owned()));
    }

    #[test]
    fn unknown_names_in_dockers_words() {
        assert_eq!(unknown("foo"), "unable to find user foo: no matching entries in passwd file");
        assert_eq!(unknown("toor"), "unable to find user toor: no matching entries in passwd file");
        assert_eq!(unknown("broken:0"), "unable to find user broken: no matching entries in passwd file");
        assert_eq!(unknown("app:bar"), "unable to find group bar: no matching entries in group file");
        assert_eq!(unknown("app:a:b"), "unable to find group a:b: no matching entries in group file");
    }

    struct Rootfs(tempfile::TempDir);

    impl Rootfs {
        fn new() -> Rootfs {
            let dir = tempfile::tempdir().expect("tempdir");
            fs::create_dir(dir.path().join("etc")).expect("mkdir");
            Rootfs(dir)
        }

        fn resolve(&self, spec: &str) -> Result<Identity, IdentityError> {
            let root = Root::open(self.0.path()).expect("open");
            resolve(&root, &spec.parse().expect(spec))
        }
    }

    #[test]
    fn reads_the_containers_files() {
        let rootfs = Rootfs::new();
        let etc = rootfs.0.path().join("etc");
        assert_eq!(rootfs.resolve("5").map(|i| (i.uid, i.home)).ok(), Some((5, "/".to_owned())));
        fs::create_dir(rootfs.0.path().join("real")).expect("mkdir");
        fs::write(rootfs.0.path().join("real/passwd"), PASSWD_TEXT).expect("write");
        // Absolute links lead into the container.
        symlink("/real/passwd", etc.join("passwd")).expect("symlink");
        fs::write(etc.join("group"), GROUP_TEXT).expect("write");
        assert_eq!(rootfs.resolve("redis").map(|i| i.groups).ok(), Some(vec![998, 50]));
    }

    #[test]
    fn never_reads_the_hosts_files_or_blocks() {
        let rootfs = Rootfs::new();
        let etc = rootfs.0.path().join("etc");
        symlink("../../../../../../etc/passwd", etc.join("passwd")).expect("symlink");
        assert!(matches!(rootfs.resolve("daemon"), Err(IdentityError::NoUser(_))));
        fs::remove_file(etc.join("passwd")).expect("rm");
        nix::unistd::mkfifo(&etc.join("passwd"), Mode::from_bits_truncate(0o600)).expect("mkfifo");
        fs::create_dir(etc.join("group")).expect("mkdir");
        assert!(matches!(rootfs.resolve("root"), Err(IdentityError::NoUser(_))));
        assert_eq!(rootfs.resolve("").map(|i| i.groups).ok(), Some(vec![0]));
    }

    #[test]
    fn refuses_a_huge_file() {
        let rootfs = Rootfs::new();
        let file = File::create(rootfs.0.path().join("etc/passwd")).expect("create");
        file.set_len(MAX_FILE + 1).expect("sparse");
        assert!(matches!(rootfs.resolve(""), Err(IdentityError::TooLarge(PASSWD))));
    }
}
