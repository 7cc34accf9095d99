//! When a container's next probe is due, and what the results make of its health: docker's rules. Pure.

use std::time::Instant;

use crate::spec::health::{Settings, Status};

/// Of one run.
#[derive(Debug)]
pub struct Schedule {
    settings: Settings,
    /// When the run began.
    began: Instant,
    pub status: Status,
    pub failing_streak: u32,
    /// `None` while a probe runs or the container is paused.
    next: Option<Instant>,
    paused: bool,
}

impl Schedule {
    pub fn new(settings: Settings, began: Instant) -> Schedule {
        let mut schedule = Schedule {
            settings,
            began,
            status: Status::Starting,
            failing_streak: 0,
            next: None,
            paused: false,
        };
        schedule.plan(began);
        schedule
    }

    /// When to start a probe.
    pub fn next(&self) -> Option<Instant> {
        self.next
    }

    /// Nothing is due until [`Schedule::judge`].
    pub fn start_probe(&mut self) {
        self.next = None;
    }

    /// Takes the result of the probe that was started at `start`; whether the status is another now.
    pub fn judge(&mut self, healthy: bool, start: Instant, now: Instant) -> bool {
        let before = self.status;
        if healthy {
            self.failing_streak = 0;
            self.status = Status::Healthy;
        } else if !(before == Status::Starting && self.is_in_start_period(start)) {
            self.failing_streak = self.failing_streak.saturating_add(1);
            if self.failing_streak >= self.settings.retries {
                self.status = Status::Unhealthy;
            }
        }
        self.plan(now);
        self.status != before
    }

    /// Nothing is due while the container is paused; afterwards the waiting begins anew.
    pub fn set_paused(&mut self, paused: bool, now: Instant) {
        self.paused = paused;
        self.plan(now);
    }

    pub fn is_paused(&self) -> bool {
        self.paused
    }

    fn is_in_start_period(&self, moment: Instant) -> bool {
        moment.saturating_duration_since(self.began) < self.settings.start_period
    }

    fn plan(&mut self, now: Instant) {
        let early = self.status == Status::Starting && self.is_in_start_period(now);
        let interval = if early { self.settings.start_interval } else { self.settings.interval };
        // One beyond all time never comes.
        self.next = now.checked_add(interval).filter(|_| !self.paused);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Milliseconds: interval, start period, start interval.
    fn schedule(interval: u64, period: u64, start_interval: u64) -> (Schedule, Instant) {
        let settings = Settings {
            interval: Duration::from_millis(interval),
            timeout: Duration::from_secs(30),
            start_period: Duration::from_millis(period),
            start_interval: Duration::from_millis(start_interval),
            retries: 3,
        };
        let began = Instant::now();
        (Schedule::new(settings, began), began)
    }

    /// Runs the probes that are due, each taking a millisecond; when each began, and the status after it.
    fn played(schedule: &mut Schedule, began: Instant, results: &[bool]) -> Vec<(u128, Status)> {
        let mut seen = Vec::new();
        for healthy in results {
            let start = schedule.next().expect("a probe is due");
            schedule.start_probe();
            assert_eq!(schedule.next(), None);
            schedule.judge(*healthy, start, start + Duration::from_millis(1));
            seen.push(((start - began).as_millis(), schedule.status));
        }
        seen
    }

    use Status::{Healthy, Starting, Unhealthy};

    #[test]
    fn the_interval_lies_between_probes() {
        let (mut schedule, began) = schedule(100, 0, 5);
        let seen = played(&mut schedule, began, &[true, true]);
        assert_eq!(seen, [(100, Healthy), (201, Healthy)]);
    }

    #[test]
    fn so_many_failures_make_it_unhealthy_and_one_success_healthy() {
        let (mut schedule, began) = schedule(10, 0, 5);
        let seen = played(&mut schedule, began, &[false, false, false, false, true, false, true]);
        let statuses: Vec<_> = seen.into_iter().map(|(_, status)| status).collect();
        assert_eq!(statuses, [Starting, Starting, Unhealthy, Unhealthy, Healthy, Healthy, Healthy]);
        assert_eq!(schedule.failing_streak, 0);
    }

    #[test]
    fn failures_of_the_start_period_do_not_count() {
        let (mut schedule, began) = schedule(100, 12, 5);
        let seen = played(&mut schedule, began, &[false, false, false, false]);
        // The third begins in the period's end and is judged after it.
        assert_eq!(seen.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [5, 11, 112, 213]);
        assert_eq!(schedule.failing_streak, 2);
        assert_eq!(schedule.status, Starting);
    }

    #[test]
    fn a_success_ends_the_start_period() {
        let (mut schedule, began) = schedule(10, 1000, 2);
        let seen = played(&mut schedule, began, &[true, false, false, false]);
        assert_eq!(seen, [(2, Healthy), (13, Healthy), (24, Healthy), (35, Unhealthy)]);
    }

    #[test]
    fn a_change_is_told_once() {
        let (mut schedule, began) = schedule(10, 0, 5);
        let told: Vec<bool> =
            [false, false, false, false, true, true].map(|ok| schedule.judge(ok, began, began)).into();
        assert_eq!(told, [false, false, true, false, true, false]);
    }

    #[test]
    fn nothing_is_due_while_paused() {
        let (mut schedule, began) = schedule(10, 0, 5);
        schedule.set_paused(true, began);
        assert_eq!(schedule.next(), None);
        let later = began + Duration::from_secs(1);
        schedule.set_paused(false, later);
        assert_eq!(schedule.next(), Some(later + Duration::from_millis(10)));
    }

    #[test]
    fn an_interval_beyond_all_time_never_comes() {
        let (mut schedule, began) = schedule(u64::MAX, 0, 5);
        assert_eq!(
            Schedule::next(&schedule).map(|at| at > began),
            began.checked_add(schedule.settings.interval).map(|_| true)
        );
        schedule.settings.interval = Duration::MAX;
        schedule.plan(began);
        assert_eq!(schedule.next(), None);
    }
}
