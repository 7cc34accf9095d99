//! `coracle version`: which coracle this is.

use std::process::ExitCode;

use crate::cli::args::{Verb, missing_short};
use crate::cli::error::CommandError;
use crate::cli::{Command, Context};
use crate::engine::system::version::{Version, version};

#[derive(Debug, clap::Args)]
pub struct Args {}

impl Command for Args {
    const VERB: Verb = Verb {
        forms: &["version"],
        about: "Show which version of coracle this is",
        missing: &[missing_short("format", 'f')],
        ..Verb::PLAIN
    };

    fn run(self, _words: Vec<String>, context: &Context) -> Result<ExitCode, CommandError> {
        let Args {} = self;
        context.ui.print(&text(&version())).map(|()| ExitCode::SUCCESS)
    }
}

/// docker's layout. There is no server process: client and engine are one program.
fn text(version: &Version) -> String {
    let Version { version, os, architecture, kernel } = version;
    format!(
        "Client: Coracle\n \
         Version:           {version}\n \
         OS/Arch:           {os}/{architecture}\n\
         \n\
         Server: Coracle (in the same process)\n \
         Engine:\n  \
         Version:          {version}\n  \
         OS/Arch:          {os}/{architecture}\n  \
         Kernel Version:   {kernel}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_is_dockers() {
        let version =
            Version { version: "1.2.3", os: "linux", architecture: "amd64", kernel: "6.18.1".into() };
        insta::assert_snapshot!(text(&version), @r"
        Client: Coracle
         Version:           1.2.3
         OS/Arch:           linux/amd64

        Server: Coracle (in the same process)
         Engine:
          Version:          1.2.3
          OS/Arch:          linux/amd64
          Kernel Version:   6.18.1
        ");
    }
}
