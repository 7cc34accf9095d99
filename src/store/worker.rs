//! The id worker: touches files that belong to subordinate ids, for a client that cannot.
//!
//! Two processes share this file. The client (`Worker`) starts one and sends requests; the worker
//! (`serve`) is this program again, single-threaded, which joins the user's mapped namespace and
//! does what it is told, one request at a time, with descriptors it is handed. A message is one
//! packet of a SOCK_SEQPACKET pair: JSON, and the descriptors beside it. The worker ends when the
//! client closes its side or dies.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sched::CloneFlags;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, sendmsg,
    socketpair,
};
use nix::sys::stat::Mode;
use serde::{Deserialize, Serialize};

use super::layout::{LAYER_REPLACED, LAYER_TAR_SPLIT, LAYER_TREE};
use crate::archive::unpack::{self, Options, Owners, Summary, Whiteouts};
use crate::archive::{FailedCall, measure, remove, whiteout};
use crate::sys;
use crate::sys::error::Context;
use crate::sys::path::Root;
use crate::sys::process::{self, Pid};

/// The first argument by which `main` recognises this role.
pub const ROLE: &str = "__id-worker";

/// A message with the longest paths, escaped, is well below this.
const MESSAGE_MAX: usize = 128 * 1024;
/// No request carries more descriptors.
const FDS_MAX: usize = 4;

/// The namespace in which a worker acts, and how owners are kept there.
#[derive(Debug, Clone, Copy)]
pub struct WorkerNamespace<'a> {
    /// The user namespace to join; `None` to act as the user itself.
    pub user: Option<BorrowedFd<'a>>,
    pub owners: Owners,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot start the id worker")]
    Start(#[source] sys::Error),
    #[error("cannot talk to the id worker")]
    Talk(#[source] sys::Error),
    #[error("the id worker ended before it answered")]
    Gone,
    #[error("the id worker's answer is not understood")]
    Answer(#[source] serde_json::Error),
    #[error("the id worker cannot join the user namespace")]
    Join(#[source] FailedCall),
    #[error(transparent)]
    Unpack(unpack::Error),
    #[error("cannot remove {name:?}")]
    Remove {
        name: String,
        #[source]
        source: FailedCall,
    },
    #[error(
        "the whiteouts there cannot be shown to native overlay; CORACLE_STORAGE_DRIVER=fuse-overlayfs understands them as they are"
    )]
    Whiteouts(#[source] FailedCall),
    #[error("cannot look at all files")]
    Measure(#[source] FailedCall),
    #[error("the id worker cannot do that: {0}")]
    Refused(String),
}

#[derive(Debug, Serialize, Deserialize)]
enum Request {
    /// Joins the user namespace that comes with it and becomes root there.
    Join,
    /// Unpacks the tar from the second descriptor into the layer directory that is the first, and
    /// keeps the third open meanwhile.
    Unpack { owners: Owners, whiteouts: Whiteouts },
    /// Removes an entry of the directory that comes with it.
    Remove { name: String },
    /// Makes of the marker files below the directory that comes with it what native overlay knows.
    ShowWhiteouts,
    /// Adds up the files below the directory that comes with it.
    Measure,
}

#[derive(Debug, Serialize, Deserialize)]
enum Answer {
    Done,
    /// In bytes.
    Size(u64),
    Unpacked(Summary),
    NotUnpacked(unpack::Error),
    Failed(FailedCall),
    Refused(String),
}

/// The client's end.
#[derive(Debug)]
pub struct Worker {
    socket: Option<OwnedFd>,
    child: Option<Pid>,
}

impl Worker {
    /// Starts a worker in the namespace. Returns once it has joined.
    pub fn spawn(namespace: WorkerNamespace<'_>) -> Result<Worker, Error> {
        let (ours, theirs) = pair().map_err(Error::Talk)?;
        let worker = Worker { socket: Some(ours), child: launch(theirs).map_err(Error::Start)? };
        if let Some(user) = namespace.user {
            worker.send(&Request::Join, &[user])?;
            match worker.receive()? {
                Answer::Done => {}
                answer => return Err(unexpected(answer, Error::Join)),
            }
        }
        Ok(worker)
    }

    /// Starts to unpack. The descriptors are the layer's directory, the archive to read, and the
    /// lock of the staging place, which the worker holds as long as it writes there.
    /// `finish_unpack` waits for the end.
    pub fn start_unpack(
        &self,
        [layer, archive, lock]: [BorrowedFd<'_>; 3],
        owners: Owners,
        whiteouts: Whiteouts,
    ) -> Result<(), Error> {
        self.send(&Request::Unpack { owners, whiteouts }, &[layer, archive, lock])
    }

    pub fn finish_unpack(&self) -> Result<Summary, Error> {
        match self.receive()? {
            Answer::Unpacked(summary) => Ok(summary),
            Answer::NotUnpacked(error) => Err(Error::Unpack(error)),
            answer => Err(unexpected(answer, Error::Join)),
        }
    }

    /// Removes `name` below `directory` with everything in it. Nothing there is no error.
    pub fn remove_tree(&self, directory: BorrowedFd<'_>, name: &str) -> Result<(), Error> {
        self.send(&Request::Remove { name: name.to_owned() }, &[directory])?;
        match self.receive()? {
            Answer::Done => Ok(()),
            answer => Err(unexpected(answer, |source| Error::Remove { name: name.to_owned(), source })),
        }
    }

    /// Turns whiteouts that only fuse-overlayfs understands into those that native overlay knows too.
    pub fn show_whiteouts(&self, tree: BorrowedFd<'_>) -> Result<(), Error> {
        self.send(&Request::ShowWhiteouts, &[tree])?;
        match self.receive()? {
            Answer::Done => Ok(()),
            answer => Err(unexpected(answer, Error::Whiteouts)),
        }
    }

    /// The bytes of all regular files below a directory.
    pub fn measure(&self, tree: BorrowedFd<'_>) -> Result<u64, Error> {
        self.send(&Request::Measure, &[tree])?;
        match self.receive()? {
            Answer::Size(size) => Ok(size),
            answer => Err(unexpected(answer, Error::Measure)),
        }
    }

    fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_ref().expect("open until dropped").as_fd()
    }

    fn send(&self, request: &Request, fds: &[BorrowedFd<'_>]) -> Result<(), Error> {
        let message = serde_json::to_vec(request).map_err(Error::Answer)?;
        match send(self.socket(), &message, fds) {
            Err(error) if matches!(error.errno, Errno::EPIPE | Errno::ECONNRESET) => Err(Error::Gone),
            result => result.map_err(Error::Talk),
        }
    }

    fn receive(&self) -> Result<Answer, Error> {
        match receive(self.socket()) {
            Ok(Some((message, _))) => serde_json::from_slice(&message).map_err(Error::Answer),
            Ok(None) => Err(Error::Gone),
            Err(error) if error.is(Errno::ECONNRESET) => Err(Error::Gone),
            Err(error) => Err(Error::Talk(error)),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // The worker ends when it sees the end of its socket; then it is reaped.
        self.socket = None;
        if let Some(child) = self.child.take() {
            let _ = process::wait_for(child);
        }
    }
}

/// This program once more, in the worker's role, with the control socket as its standard input.
#[cfg(not(test))]
fn launch(control: OwnedFd) -> sys::Result<Option<Pid>> {
    process::spawn_role(ROLE, &[], &[(control.as_fd(), 0)]).map(Some)
}

/// In unit tests the program is the test runner; there the worker is a thread, which cannot join.
#[cfg(test)]
fn launch(control: OwnedFd) -> sys::Result<Option<Pid>> {
    std::thread::spawn(move || serve_requests(control, false));
    Ok(None)
}

fn unexpected(answer: Answer, failed: impl FnOnce(FailedCall) -> Error) -> Error {
    match answer {
        Answer::Failed(call) => failed(call),
        Answer::Refused(why) => Error::Refused(why),
        other => Error::Refused(format!("unexpected answer {other:?}")),
    }
}

/// The worker's life: joins, serves, and returns when the client is gone.
///
/// Runs in a process of its own that has one thread and was started with the control socket.
pub fn serve(control: OwnedFd) -> sys::Result<()> {
    // With no umask, a file's mode is complete when it is created.
    nix::sys::stat::umask(Mode::empty());
    // And with no directory of the user's in use, his file systems can be unmounted.
    nix::unistd::chdir("/").call("chdir", || "/".to_owned())?;
    serve_requests(control, true)
}

fn serve_requests(control: OwnedFd, umask_is_zero: bool) -> sys::Result<()> {
    while let Some((message, fds)) = receive(control.as_fd())? {
        let answer = match serde_json::from_slice(&message) {
            Ok(request) => perform(request, fds, umask_is_zero),
            Err(error) => Answer::Refused(error.to_string()),
        };
        let message = serde_json::to_vec(&answer).unwrap_or_default();
        match send(control.as_fd(), &message, &[]) {
            Err(error) if error.is(Errno::EPIPE) => return Ok(()),
            result => result?,
        }
    }
    Ok(())
}

fn perform(request: Request, fds: Vec<OwnedFd>, umask_is_zero: bool) -> Answer {
    let mut fds = fds.into_iter();
    let mut next = || fds.next().ok_or_else(|| Answer::Refused("a descriptor is missing".to_owned()));
    let result = match request {
        Request::Join => next().and_then(|user| join(user).map_err(|error| Answer::Failed(error.into()))),
        Request::Unpack { owners, whiteouts } => {
            let options = Options { owners, whiteouts, umask_is_zero };
            return match (next(), next()) {
                (Ok(layer), Ok(archive)) => match unpack_layer(layer, archive, options) {
                    Ok(summary) => Answer::Unpacked(summary),
                    Err(error) => Answer::NotUnpacked(error),
                },
                (Err(answer), _) | (_, Err(answer)) => answer,
            };
        }
        Request::ShowWhiteouts => {
            next().and_then(|tree| whiteout::show(tree).map_err(|error| Answer::Failed(error.into())))
        }
        Request::Measure => {
            return match next().map(measure::bytes_below) {
                Ok(Ok(size)) => Answer::Size(size),
                Ok(Err(error)) => Answer::Failed(error.into()),
                Err(answer) => answer,
            };
        }
        Request::Remove { name } => next().and_then(|directory| {
            let name = std::ffi::CString::new(name).map_err(|error| Answer::Refused(error.to_string()))?;
            remove::remove_tree(&directory, &name).map_err(|error| Answer::Failed(error.into()))
        }),
    };
    result.map_or_else(|answer| answer, |()| Answer::Done)
}

/// Becomes root of the namespace (user_namespaces(7)): the joiner has all capabilities in it.
fn join(user: OwnedFd) -> sys::Result<()> {
    sys::namespace::join(&user, CloneFlags::CLONE_NEWUSER)?;
    // In a single-id namespace groups cannot be dropped; there they carry no rights either.
    match nix::unistd::setgroups(&[]) {
        Ok(()) | Err(Errno::EPERM) => {}
        Err(errno) => return Err(sys::Error::new("setgroups", "[]", errno)),
    }
    process::set_ids(0, 0, None)
}

fn unpack_layer(layer: OwnedFd, archive: OwnedFd, options: Options) -> Result<Summary, unpack::Error> {
    let at = |path: &str| {
        let path = path.to_owned();
        move |error: sys::Error| unpack::Error::System { path, source: error.into() }
    };
    nix::sys::stat::mkdirat(&layer, LAYER_TREE, Mode::S_IRWXU)
        .call("mkdirat", || format!("{LAYER_TREE:?}, 0700"))
        .map_err(at(LAYER_TREE))?;
    let flags = nix::fcntl::OFlag::O_PATH | nix::fcntl::OFlag::O_DIRECTORY | nix::fcntl::OFlag::O_NOFOLLOW;
    let tree = nix::fcntl::openat(&layer, LAYER_TREE, flags | nix::fcntl::OFlag::O_CLOEXEC, Mode::empty())
        .call("openat", || format!("{LAYER_TREE:?}"))
        .map_err(at(LAYER_TREE))?;
    let record = unpack::create_record(&layer, LAYER_TAR_SPLIT).map_err(at(LAYER_TAR_SPLIT))?;
    let archive = std::fs::File::from(archive);
    let (summary, _record) =
        unpack::unpack(archive, Root::from_fd(tree), layer, LAYER_REPLACED, record, options)?;
    Ok(summary)
}

fn pair() -> sys::Result<(OwnedFd, OwnedFd)> {
    socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
        .call("socketpair", || "AF_UNIX, SOCK_SEQPACKET".to_owned())
}

fn send(socket: BorrowedFd<'_>, message: &[u8], fds: &[BorrowedFd<'_>]) -> sys::Result<()> {
    let numbers: Vec<RawFd> = fds.iter().map(|fd| fd.as_raw_fd()).collect();
    let rights = [ControlMessage::ScmRights(&numbers)];
    let control: &[ControlMessage<'_>] = if numbers.is_empty() { &[] } else { &rights };
    let flags = MsgFlags::MSG_NOSIGNAL;
    sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(message)], control, flags, None)
        .map(drop)
        .call("sendmsg", || format!("{} bytes, {} descriptors", message.len(), numbers.len()))
}

/// The next message with its descriptors; `None` when the other side is closed.
fn receive(socket: BorrowedFd<'_>) -> sys::Result<Option<(Vec<u8>, Vec<OwnedFd>)>> {
    let mut message = vec![0; MESSAGE_MAX];
    let mut space = nix::cmsg_space!([RawFd; FDS_MAX]);
    let mut slices = [IoSliceMut::new(&mut message)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let received = loop {
        match recvmsg::<()>(socket.as_raw_fd(), &mut slices, Some(&mut space), flags) {
            Err(Errno::EINTR) => {}
            result => break result.call("recvmsg", String::new)?,
        }
    };
    let mut fds = Vec::new();
    for control in received.cmsgs().call("recvmsg", || "control data".to_owned())? {
        if let ControlMessageOwned::ScmRights(numbers) = control {
            for number in numbers {
                fds.push(sys::path::adopt_fd(number)?);
            }
        }
    }
    let length = received.bytes;
    message.truncate(length);
    Ok((length > 0).then_some((message, fds)))
}
