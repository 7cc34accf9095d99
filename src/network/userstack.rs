//! Runs slirp4netns or pasta for one container, as a child of the monitor.
//!
//! The monitor starts the stack as soon as the container's network namespace exists, goes on with
//! other work, and waits for readiness before it lets init run the container's program:
//!
//! ```text
//! Starting --(ready fd: a line)--> Ready --(drop, or the monitor's end)--> gone
//!     \--(ready fd: end of file)--> failed: its last words are in the error
//! ```
//!
//! The stack ends with the monitor, however that ends: slirp4netns watches a pipe itself
//! (`--exit-fd`), pasta hangs on a `Lifeline`.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::{Pid, pipe2};

use super::links::{DEVICE, MTU};
use super::plan::{Plan, Stack, Subnet};
use crate::sys;
use crate::sys::error::Context;
use crate::sys::lifeline::{Lifeline, Slack, set_inheritable};

/// The segment size pasta asks TCP senders in the container for, as a packet size. With large
/// ones a lost packet is noticed by a timer only, for too few follow it: that took transfers
/// outwards down to 0.01-0.1 Gbit/s.
const PASTA_MTU: u32 = 1500;
/// The part of its last words that goes into an error.
const LAST_WORDS: usize = 1000;

#[derive(Debug, thiserror::Error)]
pub enum StackError {
    #[error("cannot run {}", program.display())]
    Spawn { program: PathBuf, source: io::Error },
    #[error("{} gave the container no network: {words}", program.display())]
    Failed { program: PathBuf, words: String },
    #[error("{} was not ready after {} s", program.display(), waited.as_secs())]
    TooSlow { program: PathBuf, waited: Duration },
    #[error("cannot prepare the container's network stack")]
    System(#[from] sys::Error),
}

/// A user-mode stack's process. Dropping it ends the process and waits until it is gone, which
/// takes the kernel about 20 ms for the device: drop it after the exit status was delivered.
#[derive(Debug)]
pub struct Running {
    launch: Launch,
    child: Child,
    ready: OwnedFd,
    /// Held for what closing it does.
    _leash: Leash,
    stderr: File,
}

#[derive(Debug)]
enum Leash {
    None,
    Exit { _write: OwnedFd },
    Killed { _lifeline: Lifeline },
}

/// What is needed to start the program, and to start it again with less.
#[derive(Debug, Clone)]
struct Launch {
    program: PathBuf,
    pasta: bool,
    subnet: Subnet,
    ipv6: bool,
    pid: i32,
    sandbox: bool,
}

/// Starts the plan's stack for the namespaces of process `pid`; `None` when the plan has none.
///
/// The caller is single-threaded: descriptors are inheritable for a moment.
pub fn start(plan: &Plan, pid: Pid) -> Result<Option<Running>, StackError> {
    let (program, pasta) = match &plan.stack {
        Stack::None | Stack::Host => return Ok(None),
        Stack::Slirp4netns(program) => (program, false),
        Stack::Pasta(program) => (program, true),
    };
    let (subnet, ipv6, pid) = (plan.subnet, plan.ipv6, pid.as_raw());
    Launch { program: program.clone(), pasta, subnet, ipv6, pid, sandbox: true }.spawn().map(Some)
}

impl Launch {
    fn spawn(self) -> Result<Running, StackError> {
        let pipe = || pipe2(OFlag::O_CLOEXEC).call("pipe2", || "O_CLOEXEC".to_owned());
        let (ready, ready_write) = pipe()?;
        let stderr = File::from(
            memfd_create("stack-stderr", MFdFlags::MFD_CLOEXEC).call("memfd_create", String::new)?,
        );
        if self.pasta {
            let slack = Slack::new()?;
            let arguments = self.pasta_arguments(ready_write.as_raw_fd());
            let child = self.run(arguments, &stderr, &[ready_write.as_fd(), slack.child_end()])?;
            let mut running = Running { launch: self, child, ready, _leash: Leash::None, stderr };
            running._leash = Leash::Killed { _lifeline: slack.tie(running.pid())? };
            return Ok(running);
        }
        let (exit_read, exit) = pipe()?;
        let arguments = self.slirp4netns_arguments(ready_write.as_raw_fd(), exit_read.as_raw_fd());
        let child = self.run(arguments, &stderr, &[ready_write.as_fd(), exit_read.as_fd()])?;
        Ok(Running { launch: self, child, ready, _leash: Leash::Exit { _write: exit }, stderr })
    }

    fn run(
        &self,
        arguments: Vec<OsString>,
        stderr: &File,
        inherited: &[BorrowedFd<'_>],
    ) -> Result<Child, StackError> {
        let clone = |source| StackError::Spawn { program: self.program.clone(), source };
        let mut command = Command::new(&self.program);
        command.args(arguments).env_clear().stdin(Stdio::null());
        command.stdout(stderr.try_clone().map_err(clone)?).stderr(stderr.try_clone().map_err(clone)?);
        for fd in inherited {
            set_inheritable(*fd, true)?;
        }
        let child = command.spawn();
        for fd in inherited {
            set_inheritable(*fd, false)?;
        }
        child.map_err(clone)
    }

    fn slirp4netns_arguments(&self, ready: i32, exit: i32) -> Vec<OsString> {
        let mut arguments = vec![
            "--configure".to_owned(),
            format!("--mtu={MTU}"),
            format!("--cidr={}/{}", self.subnet.network(), Subnet::PREFIX),
            "--disable-host-loopback".to_owned(),
            format!("--ready-fd={ready}"),
            format!("--exit-fd={exit}"),
        ];
        if self.sandbox {
            arguments.extend(["--enable-sandbox".to_owned(), "--enable-seccomp".to_owned()]);
        }
        if self.ipv6 {
            arguments.push("--enable-ipv6".to_owned());
        }
        arguments.extend([self.pid.to_string(), DEVICE.to_owned()]);
        arguments.into_iter().map(OsString::from).collect()
    }

    /// In the foreground pasta stays our child, and writes its pid once it is ready.
    fn pasta_arguments(&self, ready: i32) -> Vec<OsString> {
        let subnet = self.subnet;
        let mut arguments: Vec<String> = [
            "--quiet",
            "--foreground",
            "--config-net",
            "--no-map-gw",
            "--tcp-ports=none",
            "--udp-ports=none",
            "--tcp-ns=none",
            "--udp-ns=none",
        ]
        .map(str::to_owned)
        .to_vec();
        arguments.extend([
            format!("--mtu={PASTA_MTU}"),
            format!("--pid=/proc/self/fd/{ready}"),
            format!("--ns-ifname={DEVICE}"),
            format!("--address={}", subnet.container()),
            format!("--netmask={}", Subnet::PREFIX),
            format!("--gateway={}", subnet.gateway()),
            format!("--dns-forward={}", subnet.dns()),
            format!("--userns=/proc/{}/ns/user", self.pid),
            format!("--netns=/proc/{}/ns/net", self.pid),
        ]);
        if !self.ipv6 {
            arguments.push("--ipv4-only".to_owned());
        }
        arguments.into_iter().map(OsString::from).collect()
    }
}

impl Running {
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// Waits until the container's network works.
    ///
    /// slirp4netns that cannot confine itself on this host is started again without its own
    /// sandbox; the sentence for the container's lost isolation is returned then.
    pub fn wait_ready(&mut self, limit: Duration) -> Result<Option<String>, StackError> {
        let until = Instant::now() + limit;
        match self.wait_once(until, limit) {
            Err(StackError::Failed { words, .. }) if !self.launch.pasta && self.launch.sandbox => {
                let launch = Launch { sandbox: false, ..self.launch.clone() };
                *self = launch.spawn()?;
                self.wait_once(until, limit)?;
                let why = words.lines().next_back().unwrap_or_default().to_owned();
                Ok(Some(format!("slirp4netns runs without its own sandbox: {why}")))
            }
            result => result.map(|()| None),
        }
    }

    fn wait_once(&mut self, until: Instant, limit: Duration) -> Result<(), StackError> {
        let program = || self.launch.program.clone();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            match poll(&mut [PollFd::new(self.ready.as_fd(), PollFlags::POLLIN)], timeout) {
                Err(Errno::EINTR) => continue,
                Ok(0) => return Err(StackError::TooSlow { program: program(), waited: limit }),
                result => result.call("poll", String::new)?,
            };
            break;
        }
        let mut line = [0; 32];
        match nix::unistd::read(&self.ready, &mut line).call("read", || "ready pipe".to_owned())? {
            0 => {
                let status = self.child.wait().ok();
                Err(StackError::Failed { program: program(), words: self.last_words(status) })
            }
            _ => Ok(()),
        }
    }

    fn last_words(&mut self, status: Option<ExitStatus>) -> String {
        let mut text = Vec::new();
        // Without its words the status remains.
        let read = self.stderr.seek(SeekFrom::Start(0)).and_then(|_| self.stderr.read_to_end(&mut text));
        let words = read.map_or(String::new(), |_| relevant(&String::from_utf8_lossy(&text)));
        match status {
            Some(status) if words.is_empty() => status.to_string(),
            _ => words,
        }
    }
}

/// The end of what a program said, without complaints about a missing system log.
fn relevant(text: &str) -> String {
    let lines = text.lines().map(str::trim_end);
    let lines: Vec<&str> =
        lines.filter(|line| !line.is_empty() && !line.ends_with("bytes to syslog")).collect();
    let text = lines.join("\n");
    let from = text.char_indices().map(|(i, _)| i).find(|i| text.len() - i <= LAST_WORDS).unwrap_or(0);
    text[from..].to_owned()
}

impl Drop for Running {
    fn drop(&mut self) {
        // ESRCH and ECHILD: it is gone already, which is all that is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan::{HostNetwork, Tools, plan};
    use super::*;
    use crate::spec::container::NetworkMode;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;
    use std::sync::{Mutex, MutexGuard, PoisonError};

    /// Descriptors are inheritable while a stack is started, so these tests take turns.
    fn turn() -> MutexGuard<'static, ()> {
        static TURN: Mutex<()> = Mutex::new(());
        TURN.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn planned(program: &Path, ipv6: bool) -> Plan {
        let tools = Tools { slirp4netns: Some(program.to_owned()), pasta: None, tun: true };
        plan(&NetworkMode::Slirp4netns, &[], &tools, &HostNetwork { ipv6, ..HostNetwork::default() })
            .expect("plan")
    }

    fn script(text: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().expect("dir");
        let program = dir.path().join("stack");
        std::fs::write(&program, format!("#!/bin/sh\n{text}\n")).expect("write");
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).expect("chmod");
        (dir, program)
    }

    fn launch(pasta: bool, ipv6: bool, sandbox: bool) -> Launch {
        let subnet = planned(Path::new("/x"), ipv6).subnet;
        Launch { program: PathBuf::new(), pasta, subnet, ipv6, pid: 77, sandbox }
    }

    #[test]
    fn slirp4netns_is_confined_and_keeps_the_hosts_loopback_out() {
        let line = launch(false, true, true).slirp4netns_arguments(5, 6).join(" ".as_ref());
        assert_eq!(
            line,
            "--configure --mtu=65520 --cidr=10.0.2.0/24 --disable-host-loopback --ready-fd=5 --exit-fd=6 \
             --enable-sandbox --enable-seccomp --enable-ipv6 77 eth0"
        );
        let line = launch(false, false, false).slirp4netns_arguments(5, 6).join(" ".as_ref());
        assert!(line.to_str().is_some_and(|line| !line.contains("enable-s") && !line.contains("ipv6")));
    }

    #[test]
    fn pasta_gives_the_same_addresses() {
        let line = launch(true, false, true).pasta_arguments(5).join(" ".as_ref());
        let line = line.to_str().expect("text");
        assert!(line.contains("--address=10.0.2.100 --netmask=24 --gateway=10.0.2.2 --dns-forward=10.0.2.3"));
        assert!(line.contains("--netns=/proc/77/ns/net --ipv4-only"), "{line}");
    }

    #[test]
    fn readiness_is_a_line_on_the_descriptor() {
        let _turn = turn();
        let text = "echo 1 > /proc/self/fd/${5##*=}; exec sleep 20";
        let (_dir, program) = script(text);
        let mut running =
            start(&planned(&program, false), Pid::from_raw(1)).expect("start").expect("a stack");
        assert_eq!(running.wait_ready(Duration::from_secs(10)).expect("ready"), None);
        assert!(running.child.try_wait().expect("our own child").is_none());
    }

    #[test]
    fn without_its_sandbox_it_is_tried_again() {
        let _turn = turn();
        let text = "case \"$*\" in *sandbox*) echo 'no mount for you' >&2; exit 1;; esac\n\
                    echo 1 > /proc/self/fd/${5##*=}; exec sleep 20";
        let (_dir, program) = script(text);
        let mut running =
            start(&planned(&program, false), Pid::from_raw(1)).expect("start").expect("a stack");
        let lost = running.wait_ready(Duration::from_secs(10)).expect("ready").expect("a loss");
        assert_eq!(lost, "slirp4netns runs without its own sandbox: no mount for you");
    }

    #[test]
    fn a_failure_brings_its_last_words() {
        let _turn = turn();
        let (_dir, program) = script("echo 'open: /dev/net/tun: no such device' >&2; exit 3");
        let mut running =
            start(&planned(&program, false), Pid::from_raw(1)).expect("start").expect("a stack");
        let error = running.wait_ready(Duration::from_secs(10)).expect_err("failure").to_string();
        assert!(
            error.ends_with("gave the container no network: open: /dev/net/tun: no such device"),
            "{error}"
        );
    }

    #[test]
    fn last_words_are_the_end() {
        assert_eq!(relevant("a\nFailed to send 51 bytes to syslog\n\nb  \n"), "a\nb");
        assert_eq!(relevant(&"é".repeat(2000)).len(), LAST_WORDS);
    }
}
