//! `top`: what the host's ps says about the processes of a container.

use std::process::Command;

use super::files::{self, Files};
use crate::engine::Engine;
use crate::spec::container::Status;
use crate::store::containers;
use crate::store::events::of_container;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Containers(#[from] containers::Error),
    #[error("container {0} is not running")]
    NotRunning(String),
    #[error("Container {0} is restarting, wait until the container is running")]
    Restarting(String),
    #[error(transparent)]
    Files(#[from] files::Error),
    #[error("cannot run ps; it is in the package procps")]
    Start(#[source] std::io::Error),
    #[error("ps: {0}")]
    Ps(String),
    #[error("specifying \"{0}\" is not allowed")]
    Renamed(String),
    #[error("Couldn't find PID field in ps output")]
    NoPid,
    #[error("ps shows {0:?} where a pid should be")]
    BadPid(String),
}

/// ps's titles, and one row for each process.
#[derive(Debug, PartialEq, Eq)]
pub struct Processes {
    pub titles: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

/// Runs ps with docker's default, or the given options.
pub fn top(engine: &Engine, key: &str, options: &[String]) -> Result<Processes, Error> {
    let container = engine.store.find_container(key)?;
    if !container.is_running() {
        return Err(Error::NotRunning(container.record.id.to_string()));
    }
    if container.state.status == Status::Restarting {
        return Err(Error::Restarting(container.record.id.to_string()));
    }
    let line = if options.is_empty() { "-ef".to_owned() } else { options.join(" ") };
    check_options(&line)?;
    let pids = Files::at_home(engine, &container, key)?.processes(container.state.pid)?;
    if pids.is_empty() {
        return Err(Error::NotRunning(container.record.id.to_string()));
    }
    engine.store.note(&of_container(&container, "top", &[]));
    let program = engine.config.find_program("ps").unwrap_or_else(|| "ps".into());
    let words: Vec<&str> = line.split(' ').filter(|word| !word.is_empty()).collect();
    let list: Vec<String> = pids.iter().map(i32::to_string).collect();
    let run = |extra: Option<String>| {
        Command::new(&program).args(&words).args(extra).output().map_err(Error::Start)
    };
    let mut output = run(Some(format!("-q{}", list.join(","))))?;
    if !output.status.success() {
        // Some options cannot stand beside a list of pids.
        output = run(None)?;
    }
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(Error::Ps(said.lines().next().unwrap_or("it failed and said nothing").to_owned()));
    }
    parse(&String::from_utf8_lossy(&output.stdout), &pids)
}

/// A column that is called PID but is none would be taken for it.
fn check_options(line: &str) -> Result<(), Error> {
    for (at, _) in line.match_indices('=') {
        let name = line[..at].rsplit([' ', '\t', ',']).next().unwrap_or_default();
        let title = line[at + 1..].trim_start();
        let before = at > name.len();
        if before && title.starts_with("PID") && name != "pid" {
            let title = title.split([' ', '\t']).next().unwrap_or(title);
            return Err(Error::Renamed(format!("{name}={title}")));
        }
    }
    Ok(())
}

/// ps's table with the rows of these processes; a thread's row follows its process's.
fn parse(text: &str, pids: &[i32]) -> Result<Processes, Error> {
    let mut lines = text.lines();
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<String>>();
    let titles = words(lines.next().unwrap_or_default());
    let column = titles.iter().position(|title| title == "PID").ok_or(Error::NoPid)?;
    let mut rows = Vec::new();
    let mut shown = false;
    for line in lines.filter(|line| !line.is_empty()) {
        let mut fields = words(line);
        let Some(pid) = fields.get(column) else { continue };
        // A line of a thread has `-` for the pid.
        shown = match pid.as_str() {
            "-" => shown,
            pid => pids.contains(&pid.parse::<i32>().map_err(|_| Error::BadPid(pid.to_owned()))?),
        };
        if !shown {
            continue;
        }
        // The last column may hold spaces.
        let rest = fields.split_off(fields.len().min(titles.len() - 1));
        fields.push(rest.join(" "));
        rows.push(fields);
    }
    Ok(Processes { titles, rows })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_the_container() {
        let text = "UID  PID CMD\nroot  1 init\n100 42 sleep  1000 x\n100 - a thread\nroot 43 other\n";
        let found = parse(text, &[42]).expect("parsed");
        assert_eq!(found.titles, ["UID", "PID", "CMD"]);
        assert_eq!(found.rows, [["100", "42", "sleep 1000 x"], ["100", "-", "a thread"]]);
    }

    #[test]
    fn a_table_without_pids() {
        assert!(matches!(parse("CMD\nx\n", &[1]), Err(Error::NoPid)));
        assert!(matches!(parse("CMD PID\nx y\n", &[1]), Err(Error::BadPid(_))));
    }

    #[test]
    fn columns_may_not_pose_as_pid() {
        assert!(check_options("-o pid=PID,comm").is_ok());
        assert!(check_options("aux").is_ok());
        let told = check_options("-o comm=PID").expect_err("refused").to_string();
        assert_eq!(told, "specifying \"comm=PID\" is not allowed");
    }
}
