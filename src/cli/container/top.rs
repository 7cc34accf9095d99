//! `coracle top`: what the host's ps says about the processes of a container.

use std::process::ExitCode;

use crate::cli::args::{Arity, Verb};
use crate::cli::error::CommandError;
use crate::cli::{Command, Context};
use crate::engine::container::top::top;

#[derive(Debug, clap::Args)]
pub struct Args {}

/// docker's columns: at least twenty wide, and three wider than what is in them.
const LEAST_WIDTH: usize = 20;
const GAP: usize = 3;

impl Command for Args {
    const VERB: Verb = Verb {
        forms: &["container top", "top"],
        about: "Display the running processes of a container",
        usage: "CONTAINER [ps OPTIONS]",
        arity: Arity::AtLeast(1),
        flags_first: true,
        ..Verb::PLAIN
    };

    fn run(self, words: Vec<String>, context: &Context) -> Result<ExitCode, CommandError> {
        let Args {} = self;
        let found = top(context.engine()?, &words[0], &words[1..]).map_err(CommandError::failure)?;
        let rows: Vec<Vec<String>> = std::iter::once(found.titles).chain(found.rows).collect();
        context.ui.print(&table(&rows))?;
        Ok(ExitCode::SUCCESS)
    }
}

fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count() + GAP).max().unwrap_or(0).max(LEAST_WIDTH)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        for (i, cell) in row.iter().enumerate() {
            match i + 1 == row.len() {
                true => text.push_str(cell),
                false => text.push_str(&format!("{cell:<width$}", width = widths[i])),
            }
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_dockers() {
        let rows = [["UID", "PID", "CMD"], ["root", "23686", "sleep 10000"]];
        let rows: Vec<Vec<String>> =
            rows.iter().map(|row| row.iter().map(|&cell| cell.to_owned()).collect()).collect();
        let expected = "UID                 PID                 CMD\n\
                        root                23686               sleep 10000\n";
        assert_eq!(table(&rows), expected);
    }
}
