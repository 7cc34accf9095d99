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
    let mut failed = false;
    for group in names.chunks(AT_ONCE) {
        let results: Vec<_> = match group {
            [name] => vec![work(name)],
            _ => std::thread::scope(|scope| {
                let threads: Vec<_> = group.iter().map(|name| scope.spawn(|| work(name))).collect();
                threads
                    .into_iter()
                    .map(|t| t.join().unwrap_or_else(|p| std::panic::resume_unwind(p)))
                    .collect()
            }),
        };
        for (name, result) in group.iter().zip(results) {
            match result {
                Ok(true) => ui.line(name)?,
                Ok(false) => {}
                Err(error) => {
                    ui.message(&format!("coracle: {}", error.message()));
                    failed = true;
                }
            }
        }
    }
    if failed { Err(CommandError::reported(1)) } else { Ok(ExitCode::SUCCESS) }
}
