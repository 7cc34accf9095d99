//! A container's files without its processes: what the files worker sees.
//!
//! Runs in a process of its own, with one thread. It enters the user namespace the files belong to and makes a mount
//! namespace that goes when it goes. What it shows is docker's view: the layers, the bound directories and files, the
//! container's own hosts, resolv.conf and hostname; of a running container its `--tmpfs` mounts, too. Neither /proc nor
//! /sys nor /dev: what is read there would be about this process, not the container.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::fcntl::{AT_FDCWD, OFlag};
use nix::mount::{MntFlags, umount2};
use nix::sched::CloneFlags;
use nix::sys::stat::{Mode, stat};

use super::init::{InitError, RootSource, mount_root};
use super::one_user::namespace_of_container;
use crate::rootfs::apply;
use crate::rootfs::overlay::Overlay;
use crate::rootfs::plan::Step;
use crate::sys;
use crate::sys::error::Context;
use crate::sys::lifeline::{Lifeline, Slack, set_inheritable};
use crate::sys::mount::{attach, clone_tree, set_propagation};
use crate::sys::namespace::{join, unshare};
use crate::sys::path::Root;
use crate::sys::process::{
    Fork, Pid, SingleThreaded, cloexec_from, exec, exit_now, fork, put_at, set_dumpable, set_ids, wait_for,
};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot enter the container's namespaces")]
    Enter(#[source] sys::Error),
    #[error("cannot show the container's files")]
    Show(#[source] sys::Error),
    #[error(transparent)]
    Root(#[from] InitError),
    #[error(transparent)]
    Mount(#[from] apply::ApplyError),
    #[error("cannot mount the image's layers: fuse-overlayfs failed")]
    Fuse,
}

/// The files; [`View::close`] ends it in order, the end of the process in any case.
#[derive(Debug)]
pub struct View {
    pub root: Root,
    /// Where it is mounted, when this process mounted it.
    target: Option<PathBuf>,
    fuse: Option<Server>,
}

/// fuse-overlayfs, which ends with its mount, or with this process.
#[derive(Debug)]
struct Server {
    pid: Pid,
    _lifeline: Lifeline,
}

/// What a container that does not run is put together from.
#[derive(Debug)]
pub enum Layers {
    /// The kernel's overlay, or the image `host`.
    Kernel(RootSource),
    Fuse {
        overlay: Overlay,
        program: PathBuf,
    },
}

/// Becomes root of a user namespace, unseen by what runs in it.
pub fn become_root(namespace: BorrowedFd<'_>, flags: CloneFlags, single_id: bool) -> Result<(), Error> {
    let enter = || {
        nix::unistd::chdir("/").call("chdir", || "/".into())?;
        set_dumpable(false)?;
        join(namespace, flags)?;
        set_ids(0, 0, if single_id { None } else { Some(&[]) })?;
        // A change of ids may have set it again.
        set_dumpable(false)
    };
    enter().map_err(Error::Enter)
}

/// The files of a running container. `init` is a pidfd of its first process, `mounts` what is shown beside the root,
/// the outer ones first.
pub fn running(init: BorrowedFd<'_>, mounts: &[PathBuf], single_id: bool) -> Result<View, Error> {
    if single_id {
        // Its first process may be in a namespace below the container's, which has no root.
        let container = namespace_of_container(init).map_err(Error::Enter)?;
        become_root(container.as_fd(), CloneFlags::CLONE_NEWUSER, single_id)?;
        join(init, CloneFlags::CLONE_NEWNS).map_err(Error::Enter)?;
    } else {
        become_root(init, CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS, single_id)?;
    }
    let show = || {
        // A copy, which nothing in the container can change any more.
        unshare(CloneFlags::CLONE_NEWNS)?;
        let whole = Root::open(Path::new("/"))?;
        set_propagation(whole.as_fd(), libc::MS_PRIVATE, true)?;
        let bare = clone_tree(AT_FDCWD, Path::new("/"), false)?;
        let mut parts = Vec::new();
        for target in mounts {
            if let Ok(place) = whole.resolve(target, OFlag::O_PATH, Mode::empty()) {
                parts.push((target, clone_tree(place.as_fd(), Path::new(""), true)?));
            }
        }
        attach(&bare, &whole)?;
        let root = Root::from_fd(bare);
        for (target, part) in parts {
            // One that lies in another is there already where its place is not found.
            if let Ok(place) = root.resolve(target, OFlag::O_PATH, Mode::empty()) {
                attach(part, place)?;
            }
        }
        Ok(root)
    };
    Ok(View { root: show().map_err(Error::Show)?, target: None, fuse: None })
}

/// Mounts the files of a container that does not run. The caller holds its lock; `lock` is passed on to whatever
/// could outlive this process for a moment.
pub fn stopped(
    home: BorrowedFd<'_>,
    layers: &Layers,
    target: &Path,
    binds: &[Step],
    lock: BorrowedFd<'_>,
    single_id: bool,
) -> Result<View, Error> {
    become_root(home, CloneFlags::CLONE_NEWUSER, single_id)?;
    unshare(CloneFlags::CLONE_NEWNS).map_err(Error::Enter)?;
    let (root, fuse) = match layers {
        Layers::Kernel(source) => (mount_root(source)?.0, None),
        Layers::Fuse { overlay, program } => {
            let server = serve_fuse(overlay, program, lock)?;
            (Root::open(target).map_err(Error::Show)?, Some(server))
        }
    };
    let view = View { root, target: Some(target.to_owned()), fuse };
    // A later mount must not fail the whole: what cannot be bound is not shown, as its source is gone.
    for bind in binds {
        let gone = matches!(bind, Step::Bind { source, .. } if !source.exists());
        if !gone {
            apply::apply(std::slice::from_ref(bind), &view.root, None)?;
        }
    }
    Ok(view)
}

impl View {
    /// Takes the mounts away, so that the next one may use the layers as soon as the lock is free.
    pub fn close(self) -> sys::Result<()> {
        let View { root, target, fuse } = self;
        drop(root);
        nix::unistd::chdir("/").call("chdir", || "/".into())?;
        if let Some(target) = target {
            umount2(&target, MntFlags::MNT_DETACH).call("umount2", || format!("{target:?}"))?;
        }
        if let Some(server) = fuse {
            wait_for(server.pid)?;
        }
        Ok(())
    }
}

/// How long fuse-overlayfs may take to mount.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs fuse-overlayfs as a child in this mount namespace and waits until it has mounted.
fn serve_fuse(overlay: &Overlay, program: &Path, lock: BorrowedFd<'_>) -> Result<Server, Error> {
    nix::unistd::chdir(&overlay.base).call("chdir", || format!("{:?}", overlay.base)).map_err(Error::Show)?;
    let device = |path: &Path| stat(path).map(|stat| stat.st_dev).call("stat", || format!("{path:?}"));
    let before = device(&overlay.target).map_err(Error::Show)?;
    let server = start_fuse(overlay, program, lock).map_err(Error::Show)?;
    let until = Instant::now() + PATIENCE;
    loop {
        if device(&overlay.target).map_err(Error::Show)? != before {
            return Ok(server);
        }
        if sys::process::has_ended(server.pid) || Instant::now() > until {
            return Err(Error::Fuse);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn start_fuse(overlay: &Overlay, program: &Path, lock: BorrowedFd<'_>) -> sys::Result<Server> {
    let mut command = overlay.fuse_command(program);
    // In the foreground: it is our child, and ends with us.
    command.insert(1, c"-f".to_owned());
    let slack = Slack::new()?;
    let (armed, armed_write) = nix::unistd::pipe2(OFlag::O_CLOEXEC).call("pipe2", String::new)?;
    match fork(SingleThreaded::prove()?)? {
        Fork::Child => {
            drop(armed_write);
            let ready = || {
                let null = nix::fcntl::open("/dev/null", OFlag::O_RDWR, Mode::empty())
                    .call("open", || "/dev/null".into())?;
                (0..3).try_for_each(|number| put_at(&null, number))?;
                cloexec_from(3)?;
                set_inheritable(slack.child_end(), true)?;
                set_inheritable(lock, true)?;
                sys::signal::unblock_all()
            };
            // Not before the parent has tied us to itself.
            if ready().is_ok() && nix::unistd::read(&armed, &mut [0]) == Ok(1) {
                let env = [c"PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin".to_owned()];
                let _ = exec(&command[0], &command, &env);
            }
            exit_now(127)
        }
        Fork::Parent(pid) => {
            let lifeline = slack.tie(nix::unistd::Pid::from_raw(pid))?;
            nix::unistd::write(&armed_write, b"+").call("write", || "armed".into())?;
            Ok(Server { pid, _lifeline: lifeline })
        }
    }
}
