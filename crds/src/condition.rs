//! Condition types of a [`crate::MEANetDeployment`] and the one way to merge them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

pub mod reason;

/// Everything asked for runs: preflight passed, weights checked, cloud available, every reachable edge synced. Where it
/// does not hold, it repeats reason and message of the first other condition that holds it back.
pub const READY: &str = "Ready";
/// The cluster has what the deployment needs; the message names all that is missing. What runs is not taken down for it.
pub const PREFLIGHT_PASSED: &str = "PreflightPassed";
/// The weights named in `spec.model.weights` are in the store and were checked.
pub const WEIGHTS_READY: &str = "WeightsReady";
/// The cloud runtime, or the external endpoint in its place, can take offloaded inputs.
pub const CLOUD_AVAILABLE: &str = "CloudAvailable";
/// A revision is on its way to the edges; `False` with reason `Complete` when it has arrived.
pub const PROGRESSING: &str = "Progressing";
/// How the last retraining request stands; absent until the first one.
pub const RETRAINED: &str = "Retrained";

/// What a controller has to say about one condition, before time and generation are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// One of this module's constants.
    pub type_: &'static str,
    /// `Some(true)`: True, `Some(false)`: False, `None`: Unknown.
    pub status: Option<bool>,
    /// One CamelCase word.
    pub reason: &'static str,
    /// What a person should know, and do.
    pub message: String,
}

impl Verdict {
    /// The condition holds.
    #[must_use]
    pub fn yes(type_: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            type_,
            status: Some(true),
            reason,
            message: message.into(),
        }
    }

    /// The condition does not hold.
    #[must_use]
    pub fn no(type_: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            type_,
            status: Some(false),
            reason,
            message: message.into(),
        }
    }

    /// Not known yet.
    #[must_use]
    pub fn unknown(type_: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            type_,
            status: None,
            reason,
            message: message.into(),
        }
    }
}

/// Merges verdicts into conditions: `lastTransitionTime` moves only when the status does, and conditions nobody
/// speaks of any more are dropped. The same verdicts give the same conditions, whatever `now` is.
#[must_use]
pub fn merge(old: &[Condition], verdicts: &[Verdict], generation: Option<i64>, now: &Time) -> Vec<Condition> {
    verdicts
        .iter()
        .map(|verdict| {
            let status = match verdict.status {
                Some(true) => "True",
                Some(false) => "False",
                None => "Unknown",
            };
            let since = old
                .iter()
                .find(|c| c.type_ == verdict.type_ && c.status == status)
                .map_or_else(|| now.clone(), |c| c.last_transition_time.clone());
            Condition {
                type_: verdict.type_.to_owned(),
                status: status.to_owned(),
                reason: verdict.reason.to_owned(),
                message: verdict.message.clone(),
                observed_generation: generation,
                last_transition_time: since,
            }
        })
        .collect()
}

/// The condition of type `type_`, if it is there.
#[must_use]
pub fn find<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|c| c.type_ == type_)
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::jiff::Timestamp;

    fn at(second: i64) -> Time {
        Time(Timestamp::from_second(second).unwrap())
    }

    #[test]
    fn time_moves_only_with_the_status() {
        let first = merge(&[], &[Verdict::no(READY, "Starting", "one")], Some(1), &at(1));
        let same = merge(&first, &[Verdict::no(READY, "Waiting", "two")], Some(2), &at(2));
        assert_eq!(same[0].last_transition_time, at(1));
        assert_eq!(
            (same[0].reason.as_str(), same[0].observed_generation),
            ("Waiting", Some(2))
        );
        let turned = merge(&same, &[Verdict::yes(READY, "Complete", "")], Some(2), &at(3));
        assert_eq!(turned[0].last_transition_time, at(3));
        assert_eq!(
            merge(&turned, &[Verdict::yes(READY, "Complete", "")], Some(2), &at(9)),
            turned
        );
    }
}
