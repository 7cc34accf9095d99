//! Running one command: as the right user, with a clean environment, held in the test's pen, and
//! never longer than its patience.

use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::machine::{self, Pen, User};
use super::{PATIENCE, eventually};

/// A command that is about to run.
pub struct Invocation {
    argv: Vec<OsString>,
    wrapper: Vec<OsString>,
    /// Becomes the unprivileged user, unless it is the one who runs the tests.
    drop: Vec<OsString>,
    vars: Vec<(String, String)>,
    input: Option<Vec<u8>>,
    patience: Duration,
    folder: PathBuf,
}

/// Enters the pen (`$1`, unless empty) and becomes the command after it. Standard output and error
/// were given by the caller; nothing else is inherited.
const ENTER: &str = "[ -z \"$1\" ] || echo $$ >\"$1\"; shift; exec \"$@\"";

impl Invocation {
    pub fn new(
        user: &User,
        pen: &Pen,
        vars: &[(String, String)],
        argv: Vec<OsString>,
        folder: &Path,
    ) -> Invocation {
        let entrance = pen.entrance().map(PathBuf::into_os_string).unwrap_or_default();
        let mut wrapper: Vec<OsString> = ["/bin/sh", "-c", ENTER, "sh"].map(OsString::from).into();
        wrapper.push(entrance);
        let mut drop: Vec<OsString> = Vec::new();
        if !user.is_current() {
            drop.push("/usr/bin/setpriv".into());
            drop.push(format!("--reuid={}", user.uid).into());
            drop.push(format!("--regid={}", user.gid).into());
            drop.push("--clear-groups".into());
        }
        Invocation {
            argv,
            wrapper,
            drop,
            vars: vars.to_vec(),
            input: None,
            patience: PATIENCE,
            folder: folder.to_owned(),
        }
    }

    #[must_use]
    pub fn var(mut self, key: &str, value: &str) -> Invocation {
        self.vars.retain(|(known, _)| known != key);
        self.vars.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Standard input; without it /dev/null.
    #[must_use]
    pub fn input(mut self, bytes: impl AsRef<[u8]>) -> Invocation {
        self.input = Some(bytes.as_ref().to_vec());
        self
    }

    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Invocation {
        self.patience = patience;
        self
    }

    /// Runs it below another program, for instance `setsid --ctty`.
    #[must_use]
    pub fn below<S: AsRef<OsStr>>(mut self, outer: impl IntoIterator<Item = S>) -> Invocation {
        let mut argv: Vec<OsString> = outer.into_iter().map(|word| word.as_ref().to_owned()).collect();
        argv.append(&mut self.argv);
        self.argv = argv;
        self
    }

    /// Runs it below a program that is still privileged and becomes the user itself.
    #[must_use]
    pub fn below_as_root<S: AsRef<OsStr>>(mut self, outer: impl IntoIterator<Item = S>) -> Invocation {
        self.drop.clear();
        self.below(outer)
    }

    /// The bare command for who wires up its streams himself.
    pub fn into_command(self) -> Command {
        let mut command = Command::new(&self.wrapper[0]);
        command
            .args(&self.wrapper[1..])
            .args(&self.drop)
            .args(&self.argv)
            .env_clear()
            .current_dir(&self.folder);
        command.envs(self.vars.iter().map(|(key, value)| (key, value)));
        command
    }

    pub fn words(&self) -> String {
        let words: Vec<_> = self.argv.iter().map(|word| word.to_string_lossy()).collect();
        words.join(" ")
    }

    /// Runs it to its end.
    pub fn output(mut self) -> Output {
        let input = self.input.take();
        let mut running = self.spawn();
        if let Some(bytes) = input {
            let mut stdin = running.stdin.take().expect("piped");
            // Not joined: a command may end without reading, and then the write fails.
            std::thread::spawn(move || {
                let _ = stdin.write_all(&bytes);
            });
        }
        running.stdin = None;
        running.finish()
    }

    /// Starts it; standard input stays open until the test closes it.
    pub fn spawn(self) -> Running {
        let (words, patience) = (self.words(), self.patience);
        let mut command = self.into_command();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{words}: {e}"));
        let stdin = child.stdin.take();
        let stdout = Gatherer::start(child.stdout.take().expect("piped"));
        let stderr = Gatherer::start(child.stderr.take().expect("piped"));
        Running { child, stdin, stdout, stderr, words, end: Instant::now() + patience }
    }
}

/// Reads a stream to its end beside the test.
struct Gatherer {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl Gatherer {
    fn start(mut stream: impl Read + Send + 'static) -> Gatherer {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&bytes);
        let reader = std::thread::spawn(move || {
            let mut chunk = [0; 65536];
            while let Ok(count @ 1..) = stream.read(&mut chunk) {
                shared.lock().expect("no reader panics").extend_from_slice(&chunk[..count]);
            }
        });
        Gatherer { bytes, reader }
    }

    fn so_far(&self) -> Vec<u8> {
        self.bytes.lock().expect("no reader panics").clone()
    }
}

/// A command that runs.
pub struct Running {
    child: Child,
    pub stdin: Option<ChildStdin>,
    stdout: Gatherer,
    stderr: Gatherer,
    words: String,
    end: Instant,
}

impl Running {
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a pid")
    }

    pub fn signal(&self, signal: Signal) {
        machine::kill(self.pid(), signal);
    }

    pub fn send(&mut self, text: &str) {
        let stdin = self.stdin.as_mut().expect("standard input is open");
        stdin.write_all(text.as_bytes()).and_then(|()| stdin.flush()).expect("the command reads");
    }

    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Waits until standard output holds `text`.
    pub fn wait_for(&mut self, text: &str) {
        let end = self.end;
        let said = |this: &Running| String::from_utf8_lossy(&this.stdout.so_far()).contains(text);
        while !said(self) {
            if Instant::now() > end || self.ended() && !said(self) {
                self.fail(&format!("{text:?} did not come"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn ended(&mut self) -> bool {
        self.child.try_wait().expect("our own child").is_some()
    }

    /// Waits for the end of the command and of its output.
    pub fn finish(mut self) -> Output {
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("our own child") {
                break status;
            }
            if Instant::now() > self.end {
                self.fail("it did not end in time");
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        // What holds the pipes after the command's end would make `id=$(coracle run -d ...)` hang.
        let closed = |this: &Running| this.stdout.reader.is_finished() && this.stderr.reader.is_finished();
        if !eventually(Duration::from_secs(10), || closed(&self)) {
            self.fail("it ended, and its output is still held open by another process");
        }
        Output { status, stdout: self.stdout.so_far(), stderr: self.stderr.so_far(), words: self.words }
    }

    fn fail(&mut self, why: &str) -> ! {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let (out, err) = (self.stdout.so_far(), self.stderr.so_far());
        panic!(
            "{}: {why}\n--- stdout\n{}\n--- stderr\n{}",
            self.words,
            String::from_utf8_lossy(&out),
            String::from_utf8_lossy(&err)
        );
    }
}

/// A command that ran. Say what you expect of it.
#[must_use = "say what is expected: success(), code(n), ..."]
pub struct Output {
    status: ExitStatus,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    words: String,
}

impl Output {
    #[track_caller]
    fn code_output(self, code: i32) -> Output {
        assert!(self.status.code() == Some(code), "expected exit code {code}: {self:?}");
        self
    }

    /// Ended with 0.
    #[track_caller]
    pub fn success(self) -> Said {
        Said(self.code_output(0))
    }

    /// Ended with this exit code.
    #[track_caller]
    pub fn code(self, code: i32) -> Said {
        Said(self.code_output(code))
    }

    /// Whether it ended with 0; for what is asked again until it is so.
    pub fn went_well(self) -> bool {
        self.status.success()
    }

    /// Standard output, standard error, and the exit code as a shell shows it.
    pub fn parts(&self) -> (String, String, i32) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let code = self.status.code().or_else(|| Some(128 + self.status.signal()?));
        (text(&self.stdout), text(&self.stderr), code.expect("it exited or was killed"))
    }

    /// What it wrote, when it ended with 0.
    pub fn text_if_well(self) -> Option<String> {
        self.status.success().then(|| String::from_utf8_lossy(&self.stdout).into_owned())
    }

    /// Ended with anything but 0.
    #[track_caller]
    pub fn failed(self) -> Said {
        assert!(!self.status.success(), "expected a failure: {self:?}");
        Said(self)
    }

    /// Ended by this signal.
    #[track_caller]
    pub fn killed_by(self, signal: Signal) -> Said {
        assert!(self.status.signal() == Some(signal as i32), "expected {signal}: {self:?}");
        Said(self)
    }
}

impl std::fmt::Debug for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(20_000)]).into_owned();
        write!(f, "{}\n--- {}", self.words, self.status)?;
        write!(f, "\n--- stdout\n{}\n--- stderr\n{}", text(&self.stdout), text(&self.stderr))
    }
}

/// The output of a command whose end was as expected.
pub struct Said(Output);

impl Said {
    #[track_caller]
    pub fn stdout(&self) -> &str {
        std::str::from_utf8(&self.0.stdout).expect("text on stdout")
    }

    pub fn stdout_bytes(&self) -> &[u8] {
        &self.0.stdout
    }

    #[track_caller]
    pub fn stderr(&self) -> &str {
        std::str::from_utf8(&self.0.stderr).expect("text on stderr")
    }

    /// Standard output without its final newline; exactly one line.
    #[track_caller]
    pub fn line(&self) -> &str {
        let line = self.stdout().strip_suffix('\n').unwrap_or_else(|| panic!("no line: {:?}", self.0));
        assert!(!line.contains('\n'), "more than one line: {:?}", self.0);
        line
    }

    /// Standard output is exactly this.
    #[track_caller]
    pub fn says(self, text: &str) -> Said {
        assert!(self.stdout() == text, "expected {text:?}: {:?}", self.0);
        self
    }

    #[track_caller]
    pub fn stdout_has(self, text: &str) -> Said {
        assert!(self.stdout().contains(text), "expected {text:?} on stdout: {:?}", self.0);
        self
    }

    /// Standard error has this, upper and lower case alike.
    #[track_caller]
    pub fn stderr_has(self, text: &str) -> Said {
        let told = self.stderr().to_lowercase();
        assert!(told.contains(&text.to_lowercase()), "expected {text:?} on stderr: {:?}", self.0);
        self
    }

    #[track_caller]
    pub fn no_stderr(self) -> Said {
        assert!(self.0.stderr.is_empty(), "expected nothing on stderr: {:?}", self.0);
        self
    }

    #[track_caller]
    pub fn no_stdout(self) -> Said {
        assert!(self.0.stdout.is_empty(), "expected nothing on stdout: {:?}", self.0);
        self
    }
}

impl std::fmt::Debug for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}
