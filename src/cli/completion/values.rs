//! What may stand after a flag.

use super::candidates::{Answer, Candidate, containers, images, networks};
use super::world::World;
use crate::cli::args::Verb;
use crate::cli::volume;
use crate::engine::{container, image, network};
use crate::security::caps::CapabilitySet;
use crate::spec::{event, signal};

/// The values of `flag` (its long name) of a verb that begin with `current`.
pub fn of_flag(verb: &Verb, flag: &str, current: &str, world: &dyn World) -> Answer {
    match flag {
        "filter" => filter(verb, current, world),
        "env" => Answer::words(world.variables()),
        "network" => Answer::of(networks(world)),
        "env-file" | "cidfile" | "volume" => Answer::files(),
        "signal" | "stop-signal" => Answer::words((1..=64).filter_map(signal::name)),
        "cap-add" | "cap-drop" => {
            Answer::words(std::iter::once("ALL").chain(CapabilitySet::ALL.names()).map(str::to_owned))
        }
        "log-opt" => Answer::heads(&["env=", "labels=", "max-file=", "max-size=", "mode=", "tag="]),
        "security-opt" => match current.strip_prefix("seccomp=") {
            None => Answer::heads(&["no-new-privileges", "seccomp="]),
            Some(_) => Answer::words(["seccomp=unconfined".to_owned()]),
        },
        flag => Answer::words(plain(flag).iter().map(|word| (*word).to_owned())),
    }
}

/// Those that are the same for every verb and need no look at anything.
fn plain(flag: &str) -> &'static [&'static str] {
    match flag {
        "pull" => &["always", "missing", "never"],
        "log-driver" => &["json-file", "journald", "none"],
        "restart" => &["always", "no", "on-failure", "unless-stopped"],
        "type" => &["container", "image", "network", "volume"],
        "format" => &["json", "table"],
        "platform" => &[
            "linux/386",
            "linux/amd64",
            "linux/arm/v6",
            "linux/arm/v7",
            "linux/arm64",
            "linux/ppc64le",
            "linux/riscv64",
            "linux/s390x",
        ],
        "condition" => {
            &["created", "exited", "next-exit", "not-running", "paused", "removed", "restarting", "running"]
        }
        _ => &[],
    }
}

/// `KEY=`, then what that key takes.
fn filter(verb: &Verb, current: &str, world: &dyn World) -> Answer {
    let Some((key, _)) = current.split_once('=') else {
        let keys: Vec<String> = keys(verb).iter().map(|key| format!("{key}=")).collect();
        return Answer::heads(&keys.iter().map(String::as_str).collect::<Vec<_>>());
    };
    let events = verb.forms.contains(&"events");
    let found: Vec<Candidate> = match key {
        "name" | "container" | "before" | "since" if !verb.forms.contains(&"images") => {
            containers(world, |_| true)
        }
        "before" | "since" | "ancestor" | "image" | "reference" => images(world),
        "network" => networks(world),
        "dangling" | "is-task" => words(&["false", "true"]),
        "status" => words(&container::filter::STATUSES),
        "health" => words(&["healthy", "none", "starting", "unhealthy"]),
        "type" if events => words(&["container", "image"]),
        "type" => words(&["builtin", "custom"]),
        "event" => words(&EVENTS),
        "scope" => words(&["local"]),
        _ => Vec::new(),
    };
    let found = found.into_iter().map(|found| found.after(&format!("{key}=")));
    Answer::of(found.collect())
}

/// What `events` may tell of, as far as it happens here.
const EVENTS: [&str; 26] = [
    "attach",
    "copy",
    "create",
    "delete",
    "destroy",
    "detach",
    "die",
    "exec_create",
    "exec_die",
    "exec_start",
    "health_status",
    "import",
    "kill",
    "pause",
    "prune",
    "pull",
    "rename",
    "resize",
    "restart",
    "start",
    "stop",
    "tag",
    "top",
    "unpause",
    "untag",
    "update",
];

fn words(words: &[&str]) -> Vec<Candidate> {
    words.iter().map(|word| Candidate::word(*word)).collect()
}

fn keys(verb: &Verb) -> &'static [&'static str] {
    match verb.forms.last() {
        Some(&"ps") => &container::filter::KEYS,
        Some(&"images") => &image::filter::KEYS,
        Some(&"events") => &event::KEYS,
        Some(&"container prune") => &container::prune::KEYS,
        Some(&"network list") => &network::list::KEYS,
        Some(&"volume list") => &volume::ls::KEYS,
        _ => &[],
    }
}
