use std::sync::Arc;

use kube::ResourceExt;
use meanet_crds::revision::Cause;
use meanet_crds::{MEANetRevision, MEANetRevisionSpec};

use super::history::History;
use crate::deployment::validate::Validated;

/// The revision that the nodes should be on.
#[derive(Clone, Debug)]
pub(super) enum Target {
    /// No weights yet.
    None,
    /// This one.
    Revision(Arc<MEANetRevision>),
    /// The one pinned is not in the history.
    PinMissing(String),
}

/// The revision that brought the weights in service.
///
/// That is the newest of the spec's model that did not merely change routing or precision: a routing edit may make revisions of older
/// weights, for nodes that the newer ones have not reached. While a model named anew is still being imported, the weights
/// of the model before it stay in service.
pub(super) fn origin(history: &History, spec: &Validated) -> Option<Arc<MEANetRevision>> {
    let brought =
        |revision: &MEANetRevisionSpec| matches!(revision.cause, Cause::WeightsImported | Cause::Retrained);
    let ours = |revision: &MEANetRevisionSpec| revision.model.begins_as(&spec.model);
    history
        .newest(|revision| ours(revision) && brought(revision))
        .or_else(|| history.newest(ours))
        .or_else(|| history.newest(brought))
        .or_else(|| history.newest(|_| true))
        .cloned()
}

/// The pinned revision, or the weights in service with the spec's routing; made if it is not there.
pub(super) fn target(history: &mut History, spec: &Validated) -> Target {
    if let Some(pinned) = &spec.rollout.pinned {
        return match history.get(pinned) {
            Some(revision) => Target::Revision(revision.clone()),
            None => Target::PinMissing(pinned.clone()),
        };
    }
    let Some(origin) = origin(history, spec) else {
        return Target::None;
    };
    // While a model named anew is imported, the one before it stays as it is.
    let precision = if origin.spec.model.begins_as(&spec.model) {
        spec.model.precision
    } else {
        origin.spec.model.precision
    };
    let name = history.derived(&origin, &spec.routing, precision);
    history.get(&name).cloned().map_or(Target::None, Target::Revision)
}

impl Target {
    pub(super) fn revision(&self) -> Option<&Arc<MEANetRevision>> {
        match self {
            Self::Revision(revision) => Some(revision),
            Self::None | Self::PinMissing(_) => None,
        }
    }

    pub(super) fn name(&self) -> Option<String> {
        self.revision().map(|revision| revision.name_any())
    }
}
