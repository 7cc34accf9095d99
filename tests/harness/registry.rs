//! The registry with the real images, started for the test run that needs it.

use std::io::{BufRead, BufReader};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::OnceLock;

/// Its address, and the pipe whose end ends it: whatever becomes of this process, the registry
/// goes with it.
struct Served {
    address: String,
    _alive: Option<ChildStdin>,
}

/// `127.0.0.1:PORT`; `CORACLE_TEST_REGISTRY` names one that already runs.
pub fn address() -> &'static str {
    static SERVED: OnceLock<Served> = OnceLock::new();
    &SERVED.get_or_init(serve).address
}

/// The full name of one of the images that tests/images makes.
pub fn image(name: &str) -> String {
    format!("{}/{name}", address())
}

#[expect(clippy::zombie_processes, reason = "it ends after this process, by the pipe")]
fn serve() -> Served {
    if let Ok(address) = std::env::var("CORACLE_TEST_REGISTRY") {
        return Served { address, _alive: None };
    }
    let mut child = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/images"))
        .arg("serve")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("tests/images runs");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("an address");
    assert!(line.ends_with('\n'), "tests/images did not start the registry");
    Served { address: line.trim_end().to_owned(), _alive: child.stdin.take() }
}
