//! `coracle version`: which coracle this is.

use std::process::ExitCode;

use crate::cli::args::Verb;
use crate::cli::error::CommandError;
use crate::cli::inspect::BAD_TEMPLATE;
use crate::cli::template::Template;
use crate::cli::{Command, Context};
use crate::engine::system::version::{Version, version};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print by a Go template instead; "json" prints JSON in one line
    #[arg(short, long, value_name = "string")]
    format: Option<String>,
}

impl Command for Args {
    const VERB: Verb =
        Verb { forms: &["version"], about: "Show which version of coracle this is", ..Verb::PLAIN };

    fn run(self, _words: Vec<String>, context: &Context) -> Result<ExitCode, CommandError> {
        let Args { format } = self;
        let version = version();
        let shown = match format.as_deref() {
            None | Some("") => text(&version),
            Some("json") => data(&version, "ApiVersion").to_string() + "\n",
            Some(template) => {
                let template = Template::parse(template)
                    .map_err(|error| CommandError::with_code(BAD_TEMPLATE, error))?;
                let shown =
                    template.execute_typed(&data(&version, "ApiVersion"), &data(&version, "APIVersion"));
                shown.map_err(CommandError::failure)? + "\n"
            }
        };
        context.ui.print(&shown).map(|()| ExitCode::SUCCESS)
    }
}

/// The version of docker's API whose JSON `inspect` and others have.
const API: &str = "1.51";

/// What templates see; the API's version is called differently in JSON and in Go.
fn data(version: &Version, api: &str) -> serde_json::Value {
    let Version { version, os, architecture, kernel } = version;
    let platform = serde_json::json!({"Name": "Coracle"});
    serde_json::json!({
        "Client": {"Platform": platform, "Version": version, api: API, "Os": os, "Arch": architecture},
        "Server": {
            "Platform": platform,
            "Components": [{"Name": "Engine", "Version": version, "Details": {"KernelVersion": kernel}}],
            "Version": version, api: API, "Os": os, "Arch": architecture, "KernelVersion": kernel,
        },
    })
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
