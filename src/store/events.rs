//! The log of events: one JSON object a line, appended by whoever did something, read by `events`.
//!
//! Nobody waits for it and nothing depends on it. Two files are kept, so that it does not grow.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use super::containers::Container;
use super::{Error, IoContext, Store};
use crate::spec::container::ImageUse;
use crate::spec::event::{Event, Kind};

/// Bytes after which a new file is begun.
const FILE_MAX: u64 = 1 << 20;

impl Store {
    /// Writes an event down. A failure is nobody's: what happened has happened.
    pub fn note(&self, event: &Event) {
        let _ = append(&self.layout.events(), event);
    }

    /// The open log, for a process that will soon not find it any more; `None` where it cannot be had.
    pub fn event_writer(&self) -> Option<EventWriter> {
        open_to_append(&self.layout.events()).ok().map(EventWriter)
    }

    /// The events that are kept, the oldest first; `follow` then reads what comes.
    pub fn events(&self) -> Result<(Vec<Event>, Follower), Error> {
        let path = self.layout.events();
        let mut events = Vec::new();
        if let Ok(older) = File::open(previous(&path)) {
            read(&mut BufReader::new(older), &mut String::new(), &mut events);
        }
        let mut follower = Follower { path, file: None, partial: String::new() };
        events.extend(follower.next()?);
        Ok((events, follower))
    }
}

/// An event of a container that is still to happen: all that is known of it before.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Pending {
    id: String,
    action: String,
    attributes: BTreeMap<String, String>,
}

impl Pending {
    pub fn new(container: &Container, action: &str, extra: &[(&str, String)]) -> Pending {
        let event = of_container(container, action, extra);
        Pending { id: event.id, action: event.action, attributes: event.actor.attributes }
    }

    /// The event, just now, with what is known in addition.
    pub fn with(&self, extra: &[(&str, String)]) -> Event {
        let mut attributes = self.attributes.clone();
        attributes.extend(extra.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
        Event::new(Kind::Container, self.action.clone(), self.id.clone(), attributes, now())
    }
}

/// What happened to a container just now. Its labels are among the attributes, as docker's are.
pub fn of_container(container: &Container, action: impl Into<String>, extra: &[(&str, String)]) -> Event {
    let record = &container.record;
    let mut attributes = record.options.labels.clone();
    let image = match &record.image {
        ImageUse::Stored { reference, .. } => reference.as_str(),
        ImageUse::Host => "host",
    };
    attributes.insert("image".to_owned(), image.to_owned());
    attributes.insert("name".to_owned(), container.name.clone());
    attributes.extend(extra.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
    Event::new(Kind::Container, action, record.id.as_str(), attributes, now())
}

/// Containers were removed together just now.
pub fn of_prune(attributes: BTreeMap<String, String>) -> Event {
    Event::new(Kind::Container, "prune", "", attributes, now())
}

/// What happened to an image just now; `name` is its reference, or its id where it has none.
pub fn of_image(id: &str, name: &str, action: &str) -> Event {
    let attributes = BTreeMap::from([("name".to_owned(), name.to_owned())]);
    Event::new(Kind::Image, action, id, attributes, now())
}

/// Nanoseconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// The log, wherever this process has gone.
#[derive(Debug)]
pub struct EventWriter(File);

impl EventWriter {
    /// Writes an event down, as [`Store::note`] does.
    pub fn note(&mut self, event: &Event) {
        let _ = line(event).and_then(|line| self.0.write_all(&line));
    }
}

/// Where a reader of the log is.
#[derive(Debug)]
pub struct Follower {
    path: PathBuf,
    file: Option<BufReader<File>>,
    /// A line whose end was not written yet.
    partial: String,
}

impl Follower {
    /// What was written since the last call.
    pub fn next(&mut self) -> Result<Vec<Event>, Error> {
        let mut events = Vec::new();
        if let Some(file) = &mut self.file {
            read(file, &mut self.partial, &mut events);
        }
        if self.is_replaced()? {
            // The old file is complete now: what came between is read before the new one.
            if let Some(file) = &mut self.file {
                read(file, &mut self.partial, &mut events);
            }
            self.partial.clear();
            self.file = open(&self.path)?.map(BufReader::new);
            if let Some(file) = &mut self.file {
                read(file, &mut self.partial, &mut events);
            }
        }
        Ok(events)
    }

    fn is_replaced(&self) -> Result<bool, Error> {
        let Some(file) = &self.file else { return Ok(true) };
        let ours = file.get_ref().metadata().at("look at", &self.path)?;
        Ok(match std::fs::metadata(&self.path) {
            Ok(there) => (there.dev(), there.ino()) != (ours.dev(), ours.ino()),
            Err(_) => false,
        })
    }
}

fn open(path: &Path) -> Result<Option<File>, Error> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("open", path, error)),
    }
}

/// Reads whole lines. Those that are no events, of a crash or a newer coracle, are passed over.
fn read(file: &mut BufReader<File>, partial: &mut String, events: &mut Vec<Event>) {
    let mut bytes = Vec::new();
    while file.read_until(b'\n', &mut bytes).is_ok_and(|count| count > 0) {
        partial.push_str(&String::from_utf8_lossy(&bytes));
        bytes.clear();
        if partial.ends_with('\n') {
            events.extend(serde_json::from_str::<Event>(partial));
            partial.clear();
        }
    }
}

fn previous(path: &Path) -> PathBuf {
    path.with_extension("log.1")
}

fn line(event: &Event) -> std::io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(event)?;
    line.push(b'\n');
    Ok(line)
}

fn open_to_append(path: &Path) -> std::io::Result<File> {
    let open = || OpenOptions::new().append(true).create(true).mode(0o600).open(path);
    match open() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let directory = path.parent().unwrap_or(Path::new("/"));
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
            open()
        }
        result => result,
    }
}

fn append(path: &Path, event: &Event) -> std::io::Result<()> {
    let mut file = open_to_append(path)?;
    // One write of a file opened to append: lines of several processes do not mix.
    file.write_all(&line(event)?)?;
    if file.stream_position()? > FILE_MAX {
        begin_anew(path, file)?;
    }
    Ok(())
}

/// Puts a full file aside, unless another process just did.
fn begin_anew(path: &Path, file: File) -> std::io::Result<()> {
    let inode = file.metadata()?.ino();
    let _lock = Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno)?;
    if std::fs::metadata(path)?.ino() == inode {
        std::fs::rename(path, previous(path))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(number: usize) -> Event {
        Event::new(Kind::Container, "start", format!("{number:064}"), BTreeMap::new(), number as i64)
    }

    #[test]
    fn events_are_read_in_order_and_followed_over_a_new_file() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path().join("store"));
        let (none, mut follower) = store.events().unwrap();
        assert!(none.is_empty());
        let many = usize::try_from(FILE_MAX / 200).unwrap() + 100;
        let mut followed = Vec::new();
        for number in 0..many {
            store.note(&event(number));
            if number % 500 == 0 {
                followed.extend(follower.next().unwrap());
            }
        }
        followed.extend(follower.next().unwrap());
        let numbers = |events: &[Event]| events.iter().map(|e| e.time_nano as usize).collect::<Vec<_>>();
        assert_eq!(numbers(&followed), (0..many).collect::<Vec<_>>());
        assert!(previous(&store.layout.events()).exists());
        let (all, _) = store.events().unwrap();
        assert_eq!(numbers(&all), (0..many).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_no_event_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path().to_owned());
        store.note(&event(1));
        let path = store.layout.events();
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"{\"torn\n\xff\xfe\n").unwrap();
        store.note(&event(2));
        assert_eq!(store.events().unwrap().0, [event(1), event(2)]);
    }
}
