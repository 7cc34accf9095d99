//! `coracle update`: other limits or another restart policy for containers.

use std::process::ExitCode;

use crate::cli::args::create::parse_restart;
use crate::cli::args::{Arity, Verb, missing};
use crate::cli::error::CommandError;
use crate::cli::{Command, Context, targets};
use crate::engine::container::update::{Change, update};
use crate::spec::resources::{Resources, parse_bytes, parse_cpus};

#[derive(Debug, Default, clap::Args)]
pub struct Args {
    /// Weight of disk input and output, 10 to 1000
    #[arg(long, value_name = "uint16")]
    blkio_weight: Option<u16>,
    /// Length of a period of the processor limit, in microseconds
    #[arg(long, value_name = "int")]
    cpu_period: Option<i64>,
    /// Processor time in each period, in microseconds
    #[arg(long, value_name = "int")]
    cpu_quota: Option<i64>,
    /// Weight of processor time, 2 to 262144
    #[arg(short, long, value_name = "int")]
    cpu_shares: Option<i64>,
    /// Number of processors
    #[arg(long, value_name = "decimal", value_parser = parse_cpus)]
    cpus: Option<i64>,
    /// Processors to run on (0-3, 0,1)
    #[arg(long, value_name = "string")]
    cpuset_cpus: Option<String>,
    /// Memory nodes to take memory from (0-3, 0,1)
    #[arg(long, value_name = "string")]
    cpuset_mems: Option<String>,
    /// Memory limit
    #[arg(short, long, value_name = "bytes", value_parser = parse_bytes)]
    memory: Option<i64>,
    /// Memory that is kept for the container when there is little
    #[arg(long, value_name = "bytes", value_parser = parse_bytes)]
    memory_reservation: Option<i64>,
    /// Limit of memory and swap together; -1 for unlimited swap
    #[arg(long, value_name = "bytes", value_parser = parse_swap)]
    memory_swap: Option<i64>,
    /// Limit of processes and threads; -1 for none
    #[arg(long, value_name = "int")]
    pids_limit: Option<i64>,
    /// What starts the container again when it exits ("no", "always", "unless-stopped", "on-failure[:max-retries]")
    #[arg(long, value_name = "string")]
    restart: Option<String>,
}

fn parse_swap(text: &str) -> Result<i64, String> {
    if text == "-1" { Ok(-1) } else { parse_bytes(text) }
}

impl Args {
    fn is_empty(&self) -> bool {
        let numbers = [
            self.cpu_period,
            self.cpu_quota,
            self.cpu_shares,
            self.cpus,
            self.memory,
            self.memory_reservation,
            self.memory_swap,
            self.pids_limit,
            self.blkio_weight.map(i64::from),
        ];
        let lists = [&self.cpuset_cpus, &self.cpuset_mems, &self.restart];
        numbers.iter().all(Option::is_none) && lists.iter().all(|list| list.is_none())
    }

    /// docker takes 0 and nothing for the wish to leave it as it is.
    fn resources(self) -> Resources {
        let number = |value: Option<i64>| value.filter(|value| *value != 0);
        let list = |value: Option<String>| value.filter(|value| !value.is_empty());
        Resources {
            memory: number(self.memory),
            memory_reservation: number(self.memory_reservation),
            memory_swap: number(self.memory_swap),
            nano_cpus: number(self.cpus),
            cpu_period: number(self.cpu_period),
            cpu_quota: number(self.cpu_quota),
            cpu_shares: number(self.cpu_shares),
            cpuset_cpus: list(self.cpuset_cpus),
            cpuset_mems: list(self.cpuset_mems),
            pids_limit: number(self.pids_limit).map(|limit| limit.max(0)),
            blkio_weight: self.blkio_weight.filter(|weight| *weight != 0),
        }
    }
}

impl Command for Args {
    const VERB: Verb = Verb {
        forms: &["container update", "update"],
        about: "Update configuration of one or more containers",
        usage: "[OPTIONS] CONTAINER [CONTAINER...]",
        arity: Arity::AtLeast(1),
        missing: &[missing("cpu-rt-period"), missing("cpu-rt-runtime"), missing("kernel-memory")],
        ..Verb::PLAIN
    };

    fn run(self, words: Vec<String>, context: &Context) -> Result<ExitCode, CommandError> {
        if self.is_empty() {
            let words = "you must provide one or more flags when using this command";
            return Err(CommandError::usage_text(words));
        }
        let restart =
            self.restart.as_deref().filter(|text| !text.is_empty()).map(parse_restart).transpose()?;
        let change = Change { resources: self.resources(), restart };
        let engine = context.engine()?;
        let ui = &context.ui;
        targets::each(ui, &words, |name| {
            let lost = update(engine, name, &change).map_err(CommandError::failure)?;
            if let Some(sentence) = lost {
                ui.warning(&format!("{name}: {sentence}"));
            }
            Ok(true)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_and_zero_leave_things_as_they_are() {
        assert!(Args::default().is_empty());
        let zeros = Args {
            memory: Some(0),
            pids_limit: Some(0),
            cpuset_cpus: Some(String::new()),
            ..Args::default()
        };
        assert!(!zeros.is_empty());
        assert_eq!(zeros.resources(), Resources::default());
        let none = Args { pids_limit: Some(-5), memory_swap: parse_swap("-1").ok(), ..Args::default() };
        let expected = Resources { pids_limit: Some(0), memory_swap: Some(-1), ..Resources::default() };
        assert_eq!(none.resources(), expected);
        assert_eq!(parse_swap("-5"), Err("invalid size: '-5'".into()));
    }
}
