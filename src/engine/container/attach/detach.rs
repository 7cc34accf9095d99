//! The keys that leave a container without stopping it. Runs in the client.
//!
//! They are looked for in all that is typed, however it is cut into reads. What only begins like them
//! is passed on with the key that shows it.

/// docker's keys: Ctrl-P Ctrl-Q.
const DEFAULT: [u8; 2] = [0x10, 0x11];

/// What is typed to detach; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DetachKeys(Vec<u8>);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "Invalid detach keys ({keys}) provided: {key:?} is none; use letters, ctrl-a to ctrl-z, ctrl-@, ctrl-[, ctrl-\\, ctrl-], ctrl-^, ctrl-_ and DEL, separated by commas"
)]
pub struct InvalidKeys {
    keys: String,
    key: String,
}

impl Default for DetachKeys {
    fn default() -> DetachKeys {
        DetachKeys(DEFAULT.into())
    }
}

impl std::str::FromStr for DetachKeys {
    type Err = InvalidKeys;

    /// docker's form: `ctrl-p,ctrl-q`. Empty: the default.
    fn from_str(text: &str) -> Result<DetachKeys, InvalidKeys> {
        if text.is_empty() {
            return Ok(DetachKeys::default());
        }
        let keys: Option<Vec<u8>> = text.split(',').map(key).collect();
        let bad = || text.split(',').find(|word| key(word).is_none()).unwrap_or_default().to_owned();
        keys.map(DetachKeys).ok_or_else(|| InvalidKeys { keys: text.to_owned(), key: bad() })
    }
}

fn key(word: &str) -> Option<u8> {
    match (word.as_bytes(), word.strip_prefix("ctrl-").map(str::as_bytes)) {
        (&[byte], _) => Some(byte),
        (_, Some(&[byte @ (b'a'..=b'z')])) => Some(byte - b'a' + 1),
        (_, Some(&[byte @ (b'@' | b'[' | b'\\' | b']' | b'^' | b'_')])) => Some(byte - b'@'),
        (b"DEL", _) => Some(127),
        _ => None,
    }
}

/// Finds the keys in a stream of bytes.
#[derive(Debug)]
pub(super) struct Watch {
    keys: DetachKeys,
    /// How many of the keys came last; these are not passed on yet.
    held: usize,
}

impl Watch {
    pub(super) fn new(keys: DetachKeys) -> Watch {
        Watch { keys, held: 0 }
    }

    /// What of `bytes` is to be passed on, and whether the keys were complete. What comes after them
    /// is dropped.
    pub(super) fn pass(&mut self, bytes: &[u8]) -> (Vec<u8>, bool) {
        let mut passed = Vec::with_capacity(bytes.len() + self.held);
        for byte in bytes {
            let keys = &self.keys.0;
            // As long as this byte does not go on with the keys, the earliest held one is no part.
            while self.held > 0 && keys[self.held] != *byte {
                let shorter = (0..self.held).rev().find(|n| keys[..*n] == keys[self.held - n..self.held]);
                let shorter = shorter.unwrap_or(0);
                passed.extend_from_slice(&keys[..self.held - shorter]);
                self.held = shorter;
            }
            if keys[self.held] != *byte {
                passed.push(*byte);
                continue;
            }
            self.held += 1;
            if self.held == keys.len() {
                self.held = 0;
                return (passed, true);
            }
        }
        (passed, false)
    }

    /// What is still held, at the end of the input.
    pub(super) fn rest(&mut self) -> Vec<u8> {
        self.keys.0[..std::mem::take(&mut self.held)].to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_written_as_dockers() {
        let keys = |text: &str| text.parse::<DetachKeys>().map(|keys| keys.0);
        assert_eq!(keys("ctrl-p,ctrl-q"), Ok(vec![16, 17]));
        assert_eq!(keys(""), Ok(vec![16, 17]));
        assert_eq!(
            keys("a,ctrl-@,ctrl-[,ctrl-\\,ctrl-],ctrl-^,ctrl-_,DEL"),
            Ok(vec![97, 0, 27, 28, 29, 30, 31, 127])
        );
        for bad in ["ctrl-A", "ctrl-", "foo", "a,", "ctrl-pq", "é"] {
            let error = keys(bad).unwrap_err().to_string();
            assert!(error.starts_with(&format!("Invalid detach keys ({bad}) provided")), "{error}");
        }
    }

    /// Feeds `input` in pieces; what is passed on, and whether it detached.
    fn watched(keys: &str, input: &[u8], step: usize) -> (Vec<u8>, bool) {
        let mut watch = Watch::new(keys.parse().unwrap());
        let mut all = Vec::new();
        for piece in input.chunks(step) {
            let (passed, detached) = watch.pass(piece);
            all.extend(passed);
            if detached {
                return (all, true);
            }
        }
        all.extend(watch.rest());
        (all, false)
    }

    #[test]
    fn found_however_they_are_cut() {
        let cases: &[(&str, &[u8], &[u8], bool)] = &[
            ("", b"ab\x10\x11cd", b"ab", true),
            ("", b"\x10x\x10", b"\x10x\x10", false),
            // A key too many before, and the end of one try as the start of the next.
            ("", b"\x10\x10\x11", b"\x10", true),
            ("a,b,a,c", b"xababacy", b"xab", true),
            ("a,a,b", b"aaab", b"a", true),
            ("x", b"wx", b"w", true),
            ("a,b,c", b"ab", b"ab", false),
            ("a,b,c", b"abab", b"abab", false),
        ];
        for (keys, input, passed, detached) in cases {
            for step in 1..=input.len() {
                assert_eq!(
                    watched(keys, input, step),
                    (passed.to_vec(), *detached),
                    "{keys} {input:?} {step}"
                );
            }
        }
    }
}
