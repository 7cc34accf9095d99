//! The container's log: its output cut into lines, and written by the driver that was chosen.
//!
//! Runs in the monitor. All of a batch of output gets the same time and is written at once.

pub mod files;
pub mod journal;
pub mod json;

use std::path::{Path, PathBuf};

use crate::spec::container::{ContainerRecord, ImageUse};
use crate::spec::log::{Driver, TagValues, fill_tag};
use files::Files;
use journal::Journal;

/// docker cuts lines that are longer than this, in bytes.
const LINE_MAX: usize = 16 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

/// The last place up to `max` that is not inside a letter of UTF-8; `max` itself where there is none.
fn letter_border(bytes: &[u8], max: usize) -> usize {
    let inside = |at: &usize| bytes.get(*at).is_some_and(|byte| byte & 0xc0 == 0x80);
    (max - 3..=max).rev().find(|at| !inside(at)).unwrap_or(max)
}

#[derive(Debug)]
enum Driven {
    Json { files: Files, attributes: String },
    Journal(Journal),
    Nothing,
}

#[derive(Debug)]
pub struct Log {
    driver: Driven,
    /// Begun lines of stdout and stderr.
    begun: [Vec<u8>; 2],
    /// Lines on their way to the file.
    out: Vec<u8>,
    /// Why writing failed, once: a full disk must not stop the container.
    pub broken: Option<std::io::Error>,
}

impl Log {
    /// The log of a container; one that cannot be opened is broken from the start.
    pub fn new(record: &ContainerRecord, name: &str, path: PathBuf) -> Log {
        let (driver, broken) = match Self::driver(record, name, path) {
            Ok(driver) => (driver, None),
            Err(error) => (Driven::Nothing, Some(error)),
        };
        Log { driver, begun: [Vec::new(), Vec::new()], out: Vec::new(), broken }
    }

    fn driver(record: &ContainerRecord, name: &str, path: PathBuf) -> std::io::Result<Driven> {
        let config = &record.options.log;
        let settings = config.settings().map_err(std::io::Error::other)?;
        let (image_id, image_name) = match &record.image {
            ImageUse::Host => ("", "host"),
            ImageUse::Stored { reference, id, .. } => (id.hex(), reference.as_str()),
        };
        let command = record.process.argv.join(" ");
        let values = TagValues { id: record.id.as_str(), name, image_id, image_name, command: &command };
        let mut attributes = settings.attributes(&record.options.labels, &record.process.env);
        let tag = |template: &str| fill_tag(template, &values).map_err(std::io::Error::other);
        Ok(match config.driver {
            Driver::None => Driven::Nothing,
            Driver::JsonFile => {
                if !settings.tag.is_empty() {
                    attributes.insert("tag".to_owned(), tag(&settings.tag)?);
                }
                let attributes = match attributes.is_empty() {
                    true => String::new(),
                    false => serde_json::to_string(&attributes).map_err(std::io::Error::other)?,
                };
                Driven::Json { files: Files::new(path, settings.max_size, settings.max_files), attributes }
            }
            Driver::Journald => {
                let template = if settings.tag.is_empty() { "{{.ID}}" } else { &settings.tag };
                let fields =
                    journal::fields(record.id.as_str(), name, image_name, &tag(template)?, &attributes);
                Driven::Journal(Journal::open(Path::new(journal::SOCKET), &fields, settings.lossy)?)
            }
        })
    }

    /// Takes output as it came.
    pub fn take(&mut self, stream: Stream, bytes: &[u8]) {
        if matches!(self.driver, Driven::Nothing) || bytes.is_empty() {
            return;
        }
        let time = now();
        let mut begun = std::mem::take(&mut self.begun[stream as usize]);
        let mut rest = bytes;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let (line, after) = rest.split_at(end + 1);
            rest = after;
            if begun.is_empty() {
                self.line(stream, line, &time);
            } else {
                begun.extend_from_slice(line);
                self.line(stream, &begun, &time);
                begun.clear();
            }
        }
        begun.extend_from_slice(rest);
        if begun.len() > LINE_MAX {
            let cut = self.pieces(stream, &begun, &time);
            begun.drain(..cut);
        }
        self.begun[stream as usize] = begun;
        self.write();
    }

    /// Writes what has no newline yet.
    pub fn finish(&mut self) {
        let time = now();
        for stream in [Stream::Stdout, Stream::Stderr] {
            let begun = std::mem::take(&mut self.begun[stream as usize]);
            if !begun.is_empty() {
                self.line(stream, &begun, &time);
            }
        }
        self.write();
    }

    /// Gives back the memory of what is written.
    pub fn rest(&mut self) {
        self.out = Vec::new();
        self.begun.iter_mut().for_each(Vec::shrink_to_fit);
    }

    fn line(&mut self, stream: Stream, line: &[u8], time: &str) {
        let cut = self.pieces(stream, line, time);
        self.put(stream, &line[cut..], time, false);
    }

    /// Puts away all but the last piece of a long line; where that begins.
    fn pieces(&mut self, stream: Stream, line: &[u8], time: &str) -> usize {
        let mut cut = 0;
        // The newline is no part of a line's length; docker puts a full piece away before it sees one.
        let text = line.strip_suffix(b"\n");
        let longest = if text.is_some() { LINE_MAX - 1 } else { LINE_MAX };
        let length = text.unwrap_or(line).len();
        while length - cut > longest {
            let piece = &line[cut..cut + letter_border(&line[cut..], LINE_MAX)];
            self.put(stream, piece, time, true);
            cut += piece.len();
        }
        cut
    }

    fn put(&mut self, stream: Stream, line: &[u8], time: &str, partial: bool) {
        match &self.driver {
            Driven::Nothing => {}
            Driven::Json { files, attributes } => {
                json::put(&mut self.out, stream, line, attributes, time);
                if files.is_filled_by(self.out.len()) {
                    self.write();
                }
            }
            Driven::Journal(journal) => {
                if let Err(error) = journal.send(stream, line, partial) {
                    self.broken.get_or_insert(error);
                }
            }
        }
    }

    fn write(&mut self) {
        if let Driven::Json { files, .. } = &mut self.driver
            && !self.out.is_empty()
        {
            if let Err(error) = files.append(&self.out) {
                self.broken.get_or_insert(error);
            }
            self.out.clear();
        }
    }
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
        let path = dir.path().join("log");
        let driver = Driven::Json { files: Files::new(path.clone(), None, 1), attributes: String::new() };
        let mut log = Log { driver, begun: Default::default(), out: Vec::new(), broken: None };
        take(&mut log);
        log.finish();
        let text = std::fs::read_to_string(path).unwrap_or_default();
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
        for step in [1000, LINE_MAX * 3] {
            let mut text = vec![b'x'; LINE_MAX * 2 + 1];
            text.extend_from_slice(b"\ny\n");
            let lines = written(|log| text.chunks(step).for_each(|part| log.take(Stream::Stdout, part)));
            let lengths: Vec<_> = lines.iter().map(|l| l["log"].as_str().map(str::len)).collect();
            assert_eq!(lengths, [Some(LINE_MAX), Some(LINE_MAX), Some(2), Some(2)]);
        }
        assert!(written(|_| ()).is_empty());
        // A line that fills a piece: its newline comes by itself.
        for step in [1000, LINE_MAX, LINE_MAX * 3] {
            let mut text = vec![b'x'; LINE_MAX];
            text.extend_from_slice(b"\ny");
            let lines = written(|log| text.chunks(step).for_each(|part| log.take(Stream::Stdout, part)));
            let lengths: Vec<_> = lines.iter().map(|l| l["log"].as_str().map(str::len)).collect();
            assert_eq!(lengths, [Some(LINE_MAX), Some(1), Some(1)]);
        }
    }
}
