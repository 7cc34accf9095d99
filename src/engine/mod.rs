//! The verbs: one file for each thing that can be done. No arguments, no printing.

pub mod container;
pub mod image;
pub mod network;
pub mod system;

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::OnceLock;

use crate::archive::unpack::{Owners, Whiteouts};
use crate::config::{self, Config};
use crate::network::{links, plan as network_plan};
use crate::registry;
use crate::rootfs::driver::{self, Driver};
use crate::spec::container::{ImageUse, NetworkMode};
use crate::spec::digest::Digest;
use crate::spec::image_ref::ImageRef;
use crate::spec::platform::Platform;
use crate::store::Store;
use crate::store::containers::Container;
use crate::store::events::of_image;
use crate::store::worker::{self, Worker, WorkerNamespace};
use crate::userns::{self, Mapped};
use container::inspect::Places;
use container::list::Sizes;
use system::info::Known;

/// What every verb works with: the configuration, the store, and the user's mapped namespace once
/// a verb needed it. Shared by threads.
#[derive(Debug)]
pub struct Engine {
    pub config: Config,
    pub store: Store,
    mapped: OnceLock<Mapped>,
    /// Shows the user one line that is no result.
    pub warn: fn(&str),
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Config(#[from] config::Error),
    #[error(transparent)]
    Namespace(#[from] userns::Error),
    #[error(transparent)]
    Driver(#[from] driver::Error),
    #[error("open {path}")]
    Source {
        path: String,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot list the images")]
    Images(#[from] crate::store::Error),
    #[error("cannot look at the host's network")]
    Network(#[from] links::LinkError),
    #[error("cannot measure the container's files")]
    Measure(#[from] worker::Error),
}

impl Engine {
    pub fn open(warn: fn(&str)) -> Result<Engine, Error> {
        let config = Config::from_environment()?;
        let store = Store::open(config.data.clone());
        Ok(Engine { config, store, mapped: OnceLock::new(), warn })
    }

    /// The user's mapped namespace, found or made when first asked for.
    pub fn mapped(&self) -> Result<&Mapped, Error> {
        if let Some(mapped) = self.mapped.get() {
            return Ok(mapped);
        }
        let mapped = userns::mapped(&self.config)?;
        if let Some(warning) = &mapped.warning {
            (self.warn)(warning);
        }
        Ok(self.mapped.get_or_init(|| mapped))
    }

    pub fn namespace(&self) -> Result<WorkerNamespace<'_>, Error> {
        let mapped = self.mapped()?;
        let owners = if mapped.is_single() { Owners::Recorded } else { Owners::Mapped };
        Ok(WorkerNamespace { user: Some(mapped.fd()), owners })
    }

    /// The storage driver for this host.
    pub fn storage_driver(&self) -> Result<Driver, Error> {
        Ok(driver::choose(&self.config, self.mapped()?.fd())?)
    }

    fn whiteouts(&self) -> Result<Whiteouts, Error> {
        // Both drivers understand device whiteouts; marker files are for hosts that refuse the device,
        // which the unpacker finds out by itself.
        Ok(Whiteouts::Device)
    }

    fn client(&self) -> registry::Client {
        registry::Client::new(registry::Options::from_environment(|name| std::env::var_os(name)))
    }

    /// Removes what dead processes left. Before verbs that change images; never on a start.
    fn sweep(&self) {
        // Leftovers cost space, not correctness: the verb goes on without.
        let _ = self.namespace().map(|namespace| self.store.sweep(namespace));
    }

    /// Pulls with the client, the owners and the whiteouts that this host needs.
    pub fn pull(
        &self,
        request: &image::pull::Request,
        progress: &dyn image::pull::Progress,
    ) -> Result<image::pull::Report, image::pull::Error> {
        self.sweep();
        let client = self.client();
        let unpacking = || -> Result<image::pull::Unpacking, image::pull::BoxedError> {
            let namespace = self.namespace()?;
            let user = namespace.user.map(|fd| fd.try_clone_to_owned()).transpose()?;
            Ok(image::pull::Unpacking { user, owners: namespace.owners, whiteouts: self.whiteouts()? })
        };
        let context = image::pull::Context { store: &self.store, client: &client, unpacking: &unpacking };
        let report = image::pull::pull(&context, request, progress)?;
        let name = request.reference.familiar();
        self.store.note(&of_image(&name, &request.reference.familiar_name(), "pull"));
        Ok(report)
    }

    /// Removes what `key` means, looking at the containers that use it.
    pub fn remove_image(&self, key: &str, force: bool) -> Result<Vec<image::remove::Removed>, image::Error> {
        self.sweep();
        let boxed = |e: Error| image::Error::Containers(Box::new(e));
        let users = || {
            let containers = self.store.containers()?;
            Ok(containers.into_iter().filter_map(image_user).collect())
        };
        image::remove::remove(&self.store, self.namespace().map_err(boxed)?, key, force, &users)
    }

    /// Whether an image is for a platform that serves the one wanted.
    pub fn suits(
        &self,
        image: &Digest,
        wanted: Option<&Platform>,
    ) -> Result<bool, crate::store::images::Error> {
        let Some(wanted) = wanted else { return Ok(true) };
        let config = self.store.image_config(image)?;
        let platform = Platform::new(&config.os, &config.architecture, config.variant.as_deref());
        Ok(wanted.distance(&platform).is_some())
    }

    /// Imports the archive at `source`: `-` for standard input, a URL or a path.
    pub fn import(
        &self,
        source: &str,
        name: Option<ImageRef>,
        platform: Platform,
        message: String,
    ) -> Result<Digest, image::Error> {
        self.sweep();
        let boxed = |e: Error| image::Error::Source(Box::new(e));
        let archive: Box<dyn Read + Send> = if source == "-" {
            Box::new(std::io::stdin())
        } else if source.starts_with("http://") || source.starts_with("https://") {
            // The client outlives the reader this way; there is one import a process.
            let client: &'static registry::Client = Box::leak(Box::new(self.client()));
            Box::new(client.download(source).map_err(|e| image::Error::Source(Box::new(e)))?)
        } else {
            Box::new(
                File::open(source)
                    .map_err(|e| boxed(Error::Source { path: source.to_owned(), source: e }))?,
            )
        };
        let request = image::import::Request {
            name,
            platform,
            message,
            created: jiff::Timestamp::now(),
            whiteouts: self.whiteouts().map_err(boxed)?,
        };
        let id = image::import::import(&self.store, self.namespace().map_err(boxed)?, archive, &request)?;
        self.store.note(&of_image(&id.to_string(), &id.to_string(), "import"));
        Ok(id)
    }

    /// The storage driver's name, for views: what was chosen, without making anything.
    pub fn driver(&self) -> &'static str {
        self.storage_driver().map_or("overlay", |driver| driver.name())
    }

    /// What a container's layer and its whole root file system take.
    pub fn sizes(&self, container: &Container) -> Result<Sizes, Error> {
        let upper = self.store.container_dir(&container.record.id).join("upper");
        let writable = match size_of_tree(&upper) {
            Some(size) => size,
            // Some of it belongs to subordinate ids and is for them alone.
            None => {
                let place = File::open(&upper)
                    .map_err(|e| Error::Source { path: upper.display().to_string(), source: e })?;
                Worker::spawn(self.namespace()?)?.measure(place.as_fd())?
            }
        };
        let layers = match &container.record.image {
            ImageUse::Host => 0,
            ImageUse::Stored { layers, .. } => layers
                .iter()
                .filter_map(|id| self.store.hold_layer(id).ok().flatten())
                .map(|layer| layer.size())
                .sum(),
        };
        Ok(Sizes { writable, root: layers + writable })
    }

    /// Where a container's files are.
    pub fn places(&self, container: &Container) -> Places {
        let id = &container.record.id;
        let directory = self.store.container_dir(id);
        let lower = match &container.record.image {
            ImageUse::Host => vec![PathBuf::from("/")],
            ImageUse::Stored { layers, .. } => layers.iter().map(|id| self.store.layer_path(id)).collect(),
        };
        Places {
            log: self.store.container_log_path(id),
            resolv_conf: directory.join("resolv.conf"),
            hostname: directory.join("hostname"),
            hosts: directory.join("hosts"),
            lower,
            upper: directory.join("upper"),
            work: directory.join("work"),
            merged: directory.join("root"),
        }
    }

    /// What `info` cannot find out by itself.
    pub fn known(&self) -> Result<Known, Error> {
        let tools = links::find_tools(&self.config.path);
        let host = links::host_network()?;
        let network = network_plan::plan(&NetworkMode::Default, &[], &tools, &host);
        let (network, mut lost) = match network {
            Ok(plan) => (plan.stack.name().to_owned(), plan.lost),
            Err(error) => ("none".to_owned(), vec![error.to_string()]),
        };
        lost.extend(self.mapped()?.warning.clone());
        Ok(Known {
            images: self.store.images()?.len(),
            driver: self.driver().to_owned(),
            root_dir: self.config.data.clone(),
            network,
            lost,
        })
    }
}

fn image_user(container: Container) -> Option<image::remove::ImageUser> {
    let running = container.is_running();
    match container.record.image {
        ImageUse::Host => None,
        ImageUse::Stored { id, layers, .. } => {
            Some(image::remove::ImageUser { container: container.record.id, image: id, layers, running })
        }
    }
}

/// Bytes of all regular files below; `None` when the user may not look everywhere. Nothing there is
/// nothing.
fn size_of_tree(path: &std::path::Path) -> Option<u64> {
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => return None,
        Err(_) => return Some(0),
    };
    let mut size = 0;
    for entry in entries.flatten() {
        size += match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => size_of_tree(&entry.path())?,
            Ok(metadata) if metadata.is_file() => metadata.len(),
            Ok(_) => 0,
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => return None,
            Err(_) => 0,
        };
    }
    Some(size)
}
