//! Spans of time in Go's notation, as docker's flags take and its messages print them. Pure.

/// A text that is no span, in Go's words.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Invalid {
    #[error("time: invalid duration {0:?}")]
    Form(String),
    #[error("time: missing unit in duration {0:?}")]
    NoUnit(String),
    #[error("time: unknown unit {unit:?} in duration {text:?}")]
    Unit { unit: String, text: String },
}

/// Reads what Go's `time.ParseDuration` reads (`1h30m`, `1.5s`, `-2m`, `100ms`, `0`), in nanoseconds.
pub fn parse(text: &str) -> Result<i64, Invalid> {
    let invalid = || Invalid::Form(text.to_owned());
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total = 0_i128;
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at(number_end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
            return Err(invalid());
        }
        let unit_end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        if unit.is_empty() {
            return Err(Invalid::NoUnit(text.to_owned()));
        }
        let unit =
            unit_of(unit).ok_or_else(|| Invalid::Unit { unit: unit.to_owned(), text: text.to_owned() })?;
        total += nanoseconds(whole, fraction, unit).ok_or_else(invalid)?;
        rest = after;
    }
    i64::try_from(if negative { -total } else { total }).map_err(|_| invalid())
}

fn unit_of(name: &str) -> Option<i128> {
    Some(match name {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

/// A number with an optional fraction of a unit, rounded down.
fn nanoseconds(whole: &str, fraction: &str, unit: i128) -> Option<i128> {
    if whole.len() > 18 || fraction.len() > 18 {
        return None;
    }
    let digits = |text: &str| if text.is_empty() { Some(0) } else { text.parse::<i128>().ok() };
    let scale = 10_i128.pow(u32::try_from(fraction.len()).ok()?);
    Some(digits(whole)? * unit + digits(fraction)? * unit / scale)
}

/// As Go prints a span that is not negative: `1m30s`, `1.5s`, `100ms`.
pub fn text(span: std::time::Duration) -> String {
    let nanoseconds = span.as_nanos();
    if nanoseconds == 0 {
        return "0s".to_owned();
    }
    let (unit, name) = match nanoseconds {
        0..1_000 => (1, "ns"),
        1_000..1_000_000 => (1_000, "µs"),
        1_000_000..1_000_000_000 => (1_000_000, "ms"),
        _ => (1_000_000_000, "s"),
    };
    let (whole, part) = (nanoseconds / unit, nanoseconds % unit);
    let width = unit.ilog10() as usize;
    let fraction = format!("{part:0width$}");
    let fraction = fraction.trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    let (minutes, small) = if name == "s" { (whole / 60, whole % 60) } else { (0, whole) };
    let large = match (minutes / 60, minutes % 60) {
        (0, 0) => String::new(),
        (0, minutes) => format!("{minutes}m"),
        (hours, minutes) => format!("{hours}h{minutes}m"),
    };
    format!("{large}{small}{point}{fraction}{name}")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_go_reads() {
        let cases = [
            ("0", 0),
            ("2h45m", 9_900_000_000_000),
            ("1µs", 1_000),
            ("-2m", -120_000_000_000),
            ("+1.5s", 1_500_000_000),
            (".5ms", 500_000),
            ("1.s", 1_000_000_000),
        ];
        for (text, nanoseconds) in cases {
            assert_eq!(parse(text), Ok(nanoseconds), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_in_gos_words() {
        let cases = [
            ("", "time: invalid duration \"\""),
            ("x", "time: invalid duration \"x\""),
            (".s", "time: invalid duration \".s\""),
            ("--1s", "time: invalid duration \"--1s\""),
            ("99999999999999999999h", "time: invalid duration \"99999999999999999999h\""),
            ("5", "time: missing unit in duration \"5\""),
            ("1h30", "time: missing unit in duration \"1h30\""),
            ("1d", "time: unknown unit \"d\" in duration \"1d\""),
        ];
        for (text, why) in cases {
            assert_eq!(parse(text).map_err(|error| error.to_string()), Err(why.to_owned()), "{text}");
        }
    }

    #[test]
    fn spans_are_printed_as_go_prints_them() {
        let cases = [
            (Duration::ZERO, "0s"),
            (Duration::from_nanos(7), "7ns"),
            (Duration::from_micros(1500), "1.5ms"),
            (Duration::from_millis(100), "100ms"),
            (Duration::from_secs(1), "1s"),
            (Duration::from_millis(61_050), "1m1.05s"),
            (Duration::from_secs(3600), "1h0m0s"),
        ];
        for (span, printed) in cases {
            assert_eq!(text(span), printed);
        }
    }
}
