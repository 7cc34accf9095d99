//! What `update` changed of a container after its record was made: `containers/<id>/updated.json`.
//! Pure.

use serde::{Deserialize, Serialize};

use super::resources::Resources;
use super::restart::RestartPolicy;

pub const UPDATED_VERSION: u32 = 1;

/// Only what was changed; everything else is as the record says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Updated {
    pub version: u32,
    #[serde(default)]
    pub resources: Resources,
    #[serde(default)]
    pub restart: Option<RestartPolicy>,
}

impl Default for Updated {
    fn default() -> Updated {
        Updated { version: UPDATED_VERSION, resources: Resources::default(), restart: None }
    }
}
