//! Manifests and indexes: OCI's and docker's schema 2, read and judged. Pure.

use std::str::FromStr;

use oci_spec::image::{ImageIndex, ImageManifest};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::error::{Error, Result};
use crate::spec::digest::Digest;
use crate::spec::platform::Platform;

pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_SCHEMA1: &str = "application/vnd.docker.distribution.manifest.v1";

/// Everything that is understood, and schema 1 to be able to say that it is not.
pub const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
     application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.docker.distribution.manifest.v2+json, \
     application/vnd.docker.distribution.manifest.v1+prettyjws;q=0.1";

const CONFIG_TYPES: [&str; 4] = [
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
    // Pushed so by early versions of docker.
    "application/octet-stream",
    "text/html",
];
const LAYER_TYPES: [&str; 6] = [
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.oci.image.layer.v1.tar+zstd",
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
    "application/vnd.docker.image.rootfs.diff.tar.zstd",
];
const FOREIGN_LAYER_PREFIXES: [&str; 2] =
    ["application/vnd.oci.image.layer.nondistributable.", "application/vnd.docker.image.rootfs.foreign."];

/// What a manifest says about one blob: its type, digest and size in bytes (image-spec descriptor.md).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    pub media_type: String,
    pub digest: Digest,
    pub size: u64,
}

/// The manifest of one image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    pub config: Descriptor,
    /// Lowest first.
    pub layers: Vec<Descriptor>,
}

/// One entry of an index that may be pulled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexEntry {
    pub descriptor: Descriptor,
    pub platform: Option<Platform>,
}

/// A document that a registry serves under a tag or a digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    Manifest(Manifest),
    Index(Vec<IndexEntry>),
}

impl Document {
    /// Reads a document; `reference` is for messages. What it is follows from its own fields, and the
    /// `Content-Type` that it was served with must not contradict them.
    pub fn parse(bytes: &[u8], content_type: Option<&str>, reference: &str) -> Result<Document> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Shape {
            schema_version: Option<u64>,
            media_type: Option<String>,
            manifests: Option<IgnoredAny>,
            config: Option<IgnoredAny>,
            layers: Option<IgnoredAny>,
        }
        let what = || format!("the manifest of {reference}");
        let malformed = |source| Error::Malformed { what: what(), source };
        let shape: Shape = serde_json::from_slice(bytes).map_err(malformed)?;
        let served = content_type.map(|text| text.split(';').next().unwrap_or_default().trim());
        let declared = shape.media_type.as_deref().or(served).unwrap_or_default();
        if shape.schema_version == Some(1) || declared.starts_with(DOCKER_SCHEMA1) {
            return Err(Error::Schema1 { reference: reference.to_owned() });
        }
        let ambiguous = |why| Err(Error::Ambiguous { what: what(), why });
        let is_index = match declared {
            OCI_INDEX | DOCKER_LIST => true,
            OCI_MANIFEST | DOCKER_MANIFEST => false,
            // Types that say nothing: the fields decide.
            "" | "application/json" | "text/plain" | "application/octet-stream" => shape.manifests.is_some(),
            other => return Err(Error::UnknownMediaType { what: what(), media_type: other.to_owned() }),
        };
        if shape.manifests.is_some() && (shape.layers.is_some() || shape.config.is_some()) {
            return ambiguous("it is both an index and a manifest");
        }
        if is_index && shape.manifests.is_none() {
            return ambiguous("it is served as an index but is none");
        }
        if !is_index && shape.manifests.is_some() {
            return ambiguous("it is served as a manifest but is an index");
        }
        if shape.schema_version != Some(2) {
            return ambiguous("its schemaVersion is not 2");
        }
        if is_index {
            let index: ImageIndex = serde_json::from_slice(bytes).map_err(malformed)?;
            return Ok(Document::Index(index_entries(&index, reference)?));
        }
        let manifest: ImageManifest = serde_json::from_slice(bytes).map_err(malformed)?;
        Ok(Document::Manifest(read_manifest(&manifest, reference)?))
    }
}

fn descriptor(from: &oci_spec::image::Descriptor, reference: &str) -> Result<Descriptor> {
    let digest = Digest::from_str(from.digest().as_ref()).map_err(|_| Error::UnsupportedDigest {
        what: format!("the manifest of {reference}"),
        digest: from.digest().to_string(),
    })?;
    Ok(Descriptor { media_type: from.media_type().to_string(), digest, size: from.size() })
}

fn index_entries(index: &ImageIndex, reference: &str) -> Result<Vec<IndexEntry>> {
    let mut entries = Vec::new();
    for entry in index.manifests() {
        let platform = entry.platform().as_ref().map(|p| {
            Platform::new(&p.os().to_string(), &p.architecture().to_string(), p.variant().as_deref())
        });
        let media_type = entry.media_type().to_string();
        let is_known = [OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST].contains(&media_type.as_str());
        if !is_known || platform.as_ref().is_some_and(Platform::is_attestation) {
            continue;
        }
        entries.push(IndexEntry { descriptor: descriptor(entry, reference)?, platform });
    }
    Ok(entries)
}

fn read_manifest(manifest: &ImageManifest, reference: &str) -> Result<Manifest> {
    let config = descriptor(manifest.config(), reference)?;
    if !CONFIG_TYPES.contains(&config.media_type.as_str()) {
        let media_type = match manifest.artifact_type() {
            Some(artifact) => artifact.to_string(),
            None => config.media_type,
        };
        return Err(Error::NotAnImage { reference: reference.to_owned(), media_type });
    }
    let mut layers = Vec::new();
    for layer in manifest.layers() {
        let layer = descriptor(layer, reference)?;
        let media_type = layer.media_type.as_str();
        if FOREIGN_LAYER_PREFIXES.iter().any(|prefix| media_type.starts_with(prefix)) {
            let Descriptor { media_type, digest, .. } = layer;
            return Err(Error::ForeignLayer { reference: reference.to_owned(), digest, media_type });
        }
        if !LAYER_TYPES.contains(&media_type) {
            let what = format!("layer {} of {reference}", layer.digest);
            return Err(Error::UnknownMediaType { what, media_type: layer.media_type });
        }
        layers.push(layer);
    }
    Ok(Manifest { config, layers })
}

/// The entries of an index that serve a platform, best first. Entries that name no platform come last:
/// only their content can tell.
pub fn candidates<'a>(entries: &'a [IndexEntry], wanted: &Platform) -> Vec<&'a Descriptor> {
    let mut found: Vec<(u32, &Descriptor)> = Vec::new();
    for entry in entries {
        let distance = match &entry.platform {
            Some(offered) => wanted.distance(offered),
            None => Some(u32::MAX),
        };
        found.extend(distance.map(|distance| (distance, &entry.descriptor)));
    }
    found.sort_by_key(|(distance, _)| *distance);
    found.into_iter().map(|(_, descriptor)| descriptor).collect()
}

/// The platforms of an index for a message: `linux/amd64, linux/arm/v7`.
pub fn available(entries: &[IndexEntry]) -> String {
    let mut platforms: Vec<String> =
        entries.iter().filter_map(|e| Some(e.platform.as_ref()?.to_string())).collect();
    platforms.dedup();
    if platforms.is_empty() { "none".to_owned() } else { platforms.join(", ") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn digest(digit: char) -> String {
        format!("sha256:{}", digit.to_string().repeat(64))
    }

    fn manifest(layer_type: &str, config_type: &str) -> serde_json::Value {
        json!({
            "schemaVersion": 2,
            "mediaType": DOCKER_MANIFEST,
            "config": {"mediaType": config_type, "digest": digest('a'), "size": 2},
            "layers": [{"mediaType": layer_type, "digest": digest('b'), "size": 3}],
        })
    }

    fn parse(value: &serde_json::Value, content_type: Option<&str>) -> Result<Document> {
        Document::parse(value.to_string().as_bytes(), content_type, "x:1")
    }

    #[test]
    fn reads_both_families() {
        for layer in LAYER_TYPES {
            let document = parse(&manifest(layer, CONFIG_TYPES[0]), None).unwrap();
            let Document::Manifest(manifest) = document else { panic!("{layer}") };
            assert_eq!(manifest.layers[0].media_type, layer);
            assert_eq!(manifest.config.size, 2);
        }
        let mut bare = manifest(LAYER_TYPES[0], CONFIG_TYPES[1]);
        bare.as_object_mut().unwrap().remove("mediaType");
        assert!(parse(&bare, None).is_ok());
        assert!(parse(&bare, Some("application/vnd.oci.image.manifest.v1+json; charset=utf-8")).is_ok());
    }

    #[test]
    fn refuses_what_is_no_image() {
        let layer = LAYER_TYPES[1];
        let helm = manifest(layer, "application/vnd.cncf.helm.config.v1+json");
        assert!(matches!(parse(&helm, None), Err(Error::NotAnImage { .. })));
        let foreign = manifest("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", CONFIG_TYPES[0]);
        assert!(matches!(parse(&foreign, None), Err(Error::ForeignLayer { .. })));
        let sealed = manifest("application/vnd.oci.image.layer.v1.tar+gzip+encrypted", CONFIG_TYPES[0]);
        assert!(matches!(parse(&sealed, None), Err(Error::UnknownMediaType { .. })));
        let old = json!({"schemaVersion": 1, "fsLayers": []});
        assert!(matches!(parse(&old, None), Err(Error::Schema1 { .. })));
        let mut unknown = manifest(layer, CONFIG_TYPES[0]);
        unknown["mediaType"] = json!("application/x-unknown");
        assert!(matches!(parse(&unknown, None), Err(Error::UnknownMediaType { .. })));
        let mut hash = manifest(layer, CONFIG_TYPES[0]);
        hash["config"]["digest"] = json!(format!("sha384:{}", "a".repeat(96)));
        assert!(matches!(parse(&hash, None), Err(Error::UnsupportedDigest { .. })));
        assert!(matches!(Document::parse(b"<html>", None, "x"), Err(Error::Malformed { .. })));
    }

    #[test]
    fn refuses_what_could_be_read_two_ways() {
        let mut both = manifest(LAYER_TYPES[0], CONFIG_TYPES[0]);
        both["manifests"] = json!([]);
        assert!(matches!(parse(&both, None), Err(Error::Ambiguous { .. })));
        let index = json!({"schemaVersion": 2, "manifests": []});
        assert!(matches!(parse(&index, Some(OCI_MANIFEST)), Err(Error::Ambiguous { .. })));
        assert!(matches!(parse(&json!({"schemaVersion": 2}), Some(OCI_INDEX)), Err(Error::Ambiguous { .. })));
    }

    #[test]
    fn chooses_by_platform() {
        let entry = |digit, arch: &str, variant: Option<&str>| {
            let mut platform = json!({"os": "linux", "architecture": arch});
            if let Some(variant) = variant {
                platform["variant"] = json!(variant);
            }
            json!({"mediaType": OCI_MANIFEST, "digest": digest(digit), "size": 1, "platform": platform})
        };
        let mut nobody = entry('5', "unknown", None);
        nobody["platform"]["os"] = json!("unknown");
        let nowhere = json!({"mediaType": OCI_MANIFEST, "digest": digest('6'), "size": 1});
        let other = json!({"mediaType": "application/x", "digest": digest('7'), "size": 1});
        let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [
            nowhere, nobody, other, entry('1', "arm", Some("v5")), entry('2', "arm", Some("v7")),
            entry('3', "amd64", None), entry('4', "arm64", Some("v8")),
        ]});
        let Document::Index(entries) = parse(&index, Some(OCI_INDEX)).unwrap() else { panic!() };
        let chosen = |platform: &str| -> String {
            let wanted = platform.parse().unwrap();
            candidates(&entries, &wanted).iter().map(|d| &d.digest.hex()[..1]).collect()
        };
        assert_eq!(chosen("linux/amd64"), "36");
        assert_eq!(chosen("linux/arm64"), "46");
        assert_eq!(chosen("linux/arm/v7"), "216");
        assert_eq!(chosen("linux/arm/v6"), "16");
        assert_eq!(chosen("linux/riscv64"), "6");
        assert_eq!(available(&entries), "linux/arm/v5, linux/arm/v7, linux/amd64, linux/arm64");
    }
}
