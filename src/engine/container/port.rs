//! `port`: what is published of a container.

use crate::engine::Engine;
use crate::spec::port::PublishedPort;
use crate::store::containers::Error;

/// The published ports of a running container, by number; none of one that does not run.
pub fn port(engine: &Engine, key: &str) -> Result<Vec<PublishedPort>, Error> {
    let container = engine.store.find_container(key)?;
    let mut ports = if container.state.status.has_process() { container.state.ports } else { Vec::new() };
    ports.sort_by_key(|port| (port.container_port, port.protocol.name()));
    Ok(ports)
}
