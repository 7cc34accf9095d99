//! The only place that prints: results on stdout, everything else on stderr. Runs in the client.

use std::io::{self, BufRead, Write};

use super::error::CommandError;

/// Standard output, as a place for a command's results.
///
/// A reader that went away is not an error worth a message: see [`CommandError::output`].
pub struct Ui;

impl Ui {
    /// Prints results as they are.
    pub fn print(&self, text: &str) -> Result<(), CommandError> {
        self.print_bytes(text.as_bytes())
    }

    /// Prints one line of results.
    pub fn line(&self, text: &str) -> Result<(), CommandError> {
        let mut line = String::with_capacity(text.len() + 1);
        line.push_str(text);
        line.push('\n');
        self.print(&line)
    }

    pub fn print_bytes(&self, bytes: &[u8]) -> Result<(), CommandError> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(CommandError::output)
    }

    /// Asks before something is lost. Only `y` is a yes, as in docker.
    pub fn confirmed(&self, question: &str) -> Result<bool, CommandError> {
        self.print(&format!("{question} [y/N] "))?;
        let mut answer = String::new();
        // Who cannot be asked has not agreed.
        let read = io::stdin().lock().read_line(&mut answer).is_ok();
        Ok(read && answer.trim().eq_ignore_ascii_case("y"))
    }

    /// One message for the user on stderr. There is nobody to tell when that fails.
    pub fn message(&self, text: &str) {
        let _ = writeln!(io::stderr().lock(), "{text}");
    }

    /// A warning: the command goes on.
    pub fn warning(&self, text: &str) {
        self.message(&format!("WARNING: {text}"));
    }
}

/// Rows of cells under a heading, laid out as docker's tables: every column but the last is at
/// least ten wide and three wider than its longest cell.
pub struct Table {
    rows: Vec<Vec<String>>,
}

const LEAST_WIDTH: usize = 10;
const GAP: usize = 3;

impl Table {
    pub fn new(heading: &[&str]) -> Table {
        Table { rows: vec![heading.iter().map(|&cell| cell.to_owned()).collect()] }
    }

    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    pub fn render(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count() + GAP).max().unwrap_or(0).max(LEAST_WIDTH)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            for (i, cell) in row.iter().enumerate() {
                text.push_str(cell);
                if i + 1 < row.len() {
                    let fill = widths[i] - cell.chars().count();
                    text.extend(std::iter::repeat_n(' ', fill));
                }
            }
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_laid_out_as_docker_does() {
        let mut table = Table::new(&["CONTAINER ID", "PORTS", "NAMES"]);
        assert_eq!(table.render(), "CONTAINER ID   PORTS     NAMES\n");
        table.row(vec!["b3f076c8fa5a".into(), String::new(), "up".into()]);
        table.row(vec!["3d40f2f86279".into(), "80/tcp, …".into(), "full".into()]);
        let expected = "CONTAINER ID   PORTS       NAMES\n\
                        b3f076c8fa5a               up\n\
                        3d40f2f86279   80/tcp, …   full\n";
        assert_eq!(table.render(), expected);
    }
}
