//! Pseudo-terminals and the caller's terminal.

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use nix::sys::termios::{self, SetArg, Termios};

use super::error::{Context, Error, Result};

/// Rows and columns of a terminal, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Size {
    pub rows: u16,
    pub columns: u16,
}

/// Opens a new pseudo-terminal of the devpts instance `devpts`; `(master, slave)`.
pub fn open_in(devpts: impl AsFd) -> Result<(OwnedFd, OwnedFd)> {
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let master =
        nix::fcntl::openat(&devpts, "ptmx", flags, Mode::empty()).call("openat", || "devpts/ptmx".into())?;
    let unlock: libc::c_int = 0;
    // SAFETY: TIOCSPTLCK reads one int; the pointer is valid for the call.
    if unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &unlock) } != 0 {
        return Err(Error::last("ioctl", "TIOCSPTLCK"));
    }
    // SAFETY: TIOCGPTPEER takes open flags and returns a new descriptor.
    let slave = unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags.bits()) };
    if slave < 0 {
        return Err(Error::last("ioctl", "TIOCGPTPEER"));
    }
    // SAFETY: the descriptor was just returned to us and is ours alone.
    Ok((master, unsafe { OwnedFd::from_raw_fd(slave) }))
}

/// Makes the terminal the controlling one of this (new) session.
pub fn make_controlling(terminal: impl AsFd) -> Result<()> {
    // SAFETY: TIOCSCTTY takes an integer.
    match unsafe { libc::ioctl(terminal.as_fd().as_raw_fd(), libc::TIOCSCTTY, 0) } {
        -1 => Err(Error::last("ioctl", "TIOCSCTTY")),
        _ => Ok(()),
    }
}

/// The size, or `None` when this is not a terminal.
pub fn size(terminal: impl AsFd) -> Option<Size> {
    let mut raw = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ fills one winsize; the pointer is valid for the call.
    let done = unsafe { libc::ioctl(terminal.as_fd().as_raw_fd(), libc::TIOCGWINSZ, &mut raw) };
    (done == 0).then_some(Size { rows: raw.ws_row, columns: raw.ws_col })
}

pub fn set_size(terminal: impl AsFd, size: Size) -> Result<()> {
    let raw = libc::winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCSWINSZ reads one winsize; the pointer is valid for the call.
    match unsafe { libc::ioctl(terminal.as_fd().as_raw_fd(), libc::TIOCSWINSZ, &raw) } {
        0 => Ok(()),
        _ => Err(Error::last("ioctl", "TIOCSWINSZ")),
    }
}

pub fn is_terminal(fd: impl AsFd) -> bool {
    nix::unistd::isatty(fd) == Ok(true)
}

/// The caller's terminal in raw mode; the drop puts it back.
#[derive(Debug)]
pub struct RawMode {
    terminal: OwnedFd,
    before: Termios,
}

impl RawMode {
    pub fn enter(terminal: impl AsFd) -> Result<RawMode> {
        let terminal = terminal.as_fd().try_clone_to_owned().call("dup", String::new)?;
        let before = termios::tcgetattr(&terminal).call("tcgetattr", String::new)?;
        let mut raw = before.clone();
        termios::cfmakeraw(&mut raw);
        termios::tcsetattr(&terminal, SetArg::TCSANOW, &raw).call("tcsetattr", String::new)?;
        Ok(RawMode { terminal, before })
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        loop {
            match termios::tcsetattr(&self.terminal, SetArg::TCSADRAIN, &self.before) {
                Err(Errno::EINTR) => continue,
                // A terminal that hung up has no mode to restore.
                _ => return,
            }
        }
    }
}
