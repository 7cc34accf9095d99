//! Processes: fork, the re-executed roles, pidfds, credentials, exec.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;

use super::error::{Context, Error, Result};

/// Proof that this process has one thread, so a child of `fork` may run any code.
#[derive(Debug, Clone, Copy)]
pub struct SingleThreaded(());

impl SingleThreaded {
    /// Counts the entries of `/proc/self/task`; fails with EBUSY when there are other threads.
    pub fn prove() -> Result<SingleThreaded> {
        let task = nix::sys::stat::stat("/proc/self/task").call("stat", || "/proc/self/task".into())?;
        // A directory's link count is two plus one for each subdirectory (proc(5)).
        if task.st_nlink > 3 {
            return Err(Error::new("fork", "in a process with threads", Errno::EBUSY));
        }
        Ok(SingleThreaded(()))
    }
}

/// Which side of a fork this is.
#[derive(Debug)]
pub enum Fork {
    Parent(Pid),
    Child,
}

pub type Pid = i32;

/// fork(2) in a single-threaded process.
pub fn fork(_proof: SingleThreaded) -> Result<Fork> {
    // SAFETY: the process has one thread (the proof), so no lock can be held by a thread that
    // does not exist in the child.
    match unsafe { libc::fork() } {
        -1 => Err(Error::last("fork", "")),
        0 => Ok(Fork::Child),
        pid => Ok(Fork::Parent(pid)),
    }
}

/// Ends this process at once: no destructors, no buffers. For forked children.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit never returns and touches no memory of ours.
    unsafe { libc::_exit(code) }
}

/// Where a descriptor goes in a spawned program: `(ours, number there)`.
pub type Inherit<'a> = (BorrowedFd<'a>, RawFd);

/// What a spawned program gets.
#[derive(Debug)]
pub struct Spawn<'a> {
    pub program: &'a CStr,
    pub argv: &'a [CString],
    /// The whole environment, `KEY=value`.
    pub env: &'a [CString],
    /// Descriptors to hand over; every other one must be close-on-exec already.
    pub inherit: &'a [Inherit<'a>],
    /// Start a session of its own (setsid).
    pub new_session: bool,
}

/// Starts a program with posix_spawn(3): no copy of our page tables, so it is fast, and sound in
/// a process with threads.
///
/// Standard streams that `inherit` does not name are `/dev/null`.
pub fn spawn(spawn: &Spawn<'_>) -> Result<Pid> {
    let pointers = |list: &[CString]| -> Vec<*mut libc::c_char> {
        list.iter().map(|s| s.as_ptr().cast_mut()).chain([std::ptr::null_mut()]).collect()
    };
    let argv = pointers(spawn.argv);
    let env = pointers(spawn.env);
    // dup2 onto itself would keep close-on-exec, and a later target may be an earlier source:
    // lift all sources above every target first.
    let floor = spawn.inherit.iter().map(|(_, n)| *n).max().unwrap_or(0).max(2) + 1;
    let lifted: Vec<(OwnedFd, RawFd)> = spawn
        .inherit
        .iter()
        .map(|(fd, number)| Ok((duplicate_above(*fd, floor)?, *number)))
        .collect::<Result<_>>()?;
    let failed = |code: i32| -> Result<()> {
        if code == 0 {
            Ok(())
        } else {
            Err(Error::new("posix_spawn", format!("{:?}", spawn.program), Errno::from_raw(code)))
        }
    };
    let mut actions = std::mem::MaybeUninit::<libc::posix_spawn_file_actions_t>::uninit();
    let mut attributes = std::mem::MaybeUninit::<libc::posix_spawnattr_t>::uninit();
    // SAFETY: both objects are initialised by the first two calls before any other use and
    // destroyed once at the end; every pointer passed (paths, argv, env) outlives the calls and the
    // arrays end in null.
    unsafe {
        failed(libc::posix_spawn_file_actions_init(actions.as_mut_ptr()))?;
        failed(libc::posix_spawnattr_init(attributes.as_mut_ptr()))?;
        let mut result = Ok(());
        for stream in 0..3 {
            if !lifted.iter().any(|(_, n)| *n == stream) {
                result = result.and(failed(libc::posix_spawn_file_actions_addopen(
                    actions.as_mut_ptr(),
                    stream,
                    c"/dev/null".as_ptr(),
                    libc::O_RDWR,
                    0,
                )));
            }
        }
        for (fd, number) in &lifted {
            result = result.and(failed(libc::posix_spawn_file_actions_adddup2(
                actions.as_mut_ptr(),
                fd.as_raw_fd(),
                *number,
            )));
        }
        let mut flags = libc::POSIX_SPAWN_SETSIGMASK | libc::POSIX_SPAWN_SETSIGDEF;
        if spawn.new_session {
            flags |= POSIX_SPAWN_SETSID;
        }
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut none);
        let mut defaults: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut defaults);
        libc::sigaddset(&mut defaults, libc::SIGPIPE);
        libc::posix_spawnattr_setflags(attributes.as_mut_ptr(), flags as libc::c_short);
        libc::posix_spawnattr_setsigmask(attributes.as_mut_ptr(), &none);
        libc::posix_spawnattr_setsigdefault(attributes.as_mut_ptr(), &defaults);
        let mut pid = 0;
        if result.is_ok() {
            result = failed(libc::posix_spawn(
                &mut pid,
                spawn.program.as_ptr(),
                actions.as_ptr(),
                attributes.as_ptr(),
                argv.as_ptr(),
                env.as_ptr(),
            ));
        }
        libc::posix_spawn_file_actions_destroy(actions.as_mut_ptr());
        libc::posix_spawnattr_destroy(attributes.as_mut_ptr());
        result.map(|()| pid)
    }
}

/// spawn.h's POSIX_SPAWN_SETSID, which libc does not export for glibc.
const POSIX_SPAWN_SETSID: i32 = 0x80;

/// Starts this same binary in another role (`argv[1]`), in a session of its own.
///
/// The role sees an environment with nothing but what `env` names; descriptors as `Spawn::inherit`.
pub fn spawn_role(role: &str, args: &[&str], inherit: &[Inherit<'_>]) -> Result<Pid> {
    let argument =
        |s: &str| CString::new(s).map_err(|_| Error::new("posix_spawn", format!("{s:?}"), Errno::EINVAL));
    let mut argv = vec![c"coracle".to_owned(), argument(role)?];
    for arg in args {
        argv.push(argument(arg)?);
    }
    let env = [c"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()];
    spawn(&Spawn { program: c"/proc/self/exe", argv: &argv, env: &env, inherit, new_session: true })
}

/// What a role is told, as an inherited file: its command line can be read in the container.
pub fn letter(text: &str) -> Result<OwnedFd> {
    let fd = nix::sys::memfd::memfd_create("letter", nix::sys::memfd::MFdFlags::MFD_CLOEXEC)
        .call("memfd_create", String::new)?;
    let mut file = std::fs::File::from(fd);
    std::io::Write::write_all(&mut file, text.as_bytes())
        .and_then(|()| std::io::Seek::rewind(&mut file))
        .call("write", || "letter".into())?;
    Ok(file.into())
}

/// Reads a [`letter`] that was inherited.
pub fn read_letter(fd: OwnedFd) -> Result<String> {
    std::io::read_to_string(std::fs::File::from(fd)).call("read", || "letter".into())
}

/// What `ps` shows as this process's name (PR_SET_NAME); at most 15 bytes count.
pub fn set_name(name: &CStr) -> Result<()> {
    // SAFETY: the name is a C string, of which the kernel copies 16 bytes at most.
    match unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) } {
        0 => Ok(()),
        _ => Err(Error::last("prctl", "PR_SET_NAME")),
    }
}

/// A duplicate numbered at least `floor`, close-on-exec.
pub fn duplicate_above(fd: impl AsFd, floor: RawFd) -> Result<OwnedFd> {
    let raw = fd.as_fd().as_raw_fd();
    // SAFETY: F_DUPFD_CLOEXEC makes a new descriptor; the result is ours alone.
    match unsafe { libc::fcntl(raw, libc::F_DUPFD_CLOEXEC, floor) } {
        -1 => Err(Error::last("fcntl", format!("{raw}, F_DUPFD_CLOEXEC, {floor}"))),
        // SAFETY: fcntl just returned this open descriptor to us.
        new => Ok(unsafe { OwnedFd::from_raw_fd(new) }),
    }
}

/// Marks every descriptor from `first` on close-on-exec (close_range(2)).
pub fn cloexec_from(first: u32) -> Result<()> {
    // SAFETY: only changes descriptor flags.
    match unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) } {
        0 => Ok(()),
        _ => Err(Error::last("close_range", format!("{first}, ~0, CLOEXEC"))),
    }
}

/// Makes `fd` available under a fixed number that stays open across exec (dup2(2)).
pub fn put_at(fd: impl AsFd, number: RawFd) -> Result<()> {
    let raw = fd.as_fd().as_raw_fd();
    if raw == number {
        // SAFETY: only changes a descriptor flag.
        return match unsafe { libc::fcntl(raw, libc::F_SETFD, 0) } {
            -1 => Err(Error::last("fcntl", format!("{raw}, F_SETFD"))),
            _ => Ok(()),
        };
    }
    // SAFETY: whatever had `number` is closed; callers only name the three standard streams, which
    // nothing of ours owns as an OwnedFd.
    match unsafe { libc::dup2(raw, number) } {
        -1 => Err(Error::last("dup2", format!("{raw}, {number}"))),
        _ => Ok(()),
    }
}

/// Closes every descriptor, for a process that goes on without any.
pub fn close_all() {
    // SAFETY: the caller never returns to code that owns a descriptor: it only waits and exits.
    unsafe { libc::syscall(libc::SYS_close_range, 0, u32::MAX, 0) };
}

/// A descriptor that refers to a process, for signals, waiting and `setns` (pidfd_open(2)).
pub fn pidfd_open(pid: Pid) -> Result<OwnedFd> {
    // SAFETY: takes two integers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    if fd < 0 {
        return Err(Error::last("pidfd_open", pid.to_string()));
    }
    // SAFETY: the call returned a new descriptor that is ours alone; it fits an int by definition.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

pub fn pidfd_signal(pidfd: impl AsFd, signal: i32) -> Result<()> {
    let raw = pidfd.as_fd().as_raw_fd();
    // SAFETY: a null siginfo asks for the default one; no memory is passed.
    match unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, raw, signal, std::ptr::null::<libc::siginfo_t>(), 0)
    } {
        0 => Ok(()),
        _ => Err(Error::last("pidfd_send_signal", signal.to_string())),
    }
}

/// Field 22 of `/proc/PID/stat`: ticks since boot. Tells a process from a later one with its pid.
pub fn start_time(pid: Pid) -> Option<u64> {
    stat_field(pid, 22)?.parse().ok()
}

/// A field after the second of `/proc/PID/stat` (proc(5) counts from 1).
fn stat_field(pid: Pid, number: usize) -> Option<String> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    // The command name in field 2 may hold anything; the last ')' ends it.
    let after = stat.iter().rposition(|b| *b == b')')? + 2;
    let fields = std::str::from_utf8(stat.get(after..)?).ok()?;
    fields.split(' ').nth(number.checked_sub(3)?).map(str::to_owned)
}

/// Whether a process is on its way out, or gone (`PF_EXITING` in field 9 of `/proc/PID/stat`). One whose
/// first thread has ended before the others looks so, too.
pub fn is_exiting(pid: Pid) -> bool {
    const PF_EXITING: u32 = 4;
    let flags: Option<u32> = stat_field(pid, 9).and_then(|field| field.parse().ok());
    flags.is_none_or(|flags| flags & PF_EXITING != 0)
}

/// `/proc/sys/kernel/random/boot_id`.
pub fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

fn prctl(name: &'static str, option: i32, value: libc::c_ulong) -> Result<()> {
    // SAFETY: the options used here take one integer and no memory.
    match unsafe { libc::prctl(option, value, 0, 0, 0) } {
        -1 => Err(Error::last("prctl", name)),
        _ => Ok(()),
    }
}

/// The signal this process gets when its parent ends. Cleared by a change of credentials.
pub fn set_parent_death_signal(signal: i32) -> Result<()> {
    prctl("PR_SET_PDEATHSIG", libc::PR_SET_PDEATHSIG, signal as libc::c_ulong)
}

/// Makes orphaned descendants our children, so that they can be reaped.
pub fn become_subreaper() -> Result<()> {
    prctl("PR_SET_CHILD_SUBREAPER", libc::PR_SET_CHILD_SUBREAPER, 1)
}

/// Whether others may look into this process (`/proc/PID/exe`, `/proc/PID/fd`, ptrace).
pub fn set_dumpable(dumpable: bool) -> Result<()> {
    prctl("PR_SET_DUMPABLE", libc::PR_SET_DUMPABLE, dumpable.into())
}

/// Sets real, effective and saved ids, group first. `groups` of `None` leaves them as they are.
///
/// Raw system calls: after a raw clone glibc must not broadcast to threads it believes in.
pub fn set_ids(uid: u32, gid: u32, groups: Option<&[u32]>) -> Result<()> {
    // SAFETY: integers, and a pointer with its length from one slice.
    unsafe {
        if let Some(groups) = groups
            && libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) != 0
        {
            return Err(Error::last("setgroups", format!("{groups:?}")));
        }
        if libc::syscall(libc::SYS_setresgid, gid, gid, gid) != 0 {
            return Err(Error::last("setresgid", gid.to_string()));
        }
        if libc::syscall(libc::SYS_setresuid, uid, uid, uid) != 0 {
            return Err(Error::last("setresuid", uid.to_string()));
        }
    }
    Ok(())
}

/// execve(2); only returns when it failed.
pub fn exec(path: &CStr, argv: &[CString], env: &[CString]) -> Error {
    let pointers = |list: &[CString]| -> Vec<*const libc::c_char> {
        list.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let (argv, env) = (pointers(argv), pointers(env));
    // SAFETY: both arrays end in null and their strings live until the call returns.
    unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), env.as_ptr()) };
    Error::last("execve", format!("{path:?}"))
}

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    Exited(i32),
    Signaled(i32),
}

impl Ended {
    /// The shell's and docker's number: the status, or 128 + the signal.
    pub fn code(self) -> i32 {
        match self {
            Ended::Exited(code) => code,
            Ended::Signaled(signal) => 128 + signal,
        }
    }
}

fn decode(status: i32) -> Ended {
    if libc::WIFSIGNALED(status) {
        Ended::Signaled(libc::WTERMSIG(status))
    } else {
        Ended::Exited(libc::WEXITSTATUS(status))
    }
}

/// Reaps one ended child if there is one (`waitpid(-1, WNOHANG)`).
pub fn reap() -> Option<(Pid, Ended)> {
    let mut status = 0;
    // SAFETY: `status` is a valid int for the call to fill.
    let pid = unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG) };
    (pid > 0).then(|| (pid, decode(status)))
}

/// Whether a child has ended; it is reaped then.
pub fn has_ended(pid: Pid) -> bool {
    let mut status = 0;
    // SAFETY: `status` is a valid int for the call to fill.
    unsafe { libc::waitpid(pid, &mut status, libc::WNOHANG) != 0 }
}

/// Waits for one child to end.
pub fn wait_for(pid: Pid) -> Result<Ended> {
    let mut status = 0;
    loop {
        // SAFETY: `status` is a valid int for the call to fill.
        match unsafe { libc::waitpid(pid, &mut status, 0) } {
            -1 if Errno::last() == Errno::EINTR => continue,
            -1 => return Err(Error::last("waitpid", pid.to_string())),
            _ => return Ok(decode(status)),
        }
    }
}

/// Fills a buffer with random bytes (getrandom(2)).
pub fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    // SAFETY: pointer and length describe `bytes`.
    let got = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), N, 0) };
    if got == N as isize { Ok(bytes) } else { Err(Error::last("getrandom", N.to_string())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_on_his_way_out_is_seen() {
        assert!(!is_exiting(std::process::id().cast_signed()));
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id().cast_signed();
        // Not reaped yet.
        while !is_exiting(pid) {
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert!(is_exiting(pid));
    }

    #[test]
    fn start_time_of_self() {
        let pid = std::process::id() as Pid;
        assert!(start_time(pid).is_some_and(|t| t > 0));
        assert_eq!(start_time(pid), start_time(pid));
        assert_eq!(start_time(0), None);
    }

    #[test]
    fn spawns_and_waits() {
        let argv = [c"sh".to_owned(), c"-c".to_owned(), c"exit $N".to_owned()];
        let env = [c"N=7".to_owned()];
        let pid =
            spawn(&Spawn { program: c"/bin/sh", argv: &argv, env: &env, inherit: &[], new_session: true })
                .expect("spawn");
        assert_eq!(wait_for(pid).expect("wait"), Ended::Exited(7));
    }

    #[test]
    fn codes() {
        assert_eq!(Ended::Exited(3).code(), 3);
        assert_eq!(Ended::Signaled(9).code(), 137);
    }
}
