//! The verbs: one file for each thing that can be done.
//! STAND-IN below until the engine is merged: the context that every verb gets.

pub mod container;
pub mod image;
pub mod system;

use crate::store::Store;
use crate::store::containers::Container;
use container::inspect::Places;
use container::list::Sizes;
use system::info::Known;

#[derive(Debug)]
pub struct Engine {
    pub store: Store,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {}

impl Engine {
    pub fn open() -> Result<Engine, Error> {
        Ok(Engine { store: Store::open("/nonexistent".into()) })
    }

    /// Pulls with the client, the owners and the whiteouts that this host needs.
    pub fn pull(
        &self,
        request: &image::pull::Request,
        progress: &dyn image::pull::Progress,
    ) -> Result<image::pull::Report, image::pull::Error> {
        let _ = progress;
        Err(crate::store::images::Error::NotFound(request.reference.familiar()).into())
    }

    /// Removes what `key` means, looking at the containers that use it.
    pub fn remove_image(&self, key: &str, force: bool) -> Result<Vec<image::remove::Removed>, image::Error> {
        let namespace = crate::store::worker::WorkerNamespace {
            user: None,
            owners: crate::archive::unpack::Owners::Recorded,
        };
        image::remove::remove(&self.store, namespace, key, force, &|| Ok(Vec::new()))
    }

    /// Imports the archive at `source`: `-` for standard input, a URL or a path.
    pub fn import(
        &self,
        source: &str,
        name: Option<crate::spec::image_ref::ImageRef>,
        platform: crate::spec::platform::Platform,
        message: String,
    ) -> Result<crate::spec::digest::Digest, image::Error> {
        let _ = (name, platform, message);
        Err(image::Error::NoSuch(source.to_owned()))
    }

    /// The storage driver in use.
    pub fn driver(&self) -> &'static str {
        "overlay"
    }

    /// What a container's layer and its whole root file system take.
    pub fn sizes(&self, _container: &Container) -> Result<Sizes, Error> {
        Ok(Sizes { writable: 0, root: 0 })
    }

    /// Where a container's files are.
    pub fn places(&self, container: &Container) -> Places {
        Places { log: self.store.container_log_path(&container.record.id), ..Places::default() }
    }

    /// What `info` cannot find out by itself.
    pub fn known(&self) -> Result<Known, Error> {
        Ok(Known {
            images: 0,
            driver: String::new(),
            root_dir: "/".into(),
            network: String::new(),
            lost: Vec::new(),
        })
    }
}
