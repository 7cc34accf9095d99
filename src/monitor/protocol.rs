//! What a client and a monitor (or an exec session) say to each other over a stream socket.
//!
//! A frame is one kind byte, the payload's length as a little-endian u32, and the payload. The
//! connection that starts a container is a socket pair handed over at exec; later ones come in at
//! the container's control socket and begin with `Attach`, `Stop`, `Kill`, `Pause` or `Wait`. A client that
//! closes its connection has detached.

use serde::{Deserialize, Serialize};

/// The longest payload, in bytes. A longer one ends the connection.
pub const PAYLOAD_MAX: usize = 1 << 20;
const HEADER: usize = 5;

/// What a client says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Bytes for standard input.
    Stdin(Vec<u8>),
    /// The client's standard input ended.
    StdinClosed,
    /// The client's terminal has this size now.
    Resize { rows: u16, columns: u16 },
    /// Deliver a signal to the first process.
    Kill { signal: i32 },
    /// Send `signal`, wait `timeout` seconds (negative: for ever), then SIGKILL.
    Stop { signal: i32, timeout: i64 },
    /// Freeze or stop all processes; `Done` once nothing runs.
    Pause,
    /// The end of a pause.
    Unpause,
    /// Tell when the process has ended; nothing else.
    Wait,
    /// Show the output from now on, answered by `Started`; with `input`, this client's `Stdin` counts.
    Attach { input: bool },
}

/// What a monitor says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// The process runs (its execve succeeded).
    Started,
    /// The process could not be started; nothing runs.
    Failed(Failure),
    Stdout(Vec<u8>),
    Stderr(Vec<u8>),
    /// A request was carried out.
    Done,
    /// A request was refused, with the reason.
    Refused(String),
    /// The process has ended and its state is written. The last event.
    Exited {
        code: i32,
    },
    /// Something the user should know, for standard error.
    Warning(String),
}

/// Why a start failed, with docker's exit code for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    pub kind: FailureKind,
    pub message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureKind {
    /// 125: ours to explain.
    Setup,
    /// 126: found, cannot be executed.
    NotExecutable,
    /// 127: not found.
    NotFound,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Malformed {
    #[error("frame of kind {0} is unknown")]
    Kind(u8),
    #[error("frame of {0} bytes is too long")]
    Length(usize),
    #[error("frame of kind {0} has a malformed payload")]
    Payload(u8),
}

/// One direction's vocabulary.
pub trait Frame: Sized {
    /// Appends the whole frame.
    fn encode(&self, out: &mut Vec<u8>);
    fn decode(kind: u8, payload: &[u8]) -> Result<Self, Malformed>;
}

fn put(out: &mut Vec<u8>, kind: u8, payload: &[u8]) {
    out.push(kind);
    out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    out.extend_from_slice(payload);
}

/// What stands before `length` bytes of output. No more than [`PAYLOAD_MAX`].
pub fn stream_header(stderr: bool, length: usize) -> [u8; HEADER] {
    let [a, b, c, d] = (length as u32).to_le_bytes();
    [if stderr { STREAM_TWO } else { STREAM_ONE }, a, b, c, d]
}

/// Streams are raw bytes; everything else is JSON under one kind.
const STREAM_ONE: u8 = 1;
const STREAM_TWO: u8 = 2;
const JSON: u8 = 3;

fn put_json(out: &mut Vec<u8>, value: &impl Serialize) {
    let json = serde_json::to_vec(value).expect("plain data always serialises");
    put(out, JSON, &json);
}

impl Frame for Request {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Request::Stdin(bytes) => put(out, STREAM_ONE, bytes),
            other => put_json(out, other),
        }
    }

    fn decode(kind: u8, payload: &[u8]) -> Result<Request, Malformed> {
        match kind {
            STREAM_ONE => Ok(Request::Stdin(payload.to_vec())),
            JSON => serde_json::from_slice(payload).map_err(|_| Malformed::Payload(kind)),
            other => Err(Malformed::Kind(other)),
        }
    }
}

impl Frame for Event {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Event::Stdout(bytes) => put(out, STREAM_ONE, bytes),
            Event::Stderr(bytes) => put(out, STREAM_TWO, bytes),
            other => put_json(out, other),
        }
    }

    fn decode(kind: u8, payload: &[u8]) -> Result<Event, Malformed> {
        match kind {
            STREAM_ONE => Ok(Event::Stdout(payload.to_vec())),
            STREAM_TWO => Ok(Event::Stderr(payload.to_vec())),
            JSON => serde_json::from_slice(payload).map_err(|_| Malformed::Payload(kind)),
            other => Err(Malformed::Kind(other)),
        }
    }
}

/// Collects received bytes and takes whole frames out.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    taken: usize,
}

impl Decoder {
    pub fn push(&mut self, bytes: &[u8]) {
        if self.taken > 0 {
            self.buffer.drain(..self.taken);
            self.taken = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// Gives back memory that nothing is in.
    pub fn rest(&mut self) {
        if self.taken == self.buffer.len() {
            *self = Decoder::default();
        }
    }

    /// The next whole frame, if there is one.
    pub fn next<F: Frame>(&mut self) -> Result<Option<F>, Malformed> {
        let rest = &self.buffer[self.taken..];
        let Some((header, rest)) = rest.split_at_checked(HEADER) else { return Ok(None) };
        let length = u32::from_le_bytes([header[1], header[2], header[3], header[4]]) as usize;
        if length > PAYLOAD_MAX {
            return Err(Malformed::Length(length));
        }
        let Some(payload) = rest.get(..length) else { return Ok(None) };
        let frame = F::decode(header[0], payload)?;
        self.taken += HEADER + length;
        Ok(Some(frame))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_survive_any_cut() {
        let events = [
            Event::Started,
            Event::Stdout(b"out\0\xff".to_vec()),
            Event::Stderr(Vec::new()),
            Event::Failed(Failure { kind: FailureKind::NotFound, message: "no".into() }),
            Event::Exited { code: 137 },
        ];
        let mut bytes = Vec::new();
        events.iter().for_each(|event| event.encode(&mut bytes));
        for step in 1..bytes.len() {
            let mut decoder = Decoder::default();
            let mut seen = Vec::new();
            for chunk in bytes.chunks(step) {
                decoder.push(chunk);
                while let Some(event) = decoder.next::<Event>().expect("well formed") {
                    seen.push(event);
                }
            }
            assert_eq!(seen, events);
        }
    }

    #[test]
    fn refuses_what_is_too_long_or_unknown() {
        let mut decoder = Decoder::default();
        decoder.push(&[1, 255, 255, 255, 255]);
        assert_eq!(decoder.next::<Request>(), Err(Malformed::Length(u32::MAX as usize)));
        let mut decoder = Decoder::default();
        decoder.push(&[9, 0, 0, 0, 0]);
        assert_eq!(decoder.next::<Request>(), Err(Malformed::Kind(9)));
    }
}
