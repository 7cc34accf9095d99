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

impl Tree {
    /// Where a member goes; missing parents are made.
    pub(super) fn place(&mut self, path: &[u8]) -> Result<Place, Error> {
        let (lexical, name) = split(path);
        let parent = self.parent(lexical, path)?;
        Ok(Place { parent: parent.fd.clone(), path: join(&parent.real, name), name: name.to_vec() })
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

    /// Goes down step by step, through links and making missing directories.
    fn walk(&mut self, lexical: &[u8], member: &[u8]) -> Result<(OwnedFd, Vec<u8>), Error> {
        let mut fd = self.resolve(b"").map_err(|error| system(member, error))?;
        let mut real = Vec::new();
        let mut walked = Vec::new();
        for component in lexical.split(|&b| b == b'/') {
            walked = join(&walked, component);
            let step = join(&real, component);
            (fd, real) = match self.nodes.get(&step) {
                Some(Node::Directory { .. }) => {
                    let open = nix::fcntl::openat(&fd, component, DIRECTORY, Mode::empty());
                    (open.map_err(|errno| failed(&step, "openat", "O_PATH|O_DIRECTORY", errno))?, step)
                }
                None | Some(Node::Whiteout) => {
                    let over_whiteout = self.nodes.contains_key(&step);
                    let place = Place { parent: Rc::new(fd), name: component.to_vec(), path: step };
                    self.clear(&place)?;
                    let made = make_directory(&place)?;
                    let node = Node::Directory { attributes: None, opaque: over_whiteout };
                    self.nodes.insert(place.path.clone(), node);
                    (made, place.path)
                }
                Some(_) => match self.resolve(&walked) {
                    Ok(fd) => {
                        let real = self.real_path(&fd, member)?;
                        (fd, real)
                    }
                    Err(_) => return Err(Error::Parent { path: shown(member), parent: shown(&walked) }),
                },
            };
        }
        Ok((fd, real))
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

fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&b| b == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

fn join(parent: &[u8], name: &[u8]) -> Vec<u8> {
    if parent.is_empty() { name.to_vec() } else { [parent, b"/", name].concat() }
}
