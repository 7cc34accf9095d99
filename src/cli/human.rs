//! Sizes, durations and shortened words as docker's tables print them. Runs in the client.

/// Bytes in decimal units with three significant digits: `1.98MB`, `12B`, `130MB`.
pub fn size(bytes: u64) -> String {
    scaled(bytes as f64, 1000.0, &["B", "kB", "MB", "GB", "TB", "PB", "EB"], 3)
}

/// Bytes in binary units with four significant digits: `23.54GiB`.
pub fn memory(bytes: u64) -> String {
    scaled(bytes as f64, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"], 4)
}

fn scaled(mut value: f64, base: f64, units: &[&str], digits: usize) -> String {
    let mut unit = 0;
    while unit + 1 < units.len() && rounded(value, digits) >= base {
        value /= base;
        unit += 1;
    }
    format!("{}{}", significant(value, digits), units[unit])
}

/// The value after rounding to that many significant digits: 999.9 with three is 1000, and so
/// belongs to the next unit.
fn rounded(value: f64, digits: usize) -> f64 {
    significant(value, digits).parse().unwrap_or(value)
}

/// C's `%.Ng` for values from 0 to below 10^N: N significant digits, no trailing zeros.
fn significant(value: f64, digits: usize) -> String {
    let before_point = if value < 1.0 { 1 } else { value.log10() as usize + 1 };
    let text = format!("{value:.*}", digits.saturating_sub(before_point));
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// How long, in docker's words: `Less than a second`, `5 minutes`, `About an hour`, `3 weeks`.
/// A negative time (a clock set back) counts as none.
pub fn duration(seconds: i64) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    let rounded_hours = (seconds + HOUR / 2) / HOUR;
    match seconds {
        ..1 => "Less than a second".to_owned(),
        1 => "1 second".to_owned(),
        2..MINUTE => format!("{seconds} seconds"),
        MINUTE..120 => "About a minute".to_owned(),
        120..HOUR => format!("{} minutes", seconds / MINUTE),
        _ if rounded_hours == 1 => "About an hour".to_owned(),
        _ if rounded_hours < 48 => format!("{rounded_hours} hours"),
        _ if rounded_hours < 24 * 14 => format!("{} days", rounded_hours / 24),
        _ if rounded_hours < 24 * 60 => format!("{} weeks", rounded_hours / 24 / 7),
        _ if rounded_hours < 24 * 365 * 2 => format!("{} months", rounded_hours / 24 / 30),
        _ => format!("{} years", seconds / DAY / 365),
    }
}

/// The time since an RFC 3339 moment, in docker's words; `N/A` when it cannot be read.
pub fn since(moment: &str, now: jiff::Timestamp) -> String {
    match moment.parse::<jiff::Timestamp>() {
        Ok(then) => duration(now.as_second() - then.as_second() - i64::from(earlier_in_second(now, then))),
        Err(_) => "N/A".to_owned(),
    }
}

/// An RFC 3339 moment as Go prints a local time: `2026-01-31 12:00:00 +0000 UTC`.
pub fn moment(moment: &str) -> String {
    match moment.parse::<jiff::Timestamp>() {
        Ok(then) => {
            let local = then.to_zoned_datetime(jiff::tz::TimeZone::system());
            local.strftime("%Y-%m-%d %H:%M:%S %z %Z").to_string()
        }
        Err(_) => "N/A".to_owned(),
    }
}

/// Whether the last, begun second is not a whole one.
fn earlier_in_second(now: jiff::Timestamp, then: jiff::Timestamp) -> bool {
    now.subsec_nanosecond() < then.subsec_nanosecond()
}

/// At most `width` characters; what is cut off is shown by `…`.
pub fn ellipsis(text: &str, width: usize) -> String {
    match text.char_indices().nth(width) {
        None => text.to_owned(),
        Some(_) => text.chars().take(width.saturating_sub(1)).chain(['…']).collect(),
    }
}

/// In double quotes, with what a terminal would act on escaped, as Go's `%q` does.
pub fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            '\x07' => quoted.push_str("\\a"),
            '\x08' => quoted.push_str("\\b"),
            '\x0c' => quoted.push_str("\\f"),
            '\x0b' => quoted.push_str("\\v"),
            '\0'..' ' | '\x7f' => quoted.push_str(&format!("\\x{:02x}", c as u32)),
            '\u{80}'..'\u{a0}' => quoted.push_str(&format!("\\u{:04x}", c as u32)),
            _ => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_three_digits() {
        let cases = [
            (0, "0B"),
            (12, "12B"),
            (999, "999B"),
            (1000, "1kB"),
            (1234, "1.23kB"),
            (1_982_263, "1.98MB"),
            (5_790_000, "5.79MB"),
            (130_000_000, "130MB"),
            (999_499_999, "999MB"),
            (999_999_999, "1GB"),
            (u64::MAX, "18.4EB"),
        ];
        for (bytes, text) in cases {
            assert_eq!(size(bytes), text, "{bytes}");
        }
    }

    #[test]
    fn memory_is_binary() {
        assert_eq!(memory(25_273_552_896), "23.54GiB");
        assert_eq!(memory(1 << 20), "1MiB");
        assert_eq!(memory(5_872_025), "5.6MiB");
        assert_eq!(memory(1023), "1023B");
    }

    #[test]
    fn durations() {
        let cases = [
            (-5, "Less than a second"),
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (119, "About a minute"),
            (120, "2 minutes"),
            (3599, "59 minutes"),
            (3600, "About an hour"),
            (5399, "About an hour"),
            (5400, "2 hours"),
            (47 * 3600, "47 hours"),
            (48 * 3600, "2 days"),
            (13 * 86400, "13 days"),
            (14 * 86400, "2 weeks"),
            (59 * 86400, "8 weeks"),
            (60 * 86400, "2 months"),
            (729 * 86400, "24 months"),
            (730 * 86400, "2 years"),
        ];
        for (seconds, text) in cases {
            assert_eq!(duration(seconds), text, "{seconds}");
        }
    }

    #[test]
    fn since_counts_whole_seconds() {
        let now: jiff::Timestamp = "2026-01-01T00:00:10.2Z".parse().unwrap();
        assert_eq!(since("2026-01-01T00:00:08.9Z", now), "1 second");
        assert_eq!(since("2026-01-01T00:00:08.1Z", now), "2 seconds");
        assert_eq!(since("", now), "N/A");
    }

    #[test]
    fn ellipsis_counts_characters() {
        assert_eq!(ellipsis("/bin/busybox sleep 1000", 20), "/bin/busybox sleep …");
        assert_eq!(ellipsis("12345678901234567890", 20), "12345678901234567890");
        assert_eq!(ellipsis("ääää", 3), "ää…");
    }

    #[test]
    fn quoting_keeps_terminals_safe() {
        assert_eq!(quoted(r#"/bin/sh -c 'a "b c"'"#), r#""/bin/sh -c 'a \"b c\"'""#);
        assert_eq!(quoted("a\x1b[31m\n…"), "\"a\\x1b[31m\\n…\"");
    }
}
