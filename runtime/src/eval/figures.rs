//! The figures of one routing on one set of images.

use meanet_method::{Costs, EnergyProfile, Exit, ExitReport, Judged, Report, Spent, Tally};
use serde::Serialize;

use super::setting::Setting;

/// What a routing is worth and what it costs.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Figures {
    /// Images counted.
    pub(super) images: usize,
    /// Share of right answers.
    pub(super) accuracy: f64,
    /// Of that share, were other images drawn.
    pub(super) standard_error: f64,
    /// Share sent to the cloud.
    pub(super) offload: f64,
    /// Share for which the extension ran.
    pub(super) extended: f64,
    /// Share answered wrongly at the edge where the cloud would have been right.
    pub(super) missed: f64,
    pub(super) exits: Vec<ExitReport>,
    /// Mean of an image.
    pub(super) spent: Spent,
}

/// A routing and its figures.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Line {
    pub(super) name: String,
    /// Absent where no thresholds are involved.
    pub(super) setting: Option<Setting>,
    #[serde(flatten)]
    pub(super) figures: Figures,
}

/// How answers differ from one routing to another, image by image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Change {
    /// Wrong before, right after.
    pub(super) mended: usize,
    /// Right before, wrong after.
    pub(super) spoiled: usize,
}

impl Figures {
    pub(super) fn new(tally: &Tally, profile: &EnergyProfile, costs: &Costs) -> Self {
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

impl Change {
    /// Both judgements are of the same images in the same order.
    pub(super) fn between(before: (&[Judged], &Setting), after: (&[Judged], &Setting)) -> Self {
        let right = |one: &Judged, setting: &Setting| match one
            .exit(setting.threshold(), setting.extension_offload_above)
        {
            Exit::Cloud => one.cloud_right == Some(true),
            Exit::Main | Exit::Extension => one.edge_right,
        };
        let mut change = Self::default();
        for (old, new) in before.0.iter().zip(after.0) {
            match (right(old, before.1), right(new, after.1)) {
                (false, true) => change.mended += 1,
                (true, false) => change.spoiled += 1,
                _ => {}
            }
        }
        change
    }
}

/// `items`, or as many of them as `most` at even distances, the first and the last among them.
pub(super) fn thin<T: Copy>(items: &[T], most: usize) -> Vec<T> {
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
