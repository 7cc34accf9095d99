//! The pretender of single-id mode: a process beside the container that answers its questions about ids.
//!
//! With one id mapped, a program that changes its user can only be told that it did. Told so and then seeing root
//! all the same, an entry script that starts itself anew as another user does it for ever. So the calls that
//! tell ids are answered too, with what was pretended before (`security::pretence` has the list). The kernel hands each
//! call over by the filter's listener, seccomp_unotify(2).
//!
//! Forked before the container exists and outside of its namespaces, so that the container can neither see nor end it.
//! It knows its end when the listener hangs up: when the last process below the filter is gone.
//!
//! What a process believes is a number on the process itself (`sys::identity_tag`), which the kernel hands on at
//! fork and keeps at exec as it does with ids. Nothing here follows processes, and nothing is left behind by dead ones.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::uio::{RemoteIoVec, process_vm_readv, process_vm_writev};
use nix::unistd::Pid as NixPid;
use serde::{Deserialize, Serialize};

use super::identity::Identity;
use crate::security::pretended_calls::{Kind, Question, Questions, Width, keeps_power};
use crate::security::pretended_ids::{GROUPS_MAX, Ids, Quad};
use crate::sys::notify::{Answer, Call, Listener};
use crate::sys::process::{Fork, Pid, SingleThreaded, exit_now, fork};
use crate::sys::{self, identity_tag, message};

/// How many different sets of ids a container may use before a change fails with ENOMEM.
const MOST_SETS: usize = 1 << 14;
/// Likewise the groups of all sets together.
const MOST_GROUPS: usize = 1 << 20;
/// Groups of the first process that are taken over from the image; the rest is dropped.
const MOST_FIRST_GROUPS: usize = 4096;

/// Where the pretender waits for its listener. It ends if this is dropped without one.
#[derive(Debug)]
pub struct Pretender(OwnedFd);

/// What holds for the container's first process, or the one that `exec` adds.
#[derive(Debug, Serialize, Deserialize)]
pub struct Beginning {
    ids: Ids,
    /// Inode of the user namespace; who is in another one has ids of its own.
    namespace: Option<u64>,
}

impl Beginning {
    /// For the calling process.
    pub fn new(identity: &Identity) -> Beginning {
        let groups = identity.groups.iter().copied().take(MOST_FIRST_GROUPS).collect();
        Beginning { ids: Ids::new(identity.uid, identity.gid, groups), namespace: user_namespace("self") }
    }
}

/// The inode that `/proc/PROCESS/ns/user` leads to.
fn user_namespace(process: &str) -> Option<u64> {
    std::fs::metadata(format!("/proc/{process}/ns/user")).ok().map(|ns| ns.ino())
}

impl Pretender {
    /// Forks it. The caller is still in the host's namespaces.
    pub fn start() -> sys::Result<Pretender> {
        let proof = SingleThreaded::prove()?;
        let (ours, theirs) = message::pair()?;
        match fork(proof)? {
            Fork::Parent(_) => Ok(Pretender(ours)),
            Fork::Child => {
                drop(ours);
                // Nobody is there to be told; the callers then get ENOSYS from the kernel.
                let _ = run(theirs);
                exit_now(0)
            }
        }
    }

    /// Lets it answer the calls of the filter that was just loaded.
    pub fn hand_over(&self, listener: &Listener, beginning: &Beginning) -> sys::Result<()> {
        let json = serde_json::to_vec(beginning).expect("plain data always serialises");
        message::send(&self.0, &json, &[listener.as_fd()])
    }
}

/// The process itself.
fn run(socket: OwnedFd) -> sys::Result<()> {
    sys::confine::close_all_but(&[socket.as_fd()])?;
    sys::process::set_name(c"coracle-ids")?;
    sys::process::set_dumpable(false)?;
    sys::capability::apply(0)?;
    let (json, mut fds) = message::receive(&socket)?;
    let (Ok(beginning), Some(listener)) = (serde_json::from_slice(&json), fds.pop()) else {
        return Ok(());
    };
    drop(socket);
    let mut book = Book::new(beginning);
    let listener = Listener::from(listener);
    listener.wake_in_turn();
    sys::memory::release_code();
    serve(&listener, &mut book)
}

fn serve(listener: &Listener, book: &mut Book) -> sys::Result<()> {
    loop {
        let mut polled = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
        match poll(&mut polled, PollTimeout::NONE) {
            Err(Errno::EINTR) => continue,
            Err(errno) => return Err(sys::Error::new("poll", "listener", errno)),
            Ok(_) => {}
        }
        let events = polled[0].revents().unwrap_or(PollFlags::empty());
        if !events.contains(PollFlags::POLLIN) {
            return Ok(());
        }
        if let Some(call) = listener.receive()? {
            let answer = book.answer(&call, listener).unwrap_or_else(|refusal| refusal);
            listener.answer(&call, answer)?;
        }
    }
}

/// A caller of ours: where its ids are looked up and its memory is.
struct Caller<'a> {
    call: &'a Call,
    listener: &'a Listener,
    width: Width,
}

/// All sets of ids that were ever in use; a process carries the place of its own. The first is the [`Beginning`]'s,
/// also for a process that carries nothing of ours.
struct Book {
    questions: Questions,
    sets: Vec<Ids>,
    groups: usize,
    namespace: Option<u64>,
}

impl Book {
    fn new(beginning: Beginning) -> Book {
        let Beginning { ids, namespace } = beginning;
        Book { questions: Questions::read(), groups: ids.groups().len(), sets: vec![ids], namespace }
    }

    /// What the caller gets, either way.
    fn answer(&mut self, call: &Call, listener: &Listener) -> Result<Answer, Answer> {
        let (question, width) = self.questions.find(call.arch, call.number).ok_or(Answer::TrueCall)?;
        if let (Some(ours), Some(theirs)) = (self.namespace, user_namespace(&call.thread.to_string()))
            && ours != theirs
        {
            return Ok(Answer::TrueCall);
        }
        let caller = Caller { call, listener, width };
        let carried = identity_tag::read(call.thread).map_err(|_| Answer::TrueCall)?;
        let carried = carried.and_then(|place| usize::try_from(place).ok());
        let place = carried.filter(|place| *place < self.sets.len()).unwrap_or(0);
        let ids = &self.sets[place];
        let id = |index: usize| width.id(call.args[index]);
        let shown = |id| Answer::Value(width.shown(id).into());
        let may = |kind| ids.has_power(|| program(call.thread)) && has_capability(call.thread, kind);
        let (new, result) = match question {
            Question::Real(kind) => return Ok(shown(of(ids, kind).real)),
            Question::Effective(kind) => return Ok(shown(of(ids, kind).effective)),
            Question::Three(kind) => return caller.tell_three(of(ids, kind)),
            Question::Groups => return caller.tell_groups(ids.groups()),
            Question::Set(kind) => (with(ids, kind, |quad| quad.set(may(kind), id(0))), Answer::Value(0)),
            Question::SetTwo(kind) => {
                (with(ids, kind, |quad| quad.set_two(may(kind), id(0), id(1))), Answer::Value(0))
            }
            Question::SetThree(kind) => {
                (with(ids, kind, |quad| quad.set_three(may(kind), [id(0), id(1), id(2)])), Answer::Value(0))
            }
            Question::SetFiles(kind) => {
                let before = of(ids, kind).files;
                (with(ids, kind, |quad| Ok(quad.set_files(may(kind), id(0)))), shown(before))
            }
            Question::KeepPower => {
                (Ok(ids.keep_power(keeps_power(&call.args), program(call.thread))), Answer::TrueCall)
            }
            Question::SetGroups if !may(Kind::Group) => return Ok(Answer::Error(Errno::EPERM)),
            Question::SetGroups => (ids.set_groups(caller.read_groups()?), Answer::Value(0)),
        };
        let new = new.map_err(Answer::Error)?;
        if new != *ids || carried.is_none() {
            let place = self.place(new).map_err(Answer::Error)?;
            // Before the answer: a child forked right after it must inherit this.
            caller.still_there()?;
            identity_tag::write(call.thread, place).map_err(|error| Answer::Error(error.errno))?;
        }
        Ok(result)
    }

    /// Where a set stands, from now on if it is new.
    fn place(&mut self, ids: Ids) -> Result<u32, Errno> {
        let known = self.sets.iter().position(|known| *known == ids);
        let place = known.unwrap_or(self.sets.len());
        if known.is_none() {
            if place >= MOST_SETS || self.groups + ids.groups().len() > MOST_GROUPS {
                return Err(Errno::ENOMEM);
            }
            self.groups += ids.groups().len();
            self.sets.push(ids);
        }
        u32::try_from(place).map_err(|_| Errno::ENOMEM)
    }
}

/// Tells a program from the one that its process was before: where the kernel put the stack and the arguments,
/// which it chooses anew at each exec (`/proc/PID/stat`, fields 28 and 48).
fn program(thread: Pid) -> Option<u64> {
    let stat = std::fs::read(format!("/proc/{thread}/stat")).ok()?;
    // The command name in field 2 may hold anything; the last ')' ends it.
    let after = stat.iter().rposition(|byte| *byte == b')')? + 2;
    let fields: Vec<&str> = std::str::from_utf8(stat.get(after..)?).ok()?.split(' ').collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some(field(28)?.rotate_left(32) ^ field(48)?)
}

/// Whether a thread holds CAP_SETUID or CAP_SETGID, in truth: one that was taken from the container, or that a root
/// process gave up itself, is not pretended.
fn has_capability(thread: Pid, kind: Kind) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{thread}/status")).unwrap_or_default();
    let held =
        status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("CapEff:")?.trim(), 16).ok());
    let number = match kind {
        Kind::User => CAP_SETUID,
        Kind::Group => CAP_SETGID,
    };
    held.is_some_and(|held| held & (1 << number) != 0)
}

/// linux/capability.h
const CAP_SETGID: u32 = 6;
const CAP_SETUID: u32 = 7;

fn of(ids: &Ids, kind: Kind) -> Quad {
    match kind {
        Kind::User => ids.user,
        Kind::Group => ids.group,
    }
}

fn with(ids: &Ids, kind: Kind, change: impl FnOnce(Quad) -> Result<Quad, Errno>) -> Result<Ids, Errno> {
    let new = change(of(ids, kind))?;
    let mut ids = ids.clone();
    match kind {
        Kind::User => ids.user = new,
        Kind::Group => ids.group = new,
    }
    Ok(ids)
}

/// A caller's memory that is out of our reach (Yama's scope 3, another security module): then the kernel itself
/// answers, which is true, if not what was pretended.
fn memory_error(errno: Errno) -> Answer {
    match errno {
        Errno::EPERM | Errno::ENOSYS => Answer::TrueCall,
        _ => Answer::Error(Errno::EFAULT),
    }
}

impl Caller<'_> {
    /// Whoever has the caller's number is the caller: it waits. What is answered to one that is gone is lost.
    fn still_there(&self) -> Result<(), Answer> {
        if self.listener.still_waits(self.call) { Ok(()) } else { Err(Answer::Error(Errno::EINTR)) }
    }

    fn thread(&self) -> NixPid {
        let thread: Pid = self.call.thread;
        NixPid::from_raw(thread)
    }

    /// An address or a number out of a register of the caller.
    fn number(&self, argument: usize) -> usize {
        // Registers of our own kind of machine, or narrower ones.
        self.call.args[argument] as usize
    }

    fn write(&self, argument: usize, ids: &[u32]) -> Result<(), Answer> {
        let bytes = self.width.encode(ids);
        let there = RemoteIoVec { base: self.number(argument), len: bytes.len() };
        self.still_there()?;
        match process_vm_writev(self.thread(), &[IoSlice::new(&bytes)], &[there]) {
            Ok(length) if length == bytes.len() => Ok(()),
            Ok(_) => Err(Answer::Error(Errno::EFAULT)),
            Err(errno) => Err(memory_error(errno)),
        }
    }

    /// getresuid(2), getresgid(2).
    fn tell_three(&self, quad: Quad) -> Result<Answer, Answer> {
        for (argument, id) in [quad.real, quad.effective, quad.saved].into_iter().enumerate() {
            self.write(argument, &[id])?;
        }
        Ok(Answer::Value(0))
    }

    /// getgroups(2).
    fn tell_groups(&self, groups: &[u32]) -> Result<Answer, Answer> {
        let room = self.call.args[0] as i32;
        let count = i32::try_from(groups.len()).unwrap_or(i32::MAX);
        if room < 0 || (room > 0 && room < count) {
            return Err(Answer::Error(Errno::EINVAL));
        }
        if room > 0 && count > 0 {
            self.write(1, groups)?;
        }
        Ok(Answer::Value(count.into()))
    }

    /// The list of setgroups(2).
    fn read_groups(&self) -> Result<Vec<u32>, Answer> {
        let count = self.call.args[0] as u32 as usize;
        if count > GROUPS_MAX {
            return Err(Answer::Error(Errno::EINVAL));
        }
        if count == 0 {
            return Ok(Vec::new());
        }
        let mut bytes = vec![0; count * self.width.bytes()];
        let there = RemoteIoVec { base: self.number(1), len: bytes.len() };
        let read = process_vm_readv(self.thread(), &mut [IoSliceMut::new(&mut bytes)], &[there]);
        // What was read is the caller's if it still waits now.
        self.still_there()?;
        match read {
            Ok(length) if length == bytes.len() => Ok(self.width.decode(&bytes)),
            Ok(_) => Err(Answer::Error(Errno::EFAULT)),
            Err(errno) => Err(memory_error(errno)),
        }
    }
}
