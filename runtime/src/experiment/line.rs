//! One line of a table: a way to answer the test images, how good it is and what it costs.

use meanet_method::{Costs, Difference, EnergyProfile, Judged, Proportion, Spent, Tally};
use serde::{Deserialize, Serialize};

/// Figures of one way to answer, on test images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Line {
    pub(super) name: String,
    pub(super) accuracy: Proportion,
    /// Against the line that the table compares with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) change: Option<Difference>,
    /// Share sent to the cloud.
    pub(super) offload: f64,
    /// Share for which the extension ran.
    pub(super) extended: f64,
    /// Mean of an image.
    pub(super) spent: Spent,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) note: Option<String>,
}

/// Judged images under two thresholds.
#[derive(Clone, Copy)]
pub(super) struct Routed<'a> {
    pub(super) judged: &'a [Judged],
    pub(super) offload_above: f32,
    pub(super) extension_offload_above: Option<f32>,
}

impl Routed<'_> {
    pub(super) fn tally(&self) -> Tally {
        Tally::of(self.judged, self.offload_above, self.extension_offload_above)
    }

    /// Which answers are right.
    pub(super) fn answers(&self) -> Vec<bool> {
        let right = |one: &Judged| one.right(self.offload_above, self.extension_offload_above);
        self.judged.iter().map(right).collect()
    }

    /// As a line; `against` are the answers that it is compared with.
    pub(super) fn line(
        &self,
        name: &str,
        against: Option<&[bool]>,
        profile: &EnergyProfile,
        costs: &Costs,
    ) -> Line {
        let (tally, answers) = (self.tally(), self.answers());
        Line {
            name: name.to_owned(),
            accuracy: Proportion::of(&answers),
            change: against.map(|before| Difference::between(before, &answers)),
            offload: tally.offload(),
            extended: tally.extended_share(),
            spent: profile.spent(&tally, costs),
            note: None,
        }
    }
}

impl Line {
    pub(super) fn noted(mut self, note: &str) -> Self {
        self.note = Some(note.to_owned());
        self
    }
}
