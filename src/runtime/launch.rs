//! The last steps before a program runs in a container: its streams, its user, its rights, exec.
//! Runs in init and in the process that `exec` adds.

use std::ffi::{CString, OsStr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::sched::CloneFlags;
use nix::sys::stat::{Mode, SFlag};

use super::channel::{LaunchFailure, LaunchFailureKind};
use super::identity::{Identity, resolve};
use super::one_user;
use super::pretender::{Beginning, Pretender};
use crate::security::SecurityPlan;
use crate::security::pretence::Pretence;
use crate::spec::container::ProcessSpec;
use crate::spec::user::UserSpec;
use crate::sys;
use crate::sys::namespace::join;
use crate::sys::path::Root;
use crate::sys::process::{
    Fork, SingleThreaded, cloexec_from, exec, exit_now, fork, reap, set_dumpable, set_ids,
    set_parent_death_signal,
};
use crate::sys::signal::{reset_handlers, unblock_all};

/// Standard input, output and error of the new program.
#[derive(Debug)]
pub enum Stdio {
    Pipes {
        stdin: OwnedFd,
        stdout: OwnedFd,
        stderr: OwnedFd,
    },
    /// The slave side of its terminal.
    Terminal(OwnedFd),
}

/// How many ids the container has.
#[derive(Debug)]
pub enum Ids {
    Mapped,
    /// One: a user that is not root gets a namespace of its own, this one if it is made already.
    Single {
        pretender: Pretender,
        namespace: Option<OwnedFd>,
    },
}

/// A program to start, once we are in its namespaces and its root is `/`.
#[derive(Debug)]
pub struct Launch<'a> {
    pub process: &'a ProcessSpec,
    pub security: &'a SecurityPlan,
    pub stdio: Stdio,
    pub ids: Ids,
    /// Make the working directory when it is missing.
    pub make_directory: bool,
    /// Stay as pid 1 and reap, with the program as a child.
    pub init: bool,
}

fn failure(kind: LaunchFailureKind, message: String) -> LaunchFailure {
    LaunchFailure { kind, message }
}

fn setup(error: sys::Error) -> LaunchFailure {
    LaunchFailure::setup(&error)
}

/// Becomes the program. Only returns when that failed.
pub fn launch(launch: Launch<'_>) -> LaunchFailure {
    match prepare(launch) {
        Ok(never) => match never {},
        Err(failure) => failure,
    }
}

fn prepare(launch: Launch<'_>) -> Result<std::convert::Infallible, LaunchFailure> {
    let process = launch.process;
    let root = Root::open(Path::new("/")).map_err(setup)?;
    let user: UserSpec = process.user.parse().map_err(|e| LaunchFailure::setup(&e))?;
    let identity = resolve(&root, &user).map_err(|e| LaunchFailure::setup(&e))?;
    if launch.make_directory {
        make_directory(&root, &process.cwd)?;
    }
    drop(root);
    let environment = environment(&process.env, &identity);
    set_streams(launch.stdio).map_err(setup)?;
    nix::sys::stat::umask(Mode::from_bits_truncate(0o022));
    reset_handlers();
    unblock_all().map_err(setup)?;
    cloexec_from(3).map_err(setup)?;
    match launch.ids {
        Ids::Mapped => {
            let change_ids = || set_ids(identity.uid, identity.gid, Some(&identity.groups));
            launch.security.apply(|| Ok(()), change_ids).map_err(setup)?;
        }
        Ids::Single { pretender, namespace } => {
            become_one(launch.security, &identity, pretender, namespace)?;
        }
    }
    // A change of user clears it.
    set_parent_death_signal(libc::SIGKILL).map_err(setup)?;
    nix::unistd::chdir(process.cwd.as_str()).map_err(|errno| {
        let kind = match errno {
            Errno::ENOENT | Errno::ENOTDIR => LaunchFailureKind::NotFound,
            Errno::EACCES => LaunchFailureKind::NotExecutable,
            _ => LaunchFailureKind::Setup,
        };
        failure(kind, format!("chdir to cwd ({:?}) failed: {}", process.cwd, errno.desc()))
    })?;
    let program = find_program(&process.argv[0], &environment)?;
    if launch.init {
        become_init()?;
    }
    let strings = |list: &[String]| -> Vec<CString> {
        list.iter().filter_map(|s| CString::new(s.as_bytes()).ok()).collect()
    };
    let error = exec(&program, &strings(&process.argv), &strings(&environment));
    Err(exec_failure(&process.argv[0], error.errno))
}

/// Supplementary groups stay what they are: the kernel refuses setgroups(2) to a single id.
fn become_one(
    security: &SecurityPlan,
    identity: &Identity,
    pretender: Pretender,
    namespace: Option<OwnedFd>,
) -> Result<(), LaunchFailure> {
    let Identity { uid, gid, .. } = *identity;
    match namespace {
        Some(namespace) => join(namespace, CloneFlags::CLONE_NEWUSER).map_err(setup)?,
        None if (uid, gid) == (0, 0) => {}
        None => one_user::become_user_here(uid, gid).map_err(setup)?,
    }
    // Before any filter, which would have the change answered by somebody else.
    set_ids(uid, gid, None).map_err(setup)?;
    let pretence = Pretence::plan(uid, gid).map_err(|e| LaunchFailure::setup(&e))?;
    let beginning = Beginning::new(identity);
    let load = || pretence.load(|listener| pretender.hand_over(listener, &beginning));
    security.apply(load, || Ok(())).map_err(setup)
}

fn make_directory(root: &Root, cwd: &str) -> Result<(), LaunchFailure> {
    let made = crate::rootfs::apply::directory(root, Path::new(cwd));
    made.map(drop).map_err(|error| {
        let why = match error.is(Errno::ENOTDIR) {
            true => format!("cannot mkdir: {cwd} is not a directory"),
            false => format!("cannot make the working directory {cwd}: {error}"),
        };
        failure(LaunchFailureKind::Setup, why)
    })
}

/// HOME comes from the container's passwd unless it is set.
fn environment(env: &[String], identity: &Identity) -> Vec<String> {
    let mut env = env.to_vec();
    if !env.iter().any(|entry| entry.starts_with("HOME=")) {
        env.push(format!("HOME={}", identity.home));
    }
    env
}

fn set_streams(stdio: Stdio) -> sys::Result<()> {
    let dup = |fd: &OwnedFd, number: i32| sys::process::put_at(fd, number);
    match stdio {
        Stdio::Pipes { stdin, stdout, stderr } => {
            for (fd, number) in [(stdin, 0), (stdout, 1), (stderr, 2)] {
                dup(&fd, number)?;
            }
        }
        Stdio::Terminal(slave) => {
            sys::pty::make_controlling(&slave)?;
            (0..3).try_for_each(|number| dup(&slave, number))?;
            if slave.as_raw_fd() <= 2 {
                std::mem::forget(slave);
            }
        }
    }
    Ok(())
}

/// Finds what execve is to be given, as execvp would along the container's PATH, with docker's
/// words when there is none.
fn find_program(name: &str, env: &[String]) -> Result<CString, LaunchFailure> {
    let c_path = |path: &[u8]| {
        CString::new(path)
            .map_err(|_| failure(LaunchFailureKind::NotFound, format!("exec: {name:?}: invalid name")))
    };
    if name.contains('/') {
        return match check(Path::new(name)) {
            Ok(()) => c_path(name.as_bytes()),
            Err(errno) => Err(exec_failure(name, errno)),
        };
    }
    let path = env
        .iter()
        .rev()
        .find_map(|entry| entry.strip_prefix("PATH="))
        .unwrap_or("/usr/local/bin:/usr/bin:/bin");
    let mut refused = None;
    for dir in path.split(':').filter(|_| !name.is_empty()) {
        let candidate =
            Path::new(if dir.is_empty() { "." } else { dir }).join(OsStr::from_bytes(name.as_bytes()));
        match check(&candidate) {
            Ok(()) => return c_path(candidate.as_os_str().as_bytes()),
            Err(Errno::EACCES) => refused = Some(Errno::EACCES),
            Err(_) => {}
        }
    }
    match refused {
        Some(errno) => Err(exec_failure(name, errno)),
        None => Err(failure(
            LaunchFailureKind::NotFound,
            format!("exec: {name:?}: executable file not found in $PATH"),
        )),
    }
}

fn check(path: &Path) -> Result<(), Errno> {
    let stat = nix::sys::stat::stat(path)?;
    let mode = SFlag::from_bits_truncate(stat.st_mode);
    if mode & SFlag::S_IFMT == SFlag::S_IFDIR {
        return Err(Errno::EISDIR);
    }
    nix::unistd::access(path, nix::unistd::AccessFlags::X_OK)
}

fn exec_failure(name: &str, errno: Errno) -> LaunchFailure {
    match errno {
        Errno::ENOENT | Errno::ENOTDIR => failure(
            LaunchFailureKind::NotFound,
            format!("exec: {name:?}: stat {name}: no such file or directory"),
        ),
        Errno::EACCES => {
            failure(LaunchFailureKind::NotExecutable, format!("exec: {name:?}: permission denied"))
        }
        Errno::EISDIR => failure(
            LaunchFailureKind::NotExecutable,
            format!("exec: {name:?}: is a directory: permission denied"),
        ),
        Errno::ENOEXEC => {
            failure(LaunchFailureKind::NotExecutable, format!("exec {name}: exec format error"))
        }
        errno => failure(LaunchFailureKind::NotExecutable, format!("exec {name}: {}", errno.desc())),
    }
}

/// Forks: the child goes on to the program, we stay as pid 1, pass signals on and reap, and end as
/// the program ends. Nothing of ours has to exist in the container for that.
fn become_init() -> Result<(), LaunchFailure> {
    let all = nix::sys::signal::SigSet::all();
    // Blocked before the fork, so that no signal is lost in between.
    all.thread_block().map_err(|e| failure(LaunchFailureKind::Setup, e.to_string()))?;
    let child = match fork(SingleThreaded::prove().map_err(setup)?).map_err(setup)? {
        Fork::Child => return unblock_all().map_err(setup),
        Fork::Parent(pid) => pid,
    };
    // The monitor waits for the end of file on our copy of the channel; so does anybody who reads
    // a stream of the program.
    let _ = set_dumpable(false);
    let _ = sys::process::set_name(c"docker-init");
    sys::process::close_all();
    loop {
        let Ok(signal) = all.wait() else { continue };
        if signal != nix::sys::signal::Signal::SIGCHLD {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(child), signal);
            continue;
        }
        while let Some((pid, ended)) = reap() {
            if pid == child {
                exit_now(ended.code());
            }
        }
    }
}
