//! Verbs that take several names: all are tried, each success is printed as it was typed and in
//! that order, each failure goes to stderr, and one failure is enough for exit code 1.

use std::process::ExitCode;

use super::error::CommandError;
use super::ui::Ui;

/// As many at a time as docker does.
const AT_ONCE: usize = 50;

/// Does `work` for every name, side by side; `Ok(false)` says that there is nothing to print.
pub fn each(
    ui: &Ui,
    names: &[String],
    work: impl Fn(&str) -> Result<bool, CommandError> + Sync,
) -> Result<ExitCode, CommandError> {
    let failed = each_of(ui, names, work)?;
    if failed.is_empty() { Ok(ExitCode::SUCCESS) } else { Err(CommandError::reported(1)) }
}

/// The same; returns the names that failed.
pub fn each_of(
    ui: &Ui,
    names: &[String],
    work: impl Fn(&str) -> Result<bool, CommandError> + Sync,
) -> Result<Vec<String>, CommandError> {
    let mut failed = Vec::new();
    for group in names.chunks(AT_ONCE) {
        for (name, result) in group.iter().zip(side_by_side(group, &work)) {
            match result {
                Ok(true) => ui.line(name)?,
                Ok(false) => {}
                Err(error) => {
                    ui.message(&format!("coracle: {}", error.message()));
                    failed.push(name.clone());
                }
            }
        }
    }
    Ok(failed)
}

/// The results in the order of the names. A single name needs no thread.
fn side_by_side<T: Send>(names: &[String], work: &(impl Fn(&str) -> T + Sync)) -> Vec<T> {
    if let [name] = names {
        return vec![work(name)];
    }
    std::thread::scope(|scope| {
        let threads: Vec<_> = names.iter().map(|name| scope.spawn(|| work(name))).collect();
        threads.into_iter().map(|t| t.join().unwrap_or_else(|p| std::panic::resume_unwind(p))).collect()
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn all_run_at_once_and_answer_in_order() {
        let names = ["a", "b", "c"].map(str::to_owned);
        // One after the other, the first would wait forever.
        let barrier = Barrier::new(names.len());
        let results = side_by_side(&names, &|name: &str| {
            barrier.wait();
            name.to_uppercase()
        });
        assert_eq!(results, ["A", "B", "C"]);
    }

    #[test]
    fn one_failure_is_enough_and_the_others_are_tried() {
        let tried = std::sync::Mutex::new(Vec::new());
        let names = ["a", "b"].map(str::to_owned);
        let result = each(&Ui, &names, |name| {
            tried.lock().unwrap().push(name.to_owned());
            if name == "a" { Err(CommandError::failure_text("no")) } else { Ok(false) }
        });
        assert_eq!(result.unwrap_err().exit_code(&super::super::args::Verb::PLAIN), 1);
        let mut tried = tried.into_inner().unwrap();
        tried.sort();
        assert_eq!(tried, names);
    }
}
