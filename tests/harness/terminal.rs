//! A command on a real pseudo-terminal: what a person types and what the screen gets.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::fcntl::{OFlag, open};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;

use super::machine;
use super::{Invocation, PATIENCE};

pub struct Terminal {
    child: Child,
    /// `None` after the terminal was closed.
    keyboard: Option<File>,
    /// Kept so that the terminal's settings can be read after the command ended.
    device: OwnedFd,
    screen: Arc<Mutex<Vec<u8>>>,
    seen: usize,
    closed: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
}

impl Terminal {
    pub fn start(invocation: Invocation) -> Terminal {
        // Not openpty(3): the ends that it opens are inherited by whatever is started meanwhile.
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let master = posix_openpt(flags).expect("a pseudo-terminal");
        grantpt(&master).and_then(|()| unlockpt(&master)).expect("its other end");
        let name = ptsname_r(&master).expect("its name");
        let slave = open(name.as_str(), flags, Mode::empty()).expect("its other end");
        let master = File::from(OwnedFd::from(master));
        stty(&slave, &["rows", "24", "cols", "80"]);
        let stream = || Stdio::from(slave.try_clone().expect("a descriptor"));
        // A session of its own, whose controlling terminal this is; the wait keeps the exit status.
        let invocation = invocation.var("TERM", "xterm-256color").below(["setsid", "--ctty", "--wait"]);
        let mut command = invocation.into_command();
        let child = command.stdin(stream()).stdout(stream()).stderr(stream()).spawn().expect("setsid runs");
        drop(command);
        let screen = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&screen);
        let closed = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&closed);
        let mut output = master.try_clone().expect("a descriptor");
        let reader = std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            while !stop.load(Ordering::Relaxed) {
                let mut waiting = [PollFd::new(output.as_fd(), PollFlags::POLLIN)];
                if poll(&mut waiting, PollTimeout::from(20u8)).is_ok_and(|ready| ready == 0) {
                    continue;
                }
                let Ok(count @ 1..) = output.read(&mut chunk) else { return };
                shared.lock().expect("no reader panics").extend_from_slice(&chunk[..count]);
            }
        });
        let keyboard = Some(master);
        Terminal { child, keyboard, device: slave, screen, seen: 0, closed, reader: Some(reader) }
    }

    /// The window is closed: the kernel hangs up.
    pub fn close(&mut self) {
        self.closed.store(true, Ordering::Relaxed);
        if let Some(reader) = self.reader.take() {
            reader.join().expect("no reader panics");
        }
        self.keyboard = None;
    }

    pub fn type_text(&mut self, text: &str) {
        let keyboard = self.keyboard.as_mut().expect("the terminal is open");
        keyboard.write_all(text.as_bytes()).expect("the terminal takes it");
    }

    /// All that was written to the screen so far.
    pub fn screen(&self) -> String {
        String::from_utf8_lossy(&self.screen.lock().expect("no reader panics")).into_owned()
    }

    /// Waits until `text` comes, after what an earlier `expect` waited for; returns what came with it.
    #[track_caller]
    pub fn expect(&mut self, text: &str) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            let screen = self.screen();
            let fresh = screen.get(self.seen..).unwrap_or_default();
            if let Some(at) = fresh.find(text) {
                let came = fresh[..at + text.len()].to_owned();
                self.seen += at + text.len();
                return came;
            }
            assert!(Instant::now() < end, "{text:?} did not come; the screen has:\n{screen}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Whether the terminal's settings hold this word.
    pub fn is_set(&self, word: &str) -> bool {
        self.settings().split_whitespace().any(|known| known == word)
    }

    /// The user pulls at the window's corner.
    pub fn resize(&self, rows: u16, columns: u16) {
        stty(&self.device, &["rows", &rows.to_string(), "cols", &columns.to_string()]);
    }

    fn settings(&self) -> String {
        stty(&self.device, &["-a"])
    }

    pub fn signal(&self, signal: Signal) {
        machine::kill(i32::try_from(self.child.id()).expect("a pid"), signal);
    }

    /// Waits for the command to end: its exit code.
    #[track_caller]
    pub fn finish(&mut self) -> i32 {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("our own child") {
                return status.code().unwrap_or(-1);
            }
            assert!(Instant::now() < end, "the command does not end; the screen has:\n{}", self.screen());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn stty(device: &OwnedFd, args: &[&str]) -> String {
    let device = format!("/proc/{}/fd/{}", std::process::id(), device.as_raw_fd());
    let done = Command::new("stty").arg("-F").arg(device).args(args).output().expect("stty runs");
    assert!(done.status.success(), "stty: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).into_owned()
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.close();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
