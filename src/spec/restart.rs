//! Restart policies: what starts a container again when its program has ended.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// docker's `--restart`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    #[default]
    No,
    Always,
    /// As `Always`; they differ in what a start of the host does.
    UnlessStopped,
    /// After an exit status that is not 0, `most` times at most; 0: any number of times.
    OnFailure {
        most: u32,
    },
}

/// What is no policy, in docker's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("invalid restart policy format: no policy provided before colon")]
    NoName,
    #[error("invalid restart policy format: maximum retry count must be an integer")]
    NoNumber,
    #[error(
        "invalid restart policy: unknown policy '{0}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
    )]
    Unknown(String),
    #[error("invalid restart policy: maximum retry count can only be used with 'on-failure'")]
    OnlyOnFailure,
    #[error("invalid restart policy: maximum retry count cannot be negative")]
    Negative,
}

impl Error {
    /// Nothing that looks like a policy, as against one that does not exist.
    pub fn is_malformed(&self) -> bool {
        matches!(self, Error::NoName | Error::NoNumber)
    }
}

impl RestartPolicy {
    /// docker's name for it.
    pub fn name(self) -> &'static str {
        match self {
            RestartPolicy::No => "no",
            RestartPolicy::Always => "always",
            RestartPolicy::UnlessStopped => "unless-stopped",
            RestartPolicy::OnFailure { .. } => "on-failure",
        }
    }

    /// How often at most; 0: any number of times.
    pub fn most(self) -> u32 {
        match self {
            RestartPolicy::OnFailure { most } => most,
            _ => 0,
        }
    }
}

impl std::str::FromStr for RestartPolicy {
    type Err = Error;

    /// `no`, `always`, `unless-stopped`, `on-failure` or `on-failure:COUNT`; empty is `no`.
    fn from_str(text: &str) -> Result<RestartPolicy, Error> {
        let (name, count) = text.split_once(':').unwrap_or((text, ""));
        if name.is_empty() && name.len() < text.len() {
            return Err(Error::NoName);
        }
        let count: i64 = match count {
            "" => 0,
            count => count.parse().map_err(|_| Error::NoNumber)?,
        };
        let policy = match name {
            "" | "no" => RestartPolicy::No,
            "always" => RestartPolicy::Always,
            "unless-stopped" => RestartPolicy::UnlessStopped,
            "on-failure" if count < 0 => return Err(Error::Negative),
            "on-failure" => RestartPolicy::OnFailure { most: u32::try_from(count).unwrap_or(u32::MAX) },
            unknown => return Err(Error::Unknown(unknown.to_owned())),
        };
        match policy {
            RestartPolicy::OnFailure { .. } => Ok(policy),
            _ if count != 0 => Err(Error::OnlyOnFailure),
            _ => Ok(policy),
        }
    }
}

/// The restarts of one container since somebody started it.
#[derive(Debug, Default)]
pub struct Restarts {
    pub count: u32,
    backoff: Duration,
}

/// docker's back-off: the first one, the longest, and the run that is long enough to begin anew.
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(60);
const LONG_RUN: Duration = Duration::from_secs(10);

impl Restarts {
    /// After a run of `lasted` that nobody ended on purpose: how long to wait until the next one, which
    /// is counted; `None` for no other run.
    pub fn after(&mut self, policy: RestartPolicy, exit_code: i32, lasted: Duration) -> Option<Duration> {
        let again = match policy {
            RestartPolicy::No => false,
            RestartPolicy::Always | RestartPolicy::UnlessStopped => true,
            RestartPolicy::OnFailure { most } => exit_code != 0 && (most == 0 || self.count < most),
        };
        if !again {
            return None;
        }
        self.backoff = match self.backoff {
            Duration::ZERO => FIRST,
            _ if lasted >= LONG_RUN => FIRST,
            backoff => (backoff * 2).min(LONGEST),
        };
        self.count += 1;
        Some(self.backoff)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_what_docker_parses() {
        let parse = |text: &str| text.parse::<RestartPolicy>();
        assert_eq!(parse(""), Ok(RestartPolicy::No));
        assert_eq!(parse("no"), Ok(RestartPolicy::No));
        assert_eq!(parse("always"), Ok(RestartPolicy::Always));
        assert_eq!(parse("unless-stopped"), Ok(RestartPolicy::UnlessStopped));
        for text in ["on-failure", "on-failure:", "on-failure:0"] {
            assert_eq!(parse(text), Ok(RestartPolicy::OnFailure { most: 0 }), "{text}");
        }
        assert_eq!(parse("on-failure:7"), Ok(RestartPolicy::OnFailure { most: 7 }));
        assert_eq!(parse(":3"), Err(Error::NoName));
        assert_eq!(parse("on-failure:x"), Err(Error::NoNumber));
        assert_eq!(parse("on-failure:-1"), Err(Error::Negative));
        assert_eq!(parse("always:3"), Err(Error::OnlyOnFailure));
        assert_eq!(parse("no:1"), Err(Error::OnlyOnFailure));
        assert_eq!(parse("bogus"), Err(Error::Unknown("bogus".into())));
    }

    #[test]
    fn backs_off_and_begins_anew_after_a_long_run() {
        let mut restarts = Restarts::default();
        let short = Duration::from_secs(1);
        let mut waits = Vec::new();
        for _ in 0..12 {
            waits.push(restarts.after(RestartPolicy::Always, 0, short).expect("always").as_millis());
        }
        assert_eq!(waits[..5], [100, 200, 400, 800, 1600]);
        assert_eq!(waits[9..], [51_200, 60_000, 60_000]);
        assert_eq!(restarts.after(RestartPolicy::Always, 0, LONG_RUN), Some(FIRST));
        assert_eq!(restarts.count, 13);
    }

    #[test]
    fn on_failure_looks_at_the_status_and_counts() {
        let short = Duration::from_secs(1);
        let mut restarts = Restarts::default();
        let twice = RestartPolicy::OnFailure { most: 2 };
        assert_eq!(restarts.after(twice, 0, short), None);
        assert!(restarts.after(twice, 1, short).is_some());
        assert!(restarts.after(twice, 1, short).is_some());
        assert_eq!(restarts.after(twice, 1, short), None);
        assert_eq!(restarts.count, 2);
        assert!(restarts.after(RestartPolicy::OnFailure { most: 0 }, 1, short).is_some());
        assert_eq!(restarts.after(RestartPolicy::No, 1, short), None);
    }
}
