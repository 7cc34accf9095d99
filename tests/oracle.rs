//! The same command lines for coracle and for a real Docker Engine, and the same answers: output,
//! messages, exit codes. The cases are in `tests/oracle/*.cases`; `tests/harness/cases.rs` says how
//! they are written.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::harness::answers::{Answer, Own, compare};
use crate::harness::cases::{self, Case, Step};
use crate::harness::engine::{Engine, IMAGES, engine};
use crate::harness::machine::User;
use crate::harness::{Env, binary, image};

/// Cases of one area that run at the same time.
const AT_ONCE: usize = 3;

/// coracle's or docker's world: a home and what `docker` is in it.
struct Side {
    env: Env,
}

impl Side {
    /// The program is called `docker` in both worlds.
    fn new(mut env: Env, program: &str) -> Side {
        let programs = env.folder("bin", 0o755);
        std::os::unix::fs::symlink(program, programs.join("docker")).expect("a link");
        let path =
            format!("{}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", programs.display());
        env.set_var("PATH", &path);
        Side { env }
    }

    fn coracle() -> Side {
        let side = Side::new(Env::new(), binary().to_str().expect("a plain path"));
        for (tag, name) in IMAGES {
            let from = image(tag);
            side.shell(
                &format!("docker pull -q {from} && docker tag {from} {name} && docker rmi {from}"),
                None,
            );
        }
        side
    }

    fn docker(engine: &Engine) -> Side {
        let mut side = Side::new(Env::of(User::root()), &engine.client);
        side.env.set_var("DOCKER_HOST", &format!("unix://{}", engine.socket));
        side
    }

    fn folder(&self, case: &Case) -> PathBuf {
        self.env.root.join(&case.mark)
    }

    /// Runs a line of shell, in a case's folder.
    fn shell(&self, script: &str, case: Option<&Case>) -> Answer {
        let folder = case.map_or_else(|| self.env.root.clone(), |case| self.folder(case));
        let script = format!("cd {} && {{ {script}\n}}", folder.display());
        self.env.program("/bin/sh", ["-c", &script]).output().into()
    }

    /// Removes the containers and the names of images that a case gave, by its mark in their tables.
    fn forget(&self, case: &Case) {
        let mark = &case.mark;
        let says = |words: &[&str]| {
            case.steps.iter().any(|step| {
                step.script.contains(mark.as_str()) && words.iter().any(|word| step.script.contains(word))
            })
        };
        if says(&["--name"]) {
            self.shell(&format!("docker ps -a | grep '{mark}' | cut -c1-12 | xargs -r docker rm -f"), None);
        }
        if says(&["docker tag", "docker import"]) {
            let names = format!("docker images | awk '/{mark}/ {{print $1 \":\" $2}}'");
            self.shell(&format!("{names} | xargs -r docker rmi -f"), None);
        }
    }

    /// For another try.
    fn clear(&self, case: &Case) {
        // Root removes everything.
        let _ = std::fs::remove_dir_all(self.folder(case));
    }

    /// What a case says of each compared line; `Err` when its set-up fails.
    fn run(&self, case: &Case) -> Result<Vec<Answer>, String> {
        self.env.folder(&case.mark, 0o755);
        if case.alone {
            self.shell("docker ps -aq | xargs -r docker rm -f", None);
        }
        let mut answers = Vec::new();
        let mut result = Ok(());
        for Step { place, script, compared } in &case.steps {
            let answer = self.shell(script, Some(case));
            if compared.is_some() {
                let folder = self.folder(case);
                let own = Own { folder: folder.to_str().expect("a plain path"), mark: &case.mark };
                answers.push(answer.masked(&own));
            } else if answer.code != 0 {
                result = Err(format!("{place}: set-up fails: {script}\n{answer}"));
                break;
            }
        }
        self.forget(case);
        result.map(|()| answers)
    }
}

/// Runs one case on both sides; what is wrong with it.
fn try_case(case: &Case, coracle: &Side, docker: &Side, exact: bool) -> Vec<String> {
    let (ours, theirs) = std::thread::scope(|scope| {
        let theirs = scope.spawn(|| docker.run(case));
        (coracle.run(case), theirs.join().expect("no panic"))
    });
    let (ours, theirs) = match (ours, theirs) {
        (Ok(ours), Ok(theirs)) => (ours, theirs),
        (Err(fault), _) => return vec![format!("coracle: {fault}")],
        (_, Err(fault)) => return vec![format!("docker: {fault}")],
    };
    let compared = case.steps.iter().filter_map(|step| Some((step, step.compared.as_ref()?)));
    let mut faults = Vec::new();
    for ((step, known), (ours, theirs)) in compared.zip(ours.iter().zip(&theirs)) {
        for fault in compare(ours, theirs, known, exact) {
            faults.push(format!(
                "{}: {fault}: {}\n--- coracle\n{ours}\n--- docker\n{theirs}\n",
                step.place, step.script
            ));
        }
    }
    faults
}

fn area(name: &str, letter: char) {
    let engine = engine();
    let all = cases::read(name, letter);
    let (coracle, docker) = (Side::coracle(), Side::docker(engine));
    let (alone, together): (Vec<&Case>, Vec<&Case>) = all.iter().partition(|case| case.alone);
    let exact = engine.speaks_the_reference();
    let doubtful = Mutex::new(Vec::new());
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(case) = together.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let _turn = engine.turn.read().expect("no case panics");
                    let found = try_case(case, &coracle, &docker, exact);
                    if !found.is_empty() {
                        doubtful.lock().expect("no case panics").push((*case, found));
                    }
                }
            });
        }
    });
    let mut doubtful = doubtful.into_inner().expect("no case panics");
    for case in alone {
        let _turn = engine.turn.write().expect("no case panics");
        let found = try_case(case, &coracle, &docker, exact);
        if !found.is_empty() {
            doubtful.push((case, found));
        }
    }
    // The engine, too, answers by chance where things happen at the same time. What differs once and not
    // again, with nothing else going on, is told, and no fault.
    let mut faults = Vec::new();
    for (case, found) in doubtful {
        let _turn = engine.turn.write().expect("no case panics");
        coracle.clear(case);
        docker.clear(case);
        let again = try_case(case, &coracle, &docker, exact);
        if again.is_empty() {
            let _ = writeln!(std::io::stderr(), "{name}: differed once: {}", found.join("\n"));
        }
        faults.extend(again);
    }
    let compared: usize = all.iter().map(Case::compared).sum();
    // What the test runner captures is not shown of a test that passes; this is.
    let _ = writeln!(
        std::io::stderr(),
        "{name}: {compared} answers compared with Docker Engine {}",
        engine.version
    );
    assert!(faults.is_empty(), "{} faults in {compared} answers\n\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn every_difference_has_its_reason() {
    let reasons = cases::known_differences();
    assert!(reasons.len() > 5, "{reasons:?}");
    for &(name, letter) in AREAS {
        for case in cases::read(name, letter) {
            for step in &case.steps {
                for difference in step.compared.iter().flatten() {
                    let key = &difference.key;
                    assert!(reasons.contains(key), "{}: {key:?} is no known difference", step.place);
                }
            }
        }
    }
}

/// A test for each file of cases, and the letter that keeps its names apart.
macro_rules! areas {
    ($($name:ident $letter:literal)*) => {
        const AREAS: &[(&str, char)] = &[$((stringify!($name), $letter)),*];
        $(
            #[test]
            fn $name() {
                area(stringify!($name), $letter);
            }
        )*
    };
}

areas! {
    attach 'a'
    cp 'b'
    create 'g'
    diff 'c'
    events 'd'
    port 'e'
    top 'v'
    exec 'h'
    images 'i'
    format 'f'
    health 'n'
    inspect 'j'
    lifecycle 'k'
    logs 'l'
    pause 'm'
    nouns 'x'
    prune 'y'
    ps 'p'
    restart 'z'
    run 'r'
    system 's'
    words 'w'
}

#[test]
fn every_file_of_cases_is_run() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle");
    for entry in std::fs::read_dir(folder).expect("the cases") {
        let name = entry.expect("a name").file_name().into_string().expect("a plain name");
        if let Some(area) = name.strip_suffix(".cases") {
            assert!(AREAS.iter().any(|(known, _)| *known == area), "no test names {name}");
        }
    }
}
