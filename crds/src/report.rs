//! What an import or training job says at its end, in its container's termination message (at most 4,096 bytes).

use serde::{Deserialize, Serialize};

use crate::revision::{Evaluation, Weights};

/// The termination message of a job, as JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum JobReport {
    /// The blobs are in the store and were checked: digest, shapes, finiteness, a warm-up inference.
    Succeeded {
        /// What to run.
        weights: Weights,
        /// The hard-class table that belongs to the extension, ascending.
        hard_classes: Vec<i32>,
        /// How good it is on held-out data. An import of weights that carry no evaluation has none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        evaluation: Option<Evaluation>,
    },
    /// Nothing was produced; the reason, in words for the person who has to mend it.
    Failed {
        /// Lowercase, names the file or field and the remedy.
        message: String,
    },
}

/// Longest termination message that Kubernetes keeps, in bytes.
pub const MAX_BYTES: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_hard_classes_fit() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let report = JobReport::Succeeded {
            weights: Weights {
                main: digest.clone(),
                adaptive: digest.clone(),
                extension: digest.clone(),
                cloud: Some(digest),
            },
            hard_classes: (0..1000).step_by(2).collect(),
            evaluation: Some(Evaluation::default()),
        };
        assert!(serde_json::to_string(&report).unwrap().len() <= MAX_BYTES);
    }
}
