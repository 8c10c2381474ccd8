//! Every threshold at once.

use crate::judge::Judged;
use crate::tally::Tally;

/// What one threshold does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Images with a main score strictly above this go to the cloud.
    pub offload_above: f32,
    /// What comes of it.
    pub tally: Tally,
}

/// What every threshold from 0 up does that does something different, ascending. One sort, then one pass: `O(n log n)`.
///
/// Scores are not negative. The first point is threshold 0; the last sends nothing by the main exit's score.
/// Without images, or without a cloud, there is only the last.
#[must_use]
pub fn curve(judged: &[Judged], extension_offload_above: Option<f32>) -> Vec<Point> {
    let mut sorted: Vec<&Judged> = judged.iter().collect();
    sorted.sort_by(|a, b| a.main_score.total_cmp(&b.main_score));
    let last = sorted.last().map_or(0.0, |one| one.main_score);
    let mut sent = Tally::of(judged, f32::NEG_INFINITY, extension_offload_above);
    if judged.iter().any(|one| one.cloud_right.is_none()) || judged.is_empty() {
        return vec![Point {
            offload_above: last,
            tally: sent,
        }];
    }
    let mut kept = Tally::default();
    let mut points = Vec::new();
    if sorted.first().is_some_and(|one| one.main_score > 0.0) {
        points.push(Point {
            offload_above: 0.0,
            tally: sent,
        });
    }
    for group in sorted.chunk_by(|a, b| a.main_score >= b.main_score) {
        for one in group {
            kept.add(one, f32::INFINITY, extension_offload_above);
            let mut gone = Tally::default();
            gone.add(one, f32::NEG_INFINITY, extension_offload_above);
            sent = sent.minus(&gone);
        }
        let offload_above = group.last().map_or(0.0, |one| one.main_score);
        points.push(Point {
            offload_above,
            tally: kept.plus(&sent),
        });
    }
    points
}

/// What threshold `offload_above` does: the last point of an ascending curve at or below it. Absent below the first.
#[must_use]
pub fn at(curve: &[Point], offload_above: f32) -> Option<&Point> {
    let after = curve.partition_point(|point| point.offload_above <= offload_above);
    after.checked_sub(1).and_then(|index| curve.get(index))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::judged;
    use proptest::prelude::*;

    #[test]
    fn nothing_in_gives_one_empty_point() {
        assert_eq!(
            curve(&[], None),
            [Point {
                offload_above: 0.0,
                tally: Tally::default()
            }]
        );
    }

    proptest! {
        #[test]
        fn each_point_is_what_routing_by_its_threshold_gives(
            judged in judged(60), escalate in proptest::option::of(0_f32..1.0), probe in 0_f32..1.2
        ) {
            let points = curve(&judged, escalate);
            for point in &points {
                prop_assert_eq!(point.tally, Tally::of(&judged, point.offload_above, escalate));
            }
            let found = at(&points, probe).unwrap();
            prop_assert_eq!(found.tally, Tally::of(&judged, probe, escalate), "between points as well");
        }

        #[test]
        fn a_higher_threshold_never_sends_more(judged in judged(60), escalate in proptest::option::of(0_f32..1.0)) {
            let points = curve(&judged, escalate);
            prop_assert!(points.is_sorted_by(|a, b| a.offload_above < b.offload_above));
            prop_assert!(points.is_sorted_by(|a, b| a.tally.offload() >= b.tally.offload()));
            prop_assert!(points.is_sorted_by(|a, b| a.tally.missed <= b.tally.missed));
        }
    }
}
