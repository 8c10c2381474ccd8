//! The revisions of one deployment, as a plan adds to them.

use std::fmt::Write;
use std::sync::Arc;

use kube::ResourceExt;
use meanet_crds::deployment::{Model, Precision, Routing};
use meanet_crds::revision::{Cause, Content, Evaluation, Weights};
use meanet_crds::{MEANetRevision, MEANetRevisionSpec};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// All revisions of a deployment, those that a plan adds included.
#[derive(Clone, Debug)]
pub struct History {
    deployment: String,
    all: Vec<Arc<MEANetRevision>>,
    made: usize,
}

/// A revision that does not have a number yet.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Why it is made.
    pub cause: Cause,
    /// The revision that it was derived from.
    pub parent: Option<String>,
    /// The network that the weights belong to.
    pub model: Model,
    /// The weights.
    pub weights: Weights,
    /// The hard-class table of the extension.
    pub hard_classes: Vec<i32>,
    /// When an input leaves by which exit.
    pub routing: Routing,
    /// How good it is.
    pub evaluation: Option<Evaluation>,
}

impl History {
    /// The revisions seen, by number.
    #[must_use]
    pub fn new(deployment: &str, seen: &[Arc<MEANetRevision>]) -> Self {
        Self {
            deployment: deployment.to_owned(),
            all: seen.to_vec(),
            made: seen.len(),
        }
    }

    /// The revision of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<MEANetRevision>> {
        self.all
            .iter()
            .find(|revision| revision.metadata.name.as_deref() == Some(name))
    }

    /// Revisions that were there before, by number.
    #[must_use]
    pub fn seen(&self) -> &[Arc<MEANetRevision>] {
        &self.all[..self.made]
    }

    /// Revisions to make, in this order.
    #[must_use]
    pub fn drafts(&self) -> &[Arc<MEANetRevision>] {
        &self.all[self.made..]
    }

    /// The highest number of those that `wanted` picks.
    pub fn newest(&self, wanted: impl Fn(&MEANetRevisionSpec) -> bool) -> Option<&Arc<MEANetRevision>> {
        self.all.iter().rev().find(|revision| wanted(&revision.spec))
    }

    /// Name of the revision with this content, which is made if there is none.
    pub fn ensure(&mut self, draft: Draft) -> String {
        let name = name(
            &self.deployment,
            &Content::new(&draft.model, &draft.weights, &draft.hard_classes, &draft.routing),
        );
        if self.get(&name).is_none() {
            let number = self
                .all
                .iter()
                .map(|revision| revision.spec.number)
                .max()
                .unwrap_or(0)
                + 1;
            let Draft {
                cause,
                parent,
                model,
                weights,
                hard_classes,
                routing,
                evaluation,
            } = draft;
            let deployment = self.deployment.clone();
            let spec = MEANetRevisionSpec {
                deployment,
                number,
                parent,
                cause,
                model,
                weights,
                hard_classes,
                routing,
                evaluation,
            };
            self.all.push(Arc::new(MEANetRevision::new(&name, spec)));
        }
        name
    }

    /// Name of the revision with the weights of `base` and this routing, which is made if there is none.
    pub fn rerouted(&mut self, base: &MEANetRevision, routing: &Routing) -> String {
        self.derived(base, routing, base.spec.model.precision)
    }

    /// Name of the revision with the weights of `base`, this routing and this precision, which is made if there is none.
    pub fn derived(&mut self, base: &MEANetRevision, routing: &Routing, precision: Precision) -> String {
        let spec = &base.spec;
        let same_precision = spec.model.precision == precision;
        // Accuracy at the edge depends on when the extension is asked and whose answer counts, and not on when inputs are offloaded.
        let same_answers = same_precision
            && spec.routing.extend_above == routing.extend_above
            && spec.routing.extension_rule == routing.extension_rule
            && spec.routing.score == routing.score
            && spec.routing.learned == routing.learned;
        self.ensure(Draft {
            cause: if same_precision {
                Cause::RoutingChanged
            } else {
                Cause::PrecisionChanged
            },
            parent: Some(base.name_any()),
            model: Model {
                precision,
                ..spec.model.clone()
            },
            weights: spec.weights.clone(),
            hard_classes: spec.hard_classes.clone(),
            routing: routing.clone(),
            evaluation: spec.evaluation.clone().filter(|_| same_answers),
        })
    }
}

/// Whether two revisions differ in routing at most.
#[must_use]
pub fn same_weights(a: &MEANetRevision, b: &MEANetRevision) -> bool {
    let (a, b) = (&a.spec, &b.spec);
    a.weights == b.weights && a.model == b.model && a.hard_classes == b.hard_classes
}

/// `D-` and ten hex digits of the SHA-256 of the content as canonical JSON.
fn name(deployment: &str, content: &Content<'_>) -> String {
    let value = serde_json::to_value(content).unwrap_or_default();
    let mut text = String::new();
    canonical(&value, &mut text);
    format!("{deployment}-{}", hex(&text, 10))
}

/// The first `digits` hex digits of the SHA-256 of a text.
pub(crate) fn hex(text: &str, digits: usize) -> String {
    let mut hex = String::new();
    for byte in Sha256::digest(text.as_bytes()) {
        let _ = write!(hex, "{byte:02x}");
    }
    hex.truncate(digits);
    hex
}

/// JSON without white space, members by name.
fn canonical(value: &Value, text: &mut String) {
    match value {
        Value::Object(members) => {
            let mut names: Vec<_> = members.keys().collect();
            names.sort_unstable();
            text.push('{');
            for (index, name) in names.into_iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                let _ = write!(text, "{}:", Value::from(name.as_str()));
                canonical(&members[name], text);
            }
            text.push('}');
        }
        Value::Array(elements) => {
            text.push('[');
            for (index, element) in elements.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                canonical(element, text);
            }
            text.push(']');
        }
        plain => {
            let _ = write!(text, "{plain}");
        }
    }
}
