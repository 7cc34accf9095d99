//! Reading a container's log: docker's json-file format, one object a line. Runs in the client.
//!
//! ```text
//! {"log":"text\n","stream":"stdout","time":"2026-01-01T00:00:00.123456789Z"}
//! ```
//! The monitor only appends whole lines, so a line without its end is one that is being written: it
//! is read again later. A text without a final newline is a part of a longer line of the container's.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;

/// How often a followed log is looked at.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(50);
/// How much is read at a time when looking for the last lines.
const BLOCK: u64 = 64 << 10;
const BUFFER: usize = 256 << 10;

/// Which lines to show.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Go on until the container stops.
    pub follow: bool,
    /// Only the last so many lines.
    pub tail: Option<u64>,
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
}

/// One record of a log.
#[derive(Debug, Deserialize)]
pub struct Entry<'a> {
    #[serde(borrow)]
    pub log: Cow<'a, str>,
    #[serde(borrow)]
    stream: Cow<'a, str>,
    /// RFC 3339 with up to nine digits, UTC.
    #[serde(borrow)]
    pub time: Cow<'a, str>,
}

impl Entry<'_> {
    /// Whether the container wrote it to stderr.
    pub fn is_stderr(&self) -> bool {
        self.stream == "stderr"
    }

    /// The time with all nine digits, as `-t` shows it.
    pub fn padded_time(&self) -> Cow<'_, str> {
        let Some(rest) = self.time.strip_suffix('Z') else { return Cow::Borrowed(&self.time) };
        let (seconds, digits) = rest.split_once('.').unwrap_or((rest, ""));
        Cow::Owned(format!("{seconds}.{digits:0<9}Z"))
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read the log {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("the log {path} is damaged: no log entry at byte {offset}")]
    Damaged { path: PathBuf, offset: u64, source: serde_json::Error },
    #[error("cannot show the log")]
    Show(#[source] io::Error),
}

/// What receives the entries.
pub trait Sink {
    /// Shows one entry.
    fn entry(&mut self, entry: &Entry<'_>) -> io::Result<()>;
    /// All there is was shown: called before waiting for more and at the end.
    fn flush(&mut self) -> io::Result<()>;
}

/// Shows a log. `running` tells whether the container runs; a followed log ends when it does not
/// and everything was shown. A container that never started has no log, which is an empty one.
///
/// # Errors
/// When the log cannot be read or is damaged, or the sink fails.
pub fn read(
    path: &Path,
    request: &Request,
    mut running: impl FnMut() -> bool,
    sink: &mut impl Sink,
) -> Result<(), Error> {
    let fail = |source| Error::Read { path: path.to_owned(), source };
    let Some(mut file) = open(path, request.follow, &mut running).map_err(fail)? else { return Ok(()) };
    let start = match request.tail {
        Some(lines) => offset_of_last(&mut file, lines).map_err(fail)?,
        None => 0,
    };
    file.seek(SeekFrom::Start(start)).map_err(fail)?;
    let mut reader = Lines { input: BufReader::with_capacity(BUFFER, file), line: Vec::new(), offset: start };
    loop {
        // Asked before reading: what was written before the end is then read after it.
        let more_to_come = request.follow && running();
        while let Some((line, offset)) = reader.next().map_err(fail)? {
            let entry = serde_json::from_slice(line).map_err(|source| Error::Damaged {
                path: path.to_owned(),
                offset,
                source,
            })?;
            if !show(&entry, request, sink).map_err(Error::Show)? {
                return sink.flush().map_err(Error::Show);
            }
            reader.advance();
        }
        sink.flush().map_err(Error::Show)?;
        let over = request.until.is_some_and(|until| until < Timestamp::now());
        if !more_to_come || over {
            return Ok(());
        }
        std::thread::sleep(FOLLOW_INTERVAL);
    }
}

/// Opens the log; waits for it to appear when it is followed and the container runs.
fn open(path: &Path, follow: bool, running: &mut impl FnMut() -> bool) -> io::Result<Option<File>> {
    loop {
        let wait = follow && running();
        match File::open(path) {
            Ok(file) => return Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound && !wait => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => std::thread::sleep(FOLLOW_INTERVAL),
            Err(error) => return Err(error),
        }
    }
}

/// Shows an entry that is within the times asked for. False: this and all later ones are too late.
fn show(entry: &Entry<'_>, request: &Request, sink: &mut impl Sink) -> io::Result<bool> {
    if request.since.is_some() || request.until.is_some() {
        let time: Option<Timestamp> = entry.time.parse().ok();
        if time.zip(request.until).is_some_and(|(time, until)| time > until) {
            return Ok(false);
        }
        if time.zip(request.since).is_some_and(|(time, since)| time < since) {
            return Ok(true);
        }
    }
    sink.entry(entry).map(|()| true)
}

/// Whole lines of a file that may grow.
struct Lines {
    input: BufReader<File>,
    line: Vec<u8>,
    /// Where `line` starts in the file, in bytes.
    offset: u64,
}

impl Lines {
    /// The next line, once it is whole, and where it starts. The same one again until
    /// [`Lines::advance`] is called.
    fn next(&mut self) -> io::Result<Option<(&[u8], u64)>> {
        if self.line.last() != Some(&b'\n') {
            self.input.read_until(b'\n', &mut self.line)?;
        }
        Ok((self.line.last() == Some(&b'\n')).then_some((&self.line, self.offset)))
    }

    fn advance(&mut self) {
        self.offset += self.line.len() as u64;
        self.line.clear();
    }
}

/// Where the last so many lines start, found from the end. A line being written is not counted.
fn offset_of_last(file: &mut File, lines: u64) -> io::Result<u64> {
    let size = file.seek(SeekFrom::End(0))?;
    let mut block = vec![0; BLOCK as usize];
    let mut newlines = 0;
    let mut end = size;
    while end > 0 {
        let start = end.saturating_sub(BLOCK);
        let part = &mut block[..(end - start) as usize];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(part)?;
        for (i, _) in part.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
            if newlines == lines {
                return Ok(start + i as u64 + 1);
            }
            newlines += 1;
        }
        end = start;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io::Write;

    use super::*;

    #[derive(Default)]
    struct Shown(Vec<String>);

    impl Sink for Shown {
        fn entry(&mut self, entry: &Entry<'_>) -> io::Result<()> {
            let stream = if entry.is_stderr() { "E" } else { "O" };
            self.0.push(format!("{stream}{}", entry.log));
            Ok(())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn line(second: u32, stream: &str, text: &str) -> String {
        let text = serde_json::to_string(text).unwrap();
        format!("{{\"log\":{text},\"stream\":\"{stream}\",\"time\":\"2026-01-01T00:00:{second:02}.5Z\"}}\n")
    }

    fn three() -> String {
        line(1, "stdout", "a\n") + &line(2, "stderr", "b\n") + &line(3, "stdout", "c\n")
    }

    fn shown(content: &str, request: &Request) -> Vec<String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        let mut sink = Shown::default();
        read(file.path(), request, || false, &mut sink).unwrap();
        sink.0
    }

    #[test]
    fn all_of_it_with_its_streams() {
        assert_eq!(shown(&three(), &Request::default()), ["Oa\n", "Eb\n", "Oc\n"]);
        assert_eq!(shown("", &Request::default()), [""; 0]);
    }

    #[test]
    fn the_last_lines() {
        let cases: &[(u64, &[&str])] = &[
            (0, &[]),
            (1, &["Oc\n"]),
            (2, &["Eb\n", "Oc\n"]),
            (3, &["Oa\n", "Eb\n", "Oc\n"]),
            (9, &["Oa\n", "Eb\n", "Oc\n"]),
        ];
        for (tail, expected) in cases {
            let request = Request { tail: Some(*tail), ..Request::default() };
            assert_eq!(shown(&three(), &request), *expected, "{tail}");
        }
    }

    #[test]
    fn the_last_lines_of_a_log_larger_than_a_block() {
        let long = "x".repeat(1000);
        let content: String = (0..200).map(|i| line(1, "stdout", &format!("{i} {long}\n"))).collect();
        assert!(content.len() as u64 > 3 * BLOCK);
        for tail in [1, 64, 65, 150, 199, 200, 201] {
            let request = Request { tail: Some(tail), ..Request::default() };
            let lines = shown(&content, &request);
            assert_eq!(lines.len() as u64, tail.min(200), "{tail}");
            assert!(lines[0].starts_with(&format!("O{} ", 200 - tail.min(200))), "{tail}");
        }
    }

    #[test]
    fn times_bound_what_is_shown() {
        let moment = |text: &str| Some(text.parse().unwrap());
        let since = Request { since: moment("2026-01-01T00:00:02Z"), ..Request::default() };
        assert_eq!(shown(&three(), &since), ["Eb\n", "Oc\n"]);
        let until = Request { until: moment("2026-01-01T00:00:02.5Z"), ..Request::default() };
        assert_eq!(shown(&three(), &until), ["Oa\n", "Eb\n"]);
    }

    #[test]
    fn a_line_being_written_waits_for_its_end() {
        let content = three();
        let cut = &content[..content.len() - 5];
        assert_eq!(shown(cut, &Request::default()), ["Oa\n", "Eb\n"]);
    }

    #[test]
    fn following_ends_with_the_container_and_loses_nothing() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_owned();
        file.write_all(three().as_bytes()).unwrap();
        let calls = Cell::new(0);
        let running = || {
            calls.set(calls.get() + 1);
            match calls.get() {
                // Half a line, then its end, then the container stops right after a last line.
                2 => file.write_all(&line(4, "stdout", "d\n").as_bytes()[..10]).unwrap(),
                3 => file.write_all(&line(4, "stdout", "d\n").as_bytes()[10..]).unwrap(),
                4 => file.write_all(line(5, "stdout", "e\n").as_bytes()).unwrap(),
                _ => {}
            }
            calls.get() < 4
        };
        let mut sink = Shown::default();
        let request = Request { follow: true, tail: Some(1), ..Request::default() };
        read(&path, &request, running, &mut sink).unwrap();
        assert_eq!(sink.0, ["Oc\n", "Od\n", "Oe\n"]);
    }

    #[test]
    fn no_log_is_an_empty_one() {
        let mut sink = Shown::default();
        read(Path::new("/nonexistent/log"), &Request::default(), || false, &mut sink).unwrap();
        assert!(sink.0.is_empty());
    }

    #[test]
    fn damage_is_told() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), line(1, "stdout", "a\n") + "garbage\n").unwrap();
        let error = read(file.path(), &Request::default(), || false, &mut Shown::default()).unwrap_err();
        assert!(matches!(error, Error::Damaged { offset: 64, .. }), "{error:?}");
    }

    #[test]
    fn times_are_padded() {
        let cases = [
            ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00.000000000Z"),
            ("2026-01-01T00:00:00.5Z", "2026-01-01T00:00:00.500000000Z"),
            ("2026-01-01T00:00:00.697104730Z", "2026-01-01T00:00:00.697104730Z"),
        ];
        for (time, padded) in cases {
            let entry = Entry { log: "".into(), stream: "stdout".into(), time: time.into() };
            assert_eq!(entry.padded_time(), padded);
        }
    }
}
