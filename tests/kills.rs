//! Kill -9 at random moments: of the client, the monitor and what it started, the container's own process, workers.
//! Afterwards nothing is left over, no name is stuck, no exit status that was known is lost, and every
//! container can be listed, started and removed.
//!
//! The seed is printed; `CORACLE_TEST_SEED` repeats one. What the processes did meanwhile is the machine's.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::signal::Signal;

use crate::harness::invocation::Running;
use crate::harness::{Env, binary, eventually, free_port, machine};

/// Kills in each of the four tests.
const KILLS: usize = 50;
/// How long a process may take to be gone.
const LATE: Duration = Duration::from_secs(10);

/// What the container does: it ends with 7 when it is asked to.
const SERVE: &str = "trap 'exit 7' TERM; echo up; while :; do sleep 0.02; done";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Client,
    Monitor,
    /// A fork of the monitor: the step, init before it is the program, the port forwarder.
    Helper,
    Network,
    Container,
    /// Of `exec`, `cp` and removing.
    Worker,
}

const VICTIMS: [Victim; 6] =
    [Victim::Client, Victim::Monitor, Victim::Helper, Victim::Network, Victim::Container, Victim::Worker];

/// xorshift64*.
struct Chance(u64);

impl Chance {
    fn new(test: u64) -> Chance {
        let clock =
            || SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").subsec_nanos().into();
        let given = std::env::var("CORACLE_TEST_SEED").ok();
        let seed: u64 = given.map_or_else(clock, |text| text.parse().expect("CORACLE_TEST_SEED is a number"));
        eprintln!("CORACLE_TEST_SEED={seed}");
        Chance((seed ^ (test + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)) | 1)
    }

    /// 0 to `end` - 1.
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33).expect("31 bits") % end
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

/// What a process of the test's user is; `None` for home and what is neither his nor the container's.
fn role(pid: i32) -> Option<Victim> {
    let word = |pid: i32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let mut words = line.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned());
        (words.next().unwrap_or_default(), words.next().unwrap_or_default())
    };
    let (program, first) = word(pid);
    let parent = || {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()?;
        Some(word(line).1)
    };
    match first.as_str() {
        "__home" => None,
        "__monitor" if parent().as_deref() == Some("__monitor") => Some(Victim::Helper),
        "__monitor" => Some(Victim::Monitor),
        "__exec-session" | "__files" | "__id-worker" => Some(Victim::Worker),
        _ if program.contains("slirp4netns") || program.contains("pasta") => Some(Victim::Network),
        _ if parent().as_deref() == Some("__monitor") => Some(Victim::Container),
        _ => None,
    }
}

/// One command, one kill, and what must hold then.
struct Round<'a> {
    env: &'a Env,
    chance: &'a mut Chance,
    /// Options for `run` and `create`: with or without a port and its network.
    options: Vec<String>,
}

impl Round<'_> {
    fn run_words<'b>(&'b self, first: &[&'b str], script: &'b str) -> Vec<&'b str> {
        let mut words = first.to_vec();
        words.extend(["--name", "c1"]);
        words.extend(self.options.iter().map(String::as_str));
        words.extend(["tiny", "sh", "-c", script]);
        words
    }

    fn running(&self) {
        self.env.coracle(self.run_words(&["run", "-d"], SERVE)).success();
        self.env.wait_for_log("c1", "up");
    }

    fn exited(&self) {
        self.env.coracle(self.run_words(&["run"], "exit 7")).code(7);
    }

    /// Kills one process while `client` is at it: of a random kind among those that are there.
    fn kill(&mut self, client: &Running) -> Victim {
        std::thread::sleep(Duration::from_micros(self.chance.below(40_000) as u64));
        let mut found: Vec<(Victim, i32)> =
            self.env.processes().into_iter().filter_map(|pid| Some((role(pid)?, pid))).collect();
        found.push((Victim::Client, client.pid()));
        let kinds: Vec<Victim> =
            VICTIMS.into_iter().filter(|kind| found.iter().any(|(role, _)| role == kind)).collect();
        let kind = self.chance.one_of(&kinds);
        found.retain(|(role, _)| *role == kind);
        machine::kill(self.chance.one_of(&found).1, Signal::SIGKILL);
        kind
    }

    /// A command in the course of which something is killed. What the client said at its end, and who was killed.
    fn disturbed(&mut self, words: &[&str]) -> (Option<i32>, Victim) {
        let mut client = self.env.command(words).spawn();
        let killed = self.kill(&client);
        // One that follows a container that runs on does not end by itself.
        let ended = eventually(Duration::from_millis(300), || client.ended());
        if !ended {
            client.signal(Signal::SIGKILL);
        }
        let (_, stderr, code) = client.finish().parts();
        assert!(!stderr.contains("panicked"), "{words:?}: {stderr}");
        ((ended && killed != Victim::Client).then_some(code), killed)
    }

    /// `created`, `running`, or `exited` with the status; `None`: there is none.
    fn state(&self) -> Option<(String, i64)> {
        let listed = self.env.coracle(["ps", "-a", "--format", "{{.Names}}"]).success();
        if !listed.stdout().lines().any(|name| name == "c1") {
            return None;
        }
        let format = "{{.State.Status}} {{.State.ExitCode}}";
        let said = self.env.coracle(["inspect", "-f", format, "c1"]).success();
        let (status, code) = said.stdout().trim().split_once(' ').expect("two words");
        Some((status.to_owned(), code.parse().expect("a number")))
    }

    /// A container that is asked to end by itself, whoever else was killed.
    fn ends(&self) -> Option<i64> {
        let state = self.state()?;
        if state.0 == "running" {
            self.env.coracle(["stop", "-t", "20", "c1"]).success();
        }
        self.state().filter(|(status, _)| status == "exited").map(|(_, code)| code)
    }

    fn one(&mut self) -> Victim {
        let what = self.chance.below(12);
        let (said, killed, told) = match what {
            // Begun.
            0 | 1 => {
                let script = "sleep 0.02; exit 7";
                let words: Vec<String> =
                    self.run_words(&["run"], script).into_iter().map(str::to_owned).collect();
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                let (said, killed) = self.disturbed(&words);
                let over = || self.state().is_none_or(|(status, _)| status != "running");
                assert!(eventually(LATE, over), "the container does not end");
                let state = self.state().filter(|(status, _)| status == "exited");
                (said, killed, state.map(|(_, code)| code))
            }
            2 => {
                let words: Vec<String> =
                    self.run_words(&["run", "-d"], SERVE).into_iter().map(str::to_owned).collect();
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                let (_, killed) = self.disturbed(&words);
                if self.state().is_some_and(|(status, _)| status == "running") {
                    self.env.wait_for_log("c1", "up");
                }
                (None, killed, self.ends())
            }
            3 => {
                self.exited();
                let (said, killed) = self.disturbed(&["start", "-a", "c1"]);
                (said, killed, self.ends())
            }
            // What does not run keeps how it ended.
            4 => {
                self.exited();
                let words: &[&str] = match self.chance.below(4) {
                    0 => &["rm", "c1"],
                    1 => &["cp", "c1:/bin", "out"],
                    2 => &["cp", "tree", "c1:/"],
                    _ => &["logs", "c1"],
                };
                let (_, killed) = self.disturbed(words);
                if let Some(state) = self.state() {
                    assert_eq!(state, ("exited".to_owned(), 7), "{words:?}, {killed:?} killed");
                }
                (None, killed, None)
            }
            5 | 6 => {
                self.running();
                let words: &[&str] =
                    if what == 5 { &["stop", "-t", "20", "c1"] } else { &["restart", "-t", "20", "c1"] };
                let (_, killed) = self.disturbed(words);
                if self.state().is_some_and(|(status, _)| status == "running") {
                    // Begun anew, it may have yet to say what it does when it is asked to end.
                    let said = || self.env.coracle(["logs", "c1"]).parts().0.matches("up").count();
                    eventually(Duration::from_secs(1), || what == 5 || said() > 1);
                }
                (None, killed, self.ends())
            }
            7 => {
                self.running();
                let (_, killed) = self.disturbed(&["rm", "-f", "c1"]);
                (None, killed, None)
            }
            _ => {
                self.running();
                let words: &[&str] = match what {
                    8 => &["exec", "c1", "sh", "-c", "sleep 0.03; exit 3"],
                    9 => &["logs", "-f", "c1"],
                    10 => &["attach", "c1"],
                    _ => &["cp", "c1:/bin", "out"],
                };
                let (_, killed) = self.disturbed(words);
                if matches!(killed, Victim::Client | Victim::Worker | Victim::Network) {
                    assert_eq!(self.env.status("c1"), "running", "{words:?}, {killed:?} killed");
                }
                (None, killed, self.ends())
            }
        };
        let fine: &[i64] = match killed {
            Victim::Client | Victim::Worker | Victim::Network => &[7],
            Victim::Container => &[7, 137],
            _ => &[7, 137, 255, 128, 127, 126],
        };
        let start_failed = what <= 3 && killed == Victim::Network;
        if let Some(code) = told.filter(|_| !start_failed) {
            assert!(fine.contains(&code), "ended with {code}, {killed:?} killed");
            // What a client was told is what is written down; 125 and 1 are of a start that failed.
            let same = said.is_none_or(|said| [125, 1].contains(&said) || i64::from(said) == code);
            assert!(same, "{said:?}, not {code}; {killed:?} killed");
        }
        killed
    }

    /// Whatever became of it: it starts, it goes, and its name is free.
    fn usable(&self) {
        let coracle = binary().display();
        let script = format!(
            "set -e; d={coracle}; if $d inspect c1 >/dev/null 2>&1; then $d start c1; $d ps -a; $d rm -f c1; fi; \
             $d create --name c1 tiny true; $d rm c1; [ -z \"$($d ps -aq)\" ]"
        );
        self.env.program("/bin/sh", ["-c", &script]).output().success();
        let left = || self.env.processes().into_iter().filter(|pid| !machine::is_home(*pid));
        let gone = eventually(LATE, || left().count() == 0);
        let told: Vec<String> = left().map(machine::describe).collect();
        assert!(gone, "left over: {told:#?}");
        let mounts = machine::mounts_below(&self.env.root);
        assert!(mounts.is_empty(), "left over: {mounts:?}");
    }
}

fn kills(test: u64) {
    let mut chance = Chance::new(test);
    let env = Env::with_tiny();
    let tree = env.folder("tree", 0o755);
    for number in 0..40 {
        std::fs::write(tree.join(format!("f{number}")), vec![7; 100_000]).unwrap();
    }
    env.folder("out", 0o755);
    let mut killed = [0; VICTIMS.len()];
    for _ in 0..KILLS {
        let port = format!("127.0.0.1:{}:80", free_port());
        let options = match chance.below(3) {
            0 => vec!["-p".to_owned(), port],
            _ => vec!["--network".to_owned(), "none".to_owned()],
        };
        let mut round = Round { env: &env, chance: &mut chance, options };
        killed[round.one() as usize] += 1;
        round.usable();
    }
    eprintln!("killed: {VICTIMS:?} {killed:?}");
    // What a killed `rm` leaves is taken by the next command that changes images.
    env.coracle(["tag", "tiny", "other"]).success();
    env.coracle(["rmi", "other"]).success();
    for part in ["staging", "names", "containers"] {
        let left = || env.listing(&env.store().join(part));
        assert!(eventually(LATE, || left().is_empty()), "{part}: {:?}", left());
    }
}

#[test]
fn first() {
    kills(0);
}

#[test]
fn second() {
    kills(1);
}

#[test]
fn third() {
    kills(2);
}

#[test]
fn fourth() {
    kills(3);
}
