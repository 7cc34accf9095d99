//! STAND-IN until the security branch is merged.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signal(i32);

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("invalid signal: {0}")]
pub struct InvalidSignal(pub String);

pub const TERM: Signal = Signal(15);

impl Signal {
    pub fn number(self) -> i32 {
        self.0
    }
}

impl std::str::FromStr for Signal {
    type Err = InvalidSignal;

    fn from_str(text: &str) -> Result<Signal, InvalidSignal> {
        let name = text.strip_prefix("SIG").unwrap_or(text);
        match name {
            "KILL" => Ok(Signal(9)),
            "TERM" => Ok(Signal(15)),
            "INT" => Ok(Signal(2)),
            "QUIT" => Ok(Signal(3)),
            _ => name.parse().map(Signal).map_err(|_| InvalidSignal(text.to_owned())),
        }
    }
}
