//! From names in the archive to open directories and real paths, confined to the root.
//!
//! Runs in the id worker.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;

use super::{Cached, DIRECTORY, Node, Place, Tree, failed, make_directory, system};
use crate::archive::unpack::{Error, shown};
use crate::sys;

/// As many links as the kernel follows on one way (path_resolution(7)).
const LINKS_MAX: u32 = 40;
/// PATH_MAX with its NUL byte: links can make a real path longer than any name in the archive.
const REAL_PATH_MAX: usize = 4096;

impl Tree {
    /// Where a member goes; missing parents are made.
    pub(super) fn place(&mut self, path: &[u8]) -> Result<Place, Error> {
        let (lexical, name) = split(path);
        let parent = self.parent(lexical, path)?;
        let place = Place { parent: parent.fd.clone(), path: join(&parent.real, name), name: name.to_vec() };
        check_length(&place.path)?;
        Ok(place)
    }

    /// The place of something that may be there; nothing is made.
    pub(super) fn existing(&self, path: &[u8]) -> Result<Option<Place>, Error> {
        if path.is_empty() {
            return Ok(None);
        }
        let (lexical, name) = split(path);
        match self.resolve(lexical) {
            Ok(fd) => {
                let real = self.real_path(&fd, path)?;
                Ok(Some(Place { parent: Rc::new(fd), path: join(&real, name), name: name.to_vec() }))
            }
            Err(error) if matches!(error.errno, Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => Ok(None),
            Err(error) => Err(system(path, error)),
        }
    }

    /// Opens a directory of the archive, making what is missing. `member` is for messages.
    pub(super) fn parent(&mut self, lexical: &[u8], member: &[u8]) -> Result<&Cached, Error> {
        if self.cached.as_ref().is_none_or(|cached| cached.lexical != lexical) {
            let plain =
                self.root.resolve_plain(Path::new(OsStr::from_bytes(lexical)), DIRECTORY, Mode::empty());
            let (fd, real) = match plain {
                Ok(fd) => (fd, lexical.to_vec()),
                Err(error) if matches!(error.errno, Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => {
                    self.walk(lexical, member)?
                }
                Err(error) => return Err(system(member, error)),
            };
            self.cached = Some(Cached { lexical: lexical.to_vec(), real, fd: Rc::new(fd) });
        }
        Ok(self.cached.as_ref().expect("filled above"))
    }

    /// Goes down step by step, through links of this layer and making missing directories.
    ///
    /// As path_resolution(7) with the layer's root as `/`, and in docker's way: where a link leads to
    /// nothing, what it names is made. Each step opens one name below an open directory of the layer
    /// and never follows a link itself, so no target leads outside.
    fn walk(&mut self, lexical: &[u8], member: &[u8]) -> Result<(OwnedFd, Vec<u8>), Error> {
        let not_a_directory = || Error::Parent { path: shown(member), parent: shown(lexical) };
        let mut fd = self.open_real(b"", member)?;
        let mut real = Vec::new();
        let mut links = 0;
        // What is still to go, the next component last.
        let mut ahead: Vec<Vec<u8>> = lexical.rsplit(|&b| b == b'/').map(<[u8]>::to_vec).collect();
        while let Some(component) = ahead.pop() {
            match component.as_slice() {
                b"" | b"." => continue,
                b".." => {
                    // What was passed are real directories, so the text says what is above.
                    real.truncate(real.iter().rposition(|&b| b == b'/').unwrap_or(0));
                    fd = self.open_real(&real, member)?;
                    continue;
                }
                _ => {}
            }
            let step = join(&real, &component);
            match self.nodes.get(&step) {
                Some(Node::Directory { .. }) => {
                    let open = nix::fcntl::openat(&fd, component.as_slice(), DIRECTORY, Mode::empty());
                    fd = open.map_err(|errno| failed(&step, "openat", "O_PATH|O_DIRECTORY", errno))?;
                    real = step;
                }
                None | Some(Node::Whiteout) => (fd, real) = self.make_parent(fd, component, step)?,
                Some(Node::File { .. }) => return Err(not_a_directory()),
                Some(Node::Other { .. }) => {
                    // Fails for what is no link.
                    let target = nix::fcntl::readlinkat(&fd, component.as_slice());
                    let target = target.map_err(|_| not_a_directory())?;
                    links += 1;
                    if links > LINKS_MAX {
                        return Err(not_a_directory());
                    }
                    let target = target.as_bytes();
                    if target.starts_with(b"/") {
                        (fd, real) = (self.open_real(b"", member)?, Vec::new());
                    }
                    ahead.extend(target.rsplit(|&b| b == b'/').map(<[u8]>::to_vec));
                }
            }
        }
        Ok((fd, real))
    }

    /// Makes a directory that no member has described yet.
    fn make_parent(
        &mut self,
        fd: OwnedFd,
        name: Vec<u8>,
        path: Vec<u8>,
    ) -> Result<(OwnedFd, Vec<u8>), Error> {
        let over_whiteout = self.nodes.contains_key(&path);
        let place = Place { parent: Rc::new(fd), name, path };
        check_length(&place.path)?;
        self.clear(&place)?;
        let made = make_directory(&place)?;
        let node = Node::Directory { attributes: None, opaque: over_whiteout };
        self.nodes.insert(place.path.clone(), node);
        Ok((made, place.path))
    }

    /// Opens a directory by its path without links.
    fn open_real(&self, real: &[u8], member: &[u8]) -> Result<OwnedFd, Error> {
        self.root
            .resolve_plain(Path::new(OsStr::from_bytes(real)), DIRECTORY, Mode::empty())
            .map_err(|error| system(member, error))
    }

    /// Opens a directory, following links as if the root were `/`.
    fn resolve(&self, path: &[u8]) -> sys::Result<OwnedFd> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        self.root.resolve(Path::new(OsStr::from_bytes(path)), flags, Mode::empty())
    }

    /// The path below the root of an open directory, without links.
    fn real_path(&self, fd: &OwnedFd, member: &[u8]) -> Result<Vec<u8>, Error> {
        let read = |fd: &dyn AsFdPath| {
            let link = fd.link();
            nix::fcntl::readlink(link.as_str())
                .map(PathBuf::from)
                .map_err(|errno| failed(member, "readlink", &link, errno))
        };
        let (root, path) = (read(&self.root)?, read(fd)?);
        let below = path
            .strip_prefix(&root)
            .map_err(|_| failed(member, "openat2", "outside the root", Errno::EXDEV))?;
        Ok(below.as_os_str().as_bytes().to_vec())
    }
}

/// Something with a descriptor, named by its link below /proc/self/fd.
trait AsFdPath {
    fn link(&self) -> String;
}

impl<T: AsFd> AsFdPath for T {
    fn link(&self) -> String {
        sys::path::fd_path(self)
    }
}

/// A longer path could not be opened again, neither to finish its directory nor to rebuild the archive.
fn check_length(path: &[u8]) -> Result<(), Error> {
    if path.len() < REAL_PATH_MAX { Ok(()) } else { Err(failed(path, "openat2", "", Errno::ENAMETOOLONG)) }
}

fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&b| b == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

fn join(parent: &[u8], name: &[u8]) -> Vec<u8> {
    if parent.is_empty() { name.to_vec() } else { [parent, b"/", name].concat() }
}
