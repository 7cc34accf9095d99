//! `events`: what happened and what happens, from the store's log of events. Runs in the client.

use std::time::Duration;

use jiff::Timestamp;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use std::os::fd::AsFd;

use crate::engine::Engine;
use crate::spec::event::Event;
use crate::spec::filter::Filters;
use crate::store;
use crate::store::events::Follower;
use crate::sys;
use crate::sys::error::Context;

#[derive(Debug, Default)]
pub struct Request {
    /// Events of the past from here on; `None`: only new ones.
    pub since: Option<Timestamp>,
    /// When to end; `None`: never.
    pub until: Option<Timestamp>,
    pub filters: Filters,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("`since` time ({since}) cannot be after `until` time ({until})")]
    Backwards { since: i64, until: i64 },
    #[error("cannot wait for events")]
    Wait(#[from] sys::Error),
}

/// Hands every event that is meant to `show`, which says whether to go on.
pub fn events(engine: &Engine, request: &Request, show: &mut dyn FnMut(&Event) -> bool) -> Result<(), Error> {
    if let (Some(since), Some(until)) = (request.since, request.until)
        && since > until
    {
        return Err(Error::Backwards { since: since.as_second(), until: until.as_second() });
    }
    // Watched before it is read: nothing is missed in between.
    let log = engine.store.layout().events();
    let directory = log.parent().unwrap_or(std::path::Path::new("/"));
    let live = request.until.is_none_or(|until| until > Timestamp::now());
    let watch = if live { Some(watch(directory)?) } else { None };
    let (past, follower) = engine.store.events()?;
    if let Some(since) = request.since {
        for event in past.iter().filter(|event| moment(event) >= since) {
            if !offer(event, request, show) {
                return Ok(());
            }
        }
    }
    match watch {
        Some(watch) => follow(&watch, follower, request, show),
        None => Ok(()),
    }
}

fn watch(directory: &std::path::Path) -> sys::Result<Inotify> {
    use std::os::unix::fs::DirBuilderExt;
    // A store that nothing was ever put into.
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.call("mkdir", || format!("{directory:?}"))?;
    let watch =
        Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).call("inotify_init1", String::new)?;
    let flags = AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_FROM;
    watch.add_watch(directory, flags).call("inotify_add_watch", || format!("{directory:?}"))?;
    Ok(watch)
}

fn follow(
    watch: &Inotify,
    mut follower: Follower,
    request: &Request,
    show: &mut dyn FnMut(&Event) -> bool,
) -> Result<(), Error> {
    loop {
        for event in follower.next()? {
            if !offer(&event, request, show) {
                return Ok(());
            }
        }
        let timeout = match request.until {
            None => PollTimeout::NONE,
            Some(until) => {
                let left = until.duration_since(Timestamp::now());
                if left.is_negative() || left.is_zero() {
                    return Ok(());
                }
                let left = Duration::try_from(left).unwrap_or_default() + Duration::from_millis(1);
                PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
            }
        };
        let mut fds = [PollFd::new(watch.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(sys::Error::new("poll", "inotify", errno).into()),
        }
        // What it says does not matter, only that something changed.
        while watch.read_events().is_ok_and(|events| !events.is_empty()) {}
    }
}

fn offer(event: &Event, request: &Request, show: &mut dyn FnMut(&Event) -> bool) -> bool {
    if request.until.is_some_and(|until| moment(event) > until) {
        return true;
    }
    !event.matches(&request.filters) || show(event)
}

fn moment(event: &Event) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(event.time_nano)).unwrap_or(Timestamp::UNIX_EPOCH)
}
