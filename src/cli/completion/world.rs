//! What there is to be named: containers, images, networks. Looks into the store only: no namespace is
//! made, nothing is written.

use crate::cli::Context;
use crate::engine::Engine;
use crate::spec::container::{ImageUse, Status};

/// A container's name, the image it was made of, and docker's word for what it does.
#[derive(Debug, Clone)]
pub struct Named {
    pub name: String,
    pub image: String,
    pub status: Status,
}

/// What candidates are taken from. What cannot be read is not there.
pub trait World {
    fn containers(&self) -> Vec<Named>;
    fn images(&self) -> Vec<String>;
    /// Names and drivers.
    fn networks(&self) -> Vec<(String, String)>;
    /// The names of the caller's environment variables.
    fn variables(&self) -> Vec<String>;
}

/// This user's.
pub struct Own<'a>(pub &'a Context);

impl Own<'_> {
    fn engine(&self) -> Option<&Engine> {
        self.0.engine().ok()
    }
}

impl World for Own<'_> {
    fn containers(&self) -> Vec<Named> {
        let all = self.engine().and_then(|engine| engine.store.containers().ok()).unwrap_or_default();
        let named = all.into_iter().map(|container| Named {
            image: match container.record.image {
                ImageUse::Stored { reference, .. } => reference,
                ImageUse::Host => "host".to_owned(),
            },
            name: container.name,
            status: container.state.status,
        });
        named.collect()
    }

    fn images(&self) -> Vec<String> {
        let tags = self.engine().and_then(|engine| engine.store.all_tags().ok()).unwrap_or_default();
        tags.into_iter().map(|(name, _)| name.familiar()).collect()
    }

    fn networks(&self) -> Vec<(String, String)> {
        let all = self.engine().and_then(|engine| engine.networks().ok()).unwrap_or_default();
        all.iter().map(|network| (network.name.to_owned(), network.driver.to_owned())).collect()
    }

    fn variables(&self) -> Vec<String> {
        std::env::vars_os().filter_map(|(key, _)| key.into_string().ok()).collect()
    }
}
