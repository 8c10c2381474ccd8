use std::sync::Arc;

use meanet_crds::deployment::{
    ExtensionRule, Precision as PrecisionSpec, Routing as RoutingSpec, Score, WhenCloudUnavailable,
};
use meanet_crds::revision::MEANetRevisionSpec;
use meanet_method as method;
use meanet_net::{EdgeNetwork, Precision};
use tokio::sync::watch;

/// One revision, ready to answer. Weights and routing travel together: a request holds one of these from start to end.
pub(super) struct Active {
    pub(super) name: String,
    pub(super) spec: MEANetRevisionSpec,
    pub(super) routing: method::Routing,
    pub(super) network: Arc<Loaded>,
}

/// A network in memory, shared by revisions that differ only in routing.
pub(super) struct Loaded {
    pub(super) edge: EdgeNetwork,
    pub(super) hard: method::HardClasses,
}

impl Active {
    pub(super) fn new(name: String, spec: MEANetRevisionSpec, network: Arc<Loaded>) -> Self {
        let routing = routing(&spec.routing);
        Self {
            name,
            spec,
            routing,
            network,
        }
    }

    /// The same network under another revision's routing, where the weights are the same.
    pub(super) fn reroute(&self, name: &str, spec: &MEANetRevisionSpec) -> Option<Self> {
        (self.spec.weights.main == spec.weights.main
            && self.spec.weights.adaptive == spec.weights.adaptive
            && self.spec.weights.extension == spec.weights.extension
            && self.spec.hard_classes == spec.hard_classes
            && self.spec.model == spec.model)
            .then(|| Self::new(name.to_owned(), spec.clone(), Arc::clone(&self.network)))
    }
}

/// A revision's routing as the method takes it.
pub(crate) fn routing(spec: &RoutingSpec) -> method::Routing {
    method::Routing {
        score: match spec.score {
            Score::Entropy => method::Score::Entropy,
            Score::LeastConfidence => method::Score::LeastConfidence,
            Score::Margin => method::Score::Margin,
        },
        offload_above: spec.offload_above as f32,
        extend_above: spec.extend_above.map(|v| v as f32),
        extension_offload_above: spec.extension_offload_above.map(|v| v as f32),
        rule: match spec.extension_rule {
            ExtensionRule::Extension => method::ExtensionRule::Extension,
            ExtensionRule::MoreConfident => method::ExtensionRule::MoreConfident,
        },
        when_unavailable: match spec.when_cloud_unavailable {
            WhenCloudUnavailable::AnswerLocally => method::WhenUnavailable::AnswerLocally,
            WhenCloudUnavailable::Fail => method::WhenUnavailable::Fail,
        },
    }
}

/// A revision's precision as networks take it.
pub(crate) fn precision(spec: PrecisionSpec) -> Precision {
    match spec {
        PrecisionSpec::Float32 => Precision::Float32,
        PrecisionSpec::Int8 => Precision::Int8,
    }
}

/// Where the revision in service is found. Setting it drops nothing: requests under way keep theirs.
#[derive(Clone)]
pub(super) struct Slot(Arc<watch::Sender<Option<Arc<Active>>>>);

impl Default for Slot {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }
}

impl Slot {
    pub(super) fn get(&self) -> Option<Arc<Active>> {
        self.0.borrow().clone()
    }

    /// Puts `active` into service; gives what was there before.
    pub(super) fn set(&self, active: Arc<Active>) -> Option<Arc<Active>> {
        self.0.send_replace(Some(active))
    }
}
