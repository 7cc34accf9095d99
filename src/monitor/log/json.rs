//! Lines in docker's json-file format, byte for byte as docker writes them.
//!
//! ```text
//! {"log":"text\n","stream":"stdout","attrs":{"label":"value"},"time":"2026-01-01T00:00:00.123456789Z"}
//! ```

use super::Stream;

/// Appends one entry. `attributes` is a JSON object or empty; `time` RFC 3339.
pub fn put(out: &mut Vec<u8>, stream: Stream, text: &[u8], attributes: &str, time: &str) {
    out.extend_from_slice(b"{\"log\":\"");
    put_text(out, text);
    out.extend_from_slice(match stream {
        Stream::Stdout => b"\",\"stream\":\"stdout\"",
        Stream::Stderr => b"\",\"stream\":\"stderr\"",
    });
    if !attributes.is_empty() {
        out.extend_from_slice(b",\"attrs\":");
        out.extend_from_slice(attributes.as_bytes());
    }
    out.extend_from_slice(b",\"time\":\"");
    out.extend_from_slice(time.as_bytes());
    out.extend_from_slice(b"\"}\n");
}

/// Whether this byte cannot stand for itself.
fn is_special(byte: u8) -> bool {
    // No short cuts: the compiler makes this one comparison for many bytes at a time.
    !(0x20..0x80).contains(&byte)
        | (byte == b'"')
        | (byte == b'\\')
        | (byte == b'<')
        | (byte == b'>')
        | (byte == b'&')
}

/// How many bytes at the start stand for themselves.
fn plain_length(bytes: &[u8]) -> usize {
    const BLOCK: usize = 32;
    let mut length = 0;
    for block in bytes.chunks_exact(BLOCK) {
        if block.iter().fold(false, |any, byte| any | is_special(*byte)) {
            break;
        }
        length += BLOCK;
    }
    let rest = &bytes[length..];
    length + rest.iter().position(|byte| is_special(*byte)).unwrap_or(rest.len())
}

fn put_text(out: &mut Vec<u8>, mut text: &[u8]) {
    loop {
        let (plain, rest) = text.split_at(plain_length(text));
        out.extend_from_slice(plain);
        let Some(first) = rest.first() else { return };
        match first {
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *first]),
            0x80.. => {
                let length = rest.iter().position(|byte| *byte < 0x80).unwrap_or(rest.len());
                put_wide(out, &rest[..length]);
                text = &rest[length..];
                continue;
            }
            byte => put_number(out, *byte),
        }
        text = &rest[1..];
    }
}

fn put_number(out: &mut Vec<u8>, byte: u8) {
    let digit = |n: u8| b"0123456789abcdef"[usize::from(n)];
    out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte & 15)]);
}

/// Bytes of which none is ASCII: letters as they are, what is no text as U+FFFD, a byte each.
fn put_wide(out: &mut Vec<u8>, bytes: &[u8]) {
    for chunk in bytes.utf8_chunks() {
        let valid = chunk.valid();
        // Line separators would end a line of JavaScript.
        if valid.contains(['\u{2028}', '\u{2029}']) {
            let escaped = valid.replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029");
            out.extend_from_slice(escaped.as_bytes());
        } else {
            out.extend_from_slice(valid.as_bytes());
        }
        chunk.invalid().iter().for_each(|_| out.extend_from_slice(b"\\ufffd"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> String {
        let mut out = Vec::new();
        put_text(&mut out, bytes);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn escapes_are_dockers() {
        assert_eq!(text(b"a<b>&\tc\r\n"), "a\\u003cb\\u003e\\u0026\\u0009c\\r\\n");
        assert_eq!(text(b"\"q\" \\ \x00\x1b\x7f"), "\\\"q\\\" \\\\ \\u0000\\u001b\x7f");
        assert_eq!(text("é\u{2028}€".as_bytes()), "é\\u2028€");
        // A letter that is cut and a byte that is none.
        assert_eq!(text(b"x\xe2\x82y\xff"), "x\\ufffd\\ufffdy\\ufffd");
    }

    #[test]
    fn every_byte_at_every_place_survives() {
        for place in [0, 1, 31, 32, 33, 63, 64, 100] {
            for byte in 0..=127u8 {
                let mut bytes = vec![b'.'; 101];
                bytes[place] = byte;
                let parsed: String = serde_json::from_str(&format!("\"{}\"", text(&bytes))).unwrap();
                assert_eq!(parsed.as_bytes(), bytes);
            }
        }
    }

    #[test]
    fn an_entry_is_dockers() {
        let mut out = Vec::new();
        put(&mut out, Stream::Stderr, b"x\n", "{\"a\":\"1\"}", "T");
        put(&mut out, Stream::Stdout, b"y", "", "T");
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "{\"log\":\"x\\n\",\"stream\":\"stderr\",\"attrs\":{\"a\":\"1\"},\"time\":\"T\"}\n\
             {\"log\":\"y\",\"stream\":\"stdout\",\"time\":\"T\"}\n"
        );
    }
}
