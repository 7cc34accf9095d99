//! What a pull shows while it works: redrawn bars on a terminal, docker's plain lines elsewhere.
//! Runs in the client.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};

use indicatif::{DecimalBytes, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use crate::engine::image::pull::{LayerState, Progress};
use crate::spec::digest::Digest;
use crate::spec::image_ref::ImageRef;

/// Where progress goes: `pull` shows it on standard output, a command that pulls first on its way to
/// something else shows it on standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    Stdout,
    Stderr,
}

/// The progress display for a pull.
pub fn for_pull(quiet: bool, output: Output) -> Box<dyn Progress> {
    let is_terminal = match output {
        Output::Stdout => io::stdout().is_terminal(),
        Output::Stderr => io::stderr().is_terminal(),
    };
    if quiet {
        return Box::new(Silent);
    }
    let target = match output {
        _ if !is_terminal => return Box::new(Lines { output }),
        Output::Stdout => ProgressDrawTarget::stdout(),
        Output::Stderr => ProgressDrawTarget::stderr(),
    };
    Box::new(Bars::new(target))
}

/// Shows nothing.
#[derive(Debug)]
struct Silent;

impl Progress for Silent {
    fn started(&self, _: &ImageRef) {}

    fn layer(&self, _: &Digest, _: LayerState) {}
}

/// One line for each step of each layer.
#[derive(Debug)]
struct Lines {
    output: Output,
}

impl Lines {
    fn line(&self, text: &str) {
        // A reader that went away is noticed when the results are written.
        let _ = match self.output {
            Output::Stdout => writeln!(io::stdout().lock(), "{text}"),
            Output::Stderr => writeln!(io::stderr().lock(), "{text}"),
        };
    }
}

impl Progress for Lines {
    fn started(&self, reference: &ImageRef) {
        self.line(&heading(reference));
    }

    fn layer(&self, blob: &Digest, state: LayerState) {
        if let Some(text) = line(blob, state) {
            self.line(&text);
        }
    }
}

/// One redrawn line for each layer, with a bar while it arrives.
struct Bars {
    screen: MultiProgress,
    bars: Mutex<HashMap<Digest, ProgressBar>>,
    plain: ProgressStyle,
    with_bar: ProgressStyle,
}

impl Bars {
    fn new(target: ProgressDrawTarget) -> Bars {
        let style = |template| ProgressStyle::with_template(template).expect("a constant template is valid");
        let sizes = |state: &ProgressState, text: &mut dyn std::fmt::Write| {
            let (done, total) = (DecimalBytes(state.pos()), DecimalBytes(state.len().unwrap_or(0)));
            let both = format!("{done}/{total}").replace(' ', "");
            let _ = text.write_str(&both);
        };
        Bars {
            screen: MultiProgress::with_draw_target(target),
            bars: Mutex::default(),
            plain: style("{prefix}: {msg}"),
            with_bar: style("{prefix}: {msg} [{bar:30}] {sizes}")
                .with_key("sizes", sizes)
                .progress_chars("=> "),
        }
    }

    fn bar(&self, blob: &Digest) -> ProgressBar {
        let mut bars = self.bars.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || {
            let bar = ProgressBar::no_length().with_prefix(blob.short().to_owned());
            self.screen.add(bar.with_style(self.plain.clone()))
        };
        bars.entry(blob.clone()).or_insert_with(new).clone()
    }
}

impl Progress for Bars {
    fn started(&self, reference: &ImageRef) {
        let _ = self.screen.println(heading(reference));
    }

    fn layer(&self, blob: &Digest, state: LayerState) {
        let bar = self.bar(blob);
        match state {
            LayerState::Downloading { done, total } => {
                if bar.length() != Some(total) {
                    bar.set_length(total);
                    bar.set_style(self.with_bar.clone());
                    bar.set_message(words(state));
                }
                bar.set_position(done);
            }
            LayerState::PullComplete | LayerState::AlreadyExists => {
                bar.set_style(self.plain.clone());
                bar.finish_with_message(words(state));
            }
            LayerState::Pulling
            | LayerState::Waiting
            | LayerState::DownloadComplete
            | LayerState::Extracting => {
                bar.set_style(self.plain.clone());
                bar.set_message(words(state));
                bar.tick();
            }
        }
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        // After a failure the screen keeps what was reached.
        for bar in self.bars.get_mut().unwrap_or_else(PoisonError::into_inner).values() {
            if !bar.is_finished() {
                bar.abandon();
            }
        }
    }
}

/// docker's first line: `7.2: Pulling from library/redis`.
fn heading(reference: &ImageRef) -> String {
    let mut text = String::new();
    let _ = match (reference.digest(), reference.tag()) {
        (Some(digest), _) => write!(text, "{digest}"),
        (None, tag) => write!(text, "{}", tag.unwrap_or_default()),
    };
    format!("{text}: Pulling from {}", reference.path())
}

/// A layer's line where nothing can be redrawn; `None` for what would only be a redrawing.
fn line(blob: &Digest, state: LayerState) -> Option<String> {
    match state {
        LayerState::Downloading { .. } | LayerState::Extracting => None,
        _ => Some(format!("{}: {}", blob.short(), words(state))),
    }
}

fn words(state: LayerState) -> &'static str {
    match state {
        LayerState::Pulling => "Pulling fs layer",
        LayerState::Waiting => "Waiting",
        LayerState::Downloading { .. } => "Downloading",
        LayerState::DownloadComplete => "Download complete",
        LayerState::Extracting => "Extracting",
        LayerState::PullComplete => "Pull complete",
        LayerState::AlreadyExists => "Already exists",
    }
}

#[cfg(test)]
mod tests {
    use indicatif::InMemoryTerm;

    use super::*;

    fn blob(digit: &str) -> Digest {
        format!("sha256:{}", digit.repeat(64)).parse().unwrap()
    }

    #[test]
    fn plain_lines_are_dockers() {
        let heading_of = |text: &str| heading(&ImageRef::parse(text).unwrap());
        assert_eq!(heading_of("redis:7.2"), "7.2: Pulling from library/redis");
        assert_eq!(heading_of("localhost:5000/x"), "latest: Pulling from x");
        let digest = blob("a");
        assert_eq!(heading_of(&format!("x@{digest}")), format!("{digest}: Pulling from library/x"));
        assert_eq!(line(&digest, LayerState::Pulling).unwrap(), "aaaaaaaaaaaa: Pulling fs layer");
        assert_eq!(line(&digest, LayerState::Downloading { done: 1, total: 2 }), None);
    }

    #[test]
    fn bars_are_redrawn_in_place() {
        let term = InMemoryTerm::new(10, 80);
        let target = ProgressDrawTarget::term_like_with_hz(Box::new(term.clone()), 255);
        let bars = Bars::new(target);
        bars.started(&ImageRef::parse("redis").unwrap());
        bars.layer(&blob("a"), LayerState::AlreadyExists);
        bars.layer(&blob("b"), LayerState::Pulling);
        bars.layer(&blob("b"), LayerState::Downloading { done: 500_000, total: 2_000_000 });
        bars.bar(&blob("b")).tick();
        let screen = term.contents();
        let lines: Vec<&str> = screen.lines().map(str::trim_end).collect();
        assert_eq!(lines[0], "latest: Pulling from library/redis");
        assert_eq!(lines[1], "aaaaaaaaaaaa: Already exists");
        let arriving = "bbbbbbbbbbbb: Downloading [=======>                      ] 500.00kB/2.00MB";
        assert_eq!(lines[2], arriving);
        bars.layer(&blob("b"), LayerState::PullComplete);
        drop(bars);
        assert!(term.contents().lines().any(|line| line.trim_end() == "bbbbbbbbbbbb: Pull complete"));
    }
}
