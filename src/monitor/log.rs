//! The container's log in docker's json-file format: one JSON object a line.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use serde::Serialize;

/// docker cuts lines that are longer than this, in bytes.
const LINE_MAX: usize = 16 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    fn name(self) -> &'static str {
        match self {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        }
    }
}

/// The last place up to `max` that is not inside a letter of UTF-8; `max` itself where there is none.
fn letter_border(bytes: &[u8], max: usize) -> usize {
    let inside = |at: &usize| bytes.get(*at).is_some_and(|byte| byte & 0xc0 == 0x80);
    (max - 3..=max).rev().find(|at| !inside(at)).unwrap_or(max)
}

#[derive(Serialize)]
struct Line<'a> {
    log: &'a str,
    stream: &'a str,
    time: &'a str,
}

/// Appends to the log file, which is made at the first output.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    file: Option<File>,
    /// Begun lines of stdout and stderr.
    begun: [Vec<u8>; 2],
    /// Why writing failed, once: a full disk must not stop the container.
    pub broken: Option<std::io::Error>,
}

impl Log {
    pub fn new(path: PathBuf) -> Log {
        Log { path, file: None, begun: [Vec::new(), Vec::new()], broken: None }
    }

    /// Takes output as it came; whole lines are written at once, with the same time.
    pub fn take(&mut self, stream: Stream, bytes: &[u8]) {
        let mut begun = std::mem::take(&mut self.begun[stream as usize]);
        let mut out = Vec::with_capacity(bytes.len() + bytes.len() / 2 + 128);
        let time = now();
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|b| *b == b'\n') {
            begun.extend_from_slice(&rest[..=end]);
            rest = &rest[end + 1..];
            begun = cut(&mut out, stream, begun, &time);
            put(&mut out, stream, &begun, &time);
            begun.clear();
        }
        begun.extend_from_slice(rest);
        begun = cut(&mut out, stream, begun, &time);
        self.begun[stream as usize] = begun;
        self.write(&out);
    }

    /// Writes what has no newline yet.
    pub fn finish(&mut self) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let begun = std::mem::take(&mut self.begun[stream as usize]);
            if !begun.is_empty() {
                let mut out = Vec::new();
                put(&mut out, stream, &begun, &now());
                self.write(&out);
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let file = match self.file.take() {
            Some(file) => Ok(file),
            None => OpenOptions::new().append(true).create(true).mode(0o600).open(&self.path),
        };
        match file.and_then(|mut file| file.write_all(bytes).map(|()| file)) {
            Ok(file) => self.file = Some(file),
            Err(error) => {
                self.broken.get_or_insert(error);
            }
        }
    }
}

/// Puts the pieces of a line that is too long and returns the rest of it, however it came.
fn cut(out: &mut Vec<u8>, stream: Stream, mut line: Vec<u8>, time: &str) -> Vec<u8> {
    // The newline is no part of a line's length.
    while line.strip_suffix(b"\n").unwrap_or(&line).len() > LINE_MAX {
        let rest = line.split_off(letter_border(&line, LINE_MAX));
        put(out, stream, &line, time);
        line = rest;
    }
    line
}

fn put(out: &mut Vec<u8>, stream: Stream, bytes: &[u8], time: &str) {
    // Bytes that are no text become U+FFFD, as in docker's file.
    let log = String::from_utf8_lossy(bytes);
    let line = Line { log: &log, stream: stream.name(), time };
    serde_json::to_writer(&mut *out, &line).expect("text always serialises");
    out.push(b'\n');
}

/// RFC 3339 with nanoseconds, UTC: the form of all times in records and logs.
pub fn now() -> String {
    format!("{:.9}", jiff::Timestamp::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(take: impl FnOnce(&mut Log)) -> Vec<serde_json::Value> {
        let dir = tempfile::tempdir().expect("temp dir");
        let mut log = Log::new(dir.path().join("log"));
        take(&mut log);
        log.finish();
        let text = std::fs::read_to_string(dir.path().join("log")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).expect("json")).collect()
    }

    #[test]
    fn lines_are_put_together_per_stream() {
        let lines = written(|log| {
            log.take(Stream::Stdout, b"he");
            log.take(Stream::Stderr, b"err\n");
            log.take(Stream::Stdout, b"llo\nend");
        });
        let logs: Vec<_> = lines.iter().map(|l| (l["stream"].as_str(), l["log"].as_str())).collect();
        assert_eq!(
            logs,
            [
                (Some("stderr"), Some("err\n")),
                (Some("stdout"), Some("hello\n")),
                (Some("stdout"), Some("end"))
            ]
        );
        assert_eq!(lines[0]["time"].as_str().map(str::len), Some("2026-01-01T00:00:00.000000000Z".len()));
    }

    #[test]
    fn long_lines_are_cut_and_silence_makes_no_file() {
        let lines = written(|log| log.take(Stream::Stdout, &vec![b'x'; LINE_MAX * 2 + 1]));
        assert_eq!(lines.len(), 3);
        assert!(written(|_| ()).is_empty());
    }

    #[test]
    fn a_long_line_is_cut_however_it_comes() {
        let line = [vec![b'x'; 2 * LINE_MAX + 5], b"\n".to_vec()].concat();
        for at_once in [line.len(), 1000] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("log");
            let mut log = Log::new(path.clone());
            line.chunks(at_once).for_each(|bytes| log.take(Stream::Stdout, bytes));
            let lengths: Vec<usize> = std::fs::read_to_string(&path)
                .unwrap()
                .lines()
                .map(|entry| serde_json::from_str::<serde_json::Value>(entry).unwrap())
                .map(|entry| entry["log"].as_str().unwrap().len())
                .collect();
            assert_eq!(lengths, [LINE_MAX, LINE_MAX, 6], "{at_once}");
        }
    }
}
