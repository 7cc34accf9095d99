//! `pause` and `unpause`, carried out by the monitor: the container's cgroup is frozen; where it has none,
//! its processes are stopped.

use std::path::PathBuf;

use super::diary::Diary;
use super::protocol::{Event, Request};
use crate::cgroup;
use crate::runtime::members;
use crate::spec::container::{ContainerState, Options, Status};
use crate::store::held::StateWriter;
use crate::sys::process::Pid;

/// The monitor's answer to a client that asks for a pause or its end; without `pause` nothing runs.
pub fn answer(pause: Option<&mut Pause>, request: &Request) -> Event {
    let done = match (pause, request) {
        (None, _) => Err("it is not running".to_owned()),
        (Some(pause), Request::Unpause) => pause.resume(),
        (Some(pause), _) => pause.pause(),
    };
    done.map_or_else(Event::Refused, |()| Event::Done)
}

/// Lets a paused process have a signal that was just sent, where docker does.
pub fn resume_for(pause: Option<&mut Pause>, signal: i32) {
    if let Some(pause) = pause.filter(|pause| pause.ends_with(signal)) {
        // What stays frozen all the same can still be killed.
        let _ = pause.resume();
    }
}

/// A running container, paused or not.
#[derive(Debug)]
pub struct Pause {
    init: Pid,
    /// The container's cgroup, if it has one.
    leaf: Option<PathBuf>,
    state: ContainerState,
    writer: StateWriter,
    diary: Diary,
    /// The container's own choice of a signal for `stop`.
    stop_signal: Option<i32>,
}

impl Pause {
    /// Of a container that was just started, with the state it has.
    pub fn new(state: &ContainerState, options: &Options, writer: StateWriter, diary: Diary) -> Pause {
        Pause {
            init: state.pid,
            leaf: (!state.cgroup.is_empty()).then(|| PathBuf::from(&state.cgroup)),
            state: state.clone(),
            writer,
            diary,
            stop_signal: options.stop_signal_name.as_ref().map(|_| options.stop_signal),
        }
    }

    pub fn is_paused(&self) -> bool {
        self.state.status == Status::Paused
    }

    /// docker continues a paused container for these signals; others wait until somebody else does.
    fn ends_with(&self, signal: i32) -> bool {
        self.is_paused()
            && (signal == libc::SIGKILL || self.stop_signal.is_none_or(|chosen| chosen == signal))
    }

    /// Nothing of the container runs when this returns.
    fn pause(&mut self) -> Result<(), String> {
        if self.is_paused() {
            return Err("it is paused already".into());
        }
        match &self.leaf {
            Some(leaf) => cgroup::freeze(leaf).map_err(|error| format!("cannot freeze it: {error}"))?,
            None => {
                members::stop_all(self.init)
                    .map_err(|error| format!("cannot stop its processes: {error}"))?;
            }
        }
        self.note(Status::Paused, "pause")
    }

    fn resume(&mut self) -> Result<(), String> {
        if !self.is_paused() {
            return Err("it is not paused".into());
        }
        match &self.leaf {
            Some(leaf) => cgroup::thaw(leaf).map_err(|error| format!("cannot thaw it: {error}"))?,
            None => members::continue_all(self.init),
        }
        self.note(Status::Running, "unpause")
    }

    fn note(&mut self, status: Status, action: &str) -> Result<(), String> {
        self.state.status = status;
        self.diary.note(action, &[]);
        self.writer.write(&self.state, false).map_err(|error| error.to_string())
    }
}
