//! From an order to a running container: everything the monitor does before its loop.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;

use nix::fcntl::OFlag;

use super::carriers::{Carriers, await_stack, forward};
use super::diary::Diary;
use super::health::Health;
use super::log::{Log, now};
use super::pause::Pause;
use super::protocol::{Failure, FailureKind};
use super::relay::Parts;
use super::streams::Streams;
use super::{Order, root};
use crate::cgroup::{self, Leaf};
use crate::network::userstack;
use crate::network::{files, forwarder, links, plan as network_plan, ports};
use crate::rootfs::driver::Driver;
use crate::rootfs::host_image;
use crate::rootfs::overlay::Overlay;
use crate::rootfs::plan as rootfs_plan;
use crate::runtime::channel::{InitMessage, LaunchFailure, LaunchFailureKind};
use crate::runtime::init::{HostRoot, InitPlan, RootSource};
use crate::runtime::parent::{Created, Creation, Fuse, create};
use crate::runtime::pretender::Pretender;
use crate::security;
use crate::spec::container::{ContainerRecord, ContainerState, ImageUse, STATE_VERSION, Status};
use crate::spec::resources::Resources;
use crate::store::Store;
use crate::store::held::Held;
use crate::sys;
use crate::sys::error::Context;
use crate::sys::process::{boot_id, pidfd_signal, start_time};
use crate::sys::pty::{Size, set_size};
use crate::sys::signal::Signals;

/// A start that came to nothing, and what to write down about it.
#[derive(Debug)]
pub struct Refused {
    pub failure: Failure,
    pub state: ContainerState,
    pub auto_remove: bool,
}

/// A container whose program runs. The guards end with it.
#[derive(Debug)]
pub struct Running {
    created: Created,
    streams: Option<Streams>,
    pub state: ContainerState,
    pub warnings: Vec<String>,
    pub auto_remove: bool,
    open_stdin: bool,
    stdin_once: bool,
    log: Option<Log>,
    stop_signal: i32,
    own_stop_signal: Option<i32>,
    pub diary: Diary,
    pause: Option<Pause>,
    _carriers: Carriers,
    _cgroup: Option<Leaf>,
}

impl Running {
    /// What the loop needs; to be taken once.
    pub fn parts(
        &mut self,
        signals: Signals,
        listener: Option<UnixListener>,
        store: &Store,
        order: &Order,
    ) -> Parts {
        let none = Streams::Terminal { master: None };
        Parts {
            streams: self.streams.take().unwrap_or(none),
            listener,
            log: self.log.take(),
            signals,
            open_stdin: self.open_stdin,
            stdin_once: self.stdin_once,
            spill: Some(store.container_dir(&order.id)),
            pid: self.created.pid,
            pidfd: self.created.pidfd.try_clone().expect("a descriptor is free"),
            stop_signal: self.stop_signal,
            own_stop_signal: self.own_stop_signal,
            diary: Some(self.diary.clone()),
            health: Health::new(&self.diary.container().record.options, &self.state, order.maps.is_single()),
            pause: self.pause.take(),
        }
    }
}

/// An error with its causes, as the client shows it.
pub fn failure(error: &dyn std::error::Error) -> Failure {
    Failure { kind: FailureKind::Setup, message: LaunchFailure::setup(error).message }
}

impl From<LaunchFailure> for Failure {
    fn from(from: LaunchFailure) -> Failure {
        let kind = match from.kind {
            LaunchFailureKind::Setup => FailureKind::Setup,
            LaunchFailureKind::NotExecutable => FailureKind::NotExecutable,
            LaunchFailureKind::NotFound => FailureKind::NotFound,
        };
        Failure { kind, message: from.message }
    }
}

/// Starts the container of `order`, for the `restarts`-th time by its policy.
pub fn start(
    order: &Order,
    store: &Store,
    held: &Held,
    home: BorrowedFd<'_>,
    restarts: u32,
) -> Result<Running, Box<Refused>> {
    let mut state = ContainerState::created();
    state.driver = order.driver.name().to_owned();
    state.lost = order.lost.clone();
    state.restart_count = restarts;
    let container = match store.container(&order.id) {
        Ok(container) => container,
        Err(error) => {
            return Err(Box::new(Refused { failure: failure(&error), state, auto_remove: false }));
        }
    };
    let auto_remove = container.record.options.auto_remove;
    if let Ok(last) = held.last_state() {
        kill_orphan(&last);
        state.finished_at = last.finished_at;
    }
    let resources = container.resources();
    let attempt = Attempt { order, store, held, home, record: &container.record, resources };
    let diary = Diary::new(store, container.clone());
    attempt
        .run(&mut state)
        .map_err(|failure| Box::new(Refused { failure, state: state.clone(), auto_remove }))
        .map(|(created, streams, carriers, cgroup, warnings)| Running {
            created,
            streams: Some(streams),
            pause: Some(Pause::new(&state, &container.record.options, held.state_writer(), diary.clone())),
            state,
            warnings,
            auto_remove,
            open_stdin: container.record.process.open_stdin,
            stdin_once: container.record.options.attached,
            log: Some(Log::new(&container.record, &container.name, store.container_log_path(&order.id))),
            stop_signal: container.record.options.stop_signal,
            own_stop_signal: container
                .record
                .options
                .stop_signal_name
                .is_some()
                .then_some(container.record.options.stop_signal),
            diary,
            _carriers: carriers,
            _cgroup: cgroup,
        })
}

/// What is left of a run whose monitor was killed: a process that would use our layer, a cgroup.
pub fn kill_orphan(last: &ContainerState) {
    if last.pid > 0
        && last.boot_id == boot_id()
        && let Ok(pidfd) = sys::process::pidfd_open(last.pid)
        && start_time(last.pid) == Some(last.pid_start_time)
    {
        let _ = pidfd_signal(&pidfd, libc::SIGKILL);
    }
    if !last.cgroup.is_empty() {
        cgroup::remove(last.cgroup.as_ref());
    }
}

struct Attempt<'a> {
    order: &'a Order,
    store: &'a Store,
    held: &'a Held,
    home: BorrowedFd<'a>,
    record: &'a ContainerRecord,
    /// The limits.
    resources: &'a Resources,
}

type Outcome = (Created, Streams, Carriers, Option<Leaf>, Vec<String>);
/// Ends of a process's three streams.
type Three = (OwnedFd, OwnedFd, OwnedFd);

impl Attempt<'_> {
    fn run(&self, state: &mut ContainerState) -> Result<Outcome, Failure> {
        let options = &self.record.options;
        let (tools, host) =
            links::survey(&options.network, self.order.path.as_ref()).map_err(|e| failure(&e))?;
        let network =
            network_plan::plan(&options.network, &options.ports, &tools, &host).map_err(|e| failure(&e))?;
        let bound =
            if network.publish { ports::bind(&options.ports).map_err(|e| failure(&e))? } else { Vec::new() };
        self.write_files(&network, &host).map_err(|e| failure(&e))?;
        let pipes = self.pipes().map_err(|e| failure(&e))?;
        let (theirs, ours) = pipes.map_or((None, None), |(theirs, ours)| (Some(theirs), Some(ours)));
        let (hand_over, receive) = sys::message::pair().map_err(|e| failure(&e))?;
        let plan = self.init_plan(network.clone(), theirs, receive)?;
        let mut creation = self.creation(hand_over);
        let created = create(&creation, plan).map_err(|e| failure(&e))?;
        let mut warnings = network.warnings.clone();
        let cgroup = creation.cgroup.take().filter(|leaf| leaf.holds(created.pid));
        self.limit(cgroup.as_ref(), state, &mut warnings);
        let stack =
            userstack::start(&network, nix::unistd::Pid::from_raw(created.pid)).map_err(|e| failure(&e))?;
        if creation.fuse.is_some() {
            await_fuse(&created)?;
        }
        state.ports = bound.iter().map(|port| port.published.clone()).collect();
        let (forwarder, report) = forward(bound, created.pid).map_err(|e| failure(&e))?.unzip();
        self.fill_state(state, &created, &network);
        let terminal = self.await_ready(&created, state, &mut warnings)?;
        let stack = await_stack(stack, &network, state, &mut warnings)?;
        if let Some(report) = report {
            let started = forwarder::started(report).map_err(|e| failure(&e))?;
            if !started.keeps_source {
                warnings.push(
                    "published ports: servers see the container's own address instead of their clients'"
                        .into(),
                );
            }
        }
        if let (Some(master), Some((rows, columns))) = (&terminal, self.order.size) {
            set_size(master, Size { rows, columns }).map_err(|e| failure(&e))?;
        }
        self.held.write_state(state, false).map_err(|e| failure(&e))?;
        created.channel.go(stack.is_some() || !network.has_stack()).map_err(|e| failure(&e))?;
        if let Some((InitMessage::Failed(failed), _)) = created.channel.receive().map_err(|e| failure(&e))? {
            return Err(failed.into());
        }
        let streams = match (terminal, ours) {
            (Some(master), _) => Streams::Terminal { master: Some(master) },
            (None, Some((stdin, stdout, stderr))) => Streams::Pipes {
                stdin: self.record.process.open_stdin.then_some(stdin),
                stdout: Some(stdout),
                stderr: Some(stderr),
            },
            (None, None) => Streams::Terminal { master: None },
        };
        Ok((created, streams, Carriers::new(forwarder, stack), cgroup, warnings))
    }

    /// Sets the limits before the program runs.
    fn limit(&self, leaf: Option<&Leaf>, state: &mut ContainerState, warnings: &mut Vec<String>) {
        let leaf = leaf.map(Leaf::directory);
        state.cgroup = leaf.map(|path| path.display().to_string()).unwrap_or_default();
        if let Some(sentence) = cgroup::limits::apply(leaf, self.resources).sentence() {
            state.lost.push(sentence.clone());
            warnings.push(sentence);
        }
    }

    fn fill_state(&self, state: &mut ContainerState, created: &Created, network: &network_plan::Plan) {
        state.version = STATE_VERSION;
        state.status = Status::Running;
        state.pid = created.pid;
        state.pid_start_time = start_time(created.pid).unwrap_or(0);
        state.boot_id = boot_id();
        state.monitor_pid = std::process::id().cast_signed();
        state.started_at = now();
        state.network = network.stack.name().to_owned();
        state.lost.extend(network.lost.iter().cloned());
    }

    /// /etc/hosts, resolv.conf and hostname of this start.
    fn write_files(
        &self,
        network: &network_plan::Plan,
        host: &network_plan::HostNetwork,
    ) -> Result<(), crate::store::Error> {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let name = &self.record.options.hostname;
        for (file, text) in [
            ("hosts", files::hosts(network, name, host, &read("/etc/hosts"))),
            ("resolv.conf", files::resolv_conf(network, &read("/etc/resolv.conf"))),
            ("hostname", files::hostname(name)),
        ] {
            let path = self.held.directory().join(file);
            std::fs::write(&path, text).map_err(|source| crate::store::Error::Io {
                action: "write",
                path,
                source,
            })?;
        }
        Ok(())
    }

    /// `(theirs, ours)`: pipes for a process without a terminal.
    fn pipes(&self) -> sys::Result<Option<(Three, Three)>> {
        if self.record.process.tty {
            return Ok(None);
        }
        make_pipes(self.record.process.open_stdin).map(Some)
    }

    fn overlay(&self, layers: &[crate::spec::digest::Digest]) -> Overlay {
        root::overlay(self.store, &self.order.id, layers, self.record.options.auto_remove)
    }

    fn init_plan(
        &self,
        network: network_plan::Plan,
        pipes: Option<Three>,
        hand_over: OwnedFd,
    ) -> Result<InitPlan<'_>, Failure> {
        let options = &self.record.options;
        let security = security::plan(options, security::masks::thermal()).map_err(|e| failure(&e))?;
        let host_network = network.stack == network_plan::Stack::Host;
        let facts = rootfs_plan::Facts {
            terminal: self.record.process.tty,
            host_network,
            cgroup2: is_cgroup2(),
            files: self.held.directory().to_owned(),
        };
        let steps = rootfs_plan::plan(options, &security.masked, &security.read_only, &facts)
            .map_err(|e| failure(&e))?;
        let root = match (&self.record.image, &self.order.driver) {
            (ImageUse::Host, _) => RootSource::Host(self.host_root().map_err(|e| failure(&e))?),
            (ImageUse::Stored { layers, .. }, Driver::Overlay) => RootSource::Native(self.overlay(layers)),
            (ImageUse::Stored { .. }, Driver::FuseOverlayfs(_)) => {
                RootSource::Elsewhere { target: self.held.directory().join("root"), hand_over }
            }
        };
        Ok(InitPlan {
            process: &self.record.process,
            security,
            root,
            steps,
            network,
            highest_gid: self.order.maps.highest_gid(),
            hostname: options.hostname.clone(),
            own_network: !host_network,
            pretender: self.pretender().map_err(|e| failure(&e))?,
            init: options.init,
            pipes,
        })
    }

    fn pretender(&self) -> sys::Result<Option<Pretender>> {
        self.order.maps.is_single().then(Pretender::start).transpose()
    }

    fn host_root(&self) -> Result<HostRoot, host_image::Error> {
        let options = &self.record.options;
        let Order { data, runtime, .. } = self.order;
        root::host_root(self.held.directory(), data, runtime, options, options.auto_remove)
    }

    fn creation(&self, hand_over: OwnedFd) -> Creation<'_> {
        let fuse = match (&self.record.image, &self.order.driver) {
            (ImageUse::Stored { layers, .. }, Driver::FuseOverlayfs(program)) => {
                let overlay = Overlay { target: self.held.directory().join("root"), ..self.overlay(layers) };
                Some(Fuse {
                    command: overlay.fuse_command(program),
                    base: overlay.base.clone(),
                    target: overlay.target.clone(),
                    hand_over,
                })
            }
            _ => None,
        };
        Creation {
            home: self.home,
            maps: self.order.maps.nested(),
            single_id: self.order.maps.is_single(),
            host_network: self.record.options.network == crate::spec::container::NetworkMode::Host,
            fuse,
            cgroup: Leaf::make(self.order.id.as_str()),
        }
    }

    /// The master of the container's terminal, if it has one.
    fn await_ready(
        &self,
        created: &Created,
        state: &mut ContainerState,
        warnings: &mut Vec<String>,
    ) -> Result<Option<OwnedFd>, Failure> {
        match created.channel.receive().map_err(|e| failure(&e))? {
            Some((InitMessage::Ready { lost, warnings: said }, terminal)) => {
                state.lost.extend(lost);
                warnings.extend(said);
                Ok(terminal)
            }
            Some((InitMessage::Failed(failed), _)) => Err(failed.into()),
            None => Err(Failure {
                kind: FailureKind::Setup,
                message: "the container's first process was killed before it was ready".into(),
            }),
        }
    }
}

/// The step ends with 0 once it has handed over what fuse-overlayfs mounted.
fn await_fuse(created: &Created) -> Result<(), Failure> {
    match sys::process::wait_for(created.step).map_err(|e| failure(&e))? {
        sys::process::Ended::Exited(0) => Ok(()),
        _ => Err(Failure {
            kind: FailureKind::Setup,
            message: "cannot mount the image's layers: fuse-overlayfs failed".into(),
        }),
    }
}

pub fn pipe() -> sys::Result<(OwnedFd, OwnedFd)> {
    nix::unistd::pipe2(OFlag::O_CLOEXEC).call("pipe2", String::new)
}

/// Pipes for a process's three streams, `(theirs, ours)`; our ends do not block. Without
/// `open_stdin` its input is empty.
pub fn make_pipes(open_stdin: bool) -> sys::Result<(Three, Three)> {
    let (stdin, stdin_ours) = pipe()?;
    let (stdout_ours, stdout) = pipe()?;
    let (stderr_ours, stderr) = pipe()?;
    for fd in [&stdin_ours, &stdout_ours, &stderr_ours] {
        nix::fcntl::fcntl(fd, nix::fcntl::FcntlArg::F_SETFL(OFlag::O_NONBLOCK))
            .call("fcntl", || "O_NONBLOCK".into())?;
    }
    let stdin = if open_stdin {
        stdin
    } else {
        nix::fcntl::open("/dev/null", OFlag::O_RDONLY | OFlag::O_CLOEXEC, nix::sys::stat::Mode::empty())
            .call("open", || "/dev/null".into())?
    };
    Ok(((stdin, stdout, stderr), (stdin_ours, stdout_ours, stderr_ours)))
}

fn is_cgroup2() -> bool {
    nix::sys::statfs::statfs("/sys/fs/cgroup")
        .is_ok_and(|fs| fs.filesystem_type() == nix::sys::statfs::CGROUP2_SUPER_MAGIC)
}
