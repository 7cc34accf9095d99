//! One container's life under its monitor: a run, and after it as many as the restart policy wants.
//! Role monitor.

use std::os::fd::BorrowedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use super::between::{self, Between};
use super::client::Client;
use super::log::now;
use super::protocol::{Event, FailureKind};
use super::relay::Relay;
use super::setup::{self, Refused, Running};
use super::{Order, listen, namespace, refuse, socket_path};
use crate::spec::container::{ContainerState, Status};
use crate::spec::restart::Restarts;
use crate::store::Store;
use crate::store::held::Held;
use crate::sys;
use crate::sys::signal::Signals;

/// The container this process answers for, and its means.
pub struct Life<'a> {
    pub order: &'a Order,
    pub store: &'a Store,
    pub held: &'a Held,
    pub home: BorrowedFd<'a>,
}

/// What goes from one run to the next.
struct Means {
    signals: Signals,
    listener: Option<UnixListener>,
    /// Those who came between two runs.
    clients: Vec<Client>,
}

/// How a run ended.
struct Run {
    state: ContainerState,
    lasted: Duration,
    /// What is left of it; its network goes with it.
    running: Running,
    relay: Relay,
}

impl Life<'_> {
    /// The whole of it; `client` asked for the first run.
    pub fn live(&self, client: UnixStream, signals: Signals) -> sys::Result<()> {
        let mut restarts = Restarts::default();
        let mut running = match setup::start(self.order, self.store, self.held, self.home, 0) {
            Ok(running) => running,
            Err(refused) => {
                self.conclude_failed(*refused, client);
                return Ok(());
            }
        };
        let mut means = Means { signals, listener: listen(self.order), clients: Vec::new() };
        let mut client = Some(client);
        loop {
            let run = self.run(running, means, client.take())?;
            let policy = if run.relay.is_final() || run.running.auto_remove {
                None
            } else {
                // As `update` has it by now.
                self.store.container(&self.order.id).ok().map(|container| container.restart_policy())
            };
            let next = policy.and_then(|policy| restarts.after(policy, run.state.exit_code, run.lasted));
            let Some(wait) = next else {
                self.conclude(run);
                return Ok(());
            };
            let Some(ready) = self.pause(run, wait, &restarts) else { return Ok(()) };
            let last;
            (means, last) = ready;
            running = match setup::start(self.order, self.store, self.held, self.home, restarts.count) {
                Ok(running) => running,
                Err(refused) => {
                    self.conclude_unable(*refused, last, means);
                    return Ok(());
                }
            };
        }
    }

    /// From the program's first moment until it has ended and its output is through.
    fn run(&self, mut running: Running, means: Means, first: Option<UnixStream>) -> sys::Result<Run> {
        let mut relay = Relay::new(running.parts(means.signals, means.listener, self.store, self.order));
        if let Some(client) = first {
            relay.add_client(client, self.order.attached);
        }
        for warning in std::mem::take(&mut running.warnings) {
            relay.tell_all(&Event::Warning(warning));
        }
        running.diary.note("start", &[]);
        relay.tell_all(&Event::Started);
        relay.take_over(means.clients);
        let began = Instant::now();
        let ended = relay.run()?;
        let lasted = began.elapsed();
        let mut state = running.state.clone();
        finish(&mut state, ended.code(), relay.log_failure().unwrap_or_default());
        let seconds = lasted.as_secs().to_string();
        running.diary.note("die", &[("execDuration", seconds), ("exitCode", state.exit_code.to_string())]);
        if relay.was_stopped() {
            running.diary.note("stop", &[]);
        }
        Ok(Run { state, lasted, running, relay })
    }

    /// The last run is over.
    fn conclude(&self, run: Run) {
        let Run { state, running, mut relay, .. } = run;
        if running.auto_remove {
            running.diary.note("destroy", &[]);
        }
        relay.close();
        self.end(running.auto_remove, &state, &mut |code| {
            relay.farewell(&Event::Exited { code });
        });
        // The network devices and the programs that carry them take their time to go.
        drop(running);
    }

    /// Between two runs: what the last one had is put away, then the back-off. The state of the last
    /// run; `None` when somebody wanted no other run, and all is done.
    fn pause(&self, run: Run, wait: Duration, restarts: &Restarts) -> Option<(Means, ContainerState)> {
        let Run { mut state, running, mut relay, .. } = run;
        state.status = Status::Restarting;
        state.restart_count = restarts.count;
        // Nobody is left to hear of a failure but the next reader.
        let _ = self.held.write_state(&state, false);
        relay.farewell(&Event::Exited { code: state.exit_code });
        let (signals, listener) = relay.dissolve();
        drop(running);
        let mut between = Between { signals, listener, clients: Vec::new() };
        let again = between.wait(wait);
        let Between { signals, listener, mut clients } = between;
        if again {
            return Some((Means { signals, listener, clients }, state));
        }
        state.status = Status::Exited;
        drop(listener);
        self.end(false, &state, &mut |code| between::farewell(&mut clients, &Event::Exited { code }));
        None
    }

    /// The order that makes clients see a finished end: first the record (or its removal), then the
    /// word, then what takes time.
    fn end(&self, auto_remove: bool, state: &ContainerState, tell: &mut dyn FnMut(i32)) {
        let _ = std::fs::remove_file(socket_path(&self.order.runtime, &self.order.id));
        if !auto_remove {
            // Nobody is left to hear of a failure but the next reader, who sees that we are gone.
            let _ = self.held.write_state(state, true);
            tell(state.exit_code);
            return;
        }
        let removed = self.store.withdraw_container(self.held);
        tell(state.exit_code);
        if let Ok(removed) = removed {
            // What stays is swept by a later command.
            let _ = removed.delete(namespace(self.order, self.home));
        }
    }

    /// The first run came to nothing.
    fn conclude_failed(&self, refused: Refused, client: UnixStream) {
        let Refused { failure, mut state, auto_remove } = refused;
        // docker keeps a container that never ran as "created".
        state.status = Status::Created;
        state.pid = 0;
        state.exit_code = exit_code(failure.kind);
        state.error = failure.message.clone();
        let mut client = Some(client);
        self.end(auto_remove, &state, &mut |_| {
            if let Some(client) = client.take() {
                refuse(client, &failure);
            }
        });
    }

    /// A later run came to nothing: as docker, that is the end. `last` is the state of the run before.
    fn conclude_unable(&self, refused: Refused, last: ContainerState, means: Means) {
        let mut state = ContainerState { status: Status::Exited, pid: 0, ..last };
        if state.exit_code == 0 {
            state.exit_code = exit_code(refused.failure.kind);
        }
        state.error = refused.failure.message;
        let Means { listener, mut clients, .. } = means;
        drop(listener);
        self.end(false, &state, &mut |code| between::farewell(&mut clients, &Event::Exited { code }));
    }
}

fn exit_code(kind: FailureKind) -> i32 {
    match kind {
        FailureKind::Setup => 128,
        FailureKind::NotExecutable => 126,
        FailureKind::NotFound => 127,
    }
}

fn finish(state: &mut ContainerState, exit_code: i32, error: String) {
    state.status = Status::Exited;
    state.pid = 0;
    state.exit_code = exit_code;
    state.finished_at = now();
    if !error.is_empty() {
        state.error = error;
    }
}
