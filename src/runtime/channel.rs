//! What a container's process says while it is being made. One SOCK_SEQPACKET message each.
//!
//! ```text
//! monitor                         init
//!    | <------------- Ready ------- |   everything mounted; with the terminal's master, if any
//!    | ---------- GO (one byte) --> |   network ready, state written
//!    | <------------- end of file - |   execve closed the socket: it runs
//!    | <------------- Failed ------ |   or the reason why not, at any point
//! ```

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use serde::{Deserialize, Serialize};

use crate::sys;
use crate::sys::message;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum InitMessage {
    /// `warnings` are those losses that the user is told at once.
    Ready {
        lost: Vec<String>,
        warnings: Vec<String>,
    },
    Failed(LaunchFailure),
}

/// Why the process could not be started; decided by errno, not by text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaunchFailure {
    pub kind: LaunchFailureKind,
    pub message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LaunchFailureKind {
    Setup,
    NotExecutable,
    NotFound,
}

impl LaunchFailure {
    /// A failure of ours, with all its causes in one sentence.
    pub fn setup(error: &dyn std::error::Error) -> LaunchFailure {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            message.push_str(&format!(": {error}"));
            cause = error.source();
        }
        LaunchFailure { kind: LaunchFailureKind::Setup, message }
    }
}

const GO: &[u8] = b"go";
const GO_WITHOUT_STACK: &[u8] = b"go without stack";

/// The monitor's end.
#[derive(Debug)]
pub struct MonitorEnd(pub OwnedFd);

/// The new process's end.
#[derive(Debug)]
pub struct InitEnd(pub OwnedFd);

pub fn pair() -> sys::Result<(MonitorEnd, InitEnd)> {
    let (ours, theirs) = message::pair()?;
    Ok((MonitorEnd(ours), InitEnd(theirs)))
}

impl MonitorEnd {
    /// The next message, or `None` when the process executed its program.
    pub fn receive(&self) -> sys::Result<Option<(InitMessage, Option<OwnedFd>)>> {
        let (bytes, mut fds) = message::receive(&self.0)?;
        if bytes.is_empty() {
            return Ok(None);
        }
        let malformed = || sys::Error::new("recvmsg", "malformed message", nix::errno::Errno::EBADMSG);
        let message = serde_json::from_slice(&bytes).map_err(|_| malformed())?;
        Ok(Some((message, fds.pop())))
    }

    /// Lets the process go on; `stack_up` tells whether the network's user-mode stack came up.
    pub fn go(&self, stack_up: bool) -> sys::Result<()> {
        message::send(&self.0, if stack_up { GO } else { GO_WITHOUT_STACK }, &[])
    }
}

impl InitEnd {
    pub fn send(&self, message: &InitMessage, terminal: Option<BorrowedFd<'_>>) -> sys::Result<()> {
        let json = serde_json::to_vec(message).expect("plain data always serialises");
        message::send(&self.0, &json, terminal.as_slice())
    }

    /// Waits for the word to go on, and whether the network stack is up; an error when the monitor
    /// is gone.
    pub fn wait_go(&self) -> sys::Result<bool> {
        match message::receive(self.0.as_fd())?.0.as_slice() {
            GO => Ok(true),
            GO_WITHOUT_STACK => Ok(false),
            _ => Err(sys::Error::new("recvmsg", "the monitor is gone", nix::errno::Errno::EPIPE)),
        }
    }
}
