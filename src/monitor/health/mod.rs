//! The health checks of one run of a container, carried out by its monitor between everything else: a
//! timer in its loop, and an exec session for each probe.

mod probe;
mod schedule;

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use super::diary::Diary;
use super::log::now;
use super::session::Addition;
use crate::spec::container::{ContainerState, Options, ProcessSpec};
use crate::spec::health::{Outcome, RESULTS, Record, VERSION};
use crate::sys::process::{Pid, is_exiting};
use probe::{Probe, Verdict};
use schedule::Schedule;

/// How long the container's end may take once it has begun.
const END: Duration = Duration::from_secs(10);
/// The exit status of who was killed.
const BY_SIGKILL: i32 = 128 + libc::SIGKILL;

/// A probe's result.
#[derive(Debug)]
struct Found {
    verdict: Verdict,
    start: Instant,
    /// Start and end for its record.
    begun: String,
    ended: String,
}

#[derive(Debug)]
pub struct Health {
    schedule: Schedule,
    probe: Option<Probe>,
    /// When the probe began, for its record.
    start: String,
    timeout: Duration,
    /// When the run began, as in the state.
    run: String,
    single_id: bool,
    /// The probe is of no interest any more.
    discard: bool,
    /// A result that may be due to the container's end, and until when to wait for that.
    doubtful: Option<(Found, Instant)>,
}

impl Health {
    /// Of the run that `state` tells of, which begins now; `None` without a health check.
    pub fn new(options: &Options, state: &ContainerState, single_id: bool) -> Option<Health> {
        let config = options.health.as_ref().filter(|_| options.has_health_check())?;
        let settings = config.settings();
        Some(Health {
            schedule: Schedule::new(settings, Instant::now()),
            probe: None,
            start: String::new(),
            timeout: settings.timeout,
            run: state.started_at.clone(),
            single_id,
            discard: false,
            doubtful: None,
        })
    }

    /// What to poll for reading.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.probe.as_ref().map(Probe::fd)
    }

    /// When to call [`Health::step`] although nothing can be read.
    pub fn until(&self) -> Option<Instant> {
        match (&self.probe, &self.doubtful) {
            (Some(probe), _) => Some(probe.until()),
            (None, Some((_, until))) => Some(*until),
            (None, None) => self.schedule.next(),
        }
    }

    /// Hears the probe, or starts one that is due. `pid` and `init` are the container's first process.
    pub fn step(&mut self, pid: Pid, init: BorrowedFd<'_>, diary: &Diary) {
        let at = Instant::now();
        if let Some(probe) = &mut self.probe {
            if let Some(verdict) = probe.step() {
                let (start, begun) = (probe.start, std::mem::take(&mut self.start));
                self.probe = None;
                if !std::mem::take(&mut self.discard) {
                    self.found(Found { verdict, start, begun, ended: now() }, pid, diary);
                }
            }
        } else if let Some((found, _)) = self.doubtful.take_if(|(_, until)| at >= *until) {
            self.conclude(found, diary);
        } else if self.doubtful.is_none() && self.schedule.next().is_some_and(|due| at >= due) {
            self.schedule.start_probe();
            self.start = now();
            match self.start_probe(init, diary) {
                Ok(probe) => self.probe = Some(probe),
                Err(error) => {
                    let verdict = Verdict { code: -1, output: error.to_string() };
                    let begun = std::mem::take(&mut self.start);
                    self.found(Found { verdict, start: at, begun, ended: now() }, pid, diary);
                }
            }
        }
    }

    /// Takes a result, unless it only shows that the container ends: its processes are killed before the
    /// first one's end can be seen.
    fn found(&mut self, found: Found, pid: Pid, diary: &Diary) {
        let by_kill = matches!(found.verdict.code, -1 | BY_SIGKILL);
        if by_kill && is_exiting(pid) {
            self.doubtful = Some((found, Instant::now() + END));
        } else {
            self.conclude(found, diary);
        }
    }

    fn start_probe(&self, init: BorrowedFd<'_>, diary: &Diary) -> crate::sys::Result<Probe> {
        let container = diary.container();
        let first = &container.record.process;
        let process = ProcessSpec {
            argv: container.record.options.health_command().unwrap_or_default(),
            tty: false,
            open_stdin: false,
            ..first.clone()
        };
        let addition = Addition {
            store: diary.store(),
            container,
            init,
            process,
            privileged: false,
            single_id: self.single_id,
            attached: true,
            size: None,
        };
        Probe::start(addition, self.timeout)
    }

    /// Writes the result down. Should that fail, `inspect` shows an older one, and nothing else is lost.
    fn conclude(&mut self, found: Found, diary: &Diary) {
        let Found { verdict, start, begun, ended } = found;
        let changed = self.schedule.judge(verdict.code == 0, start, Instant::now());
        let id = &diary.container().record.id;
        let mut log = diary.store().health(id).map(|record| record.log).unwrap_or_default();
        let Verdict { code: exit_code, output } = verdict;
        log.push(Outcome { start: begun, end: ended, exit_code, output });
        log.drain(..log.len().saturating_sub(RESULTS));
        let Schedule { status, failing_streak, .. } = self.schedule;
        let record = Record { version: VERSION, run: self.run.clone(), status, failing_streak, log };
        let _ = diary.store().write_health(id, &record);
        if changed {
            diary.note(&format!("health_status: {}", status.name()), &[]);
        }
    }

    /// Nothing is probed while the container is paused; a probe that runs is ended and does not count.
    pub fn set_paused(&mut self, paused: bool) {
        if paused == self.schedule.is_paused() {
            return;
        }
        self.schedule.set_paused(paused, Instant::now());
        if let Some(probe) = &mut self.probe
            && paused
        {
            probe.abandon();
            self.discard = true;
        }
    }
}
