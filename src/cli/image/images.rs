//! `coracle images`: the table of images.

use std::process::ExitCode;

use jiff::Timestamp;

use crate::cli::args::{Arity, Verb, missing};
use crate::cli::client_config::format_of;
use crate::cli::error::CommandError;
use crate::cli::format::{Field, Format, Row};
use crate::cli::ui::Table;
use crate::cli::{Command, Context, human};
use crate::engine::image::filter::KEYS;
use crate::engine::image::list::{Listed, Request, list};
use crate::spec::filter::Filters;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Show all images (there are no intermediate ones to hide)
    #[arg(short, long)]
    all: bool,
    /// Show the digests of the images' manifests
    #[arg(long)]
    digests: bool,
    /// Show only images for which this is true, e.g. "dangling=true"
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

impl Command for Args {
    const VERB: Verb = Verb {
        forms: &["image ls", "image list", "images"],
        about: "List images",
        usage: "[OPTIONS] [REPOSITORY[:TAG]]",
        arity: Arity::AtMost(1),
        missing: &[missing("tree")],
        ..Verb::PLAIN
    };

    fn run(self, words: Vec<String>, context: &Context) -> Result<ExitCode, CommandError> {
        // Images have no parents in this store, so `-a` shows what is shown anyway.
        let Args { all: _, digests, filter, format, no_trunc, quiet } = self;
        let filters = Filters::parse(&filter, &KEYS).map_err(CommandError::filter)?;
        let format =
            Format::or_raw(format_of(format.as_deref(), quiet, context, |client| &client.images_format), RAW);
        let request = Request { only: words.into_iter().next(), filters };
        let listed = list(&context.engine()?.store, &request).map_err(CommandError::failure)?;
        let now = Timestamp::now();
        if quiet && format == Format::Table {
            return context.ui.print(&ids(&listed, no_trunc)).map(|()| ExitCode::SUCCESS);
        }
        let rows: Vec<Row> = listed.iter().map(|image| row(image, no_trunc, now)).collect();
        let text = format.render(&FIELDS, &rows, || table(&listed, digests, no_trunc, now))?;
        context.ui.print(&text).map(|()| ExitCode::SUCCESS)
    }
}

fn id(image: &Listed, no_trunc: bool) -> String {
    if no_trunc { image.id.to_string() } else { image.id.short().to_owned() }
}

/// An image with several names is several rows, and several equal lines here; docker's way.
fn ids(listed: &[Listed], no_trunc: bool) -> String {
    listed.iter().map(|image| id(image, no_trunc) + "\n").collect()
}

fn table(listed: &[Listed], digests: bool, no_trunc: bool, now: Timestamp) -> String {
    let none = || "<none>".to_owned();
    let mut heading = vec!["REPOSITORY", "TAG"];
    heading.extend(digests.then_some("DIGEST"));
    heading.extend(["IMAGE ID", "CREATED", "SIZE"]);
    let mut table = Table::new(&heading);
    for image in listed {
        let mut row =
            vec![image.repository.clone().unwrap_or_else(none), image.tag.clone().unwrap_or_else(none)];
        row.extend(digests.then(|| image.digest.as_ref().map_or_else(none, ToString::to_string)));
        row.extend([id(image, no_trunc), created(&image.created, now), human::size(image.size)]);
        table.row(row);
    }
    table.render()
}

/// docker's `--format raw`.
const RAW: &str = "repository: {{.Repository}}\ntag: {{.Tag}}\nimage_id: {{.ID}}\ncreated_at: {{.CreatedAt}}\n\
    virtual_size: {{.Size}}\n";

const FIELDS: [Field; 11] = [
    ("ID", "IMAGE ID"),
    ("Repository", "REPOSITORY"),
    ("Tag", "TAG"),
    ("Digest", "DIGEST"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("Size", "SIZE"),
    ("Containers", "CONTAINERS"),
    ("VirtualSize", "SIZE"),
    ("SharedSize", "SHARED SIZE"),
    ("UniqueSize", "UNIQUE SIZE"),
];

fn row(image: &Listed, no_trunc: bool, now: Timestamp) -> Row {
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "<none>".to_owned());
    Row::default()
        .set("ID", id(image, no_trunc))
        .set("Repository", or_none(image.repository.clone()))
        .set("Tag", or_none(image.tag.clone()))
        .set("Digest", or_none(image.digest.as_ref().map(ToString::to_string)))
        .set("CreatedSince", created(&image.created, now))
        .set("CreatedAt", human::moment(&image.created))
        .set("Size", human::size(image.size))
        .set("Containers", "N/A")
        .set("VirtualSize", human::size(image.size))
        .set("SharedSize", "N/A")
        .set("UniqueSize", "N/A")
}

fn created(moment: &str, now: Timestamp) -> String {
    match human::since(moment, now) {
        unknown if unknown == "N/A" => unknown,
        since => format!("{since} ago"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::digest::{Algorithm, Digest};

    fn image(byte: u8, repository: Option<&str>, size: u64) -> Listed {
        Listed {
            id: Digest::from_bytes(Algorithm::Sha256, &[byte; 32]),
            repository: repository.map(str::to_owned),
            tag: repository.map(|_| "latest".to_owned()),
            digest: None,
            created: "2026-01-01T00:00:00Z".into(),
            size,
        }
    }

    #[test]
    fn the_table_is_dockers() {
        let now = "2026-02-01T00:00:00Z".parse().unwrap();
        let images = [image(1, Some("redis"), 130_000_000), image(2, None, 5_790_000)];
        insta::assert_snapshot!(table(&images, false, false, now), @r"
        REPOSITORY   TAG       IMAGE ID       CREATED       SIZE
        redis        latest    010101010101   4 weeks ago   130MB
        <none>       <none>    020202020202   4 weeks ago   5.79MB
        ");
        insta::assert_snapshot!(table(&images[..1], true, true, now), @r"
        REPOSITORY   TAG       DIGEST    IMAGE ID                                                                  CREATED       SIZE
        redis        latest    <none>    sha256:0101010101010101010101010101010101010101010101010101010101010101   4 weeks ago   130MB
        ");
        assert_eq!(ids(&images, false), "010101010101\n020202020202\n");
    }

    #[test]
    fn an_image_may_not_say_when_it_was_made() {
        assert_eq!(created("", Timestamp::UNIX_EPOCH), "N/A");
    }
}
