//! `coracle network ls`: the table of networks.

use std::process::ExitCode;

use crate::cli::args::{Arity, Verb};
use crate::cli::client_config::format_of;
use crate::cli::error::CommandError;
use crate::cli::format::{Field, Format, Row};
use crate::cli::ui::Table;
use crate::cli::{Command, Context};
use crate::engine::network::Network;
use crate::engine::network::list::{KEYS, choose};
use crate::spec::filter::Filters;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Show only networks for which this is true, e.g. "driver=host"
    #[arg(short, long, value_name = "filter")]
    filter: Vec<String>,
    /// Print in another form: "table", "table TEMPLATE", "json" or a Go template
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Do not shorten what is printed
    #[arg(long)]
    no_trunc: bool,
    /// Print the IDs only
    #[arg(short, long)]
    quiet: bool,
}

const FIELDS: [Field; 9] = [
    ("ID", "NETWORK ID"),
    ("Name", "NAME"),
    ("Driver", "DRIVER"),
    ("Scope", "SCOPE"),
    ("IPv4", "IPV4"),
    ("IPv6", "IPV6"),
    ("Internal", "INTERNAL"),
    ("Labels", "LABELS"),
    ("CreatedAt", "CREATED AT"),
];

impl Command for Args {
    const VERB: Verb = Verb {
        forms: &["network ls", "network list"],
        about: "List networks",
        arity: Arity::None,
        ..Verb::PLAIN
    };

    fn run(self, _words: Vec<String>, context: &Context) -> Result<ExitCode, CommandError> {
        let Args { filter, format, no_trunc, quiet } = self;
        let filters = Filters::parse(&filter, &KEYS).map_err(CommandError::filter)?;
        let format =
            Format::new(format_of(format.as_deref(), quiet, context, |client| &client.networks_format));
        let networks = context.engine()?.networks().map_err(CommandError::failure)?;
        let networks = choose(networks, &filters).map_err(CommandError::failure)?;
        let text = if quiet && format == Format::Table {
            networks.iter().map(|network| id(network, no_trunc) + "\n").collect()
        } else {
            let rows: Vec<Row> = networks.iter().map(|network| row(network, no_trunc)).collect();
            format.render(&FIELDS, &rows, || table(&networks, no_trunc))?
        };
        context.ui.print(&text).map(|()| ExitCode::SUCCESS)
    }
}

fn id(network: &Network, no_trunc: bool) -> String {
    let mut id = network.id();
    id.truncate(if no_trunc { id.len() } else { 12 });
    id
}

fn table(networks: &[Network], no_trunc: bool) -> String {
    let mut table = Table::new(&["NETWORK ID", "NAME", "DRIVER", "SCOPE"]);
    for network in networks {
        let [name, driver, scope] = [network.name, network.driver, "local"].map(str::to_owned);
        table.row(vec![id(network, no_trunc), name, driver, scope]);
    }
    table.render()
}

fn row(network: &Network, no_trunc: bool) -> Row {
    Row::default()
        .labels([])
        .set("ID", id(network, no_trunc))
        .set("Name", network.name)
        .set("Driver", network.driver)
        .set("Scope", "local")
        .set("IPv4", "true")
        .set("IPv6", network.plan.ipv6.to_string())
        .set("Internal", "false")
        // They are as old as the program.
        .set("CreatedAt", "0001-01-01 00:00:00 +0000 UTC")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::network::all;
    use crate::network::plan::{HostNetwork, Tools};

    #[test]
    fn the_table_is_dockers() {
        let networks = all(&Tools::default(), &HostNetwork::default());
        let ids: Vec<String> = networks.iter().map(|network| id(network, false)).collect();
        let text = table(&networks, false).replace(&ids[0], "0123456789ab").replace(&ids[1], "ba9876543210");
        insta::assert_snapshot!(text, @r"
        NETWORK ID     NAME      DRIVER    SCOPE
        0123456789ab   host      host      local
        ba9876543210   none      null      local
        ");
        assert_eq!(id(&networks[0], true).len(), 64);
    }
}
