//! A real Docker Engine, started for the test run that compares answers with it.

use std::io::{BufRead, BufReader};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{OnceLock, RwLock};

use super::machine;
use super::registry;

/// Where it answers and what talks to it. The pipe's end ends it, whatever becomes of this process.
pub struct Engine {
    pub socket: String,
    /// The path of docker's command-line program.
    pub client: String,
    /// Its version, `28.5.2`.
    pub version: String,
    /// Held for writing by who needs the engine for itself.
    pub turn: RwLock<()>,
    _alive: Option<ChildStdin>,
}

/// The images that both sides have, by tag in the registry and by name.
pub const IMAGES: [(&str, &str); 3] =
    [("tiny:latest", "tiny:latest"), ("odd:latest", "odd:latest"), ("odd:twin", "odd:twin")];

/// The engine of this test run, with the images loaded. `CORACLE_TEST_ENGINE` names one that already
/// runs, as `tests/oracle/engine start` prints it.
pub fn engine() -> &'static Engine {
    static STARTED: OnceLock<Engine> = OnceLock::new();
    STARTED.get_or_init(|| {
        machine::needs_root();
        let mut engine = start();
        engine.version = engine.ask("\"$0\" version --format '{{.Server.Version}}'").trim().to_owned();
        let images: Vec<String> = IMAGES.iter().map(|(tag, name)| format!("{tag}={name}")).collect();
        let archive = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/oracle/archive");
        engine.ask(&format!("{archive} {} {} | \"$0\" load", registry::address(), images.join(" ")));
        engine
    })
}

#[expect(clippy::zombie_processes, reason = "it ends after this process, by the pipe")]
fn start() -> Engine {
    let engine = |words: &str, alive| {
        let (socket, client) = words.trim().split_once(' ').expect("a socket and a client");
        let version = String::new();
        Engine {
            socket: socket.to_owned(),
            client: client.to_owned(),
            version,
            turn: RwLock::new(()),
            _alive: alive,
        }
    };
    if let Ok(words) = std::env::var("CORACLE_TEST_ENGINE") {
        return engine(&words, None);
    }
    let mut child = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/oracle/engine"))
        .arg("serve")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("tests/oracle/engine runs");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
    assert!(line.ends_with('\n'), "tests/oracle/engine did not start an engine");
    engine(&line, child.stdin.take())
}

impl Engine {
    /// Runs a line of shell with the client as `$0`.
    fn ask(&self, script: &str) -> String {
        let said = Command::new("/bin/sh")
            .args(["-c", script, &self.client])
            .env("DOCKER_HOST", format!("unix://{}", self.socket))
            .output()
            .expect("a shell runs");
        assert!(said.status.success(), "{script}: {}", String::from_utf8_lossy(&said.stderr));
        String::from_utf8_lossy(&said.stdout).into_owned()
    }

    /// Whether its words are those that coracle's are measured by.
    pub fn speaks_the_reference(&self) -> bool {
        self.version.starts_with("28.")
    }
}
