//! The container's first process before its program runs: all of the container's namespaces, one
//! thread. Reads top to bottom in the order the kernel demands.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use super::channel::{InitEnd, InitMessage, LaunchFailure};
use super::launch::{Ids, Launch, Stdio, launch};
use super::pretender::Pretender;
use crate::network::{links, plan::Plan as NetworkPlan};
use crate::rootfs::overlay::Overlay;
use crate::rootfs::plan::Step;
use crate::rootfs::{apply, host_image};
use crate::security::SecurityPlan;
use crate::spec::container::ProcessSpec;
use crate::sys;
use crate::sys::mount::pivot_into;
use crate::sys::path::Root;
use crate::sys::process::{exit_now, set_ids, set_parent_death_signal};
use crate::sys::pty;

/// Where the root file system comes from.
#[derive(Debug)]
pub enum RootSource {
    Native(Overlay),
    /// Mounted by another process, which hands the mount over; it goes onto this directory.
    Elsewhere {
        target: PathBuf,
        hand_over: OwnedFd,
    },
    /// The host's own files below a throw-away layer.
    Host(HostRoot),
}

#[derive(Debug)]
pub struct HostRoot {
    pub parts: Vec<host_image::Part>,
    /// An empty directory on disk that becomes the root.
    pub root: PathBuf,
    /// For upper and work directories.
    pub scratch: PathBuf,
    /// As [`host_image::Options::skeleton`].
    pub skeleton: PathBuf,
    /// Thrown away with the container.
    pub volatile: bool,
    /// The container may get the capability to remount.
    pub can_remount: bool,
}

/// Everything init does, decided before the fork.
#[derive(Debug)]
pub struct InitPlan<'a> {
    pub process: &'a ProcessSpec,
    pub security: SecurityPlan,
    pub root: RootSource,
    pub steps: Vec<Step>,
    pub network: NetworkPlan,
    pub highest_gid: u32,
    pub hostname: String,
    pub own_network: bool,
    /// In single-id mode.
    pub pretender: Option<Pretender>,
    pub init: bool,
    /// Streams when there is no terminal.
    pub pipes: Option<(OwnedFd, OwnedFd, OwnedFd)>,
}

#[derive(Debug, thiserror::Error)]
enum InitError {
    #[error("cannot set up the container")]
    System(#[from] sys::Error),
    #[error("cannot mount the image's layers")]
    Overlay(#[source] sys::Error),
    #[error("cannot mount the host's files")]
    HostImage(#[from] host_image::Error),
    #[error(transparent)]
    Mount(#[from] apply::ApplyError),
    #[error(transparent)]
    Network(#[from] links::LinkError),
    #[error("the storage driver ended before the layers were mounted")]
    NoRoot,
}

/// Runs init; `mapped` is closed by the step that wrote the id maps.
pub fn run(mut plan: InitPlan<'_>, channel: InitEnd, mapped: OwnedFd) -> ! {
    let failure = match enter(&mut plan, &channel, mapped) {
        Ok(stdio) => {
            let InitPlan { process, security, pretender, init, .. } = plan;
            let ids = match pretender {
                Some(pretender) => Ids::Single { pretender, namespace: None },
                None => Ids::Mapped,
            };
            launch(Launch { process, security: &security, stdio, ids, make_directory: true, init })
        }
        Err(error) => LaunchFailure::setup(&error),
    };
    // A monitor that is gone needs no report.
    let _ = channel.send(&InitMessage::Failed(failure), None);
    exit_now(127)
}

fn enter(plan: &mut InitPlan<'_>, channel: &InitEnd, mapped: OwnedFd) -> Result<Stdio, InitError> {
    set_parent_death_signal(libc::SIGKILL)?;
    let failed = |errno| sys::Error::new("read", "id map", errno);
    nix::unistd::read(&mapped, &mut [0]).map_err(failed)?;
    drop(mapped);
    set_ids(0, 0, if plan.pretender.is_some() { None } else { Some(&[]) })?;
    nix::unistd::setsid().map_err(|errno| sys::Error::new("setsid", "", errno))?;
    nix::unistd::sethostname(&plan.hostname)
        .map_err(|errno| sys::Error::new("sethostname", plan.hostname.clone(), errno))?;
    if plan.own_network {
        links::loopback_up()?;
        // The host's /proc shows the settings of the reader's own network namespace.
        links::write_sysctls("/proc/sys".as_ref(), &links::sysctls(&plan.network, plan.highest_gid))?;
    }
    let (root, mut lost) = mount_root(&plan.root)?;
    let tty_group = (plan.highest_gid >= TTY_GROUP).then_some(TTY_GROUP);
    // Keyrings, sockets and files of the host that were open have no way in: all is close-on-exec.
    let applied = apply::apply(&plan.steps, &root, tty_group)?;
    lost.extend(applied.lost.iter().cloned());
    let terminal = match (&plan.pipes, &applied.devpts) {
        (None, Some(devpts)) => {
            let (master, slave) = pty::open_in(devpts)?;
            apply::console(&root, devpts.as_fd())?;
            Some((master, slave))
        }
        _ => None,
    };
    pivot_into(&root)?;
    let ready = InitMessage::Ready { lost, warnings: applied.lost };
    channel.send(&ready, terminal.as_ref().map(|(master, _)| master.as_fd()))?;
    let stack_up = channel.wait_go()?;
    if plan.own_network {
        links::after_stack(&plan.network, stack_up)?;
    }
    Ok(match (terminal, plan.pipes.take()) {
        (Some((_, slave)), _) => Stdio::Terminal(slave),
        (None, Some((stdin, stdout, stderr))) => Stdio::Pipes { stdin, stdout, stderr },
        (None, None) => return Err(sys::Error::new("open", "terminal", nix::errno::Errno::ENOTTY).into()),
    })
}

/// The group `tty` of every distribution.
const TTY_GROUP: u32 = 5;

fn mount_root(source: &RootSource) -> Result<(Root, Vec<String>), InitError> {
    match source {
        RootSource::Native(overlay) => {
            Ok((Root::from_fd(overlay.mount_native().map_err(InitError::Overlay)?), Vec::new()))
        }
        RootSource::Elsewhere { target, hand_over } => {
            let (_, mut fds) = sys::message::receive(hand_over)?;
            let mount = fds.pop().ok_or(InitError::NoRoot)?;
            sys::mount::attach(&mount, Root::open(target)?)?;
            Ok((Root::from_fd(mount), Vec::new()))
        }
        RootSource::Host(host) => {
            // A root to pivot into has to be a mount.
            let in_memory = host.volatile && host_image::in_memory(&host.scratch)?;
            let root = if in_memory { &host.scratch.join(host_image::ROOT) } else { &host.root };
            let own = sys::mount::clone_tree(nix::fcntl::AT_FDCWD, root, false)?;
            sys::mount::attach(&own, Root::open(&host.root)?)?;
            let lost = host_image::apply(
                &host.parts,
                own.as_fd(),
                &host_image::Options {
                    scratch: &host.scratch,
                    skeleton: &host.skeleton,
                    volatile: host.volatile && !in_memory,
                    can_remount: host.can_remount,
                },
            )?;
            Ok((Root::from_fd(own), lost))
        }
    }
}
