//! The revision in service, and the change from one to the next.

use std::sync::Arc;

use meanet_crds::revision::MEANetRevisionSpec;
use tracing::{info, warn};

use super::active::{Active, Slot};
use super::loading::{LoadError, Loader};

/// What serves, and the last revision on other weights: a rollback to it needs neither the store nor the disk.
pub(super) struct Live {
    loader: Loader,
    slot: Slot,
    spare: Option<Arc<Active>>,
}

impl Live {
    pub(super) fn new(loader: Loader, slot: Slot) -> Self {
        Self {
            loader,
            slot,
            spare: None,
        }
    }

    pub(super) fn active(&self) -> Option<Arc<Active>> {
        self.slot.get()
    }

    /// The content of a revision that is in memory; a revision never changes.
    pub(super) fn known(&self, name: &str) -> Option<MEANetRevisionSpec> {
        self.in_memory()
            .find(|held| held.name == name)
            .map(|held| held.spec.clone())
    }

    fn in_memory(&self) -> impl Iterator<Item = Arc<Active>> {
        self.slot.get().into_iter().chain(self.spare.clone())
    }

    /// Puts a revision into service whose weights are in memory; gives whether they were.
    pub(super) async fn reroute(&mut self, name: &str, spec: &MEANetRevisionSpec) -> bool {
        let next = self.in_memory().find_map(|held| held.reroute(name, spec));
        let there = next.is_some();
        if let Some(next) = next {
            self.switch(next).await;
        }
        there
    }

    /// Loads a revision and puts it into service. The one in service answers until then, and on if this fails or is dropped.
    pub(super) async fn load(&mut self, name: &str, spec: &MEANetRevisionSpec) -> Result<(), LoadError> {
        let next = self.loader.load(name, spec).await?;
        self.switch(next).await;
        Ok(())
    }

    async fn switch(&mut self, next: Active) {
        let next = Arc::new(next);
        let before = self.slot.set(Arc::clone(&next));
        info!(
            revision = next.name,
            offload_above = next.routing.offload_above,
            "in service"
        );
        if let Some(before) = before.filter(|before| !Arc::ptr_eq(&before.network, &next.network)) {
            self.spare = Some(before);
        }
        let remembered = self
            .loader
            .remember(
                self.slot.clone(),
                self.spare.as_ref().map(|spare| spare.spec.clone()),
            )
            .await;
        // A failure costs the next restart its quick start, nothing else.
        if let Err(error) = remembered {
            warn!("failed to remember {} for a restart: {error}", next.name);
        }
    }
}
