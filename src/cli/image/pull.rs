//! `coracle pull`: fetch an image; and the pull that `run` and `create` may need first.

use std::process::ExitCode;

use crate::cli::args::create::platform_of;
use crate::cli::args::{Arity, Verb, missing, missing_short};
use crate::cli::error::CommandError;
use crate::cli::progress::{Output, for_pull};
use crate::cli::{Command, Context};
use crate::engine::container::create::{self, PullPolicy};
use crate::engine::image::pull::{Report, Request};
use crate::spec::image_ref::ImageRef;
use crate::store::images;

/// The image that needs no pull: the host's own files.
const BUILT_IN: &str = "host";

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Take the image for this platform (os[/arch[/variant]])
    #[arg(long, value_name = "string")]
    platform: Option<String>,
    /// Print the image's name only
    #[arg(short, long)]
    quiet: bool,
}

impl Command for Args {
    const VERB: Verb = Verb {
        forms: &["image pull", "pull"],
        about: "Download an image from a registry",
        usage: "[OPTIONS] NAME[:TAG|@DIGEST]",
        arity: Arity::Exactly(1),
        missing: &[missing_short("all-tags", 'a'), missing("disable-content-trust")],
        ..Verb::PLAIN
    };

    fn run(self, words: Vec<String>, context: &Context) -> Result<ExitCode, CommandError> {
        let Args { platform, quiet } = self;
        let platform = platform_of(platform.as_deref())?;
        let request = Request { reference: reference(&words[0])?, platform };
        if !quiet && has_no_tag(&words[0]) {
            context.ui.line("Using default tag: latest")?;
        }
        let progress = for_pull(quiet, Output::Stdout);
        let report = context.engine()?.pull(&request, &*progress).map_err(CommandError::failure)?;
        tell_notes(&report, context);
        let name = request.reference.to_string();
        let text = if quiet { format!("{name}\n") } else { summary(&request.reference, &report, &name) };
        context.ui.print(&text).map(|()| ExitCode::SUCCESS)
    }
}

fn reference(text: &str) -> Result<ImageRef, CommandError> {
    text.parse().map_err(CommandError::failure)
}

/// Whether a valid name leaves both tag and digest to docker's default.
fn has_no_tag(text: &str) -> bool {
    !text.contains('@') && !text.rsplit('/').next().is_some_and(|last| last.contains(':'))
}

/// What of the new layers could not be kept on this disk.
fn tell_notes(report: &Report, context: &Context) {
    for note in &report.notes {
        context.ui.warning(&note.to_string());
    }
}

/// docker's last lines: what came, whether it was new, and the full name.
fn summary(reference: &ImageRef, report: &Report, name: &str) -> String {
    let familiar = reference.familiar();
    let status = match report.downloaded {
        true => format!("Downloaded newer image for {familiar}"),
        false => format!("Image is up to date for {familiar}"),
    };
    format!("Digest: {}\nStatus: {status}\n{name}\n", report.digest)
}

/// Makes sure that a container's image is there, as `--pull` says.
pub fn for_container(request: &create::Request, context: &Context) -> Result<(), CommandError> {
    if let Some(path) = request.cidfile.as_ref().filter(|path| path.exists()) {
        // It is reserved later; a download first would be in vain.
        return Err(CommandError::failure(create::Error::CidFileExists(path.clone())));
    }
    if request.image == BUILT_IN {
        return Ok(());
    }
    let stored = || match context.engine()?.store.find_image(&request.image) {
        // One for another platform does not serve.
        Ok((image, _)) => {
            context.engine()?.suits(&image.id, request.platform.as_ref()).map_err(CommandError::failure)
        }
        Err(images::Error::NotFound(_)) => Ok(false),
        Err(error) => Err(CommandError::failure(error)),
    };
    match request.pull {
        PullPolicy::Never => return Ok(()),
        PullPolicy::Missing if stored()? => return Ok(()),
        PullPolicy::Missing | PullPolicy::Always => {}
    }
    let reference = reference(&request.image)?;
    if request.pull == PullPolicy::Missing && !request.quiet {
        context.ui.message(&format!("Unable to find image '{}' locally", reference.familiar()));
    }
    let pull_request = Request { reference, platform: request.platform.clone() };
    let progress = for_pull(request.quiet, Output::Stderr);
    let report = context.engine()?.pull(&pull_request, &*progress).map_err(CommandError::failure)?;
    tell_notes(&report, context);
    if !request.quiet {
        // On stderr: `id=$(coracle run -d redis)` wants the id alone.
        let text = summary(&pull_request.reference, &report, "");
        context.ui.message(text.trim_end());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_tag_is_told_when_it_is_used() {
        for text in ["redis", "a/b", "localhost:5000/redis"] {
            assert!(has_no_tag(text), "{text}");
        }
        for text in ["redis:7", "localhost:5000/redis:7", "redis@sha256:00"] {
            assert!(!has_no_tag(text), "{text}");
        }
    }
}
