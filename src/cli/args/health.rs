//! The flags of health checks, which `run` and `create` share.

use crate::cli::error::CommandError;
use crate::spec::duration;
use crate::spec::health::Config;

#[derive(Debug, clap::Args)]
pub struct HealthFlags {
    /// Check the container's health with this line of shell
    #[arg(long, value_name = "string")]
    health_cmd: Option<String>,
    /// Time between two checks (ms|s|m|h) (default 30s)
    #[arg(long, value_name = "duration")]
    health_interval: Option<String>,
    /// So many failures in a row make the container unhealthy (default 3)
    #[arg(long, value_name = "int")]
    health_retries: Option<i64>,
    /// Time between two checks in the start period (ms|s|m|h) (default 5s)
    #[arg(long, value_name = "duration")]
    health_start_interval: Option<String>,
    /// How long failures do not count while the container starts (ms|s|m|h) (default 0s)
    #[arg(long, value_name = "duration")]
    health_start_period: Option<String>,
    /// How long one check may take (ms|s|m|h) (default 30s)
    #[arg(long, value_name = "duration")]
    health_timeout: Option<String>,
    /// No health check, whatever the image says
    #[arg(long)]
    no_healthcheck: bool,
}

impl HealthFlags {
    /// What was asked for; `None` for nothing.
    pub fn config(self) -> Result<Option<Config>, CommandError> {
        let span = |flag: &str, text: Option<String>| {
            let Some(text) = text else { return Ok(0) };
            duration::parse(&text).map_err(|why| CommandError::flag_value(flag, &text, why))
        };
        let config = Config {
            test: match self.health_cmd.filter(|line| !line.is_empty()) {
                Some(line) => vec!["CMD-SHELL".to_owned(), line],
                None => Vec::new(),
            },
            interval: span("--health-interval", self.health_interval)?,
            timeout: span("--health-timeout", self.health_timeout)?,
            start_period: span("--health-start-period", self.health_start_period)?,
            start_interval: span("--health-start-interval", self.health_start_interval)?,
            retries: self.health_retries.unwrap_or(0),
        };
        let given = config != Config::default();
        if self.no_healthcheck {
            if given {
                return Err(CommandError::usage_text("--no-healthcheck conflicts with --health-* options"));
            }
            return Ok(Some(Config { test: vec!["NONE".to_owned()], ..config }));
        }
        let negative = [
            ("--health-interval", config.interval),
            ("--health-timeout", config.timeout),
            ("--health-retries", config.retries),
            ("--health-start-period", config.start_period),
            ("--health-start-interval", config.start_interval),
        ];
        if let Some((flag, _)) = negative.into_iter().find(|(_, value)| *value < 0) {
            return Err(CommandError::usage_text(format!("{flag} cannot be negative")));
        }
        Ok(given.then_some(config))
    }
}
