//! The figures of one routing on one set of images.

use meanet_method::{Costs, EnergyProfile, ExitReport, Report, Spent, Tally};
use serde::Serialize;

use super::setting::Setting;

/// What a routing is worth and what it costs.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Figures {
    /// Images counted.
    pub(crate) images: usize,
    /// Share of right answers.
    pub(crate) accuracy: f64,
    /// Of that share, were other images drawn.
    pub(crate) standard_error: f64,
    /// Share sent to the cloud.
    pub(crate) offload: f64,
    /// Share for which the extension ran.
    pub(crate) extended: f64,
    /// Share answered wrongly at the edge where the cloud would have been right.
    pub(crate) missed: f64,
    pub(crate) exits: Vec<ExitReport>,
    /// Mean of an image.
    pub(crate) spent: Spent,
}

/// A routing and its figures.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Line {
    pub(crate) name: String,
    /// Absent where no thresholds are involved.
    pub(crate) setting: Option<Setting>,
    #[serde(flatten)]
    pub(crate) figures: Figures,
}

impl Figures {
    pub(crate) fn new(tally: &Tally, profile: &EnergyProfile, costs: &Costs) -> Self {
        let report = Report::from(tally);
        let images = tally.images.max(1) as f64;
        Self {
            images: tally.images,
            accuracy: report.accuracy,
            standard_error: (report.accuracy * (1.0 - report.accuracy) / images).sqrt(),
            offload: tally.offload(),
            extended: tally.extended_share(),
            missed: tally.missed as f64 / images,
            exits: report.exits,
            spent: profile.spent(tally, costs),
        }
    }
}

/// `items`, or as many of them as `most` at even distances, the first and the last among them.
pub(crate) fn thin<T: Copy>(items: &[T], most: usize) -> Vec<T> {
    if items.len() <= most || most < 2 {
        return items.to_vec();
    }
    (0..most)
        .map(|i| items[i * (items.len() - 1) / (most - 1)])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thinning_keeps_both_ends() {
        let items: Vec<usize> = (0..1000).collect();
        let thinned = thin(&items, 7);
        assert_eq!((thinned.len(), thinned[0], thinned[6]), (7, 0, 999));
        assert_eq!(thin(&items[..3], 7), [0, 1, 2]);
    }
}
