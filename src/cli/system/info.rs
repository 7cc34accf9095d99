//! `coracle info`: what is stored, what this machine is, and what it cannot give.

use std::fmt::Write;
use std::process::ExitCode;

use crate::cli::args::Verb;
use crate::cli::error::CommandError;
use crate::cli::inspect::BAD_TEMPLATE;
use crate::cli::template::Template;
use crate::cli::{Command, Context, human};
use crate::engine::system::info::{Info, info};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print by a Go template instead; "json" prints JSON in one line
    #[arg(short, long, value_name = "string")]
    format: Option<String>,
}

impl Command for Args {
    const VERB: Verb = Verb {
        forms: &["system info", "info"],
        about: "Show what is stored, what this machine is and what it cannot give",
        ..Verb::PLAIN
    };

    fn run(self, _words: Vec<String>, context: &Context) -> Result<ExitCode, CommandError> {
        let Args { format } = self;
        let template = match format.as_deref() {
            None | Some("") => None,
            Some("json") => Some("{{json .}}"),
            Some(text) => Some(text),
        };
        let template = template.map(Template::parse).transpose();
        let template = template.map_err(|error| CommandError::with_code(BAD_TEMPLATE, error))?;
        let engine = context.engine()?;
        let containers = engine.store.containers().map_err(CommandError::failure)?;
        let known = engine.known().map_err(CommandError::failure)?;
        let info = info(&containers, known);
        if let Some(template) = template {
            let line = template.execute(&data(&info)).map_err(CommandError::failure)?;
            return context.ui.line(&line).map(|()| ExitCode::SUCCESS);
        }
        context.ui.print(&text(&info))?;
        for lost in &info.known.lost {
            context.ui.warning(lost);
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// docker's names, as far as coracle has what they are about.
fn data(info: &Info) -> serde_json::Value {
    let (known, machine) = (&info.known, &info.machine);
    serde_json::json!({
        "Containers": info.running + info.paused + info.stopped,
        "ContainersRunning": info.running,
        "ContainersPaused": info.paused,
        "ContainersStopped": info.stopped,
        "Images": known.images,
        "Driver": known.driver,
        "LoggingDriver": "json-file",
        "CgroupVersion": machine.cgroup_version.to_string(),
        "KernelVersion": machine.kernel,
        "OperatingSystem": machine.operating_system,
        "OSType": "linux",
        "Architecture": machine.architecture,
        "NCPU": machine.cpus,
        "MemTotal": machine.memory,
        "DockerRootDir": known.root_dir,
        "Name": machine.name,
        "ServerVersion": env!("CARGO_PKG_VERSION"),
        "Runtimes": {"coracle": {"path": "coracle"}},
        "DefaultRuntime": "coracle",
        "SecurityOptions": ["name=seccomp,profile=builtin", "name=rootless"],
        "Warnings": known.lost,
    })
}

/// docker's layout and words, with what coracle has.
fn text(info: &Info) -> String {
    let (known, machine) = (&info.known, &info.machine);
    let version = env!("CARGO_PKG_VERSION");
    let mut text = format!("Client: Coracle\n Version:    {version}\n\nServer:\n");
    let mut line = |name: &str, value: &dyn std::fmt::Display| {
        let _ = writeln!(text, " {name}: {value}");
    };
    line("Containers", &(info.running + info.paused + info.stopped));
    line(" Running", &info.running);
    line(" Paused", &info.paused);
    line(" Stopped", &info.stopped);
    line("Images", &known.images);
    line("Server Version", &version);
    line("Storage Driver", &known.driver);
    line("Logging Driver", &"json-file");
    line("Cgroup Version", &machine.cgroup_version);
    line("Network", &known.network);
    line("Runtimes", &"coracle");
    line("Default Runtime", &"coracle");
    let _ = writeln!(text, " Security Options:\n  seccomp\n   Profile: builtin\n  rootless");
    let mut line = |name: &str, value: &dyn std::fmt::Display| {
        let _ = writeln!(text, " {name}: {value}");
    };
    line("Kernel Version", &machine.kernel);
    line("Operating System", &machine.operating_system);
    line("OSType", &"linux");
    line("Architecture", &machine.architecture);
    line("CPUs", &machine.cpus);
    line("Total Memory", &human::memory(machine.memory));
    line("Name", &machine.name);
    line("Docker Root Dir", &known.root_dir.display());
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::system::info::{Known, Machine};

    #[test]
    fn the_layout_is_dockers() {
        let known = Known {
            images: 3,
            driver: "overlay".into(),
            root_dir: "/home/u/.local/share/coracle".into(),
            network: "pasta".into(),
            lost: Vec::new(),
        };
        let machine = Machine {
            kernel: "6.18.1".into(),
            operating_system: "Debian GNU/Linux 12 (bookworm)".into(),
            architecture: "x86_64",
            cpus: 2,
            memory: 25_273_552_896,
            name: "vm".into(),
            cgroup_version: 2,
        };
        let text = text(&Info { running: 1, paused: 0, stopped: 2, known, machine });
        insta::assert_snapshot!(text.replace(env!("CARGO_PKG_VERSION"), "VERSION"), @r"
        Client: Coracle
         Version:    VERSION

        Server:
         Containers: 3
          Running: 1
          Paused: 0
          Stopped: 2
         Images: 3
         Server Version: VERSION
         Storage Driver: overlay
         Logging Driver: json-file
         Cgroup Version: 2
         Network: pasta
         Runtimes: coracle
         Default Runtime: coracle
         Security Options:
          seccomp
           Profile: builtin
          rootless
         Kernel Version: 6.18.1
         Operating System: Debian GNU/Linux 12 (bookworm)
         OSType: linux
         Architecture: x86_64
         CPUs: 2
         Total Memory: 23.54GiB
         Name: vm
         Docker Root Dir: /home/u/.local/share/coracle
        ");
    }
}
