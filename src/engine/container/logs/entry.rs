//! One line of a json-file log: docker's format, and what our monitor writes in particular.

use std::borrow::Cow;
use std::collections::BTreeMap;

use jiff::Timestamp;
use memchr::{memchr2, memmem};
use serde::Deserialize;

/// One record of a log.
#[derive(Debug)]
pub struct Entry<'a> {
    /// What the container wrote; without a newline where it is a part of a longer line.
    pub text: &'a [u8],
    /// Whether the container wrote it to stderr.
    pub stderr: bool,
    /// RFC 3339 with up to nine digits, UTC.
    pub time: &'a str,
    /// A JSON object of strings, or empty.
    pub attributes: &'a str,
}

impl Entry<'_> {
    /// The time with all nine digits, as `-t` shows it. Times of this form compare as texts.
    pub fn padded_time(&self) -> Cow<'_, str> {
        if self.time.len() == "2006-01-02T15:04:05.000000000Z".len() && self.time.ends_with('Z') {
            return Cow::Borrowed(self.time);
        }
        match self.time.parse::<Timestamp>() {
            Ok(time) => Cow::Owned(padded(time)),
            Err(_) => Cow::Borrowed(self.time),
        }
    }
}

pub fn padded(time: Timestamp) -> String {
    format!("{time:.9}")
}

/// A line of another writer's making.
#[derive(Deserialize)]
struct Foreign {
    #[serde(default)]
    log: String,
    #[serde(default)]
    stream: String,
    #[serde(default)]
    attrs: BTreeMap<String, String>,
    time: String,
}

/// Takes lines apart; its memory is used again for each.
#[derive(Debug, Default)]
pub struct Parser {
    text: Vec<u8>,
    time: String,
    attributes: String,
}

impl Parser {
    /// `line`: without its newline.
    ///
    /// # Errors
    /// When it is no entry of a log.
    pub fn parse<'a>(&'a mut self, line: &'a [u8]) -> Result<Entry<'a>, serde_json::Error> {
        self.text.clear();
        if let Some(own) = ours(line, &mut self.text) {
            let Own { text, stderr, time, attributes } = own;
            return Ok(Entry { text: text.unwrap_or(&self.text), stderr, time, attributes });
        }
        let foreign: Foreign = serde_json::from_slice(line)?;
        self.text.clear();
        self.text.extend_from_slice(foreign.log.as_bytes());
        self.time = foreign.time;
        self.attributes.clear();
        if !foreign.attrs.is_empty() {
            self.attributes = serde_json::to_string(&foreign.attrs)?;
        }
        let stderr = foreign.stream == "stderr";
        Ok(Entry { text: &self.text, stderr, time: &self.time, attributes: &self.attributes })
    }
}

struct Own<'a> {
    /// `None`: it is in the parser's memory.
    text: Option<&'a [u8]>,
    stderr: bool,
    time: &'a str,
    attributes: &'a str,
}

/// The form that docker and the monitor write; `None` for any other, however right.
fn ours<'a>(line: &'a [u8], memory: &mut Vec<u8>) -> Option<Own<'a>> {
    let rest = line.strip_prefix(b"{\"log\":\"")?;
    let (text, rest) = string(rest, memory)?;
    let rest = rest.strip_prefix(b",\"stream\":\"std")?;
    let (stderr, rest) = match rest.strip_prefix(b"out\"") {
        Some(rest) => (false, rest),
        None => (true, rest.strip_prefix(b"err\"")?),
    };
    let rest = rest.strip_suffix(b"\"}")?;
    let (attributes, time) = match rest.strip_prefix(b",\"time\":\"") {
        Some(time) => (&b""[..], time),
        None => {
            let at = memmem::rfind(rest, b",\"time\":\"")?;
            (rest[..at].strip_prefix(b",\"attrs\":")?, &rest[at + b",\"time\":\"".len()..])
        }
    };
    Some(Own {
        text,
        stderr,
        time: std::str::from_utf8(time).ok().filter(|time| !time.contains('"'))?,
        attributes: std::str::from_utf8(attributes).ok()?,
    })
}

/// The string whose opening quote was read, and what follows its closing one. In `memory` when
/// something in it was escaped.
fn string<'a>(bytes: &'a [u8], memory: &mut Vec<u8>) -> Option<(Option<&'a [u8]>, &'a [u8])> {
    let mut rest = bytes;
    loop {
        let at = memchr2(b'"', b'\\', rest)?;
        let (plain, special) = rest.split_at(at);
        if special[0] == b'"' {
            if memory.is_empty() {
                return Some((Some(plain), &special[1..]));
            }
            memory.extend_from_slice(plain);
            return Some((None, &special[1..]));
        }
        memory.extend_from_slice(plain);
        rest = unescape(&special[1..], memory)?;
    }
}

/// What follows a backslash; the rest after it.
fn unescape<'a>(bytes: &'a [u8], memory: &mut Vec<u8>) -> Option<&'a [u8]> {
    let (letter, rest) = bytes.split_first()?;
    let byte = match letter {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 8,
        b'f' => 12,
        b'"' | b'\\' | b'/' => *letter,
        b'u' => {
            let first = unit(rest)?;
            let mut rest = &rest[4..];
            let mut code = u32::from(first);
            if (0xd800..0xdc00).contains(&first) {
                let second = unit(rest.strip_prefix(b"\\u")?)?;
                let low = u32::from(second).checked_sub(0xdc00).filter(|low| *low < 0x400)?;
                code = 0x10000 + ((code - 0xd800) << 10) + low;
                rest = &rest[6..];
            }
            let mut letter = [0; 4];
            memory.extend_from_slice(char::from_u32(code)?.encode_utf8(&mut letter).as_bytes());
            return Some(rest);
        }
        _ => return None,
    };
    memory.push(byte);
    Some(rest)
}

fn unit(bytes: &[u8]) -> Option<u16> {
    let digits = std::str::from_utf8(bytes.get(..4)?).ok()?;
    if digits.starts_with('+') { None } else { u16::from_str_radix(digits, 16).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> (String, bool, String, String) {
        let mut parser = Parser::default();
        let entry = parser.parse(line.as_bytes()).unwrap();
        let text = String::from_utf8(entry.text.to_vec()).unwrap();
        (text, entry.stderr, entry.padded_time().into_owned(), entry.attributes.to_owned())
    }

    const TIME: &str = "2026-01-01T00:00:00.123456789Z";

    #[test]
    fn the_own_form_and_any_other_say_the_same() {
        let texts = [r"a\n", "", r#"\"\\\/\b\f\n\r\t"#, r"\u003c\u00e9\u20ac\ud83d\ude00 é", r"x\u0000y"];
        for text in texts {
            let own = format!(
                r#"{{"log":"{text}","stream":"stderr","attrs":{{"a":"\"time\":"}},"time":"{TIME}"}}"#
            );
            let other = format!(
                r#"{{ "time":"{TIME}","attrs":{{"a":"\"time\":"}},"stream":"stderr","log":"{text}" }}"#
            );
            let mut memory = Vec::new();
            assert!(ours(own.as_bytes(), &mut memory).is_some(), "{own}");
            assert!(ours(other.as_bytes(), &mut memory).is_none());
            assert_eq!(parsed(&own), parsed(&other));
            let value: String = serde_json::from_str(&format!("\"{text}\"")).unwrap();
            assert_eq!(parsed(&own).0, value);
            assert_eq!(parsed(&own).3, r#"{"a":"\"time\":"}"#);
        }
    }

    #[test]
    fn what_is_no_entry_is_refused() {
        for line in [
            "",
            "x",
            "{}",
            r#"{"log":"a","stream":"stdout","time":"#,
            r#"{"log":"\x","stream":"stdout","time":"t"}"#,
        ] {
            assert!(Parser::default().parse(line.as_bytes()).is_err(), "{line}");
        }
    }

    #[test]
    fn times_are_padded() {
        let cases = [
            ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00.000000000Z"),
            ("2026-01-01T00:00:00.5Z", "2026-01-01T00:00:00.500000000Z"),
            ("2026-01-01T01:00:00.5+01:00", "2026-01-01T00:00:00.500000000Z"),
            (TIME, TIME),
        ];
        for (time, padded) in cases {
            assert_eq!(parsed(&format!(r#"{{"log":"","stream":"stdout","time":"{time}"}}"#)).2, padded);
        }
    }
}
