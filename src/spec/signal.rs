//! Signals by name and number, as docker's `kill`, `--stop-signal` and STOPSIGNAL take them.

/// signal(7), the numbers of x86 and ARM. Where two names share a number the first is the usual one.
const NAMES: [(&str, i32); 34] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("IOT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("POLL", 29),
    ("PWR", 30),
    ("SYS", 31),
];

/// The first real-time signal a program may use; the C library keeps 32 and 33.
const RTMIN: i32 = 34;
const RTMAX: i32 = 64;
/// docker's table counts from RTMIN up to here and then down from RTMAX.
const RTMIN_NAMED: i32 = 15;

pub const SIGTERM: i32 = 15;

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("invalid signal: {0}")]
pub struct InvalidSignal(pub String);

/// The number of a signal: a number itself, or a name with or without `SIG`, in any case, such as
/// `SIGTERM`, `usr1` or `RTMIN+3`.
pub fn parse(text: &str) -> Result<i32, InvalidSignal> {
    let invalid = || InvalidSignal(text.to_owned());
    if let Ok(number) = text.parse::<i32>() {
        return if name(number).is_some() { Ok(number) } else { Err(invalid()) };
    }
    let upper = text.to_ascii_uppercase();
    let wanted = upper.strip_prefix("SIG").unwrap_or(&upper);
    let plain = NAMES.iter().find(|(name, _)| *name == wanted).map(|(_, number)| *number);
    plain.or_else(|| parse_real_time(wanted)).ok_or_else(invalid)
}

/// `RTMIN`, `RTMIN+n`, `RTMAX-n`, `RTMAX`.
fn parse_real_time(name: &str) -> Option<i32> {
    let (base, sign, most, count) = match name.strip_prefix("RTMIN") {
        Some("") => return Some(RTMIN),
        Some(rest) => (RTMIN, 1, RTMIN_NAMED, rest.strip_prefix('+')?),
        None => match name.strip_prefix("RTMAX")? {
            "" => return Some(RTMAX),
            rest => (RTMAX, -1, RTMAX - RTMIN - RTMIN_NAMED - 1, rest.strip_prefix('-')?),
        },
    };
    let digits = count.bytes().all(|b| b.is_ascii_digit());
    let count: i32 = count.parse().ok().filter(|count| digits && *count <= most)?;
    Some(base + sign * count)
}

/// The usual name of a signal, with `SIG`; `None` when programs can have no such signal.
pub fn name(number: i32) -> Option<String> {
    let named = NAMES.iter().find(|(_, n)| *n == number).map(|(name, _)| format!("SIG{name}"));
    named.or(match number {
        RTMIN => Some("SIGRTMIN".to_owned()),
        RTMAX => Some("SIGRTMAX".to_owned()),
        n if n > RTMIN && n <= RTMIN + RTMIN_NAMED => Some(format!("SIGRTMIN+{}", n - RTMIN)),
        n if n > RTMIN && n < RTMAX => Some(format!("SIGRTMAX-{}", RTMAX - n)),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        for (text, number) in [
            ("TERM", 15),
            ("SIGTERM", 15),
            ("sigterm", 15),
            ("9", 9),
            ("64", 64),
            ("cld", 17),
            ("SIGPOLL", 29),
            ("RTMIN", 34),
            ("SIGRTMIN+3", 37),
            ("rtmax-14", 50),
            ("RTMAX", 64),
        ] {
            assert_eq!(parse(text), Ok(number), "{text}");
        }
    }

    #[test]
    fn refuses_in_dockers_words() {
        for text in [
            "",
            "0",
            "-9",
            "32",
            "33",
            "65",
            "SIG",
            "SIGFOO",
            "SIGSIGTERM",
            "RTMIN+",
            "RTMIN++1",
            "RTMIN+16",
            "RTMAX-15",
            "RTMAX+1",
            "TERM ",
        ] {
            assert_eq!(parse(text).map_err(|e| e.to_string()), Err(format!("invalid signal: {text}")));
        }
    }

    #[test]
    fn every_name_parses_to_its_number() {
        let numbers: Vec<i32> = (-1..70).filter(|n| name(*n).is_some()).collect();
        assert_eq!(numbers, (1..=31).chain(34..=64).collect::<Vec<_>>());
        for number in numbers {
            assert_eq!(name(number).and_then(|name| parse(&name).ok()), Some(number));
        }
        assert_eq!(name(49).as_deref(), Some("SIGRTMIN+15"));
        assert_eq!(name(50).as_deref(), Some("SIGRTMAX-14"));
    }
}
