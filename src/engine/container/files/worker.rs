//! The files worker: looks at, packs and extracts files of a container, in a process of its own.
//!
//! It joins the container's user namespace and shows itself the container's files (`runtime::view`), but stays outside
//! of its pid namespace and cannot be looked into, so nothing in the container sees it. It executes nothing that a
//! container has. It ends when its client closes the socket or dies.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;

use nix::errno::Errno;
use nix::fcntl::{OFlag, readlinkat};
use nix::sched::CloneFlags;
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};
use nix::sys::statvfs::{FsFlags, fstatvfs};

use super::protocol::{Answer, CONTROL, LOCK, NAMESPACE, ORDER, Order, PathStat, Place, Refusal, Request};
use super::{changes, names};
use crate::archive::extract::{self, Ownership, Rules};
use crate::archive::pack::{self, Source};
use crate::archive::unpack::{self, Owners};
use crate::monitor::root;
use crate::rootfs::driver::Driver;
use crate::rootfs::plan::{Facts, Step, plan};
use crate::runtime::channel::LaunchFailure;
use crate::runtime::init::RootSource;
use crate::runtime::members;
use crate::runtime::usage;
use crate::runtime::view::{self, Layers, View};
use crate::spec::container::{ContainerRecord, ImageUse};
use crate::store::Store;
use crate::sys;
use crate::sys::message;
use crate::sys::path::{Root, adopt_fd};
use crate::sys::process::read_letter;

/// How many links a path may lead through (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// The role.
pub fn serve() -> sys::Result<()> {
    let control = adopt_fd(CONTROL)?;
    let namespace = adopt_fd(NAMESPACE)?;
    let order = read_letter(adopt_fd(ORDER)?)?;
    sys::signal::ignore_broken_pipe();
    nix::sys::stat::umask(Mode::empty());
    let order: Order = serde_json::from_str(&order)
        .map_err(|_| sys::Error::new("exec", "malformed order", Errno::EINVAL))?;
    let owners = if order.single_id { Owners::Recorded } else { Owners::Mapped };
    let view = match enter(&order, namespace.as_fd()) {
        Ok(view) => view,
        Err(refusal) => return answer(&control, &Answer::Refused(refusal)),
    };
    answer(&control, &Answer::Ready)?;
    loop {
        let (bytes, fds) = message::receive(&control)?;
        if bytes.is_empty() {
            break;
        }
        let done = match serde_json::from_slice(&bytes) {
            Ok(request) => perform(request, fds, view.as_ref(), owners),
            Err(error) => Err(Refusal::Malformed(error.to_string())),
        };
        match answer(&control, &done.unwrap_or_else(Answer::Refused)) {
            Err(error) if error.is(Errno::EPIPE) || error.is(Errno::ECONNRESET) => break,
            result => result?,
        }
    }
    view.map_or(Ok(()), View::close)
}

fn answer(control: &OwnedFd, answer: &Answer) -> sys::Result<()> {
    let mut json = serde_json::to_vec(answer).expect("plain data always serialises");
    // A long list of changes takes several packets; the last one is short or empty.
    while json.len() >= message::MESSAGE_MAX {
        let rest = json.split_off(message::MESSAGE_MAX);
        message::send(control, &json, &[])?;
        json = rest;
    }
    message::send(control, &json, &[])
}

fn with_causes(error: &dyn std::error::Error) -> Refusal {
    Refusal::Place(LaunchFailure::setup(error).message)
}

fn enter(order: &Order, namespace: BorrowedFd<'_>) -> Result<Option<View>, Refusal> {
    let Place::Stopped { driver } = &order.place else {
        if matches!(order.place, Place::Home) {
            view::become_root(namespace, CloneFlags::CLONE_NEWUSER, order.single_id)
                .map_err(|e| with_causes(&e))?;
            return Ok(None);
        }
        let record = record(order)?.0;
        return view::running(namespace, &mounts(&record), order.single_id)
            .map(Some)
            .map_err(|e| with_causes(&e));
    };
    let (record, store) = record(order)?;
    let directory = store.container_dir(&order.id);
    let lock = adopt_fd(LOCK).map_err(|e| with_causes(&e))?;
    // Never volatile: a mark of that would be left, and forbid the next mount.
    let (layers, target) = match (&record.image, driver) {
        (ImageUse::Host, _) => {
            let host = root::host_root(&directory, &order.data, &order.runtime, &record.options, false);
            let host = host.map_err(|e| with_causes(&e))?;
            let target = host.root.clone();
            (Layers::Kernel(RootSource::Host(host)), target)
        }
        (ImageUse::Stored { layers, .. }, driver) => {
            let target = directory.join("root");
            let mut overlay = root::overlay(&store, &order.id, layers, false);
            overlay.target = target.clone();
            let layers = match driver {
                Driver::Overlay => Layers::Kernel(RootSource::Native(overlay)),
                Driver::FuseOverlayfs(program) => Layers::Fuse { overlay, program: program.clone() },
            };
            (layers, target)
        }
    };
    let binds = binds(&record, &directory).map_err(|e| with_causes(&e))?;
    view::stopped(namespace, &layers, &target, &binds, lock.as_fd(), order.single_id)
        .map(Some)
        .map_err(|e| with_causes(&e))
}

fn record(order: &Order) -> Result<(ContainerRecord, Store), Refusal> {
    let store = Store::open(order.data.clone());
    let container = store.container(&order.id).map_err(|e| with_causes(&e))?;
    Ok((container.record, store))
}

/// What a running container has mounted beside its root and the kernel's file systems, the outer ones first.
fn mounts(record: &ContainerRecord) -> Vec<PathBuf> {
    let options = &record.options;
    let own = ["/etc/resolv.conf", "/etc/hostname", "/etc/hosts"].map(PathBuf::from);
    let mut mounts: Vec<PathBuf> = own.into();
    mounts.extend(options.binds.iter().map(|bind| bind.target.clone()));
    mounts.extend(options.tmpfs.iter().map(|tmpfs| tmpfs.target.clone()));
    mounts.sort_by_key(|target| target.components().count());
    mounts
}

/// The same for a container that does not run, as steps of its start; then the root read-only if it is.
fn binds(record: &ContainerRecord, directory: &Path) -> Result<Vec<Step>, crate::rootfs::plan::PlanError> {
    let facts = Facts { files: directory.to_owned(), ..Facts::default() };
    let steps = plan(&record.options, &[], &[], &facts)?;
    Ok(steps.into_iter().filter(|step| matches!(step, Step::Bind { .. } | Step::ReadOnlyRoot)).collect())
}

fn perform(
    request: Request,
    fds: Vec<OwnedFd>,
    view: Option<&View>,
    owners: Owners,
) -> Result<Answer, Refusal> {
    let malformed = |what: &str| Refusal::Malformed(what.to_owned());
    let files = || view.map(|view| &view.root).ok_or_else(|| malformed("no container's files are shown"));
    let pipe =
        || fds.into_iter().next().map(File::from).ok_or_else(|| Refusal::Malformed("no descriptor".into()));
    match request {
        Request::Stat { path } => stat(files()?, &path).map(Answer::Stat),
        Request::Pack { path, called } => {
            pack(files()?, &path, called.as_deref(), &pipe()?, owners).map(|()| Answer::Done(Vec::new()))
        }
        Request::Extract { path, ownership } => {
            let rules = Rules { ownership, owners, umask_is_zero: true };
            extract(files()?, &path, rules, &pipe()?).map(Answer::Done)
        }
        Request::Changes { upper, lower } => {
            changes::between(&upper, &lower).map(Answer::Changes).map_err(|e| with_causes(&e))
        }
        Request::Usage { of } => Ok(Answer::Usage(usage::of_namespace(of))),
        Request::Processes { of } => Ok(Answer::Processes(members::in_namespace_of(of))),
    }
}

fn look(path: &str, error: sys::Error) -> Refusal {
    match error.errno {
        Errno::ENOENT => Refusal::NotFound(path.to_owned()),
        Errno::ENOTDIR => Refusal::NotDirectory(path.to_owned()),
        _ => Refusal::Look { path: path.to_owned(), source: error.into() },
    }
}

/// lstat(2): an ending `/` or `/.` follows a link.
fn lstat(root: &Root, path: &str) -> Result<(OwnedFd, FileStat), Refusal> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW;
    let fd = root.resolve(Path::new(path), flags, Mode::empty()).map_err(|e| look(path, e))?;
    let stat = fstat(&fd).map_err(|errno| look(path, sys::Error::new("fstat", path, errno)))?;
    Ok((fd, stat))
}

fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT
}

fn stat(root: &Root, path: &str) -> Result<PathStat, Refusal> {
    if path.is_empty() {
        return Err(Refusal::NotFound(String::new()));
    }
    let absolute = names::absolute(path);
    let (_, stat) = lstat(root, &absolute).map_err(|refusal| match refusal {
        Refusal::NotFound(_) => Refusal::NotFound(path.to_owned()),
        refusal => refusal,
    })?;
    let link_target = match kind(&stat) {
        SFlag::S_IFLNK => follow(root, &absolute)?,
        _ => String::new(),
    };
    Ok(PathStat {
        name: names::base(path).to_owned(),
        size: stat.st_size.cast_unsigned(),
        mode: stat.st_mode,
        mtime: stat.st_mtime,
        link_target,
    })
}

/// Where a path leads when all links on it are followed, as far as there is something. For the eyes only: what is
/// done there is resolved by the kernel anew.
fn follow(root: &Root, path: &str) -> Result<String, Refusal> {
    let mut here = String::from("/");
    let mut ahead: Vec<String> = path.split('/').rev().map(str::to_owned).collect();
    let mut links = 0;
    while let Some(part) = ahead.pop() {
        let next = names::join(&here, &part);
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW;
        let found = root.resolve(Path::new(&next), flags, Mode::empty());
        let target = found.ok().and_then(|fd| readlinkat(&fd, "").ok());
        let Some(target) = target else {
            here = next;
            continue;
        };
        links += 1;
        if links > MAX_LINKS {
            return Err(look(path, sys::Error::new("readlinkat", path, Errno::ELOOP)));
        }
        let target = target.to_string_lossy();
        if target.starts_with('/') {
            "/".clone_into(&mut here);
        }
        ahead.extend(target.split('/').rev().map(str::to_owned));
    }
    Ok(here)
}

fn pack(root: &Root, path: &str, called: Option<&str>, out: &File, owners: Owners) -> Result<(), Refusal> {
    let absolute = names::absolute(path);
    let (_, stat) = lstat(root, &absolute)?;
    let called = called.unwrap_or_else(|| names::base(&absolute)).as_bytes();
    let open = |path: &str| {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        root.resolve(Path::new(path), flags, Mode::empty()).map_err(|e| look(path, e))
    };
    let (directory, name) = match kind(&stat) {
        SFlag::S_IFDIR => (open(&absolute)?, c".".to_owned()),
        _ => {
            let (directory, name) = names::split_entry(&absolute);
            let name = std::ffi::CString::new(name).map_err(|e| Refusal::Malformed(e.to_string()))?;
            (open(&directory)?, name)
        }
    };
    let source = Source { directory: directory.as_fd(), name: &name, called, owners };
    pack::pack(source, out, &AtomicU64::new(0)).map_err(Refusal::Pack)
}

fn extract(root: &Root, path: &str, rules: Rules, archive: &File) -> Result<Vec<unpack::Note>, Refusal> {
    let absolute = names::join("/", path);
    let place =
        root.resolve(Path::new(&absolute), OFlag::O_PATH, Mode::empty()).map_err(|e| look(&absolute, e))?;
    let stat = fstat(&place).map_err(|errno| look(path, sys::Error::new("fstat", path, errno)))?;
    if kind(&stat) != SFlag::S_IFDIR {
        return Err(Refusal::ExtractionPoint);
    }
    let read_only = |fd: BorrowedFd<'_>| fstatvfs(fd).is_ok_and(|fs| fs.flags().contains(FsFlags::ST_RDONLY));
    if read_only(place.as_fd()) {
        let same = fstat(root.as_fd()).is_ok_and(|top| top.st_dev == stat.st_dev);
        return Err(if same { Refusal::ReadOnlyRoot } else { Refusal::ReadOnlyVolume });
    }
    debug_assert!(rules.ownership != Ownership::Caller);
    extract::extract(archive, Root::from_fd(place), &absolute, rules, &AtomicU64::new(0))
        .map_err(Refusal::Extract)
}
