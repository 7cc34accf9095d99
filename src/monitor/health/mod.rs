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
use probe::{Probe, Verdict};
use schedule::Schedule;

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
        })
    }

    /// What to poll for reading.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.probe.as_ref().map(Probe::fd)
    }

    /// When to call [`Health::step`] although nothing can be read.
    pub fn until(&self) -> Option<Instant> {
        self.probe.as_ref().map_or(self.schedule.next(), |probe| Some(probe.until()))
    }

    /// Hears the probe, or starts one that is due. `init` is the container's first process.
    pub fn step(&mut self, init: BorrowedFd<'_>, diary: &Diary) {
        if let Some(probe) = &mut self.probe {
            if let Some(verdict) = probe.step() {
                let start = probe.start;
                self.probe = None;
                if !std::mem::take(&mut self.discard) {
                    self.conclude(verdict, start, diary);
                }
            }
            return;
        }
        if self.schedule.next().is_none_or(|at| Instant::now() < at) {
            return;
        }
        self.schedule.start_probe();
        self.start = now();
        let start = Instant::now();
        match self.start_probe(init, diary) {
            Ok(probe) => self.probe = Some(probe),
            Err(error) => {
                self.conclude(Verdict { code: -1, output: error.to_string() }, start, diary);
            }
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
    fn conclude(&mut self, verdict: Verdict, start: Instant, diary: &Diary) {
        let changed = self.schedule.judge(verdict.code == 0, start, Instant::now());
        let id = &diary.container().record.id;
        let mut log = diary.store().health(id).map(|record| record.log).unwrap_or_default();
        let Verdict { code: exit_code, output } = verdict;
        log.push(Outcome { start: std::mem::take(&mut self.start), end: now(), exit_code, output });
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
        self.schedule.set_paused(paused, Instant::now());
        if let Some(probe) = &mut self.probe
            && paused
        {
            probe.abandon();
            self.discard = true;
        }
    }
}
