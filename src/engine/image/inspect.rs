//! `inspect` of an image, in docker's shape.

use std::collections::BTreeMap;
use std::time::SystemTime;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};

use super::Error;
use crate::spec::digest::Digest;
use crate::spec::image_ref::ImageRef;
use crate::store::Store;
use crate::store::images::Image;

/// Docker's image object (API 1.47), with its names and order.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Inspected {
    pub id: Digest,
    pub repo_tags: Vec<String>,
    pub repo_digests: Vec<String>,
    pub parent: String,
    pub comment: String,
    pub created: String,
    pub docker_version: String,
    pub author: String,
    pub architecture: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    pub os: String,
    pub size: u64,
    pub graph_driver: GraphDriver,
    #[serde(rename = "RootFS")]
    pub root_fs: RootFs,
    pub metadata: Metadata,
    /// The configuration's `config` as it was pulled, with docker's keys added where it has none.
    pub config: Map<String, Value>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct GraphDriver {
    pub data: BTreeMap<&'static str, String>,
    pub name: String,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct RootFs {
    #[serde(rename = "Type")]
    pub kind: String,
    pub layers: Vec<Digest>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Metadata {
    pub last_tag_time: String,
}

/// Go's zero time, docker's word for never.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// The image that `key` means. `driver` is the storage driver's name.
pub fn inspect(store: &Store, key: &str, driver: &str) -> Result<Inspected, Error> {
    let (image, _) = store.find_image(key)?;
    let tags: Vec<ImageRef> =
        store.all_tags()?.into_iter().filter(|(_, id)| *id == image.id).map(|(name, _)| name).collect();
    let config = store.image_config(&image.id)?;
    // A configuration without history was not built from anything that has a comment.
    let comment = config.history.last().and_then(|last| last.comment.clone()).unwrap_or_default();
    Ok(Inspected {
        repo_tags: tags.iter().map(ImageRef::familiar).collect(),
        repo_digests: image.repo_digests.iter().map(ImageRef::familiar).collect(),
        parent: String::new(),
        comment,
        created: image.created.clone().unwrap_or_else(|| NEVER.to_owned()),
        docker_version: config
            .other
            .get("docker_version")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned(),
        author: config.author.unwrap_or_default(),
        config: docker_config(serde_json::to_value(config.config).unwrap_or_default()),
        architecture: image.architecture.clone(),
        variant: image.variant.clone(),
        os: image.os.clone(),
        size: image.size,
        graph_driver: GraphDriver { data: driver_data(store, &image), name: driver.to_owned() },
        root_fs: RootFs { kind: "layers".to_owned(), layers: image.layers.clone() },
        metadata: Metadata { last_tag_time: last_tag_time(store, &tags) },
        id: image.id,
    })
}

/// Templates and scripts may rely on these keys.
fn docker_config(config: Value) -> Map<String, Value> {
    let mut config = match config {
        Value::Object(config) => config,
        _ => Map::new(),
    };
    for key in ["Cmd", "Entrypoint", "Env", "Labels", "OnBuild", "Volumes"] {
        config.entry(key).or_insert(Value::Null);
    }
    for key in ["User", "WorkingDir"] {
        config.entry(key).or_insert_with(|| Value::String(String::new()));
    }
    // docker sorts them: they come from a map.
    config.values_mut().for_each(Value::sort_all_objects);
    config.sort_keys();
    config
}

/// Where the layers are: the highest is `UpperDir`, those below are `LowerDir`, highest first.
fn driver_data(store: &Store, image: &Image) -> BTreeMap<&'static str, String> {
    let mut paths = image.layers.iter().rev().map(|layer| store.layer_path(layer).display().to_string());
    let mut data = BTreeMap::new();
    if let Some(upper) = paths.next() {
        data.insert("UpperDir", upper);
    }
    let lower = paths.collect::<Vec<_>>().join(":");
    if !lower.is_empty() {
        data.insert("LowerDir", lower);
    }
    data
}

fn last_tag_time(store: &Store, tags: &[ImageRef]) -> String {
    let times = tags.iter().filter_map(|name| tag_time(store, name));
    times
        .max()
        .and_then(|time| Timestamp::try_from(time).ok())
        .map_or(NEVER.to_owned(), |time| time.to_string())
}

fn tag_time(store: &Store, name: &ImageRef) -> Option<SystemTime> {
    std::fs::metadata(store.layout().tag(name)?).and_then(|file| file.modified()).ok()
}
