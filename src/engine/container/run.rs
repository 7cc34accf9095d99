//! `create` and `run`: from a request to a container, and to its end.

use super::attach::{DetachKeys, Streams};
use super::create::{CidFile, ImageView, Request, plan};
use super::remove::sweep_abandoned;
use super::start::{Error, launch, unless_left, wait_started, watch};
use crate::engine::Engine;
use crate::monitor::log::{journal, now};
use crate::spec::container::{ContainerRecord, ImageUse};
use crate::spec::id::ContainerId;
use crate::spec::image_ref::ImageRef;
use crate::spec::log::Driver;
use crate::spec::name::ContainerName;
use crate::spec::platform::Platform;
use crate::spec::update::Updated;
use crate::store::containers::{self, Container};
use crate::store::events::of_container;
use crate::sys::process::random;
use std::path::Path;

#[derive(Debug, Clone)]
pub struct Mode {
    pub detach: bool,
    pub interactive: bool,
    pub tty: bool,
    pub sig_proxy: bool,
    pub keys: DetachKeys,
}

#[derive(Debug)]
pub enum Outcome {
    Detached(ContainerId),
    /// 0 to 255.
    Exited(i32),
    /// The user left it running.
    Left,
}

/// The name of the built-in image.
const HOST_IMAGE: &str = "host";

pub fn create(engine: &Engine, request: Request) -> Result<ContainerId, Error> {
    make(engine, &request).map(|container| container.record.id)
}

pub fn run(engine: &Engine, request: Request, mode: Mode) -> Result<Outcome, Error> {
    let container = make(engine, &request)?;
    if !mode.detach {
        engine.store.note(&of_container(&container, "attach", &[]));
    }
    let socket = launch(engine, &container, !mode.detach)?;
    if mode.detach {
        wait_started(engine, socket)?;
        return Ok(Outcome::Detached(container.record.id));
    }
    let Mode { interactive, tty, sig_proxy, keys, .. } = mode;
    let streams = Streams { stdin: interactive, tty, output: true, sig_proxy, keys, redraw: false };
    let status = unless_left(watch(engine, socket, &streams, &mut || ()))?;
    Ok(status.map_or(Outcome::Left, Outcome::Exited))
}

/// Makes the container: everything is checked before anything appears.
fn make(engine: &Engine, request: &Request) -> Result<Container, Error> {
    let cidfile = request.cidfile.as_deref().map(CidFile::reserve).transpose()?;
    let image = view(engine, request)?;
    let id = ContainerId::from_bytes(random().map_err(Error::Random)?);
    let host_name = nix::unistd::gethostname().unwrap_or_default().to_string_lossy().into_owned();
    let record = plan(request, &image, id, now(), &host_name)?;
    if record.options.log.driver == Driver::Journald && !Path::new(journal::SOCKET).exists() {
        return Err(Error::NoJournal(journal::SOCKET));
    }
    for bind in &record.options.binds {
        if !bind.source.exists() {
            return Err(Error::NoBindSource(bind.source.clone()));
        }
    }
    let name = store(engine, request, &record)?;
    if let Some(cidfile) = cidfile {
        cidfile.write(&record.id)?;
    }
    let state = crate::spec::container::ContainerState::created();
    let container = Container { record, name, state, health: None, updated: Updated::default() };
    still_there(engine, &container)?;
    engine.store.note(&of_container(&container, "create", &[]));
    Ok(container)
}

/// An `rmi` at the same moment either sees the new container or is seen here.
fn still_there(engine: &Engine, container: &Container) -> Result<(), Error> {
    let ImageUse::Stored { id, reference, .. } = &container.record.image else { return Ok(()) };
    if engine.store.image(id)?.is_some() {
        return Ok(());
    }
    let held = engine.store.hold_container(&container.record.id)?;
    engine.store.withdraw_container(&held)?.delete(engine.namespace()?)?;
    Err(Error::NoSuchImage(reference.clone()))
}

/// Stores the record under the name that was asked for, or a random free one.
fn store(engine: &Engine, request: &Request, record: &ContainerRecord) -> Result<String, Error> {
    let durable = !record.options.auto_remove;
    if let Some(name) = &request.name {
        let create = || engine.store.create_container(record, name.as_str(), durable);
        match create() {
            // Its holder may be a container of `--rm` whose monitor was killed.
            Err(containers::Error::NameTaken { .. }) => {
                sweep_abandoned(engine, engine.store.containers()?);
                create()?;
            }
            result => result?,
        }
        return Ok(name.as_str().to_owned());
    }
    let mut attempt = 0;
    loop {
        let bits = u64::from_ne_bytes(random().map_err(Error::Random)?);
        let name = ContainerName::random(bits, attempt);
        match engine.store.create_container(record, name.as_str(), durable) {
            Err(containers::Error::NameTaken { .. }) if attempt < 100 => attempt += 1,
            result => return Ok(result.map(|()| name.as_str().to_owned())?),
        }
    }
}

fn view(engine: &Engine, request: &Request) -> Result<ImageView, Error> {
    if request.image == HOST_IMAGE {
        return Ok(ImageView::Host);
    }
    let (image, _) = engine.store.find_image(&request.image).map_err(|error| match error {
        crate::store::images::Error::NotFound(key) => {
            Error::NoSuchImage(ImageRef::parse(&key).map(|name| name.familiar()).unwrap_or(key))
        }
        error => error.into(),
    })?;
    let config = engine.store.image_config(&image.id)?;
    let platform = Platform::new(&config.os, &config.architecture, config.variant.as_deref());
    if let Some(wanted) = request.platform.as_ref().filter(|wanted| wanted.distance(&platform).is_none()) {
        let (platform, wanted) = (platform.to_string(), wanted.to_string());
        return Err(Error::WrongPlatform { image: request.image.clone(), platform, wanted });
    }
    Ok(ImageView::Stored {
        reference: request.image.clone(),
        id: image.id,
        layers: image.layers,
        config: Box::new(config.config.unwrap_or_default()),
    })
}
