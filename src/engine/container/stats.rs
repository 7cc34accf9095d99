//! `stats`: what containers use. Numbers of the container's cgroup where it has one, else sums over its
//! processes. Runs in the client.

use std::time::Instant;

use super::files::{self, Files};
use crate::cgroup;
use crate::engine::Engine;
use crate::engine::system::info::memory;
use crate::runtime::usage::{self, network};
use crate::store::containers::Container;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Files(#[from] files::Error),
}

/// What a container has used up to a moment, and uses in it.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    pub at: Instant,
    /// Microseconds of processor time.
    pub cpu: u64,
    /// Bytes.
    pub memory: u64,
    /// Bytes: the container's limit, or all that the host has.
    pub memory_limit: u64,
    /// Processes and threads.
    pub tasks: u64,
    /// Bytes received and sent.
    pub network: (u64, u64),
    /// Bytes read and written.
    pub io: (u64, u64),
}

impl Sample {
    /// Of one processor, in percent, since an earlier sample.
    pub fn cpu_percent(&self, earlier: &Sample) -> f64 {
        let elapsed = self.at.saturating_duration_since(earlier.at).as_micros();
        // What is counted by processes is lost with one that nobody in the container waited for.
        let used = self.cpu.saturating_sub(earlier.cpu);
        if elapsed == 0 { 0.0 } else { used as f64 / elapsed as f64 * 100.0 }
    }

    pub fn memory_percent(&self) -> f64 {
        if self.memory_limit == 0 { 0.0 } else { self.memory as f64 / self.memory_limit as f64 * 100.0 }
    }
}

/// Takes samples.
#[derive(Debug)]
pub struct Sampler<'a> {
    engine: &'a Engine,
    /// Bytes.
    host_memory: u64,
    /// Looks at processes, once that is needed.
    files: Option<Files>,
    sums: bool,
}

impl Sampler<'_> {
    pub fn new(engine: &Engine) -> Sampler<'_> {
        Sampler { engine, host_memory: memory(), files: None, sums: false }
    }

    /// Whether more than what was read and written are sums over processes.
    pub fn adds_up(&self) -> bool {
        self.sums
    }

    /// `None` of a container that does not run.
    pub fn sample(&mut self, container: &Container) -> Result<Option<Sample>, Error> {
        let pid = container.state.pid;
        if !container.is_running() || pid <= 0 {
            return Ok(None);
        }
        let group = container.cgroup().map(|leaf| cgroup::usage::read(&leaf)).unwrap_or_default();
        let complete = group.cpu.is_some() && group.memory.is_some() && group.tasks.is_some();
        self.sums |= !complete;
        let sums = match complete && group.io.is_some() {
            true => usage::Usage::default(),
            false => self.processes(container)?,
        };
        let limit = group.memory_limit.unwrap_or(self.host_memory).min(self.host_memory);
        let table = std::fs::read_to_string(format!("/proc/{pid}/net/dev")).unwrap_or_default();
        Ok(Some(Sample {
            at: Instant::now(),
            cpu: group.cpu.unwrap_or(sums.cpu),
            memory: group.memory.unwrap_or(sums.memory),
            memory_limit: limit,
            tasks: group.tasks.unwrap_or(sums.tasks),
            network: network(&table),
            io: group.io.unwrap_or(sums.io),
        }))
    }

    fn processes(&mut self, container: &Container) -> Result<usage::Usage, Error> {
        let files = match self.files.take() {
            Some(files) => files,
            None => Files::at_home(self.engine, container, &container.name)?,
        };
        Ok(self.files.insert(files).usage(container.state.pid)?)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn percents() {
        let at = Instant::now();
        let earlier = Sample {
            at,
            cpu: 1_000_000,
            memory: 25,
            memory_limit: 100,
            tasks: 1,
            network: (0, 0),
            io: (0, 0),
        };
        let later = Sample { at: at + Duration::from_secs(2), cpu: 4_000_000, ..earlier };
        assert!((later.cpu_percent(&earlier) - 150.0).abs() < 1e-9);
        assert!(earlier.cpu_percent(&earlier).abs() < 1e-9);
        assert!((Sample { cpu: 0, ..later }).cpu_percent(&earlier).abs() < 1e-9);
        assert!((later.memory_percent() - 25.0).abs() < 1e-9);
        assert!((Sample { memory_limit: 0, ..later }).memory_percent().abs() < 1e-9);
    }
}
