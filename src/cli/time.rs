//! Moments as `--since` and `--until` take them. Pure.

use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};

use crate::spec::duration;

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "failed to parse value as time or duration: {0:?} (a moment as 2026-01-31T12:00:00Z, a local one as 2026-01-31, seconds since 1970, or how long ago as 1h30m)"
)]
pub struct InvalidMoment(pub String);

/// Reads RFC 3339 with or without a zone (local then), down to a date alone; seconds since 1970 with
/// an optional fraction; or a Go duration, which counts back from `now`.
pub fn moment(text: &str, now: Timestamp, local: &TimeZone) -> Result<Timestamp, InvalidMoment> {
    let invalid = || InvalidMoment(text.to_owned());
    if let Some(ago) = go_duration(text).filter(|_| text != "0") {
        return now.checked_sub(ago).map_err(|_| invalid());
    }
    if let Some(moment) = unix(text) {
        return Ok(moment);
    }
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Ok(moment);
    }
    let (date, offset) = split_offset(text);
    let zone = offset.map_or_else(|| local.clone(), TimeZone::fixed);
    civil(date).and_then(|civil| zone.to_timestamp(civil).ok()).ok_or_else(invalid)
}

/// The zone at a moment's end: `Z`, `+02:00`, `-05:30`. A dash before the `T` is one of the date's.
fn split_offset(text: &str) -> (&str, Option<Offset>) {
    if let Some(date) = text.strip_suffix('Z') {
        return (date, Some(Offset::UTC));
    }
    let Some(at) = text.len().checked_sub("+00:00".len()).filter(|at| text.is_char_boundary(*at)) else {
        return (text, None);
    };
    let (date, end) = text.split_at(at);
    let sign = match end.as_bytes()[0] {
        b'+' => 1,
        b'-' => -1,
        _ => return (text, None),
    };
    let minutes = end[1..].split_once(':').and_then(|(hours, minutes)| {
        Some(
            hours.parse::<i32>().ok().filter(|h| *h < 24)? * 60
                + minutes.parse::<i32>().ok().filter(|m| *m < 60)?,
        )
    });
    let offset = minutes.and_then(|minutes| Offset::from_seconds(sign * minutes * 60).ok());
    if offset.is_some() { (date, offset) } else { (text, None) }
}

/// A date, a date and an hour, or more: `2026-01-31`, `2026-01-31T12`, `2026-01-31T12:30`.
fn civil(text: &str) -> Option<DateTime> {
    let hour_alone = text.split_once('T').is_some_and(|(_, time)| time.len() == 2);
    if hour_alone { format!("{text}:00").parse().ok() } else { text.parse().ok() }
}

fn unix(text: &str) -> Option<Timestamp> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(seconds) || !digits(fraction) {
        return None;
    }
    let nanoseconds = format!("{fraction:0<9}");
    Timestamp::new(seconds.parse().ok()?, nanoseconds[..9].parse().ok()?).ok()
}

/// A span as Go writes it: `1h30m`, `1.5s`, `-2m`, `100ms`, `0`.
fn go_duration(text: &str) -> Option<SignedDuration> {
    duration::parse(text).ok().map(SignedDuration::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_moment() {
        let now: Timestamp = "2026-06-15T12:00:00Z".parse().unwrap();
        let east = TimeZone::fixed(jiff::tz::offset(2));
        let cases = [
            ("2013-01-02T13:23:37Z", "2013-01-02T13:23:37Z"),
            ("2013-01-02T13:23:37.123456789Z", "2013-01-02T13:23:37.123456789Z"),
            ("2013-01-02T13:23:37+01:00", "2013-01-02T12:23:37Z"),
            ("2013-01-02T13:23:37", "2013-01-02T11:23:37Z"),
            ("2013-01-02T13:23", "2013-01-02T11:23:00Z"),
            ("2013-01-02T13", "2013-01-02T11:00:00Z"),
            ("2013-01-02", "2013-01-01T22:00:00Z"),
            ("2013-01-02Z", "2013-01-02T00:00:00Z"),
            ("1136073845", "2006-01-01T00:04:05Z"),
            ("1136073845.000000001", "2006-01-01T00:04:05.000000001Z"),
            ("1136073845.5", "2006-01-01T00:04:05.5Z"),
            ("1136073845.1234567899", "2006-01-01T00:04:05.123456789Z"),
            ("2013-01-02+01:00", "2013-01-01T23:00:00Z"),
            ("2013-01-02T13-05:30", "2013-01-02T18:30:00Z"),
            ("2013-01-02T13:23+01:00", "2013-01-02T12:23:00Z"),
            ("0", "1970-01-01T00:00:00Z"),
            ("10m", "2026-06-15T11:50:00Z"),
            ("1h30m", "2026-06-15T10:30:00Z"),
            ("-10m", "2026-06-15T12:10:00Z"),
            ("1.5s", "2026-06-15T11:59:58.5Z"),
        ];
        for (text, expected) in cases {
            assert_eq!(moment(text, now, &east).map(|t| t.to_string()), Ok(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_is_no_moment() {
        for text in [
            "",
            "x",
            "10",
            "-1",
            "2013-13-01",
            "2013-01-02+99:00",
            "é+00:00",
            "2013-01-02T",
            "10 m",
            "1h30",
            ".s",
            "h",
            "--1s",
            "1.2.3",
        ] {
            let result = moment(text, Timestamp::UNIX_EPOCH, &TimeZone::UTC);
            // A number alone is seconds since 1970.
            assert_eq!(result.is_err(), text != "10", "{text}: {result:?}");
        }
    }
}
