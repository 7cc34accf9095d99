//! Where things are below the store's root. The only place that knows names of files.

use std::path::{Path, PathBuf};

use super::{Error, IoContext};
use crate::spec::digest::Digest;
use crate::spec::image_ref::ImageRef;

/// Names inside a layer's directory.
pub(super) const LAYER_TREE: &str = "diff";
pub(super) const LAYER_RECORD: &str = "layer.json";
pub(super) const LAYER_TAR_SPLIT: &str = "tar-split.zst";
pub(super) const LAYER_REPLACED: &str = "replaced";

/// NAME_MAX of every file system that can hold a store.
const NAME_MAX: usize = 255;

/// Paths below one store's root. Makes directories only when asked to.
#[derive(Debug, Clone)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    pub(super) fn new(root: PathBuf) -> Layout {
        Layout { root }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The log of events.
    pub fn events(&self) -> PathBuf {
        self.root.join("events.log")
    }

    pub fn staging(&self) -> PathBuf {
        self.root.join("staging")
    }

    pub fn layers(&self) -> PathBuf {
        self.root.join("layers")
    }

    pub fn layer(&self, diff_id: &Digest) -> PathBuf {
        self.layers().join(diff_id.hex())
    }

    pub fn images(&self) -> PathBuf {
        self.root.join("images")
    }

    pub fn image(&self, id: &Digest) -> PathBuf {
        self.images().join(format!("{}.json", id.hex()))
    }

    pub fn configs(&self) -> PathBuf {
        self.images().join("configs")
    }

    pub fn config(&self, id: &Digest) -> PathBuf {
        self.configs().join(id.hex())
    }

    pub fn manifests(&self) -> PathBuf {
        self.images().join("manifests")
    }

    pub fn manifest(&self, digest: &Digest) -> PathBuf {
        self.manifests().join(digest.hex())
    }

    pub fn tags(&self) -> PathBuf {
        self.images().join("tags")
    }

    /// The file of a tag, or `None` when the name is too long for a file.
    pub fn tag(&self, name: &ImageRef) -> Option<PathBuf> {
        let file = tag_to_file(&name.to_string());
        (file.len() <= NAME_MAX).then(|| self.tags().join(file))
    }

    pub fn images_lock(&self) -> PathBuf {
        self.images().join("lock")
    }

    /// Containers belong to their own module; the store only reserves the place.
    pub fn containers(&self) -> PathBuf {
        self.root.join("containers")
    }
}

/// `/` becomes `+`, which no reference contains.
fn tag_to_file(name: &str) -> String {
    name.replace('/', "+")
}

/// The reference a tag's file stands for, when it is one.
pub(super) fn file_to_tag(file: &str) -> Option<ImageRef> {
    ImageRef::parse(&file.replace('+', "/")).ok()
}

/// Makes a directory and its parents, for the user alone.
pub fn make_directory(path: &Path) -> Result<(), Error> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).at("create directory", path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_become_file_names_and_back() {
        for text in ["redis", "localhost:5000/a/b.c__d:v1.0-x", "reg.example:1/a:Tag_1"] {
            let name = ImageRef::parse(text).expect("valid");
            let file = tag_to_file(&name.to_string());
            assert!(!file.contains('/'), "{file}");
            assert_eq!(file_to_tag(&file), Some(name));
        }
        assert_eq!(tag_to_file("docker.io/library/redis:latest"), "docker.io+library+redis:latest");
        assert_eq!(file_to_tag("not a tag"), None);
    }

    #[test]
    fn a_name_beyond_what_a_file_can_have_is_told() {
        let layout = Layout::new(PathBuf::from("/s"));
        let long = format!("{}:{}", "a".repeat(200), "t".repeat(100));
        assert_eq!(layout.tag(&ImageRef::parse(&long).expect("valid")), None);
    }
}
