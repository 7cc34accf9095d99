//! Health checks: what is to be done (docker's `HEALTHCHECK`), and what came of it. Pure.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::container::{ContainerState, Status as Life};

/// How many results are kept.
pub const RESULTS: usize = 5;
/// The version of [`Record`].
pub const VERSION: u32 = 1;
/// What runs a `CMD-SHELL`, when the image names no other.
const SHELL: [&str; 2] = ["/bin/sh", "-c"];
/// The shortest span docker takes, in nanoseconds.
const SHORTEST: i64 = 1_000_000;

/// docker's `Config.Healthcheck`, of an image and of a container, with its names and order. Spans are in
/// nanoseconds; 0 and nothing mean: not set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Config {
    /// `NONE`; `CMD` and arguments; `CMD-SHELL` and a line of shell.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub test: Vec<String>,
    #[serde(skip_serializing_if = "is_zero")]
    pub interval: i64,
    #[serde(skip_serializing_if = "is_zero")]
    pub timeout: i64,
    #[serde(skip_serializing_if = "is_zero")]
    pub start_period: i64,
    #[serde(skip_serializing_if = "is_zero")]
    pub start_interval: i64,
    #[serde(skip_serializing_if = "is_zero")]
    pub retries: i64,
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// A value that docker refuses, in its words.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Invalid {
    #[error("{0} in Healthcheck cannot be less than 1ms")]
    Short(&'static str),
    #[error("Retries in Healthcheck cannot be negative")]
    Retries,
}

impl Config {
    /// Checks what a user gave.
    pub fn check(&self) -> Result<(), Invalid> {
        let spans = [
            ("Interval", self.interval),
            ("Timeout", self.timeout),
            ("StartPeriod", self.start_period),
            ("StartInterval", self.start_interval),
        ];
        match spans.into_iter().find(|(_, span)| *span != 0 && *span < SHORTEST) {
            Some((name, _)) => Err(Invalid::Short(name)),
            None if self.retries < 0 => Err(Invalid::Retries),
            None => Ok(()),
        }
    }

    /// What the user gave, then what the image says.
    pub fn merge(self, image: Config) -> Config {
        let or = |own: i64, image: i64| if own == 0 { image } else { own };
        Config {
            test: if self.test.is_empty() { image.test } else { self.test },
            interval: or(self.interval, image.interval),
            timeout: or(self.timeout, image.timeout),
            start_period: or(self.start_period, image.start_period),
            start_interval: or(self.start_interval, image.start_interval),
            retries: or(self.retries, image.retries),
        }
    }

    /// The command that tells; `None` where there is nothing to do. `shell` is the image's.
    pub fn command(&self, shell: &[String]) -> Option<Vec<String>> {
        let (kind, rest) = self.test.split_first()?;
        match kind.as_str() {
            "CMD" if !rest.is_empty() => Some(rest.to_vec()),
            "CMD-SHELL" => {
                let shell = if shell.is_empty() { &SHELL.map(str::to_owned)[..] } else { shell };
                Some([shell, rest].concat())
            }
            // As docker: of a kind that it does not know.
            _ => None,
        }
    }

    /// The spans and counts with docker's defaults.
    pub fn settings(&self) -> Settings {
        let span = |nanoseconds: i64, default: u64| match u64::try_from(nanoseconds) {
            Ok(0) | Err(_) => Duration::from_secs(default),
            Ok(span) => Duration::from_nanos(span),
        };
        Settings {
            interval: span(self.interval, 30),
            timeout: span(self.timeout, 30),
            start_period: span(self.start_period, 0),
            start_interval: span(self.start_interval, 5),
            retries: u32::try_from(self.retries).ok().filter(|count| *count > 0).unwrap_or(3),
        }
    }
}

/// When probes are due, and what they mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// From the end of one probe to the start of the next.
    pub interval: Duration,
    pub timeout: Duration,
    /// Failures before it is over do not count until a probe succeeded.
    pub start_period: Duration,
    /// The interval in the start period until a probe succeeded.
    pub start_interval: Duration,
    /// So many failures in a row make it unhealthy.
    pub retries: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Starting,
    Healthy,
    Unhealthy,
}

impl Status {
    /// docker's word for it, as in `.State.Health.Status`.
    pub fn name(self) -> &'static str {
        match self {
            Status::Starting => "starting",
            Status::Healthy => "healthy",
            Status::Unhealthy => "unhealthy",
        }
    }
}

/// What one probe found; docker's names and order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Outcome {
    /// RFC 3339 with nanoseconds, UTC.
    pub start: String,
    pub end: String,
    /// -1 where there was none.
    pub exit_code: i32,
    pub output: String,
}

/// `containers/<id>/health.json`, written by the container's monitor after each probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub version: u32,
    /// When the run began that this is about, as in the state.
    pub run: String,
    pub status: Status,
    pub failing_streak: u32,
    /// The last [`RESULTS`], of earlier runs too, the oldest first.
    pub log: Vec<Outcome>,
}

/// How a container is, to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    pub status: Status,
    pub failing_streak: u32,
    pub log: Vec<Outcome>,
}

impl Health {
    /// Of a container that has a check and was started once; `record` is what its last probe left.
    pub fn of(state: &ContainerState, record: Option<Record>) -> Option<Health> {
        if state.status == Life::Created {
            return None;
        }
        // Nobody writes anything at a start, nor when it is over.
        let anew = Record {
            version: VERSION,
            run: state.started_at.clone(),
            status: Status::Starting,
            failing_streak: 0,
            log: Vec::new(),
        };
        let mut record = record.unwrap_or_else(|| anew.clone());
        if record.run != state.started_at {
            record = Record { log: record.log, ..anew };
        }
        let status = if state.status == Life::Exited { Status::Unhealthy } else { record.status };
        Some(Health { status, failing_streak: record.failing_streak, log: record.log })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    const IMAGE: &str = r#"{"Test":["CMD","true"],"Interval":7000000000,"Retries":2}"#;

    fn image() -> Config {
        serde_json::from_str(IMAGE).unwrap()
    }

    #[test]
    fn the_users_words_come_before_the_images() {
        assert_eq!(Config::default().merge(image()), image());
        let own = Config { test: words("CMD-SHELL x"), timeout: 5, retries: 9, ..Config::default() };
        let merged = own.clone().merge(image());
        assert_eq!(merged, Config { interval: 7_000_000_000, ..own });
        assert_eq!(serde_json::to_string(&image()).unwrap(), IMAGE);
    }

    #[test]
    fn what_is_run() {
        let command = |test: &str, shell: &str| {
            Config { test: words(test), ..Config::default() }.command(&words(shell))
        };
        assert_eq!(command("CMD a b", "/bin/bash -c"), Some(words("a b")));
        assert_eq!(command("CMD-SHELL a", ""), Some(words("/bin/sh -c a")));
        assert_eq!(command("CMD-SHELL a", "/bin/bash -ec"), Some(words("/bin/bash -ec a")));
        for nothing in ["", "NONE", "CMD", "HTTP /"] {
            assert_eq!(command(nothing, ""), None, "{nothing}");
        }
    }

    #[test]
    fn defaults_are_dockers() {
        let settings = Config::default().settings();
        let seconds = Duration::from_secs;
        assert_eq!((settings.interval, settings.timeout), (seconds(30), seconds(30)));
        assert_eq!((settings.start_period, settings.start_interval), (seconds(0), seconds(5)));
        assert_eq!(settings.retries, 3);
        assert_eq!(image().settings().interval, seconds(7));
    }

    #[test]
    fn wrong_values_are_refused_in_dockers_words() {
        let short = Config { interval: 999_999, ..Config::default() };
        assert_eq!(short.check().unwrap_err().to_string(), "Interval in Healthcheck cannot be less than 1ms");
        let negative = Config { start_interval: -1, ..Config::default() };
        assert_eq!(negative.check(), Err(Invalid::Short("StartInterval")));
        assert_eq!(Config { retries: -1, ..Config::default() }.check(), Err(Invalid::Retries));
        assert_eq!(image().check(), Ok(()));
    }

    #[test]
    fn a_run_begins_anew_with_the_old_results() {
        let outcome = Outcome { start: "s".into(), end: "e".into(), exit_code: 1, output: "no".into() };
        let record = Record {
            version: VERSION,
            run: "1".into(),
            status: Status::Healthy,
            failing_streak: 2,
            log: vec![outcome],
        };
        let mut state = ContainerState::created();
        assert_eq!(Health::of(&state, Some(record.clone())), None);
        (state.status, state.started_at) = (Life::Running, "1".into());
        assert_eq!(Health::of(&state, Some(record.clone())).unwrap().status, Status::Healthy);
        assert_eq!(Health::of(&state, None).unwrap().status, Status::Starting);
        state.started_at = "2".into();
        let anew = Health::of(&state, Some(record.clone())).unwrap();
        assert_eq!((anew.status, anew.failing_streak, anew.log.len()), (Status::Starting, 0, 1));
        (state.status, state.started_at) = (Life::Exited, "1".into());
        let over = Health::of(&state, Some(record)).unwrap();
        assert_eq!((over.status, over.failing_streak), (Status::Unhealthy, 2));
    }
}
