//! What a monitor writes into the store's log of events about its container.

use std::rc::Rc;

use crate::store::Store;
use crate::store::containers::Container;
use crate::store::events::of_container;

/// The container as it was when it was started, and where to write.
#[derive(Debug, Clone)]
pub struct Diary {
    store: Store,
    container: Rc<Container>,
}

impl Diary {
    pub fn new(store: &Store, container: Container) -> Diary {
        Diary { store: store.clone(), container: Rc::new(container) }
    }

    pub fn store(&self) -> &Store {
        &self.store
    }

    pub fn container(&self) -> &Container {
        &self.container
    }

    /// Writes an event down, with attributes of its own.
    pub fn note(&self, action: &str, extra: &[(&str, String)]) {
        let mut event = of_container(&self.container, action, extra);
        // It may have another name by now; at its start it has not.
        if action != "start"
            && let Some(name) = self.store.container_name(&self.container.record.id)
        {
            event.actor.attributes.insert("name".to_owned(), name);
        }
        self.store.note(&event);
    }
}
