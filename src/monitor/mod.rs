//! A container from start to clean-up, as often as its restart policy wants: role `monitor`, host
//! namespaces, one thread.
//!
//! The monitor holds the container's lock for as long as it lives; that is what "running" means.
//! Its first client is the socket it inherits; others come in at the control socket.

mod backlog;
mod between;
mod carriers;
mod client;
mod diary;
mod health;
mod life;
pub mod log;
mod pause;
pub mod protocol;
pub mod relay;
pub mod root;
pub mod session;
mod setup;
mod streams;

pub use setup::kill_orphan;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal};
use serde::{Deserialize, Serialize};

use crate::archive::unpack::Owners;
use crate::rootfs::driver::Driver;
use crate::spec::id::ContainerId;
use crate::store::Store;
use crate::store::containers;
use crate::store::held::Held;
use crate::store::worker::WorkerNamespace;
use crate::sys;
use crate::sys::path::adopt_fd;
use crate::sys::process::{become_subreaper, read_letter};
use crate::sys::signal::Signals;
use crate::userns::map::IdMaps;
use life::Life;
use protocol::{Event, Failure};

/// `argv[1]` of the role.
pub const ROLE: &str = "__monitor";
/// Descriptors the role inherits.
pub const CLIENT: i32 = 3;
pub const HOME: i32 = 4;
/// A letter with the [`Order`] as JSON.
pub const ORDER: i32 = 5;

/// What the client decided.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Order {
    pub data: PathBuf,
    pub runtime: PathBuf,
    /// PATH for the network programs.
    pub path: String,
    pub id: ContainerId,
    pub driver: Driver,
    pub maps: IdMaps,
    /// The client stays and watches.
    pub attached: bool,
    /// Rows and columns of the client's terminal: the program's from its first moment on.
    pub size: Option<(u16, u16)>,
    /// What the user has been told about this host already, for the state.
    pub lost: Vec<String>,
}

/// Where a container's monitor listens.
pub fn socket_path(runtime: &Path, id: &ContainerId) -> PathBuf {
    // A socket's path has at most 107 bytes.
    runtime.join("c").join(&id.as_str()[..32])
}

/// A path of any length as one that fits a socket address: through a descriptor of its directory.
pub fn short_socket_path(path: &Path) -> sys::Result<(OwnedFd, PathBuf)> {
    let directory = crate::sys::path::Root::open(path.parent().unwrap_or(Path::new("/")))?;
    let fd =
        directory.as_fd().try_clone_to_owned().map_err(|_| sys::Error::last("dup", "socket directory"))?;
    let short = PathBuf::from(sys::path::fd_path(&fd)).join(path.file_name().unwrap_or_default());
    Ok((fd, short))
}

/// The role.
pub fn serve() -> sys::Result<()> {
    let client = std::os::unix::net::UnixStream::from(adopt_fd(CLIENT)?);
    let home = adopt_fd(HOME)?;
    let order = read_letter(adopt_fd(ORDER)?)?;
    sys::signal::ignore_broken_pipe();
    let mut set = SigSet::empty();
    for signal in [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT] {
        set.add(signal);
    }
    let signals = Signals::block(&set)?;
    become_subreaper()?;
    let order: Order = match serde_json::from_str(&order) {
        Ok(order) => order,
        Err(_) => return Err(sys::Error::new("exec", "malformed order", nix::errno::Errno::EINVAL)),
    };
    let store = Store::open(order.data.clone());
    let held = match hold(&store, &order.id) {
        Ok(held) => held,
        Err(error) => {
            refuse(client, &setup::failure(&error));
            return Ok(());
        }
    };
    Life { order: &order, store: &store, held: &held, home: home.as_fd() }.live(client, signals)
}

/// How long the monitor of the run before may take to put away its network.
const TEARDOWN: Duration = Duration::from_secs(10);

/// Takes the container's lock; from a monitor that is just leaving as soon as it has left.
fn hold(store: &Store, id: &ContainerId) -> Result<Held, containers::Error> {
    let until = Instant::now() + TEARDOWN;
    loop {
        match store.hold_container(id) {
            Err(containers::Error::Busy(_))
                if Instant::now() < until && store.container(id).is_ok_and(|c| !c.is_running()) =>
            {
                std::thread::sleep(Duration::from_millis(2));
            }
            result => return result,
        }
    }
}

/// How files of this order's containers are touched.
pub fn namespace<'a>(order: &Order, home: BorrowedFd<'a>) -> WorkerNamespace<'a> {
    let owners = if order.maps.is_single() { Owners::Recorded } else { Owners::Mapped };
    WorkerNamespace { user: Some(home), owners }
}

fn refuse(mut client: std::os::unix::net::UnixStream, failure: &Failure) {
    let mut bytes = Vec::new();
    protocol::Frame::encode(&Event::Failed(failure.clone()), &mut bytes);
    // A client that is gone needs no answer.
    let _ = std::io::Write::write_all(&mut client, &bytes);
}

/// Opens the control socket. Without it the container runs on, but cannot be stopped kindly.
fn listen(order: &Order) -> Option<UnixListener> {
    let path = socket_path(&order.runtime, &order.id);
    let directory = path.parent()?;
    if !directory.exists() {
        use std::os::unix::fs::DirBuilderExt;
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).ok()?;
    }
    let _ = std::fs::remove_file(&path);
    let (_directory, short) = short_socket_path(&path).ok()?;
    let listener = UnixListener::bind(short).ok()?;
    listener.set_nonblocking(true).ok()?;
    Some(listener)
}
