use std::sync::Arc;

use meanet_crds::deployment::{
    ExtensionRule, LearnedScore, Precision as PrecisionSpec, Routing as RoutingSpec, Score,
    WhenCloudUnavailable,
};
use meanet_crds::revision::MEANetRevisionSpec;
use meanet_method::{self as method, Ranking, Router, RouterError};
use meanet_net::{EdgeNetwork, Precision};
use snafu::{OptionExt, ResultExt, Snafu};
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
    pub(super) fn new(
        name: String,
        spec: MEANetRevisionSpec,
        network: Arc<Loaded>,
    ) -> Result<Self, RoutingError> {
        Ok(Self {
            routing: routing(&spec.routing)?,
            name,
            spec,
            network,
        })
    }

    /// The same network under another revision's routing, where the weights are the same and the routing is one.
    pub(super) fn reroute(&self, name: &str, spec: &MEANetRevisionSpec) -> Option<Self> {
        (self.spec.weights.main == spec.weights.main
            && self.spec.weights.adaptive == spec.weights.adaptive
            && self.spec.weights.extension == spec.weights.extension
            && self.spec.hard_classes == spec.hard_classes
            && self.spec.model == spec.model)
            .then(|| Self::new(name.to_owned(), spec.clone(), Arc::clone(&self.network)).ok())
            .flatten()
    }
}

/// A routing that cannot be followed. The API server admits none; a definition older than this program may.
#[derive(Clone, Debug, PartialEq, Snafu)]
pub(crate) enum RoutingError {
    #[snafu(display(
        "failed to read routing: score is Learned and learned is absent; set it to what `meanet choose --score learned` prints"
    ))]
    NoWeights,
    #[snafu(display("failed to read routing.learned: {source}"))]
    Weights { source: RouterError },
}

/// The learned score of a routing, whether it is used or not.
pub(crate) fn router(spec: &RoutingSpec) -> Result<Option<Router>, RoutingError> {
    let router = |learned: &LearnedScore| Router::new(learned.weights, learned.bias);
    spec.learned
        .as_ref()
        .map(router)
        .transpose()
        .context(WeightsSnafu)
}

/// A revision's routing as the method takes it.
pub(crate) fn routing(spec: &RoutingSpec) -> Result<method::Routing, RoutingError> {
    Ok(method::Routing {
        score: match spec.score {
            Score::Entropy => method::Score::Entropy.into(),
            Score::LeastConfidence => method::Score::LeastConfidence.into(),
            Score::Margin => method::Score::Margin.into(),
            Score::Learned => Ranking::Learned(router(spec)?.context(NoWeightsSnafu)?),
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
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_learned_score_without_usable_weights_is_refused_by_name() {
        let mut spec = RoutingSpec {
            score: Score::Learned,
            ..RoutingSpec::default()
        };
        let error = routing(&spec).unwrap_err().to_string();
        assert!(error.contains("set it to what `meanet choose"), "{error}");
        let mut learned = LearnedScore {
            weights: [0.0; 12],
            bias: 2e6,
        };
        spec.learned = Some(learned.clone());
        let error = routing(&spec).unwrap_err();
        assert!(
            snafu::ErrorCompat::iter_chain(&error).any(|e| e.to_string().contains("bias")),
            "{error}"
        );
        learned.bias = 0.0;
        spec.learned = Some(learned);
        let score = routing(&spec).unwrap().score;
        assert!((score.of(&[0.5, 0.5]) - 0.5).abs() < f32::EPSILON);
    }
}
