//! How well a score ranks: without any threshold, and unmoved by calibration.

/// Probability that a random positive scores higher than a random negative, ties counted half (area under the ROC curve,
/// by the rank sum of Mann and Whitney). `rows` are (score, positive). Absent without positives or without negatives.
#[must_use]
pub fn auroc(rows: &[(f32, bool)]) -> Option<f64> {
    let sorted = ascending(rows);
    let (mut below, mut wins) = (0.0, 0.0);
    for group in sorted.chunk_by(|a, b| a.0 >= b.0) {
        let positives = group.iter().filter(|row| row.1).count() as f64;
        let negatives = group.len() as f64 - positives;
        wins += positives * (below + negatives / 2.0);
        below += negatives;
    }
    let positives = rows.len() as f64 - below;
    (positives > 0.0 && below > 0.0).then(|| wins / (positives * below))
}

/// One point of a risk–coverage curve, both in 0..=1.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Coverage {
    /// Share of the images answered, the surest first.
    pub coverage: f64,
    /// Share of wrong answers among them.
    pub risk: f64,
}

/// Risk of answering the surest images only, at each coverage that a threshold can give, ascending. `rows` are (score,
/// wrong); larger scores are less sure (El-Yaniv and Wiener 2010).
#[must_use]
pub fn risk_coverage(rows: &[(f32, bool)]) -> Vec<Coverage> {
    let (mut answered, mut wrong) = (0, 0);
    ascending(rows)
        .chunk_by(|a, b| a.0 >= b.0)
        .map(|group| {
            answered += group.len();
            wrong += group.iter().filter(|row| row.1).count();
            Coverage {
                coverage: answered as f64 / rows.len() as f64,
                risk: f64::from(wrong as u32) / answered as f64,
            }
        })
        .collect()
}

/// Mean risk over all coverages `1/n..=1` (AURC, Geifman et al. 2019); lower is better. Images with equal scores count as
/// in a random order of theirs. 0 of nothing.
#[must_use]
pub fn aurc(rows: &[(f32, bool)]) -> f64 {
    let (mut answered, mut wrong, mut area) = (0.0, 0.0, 0.0);
    for group in ascending(rows).chunk_by(|a, b| a.0 >= b.0) {
        let rate = group.iter().filter(|row| row.1).count() as f64 / group.len() as f64;
        for _ in group {
            answered += 1.0;
            wrong += rate;
            area += wrong / answered;
        }
    }
    area / (rows.len() as f64).max(1.0)
}

/// The AURC of a score that puts every wrong answer last: what no score can be better than.
#[must_use]
pub fn best_aurc(rows: &[(f32, bool)]) -> f64 {
    let perfect: Vec<(f32, bool)> = rows
        .iter()
        .map(|&(_, wrong)| (f32::from(u8::from(wrong)), wrong))
        .collect();
    let right = perfect.iter().filter(|row| !row.1).count();
    let area: f64 = (1..=perfect.len() - right)
        .map(|wrong| wrong as f64 / (right + wrong) as f64)
        .sum();
    area / (rows.len() as f64).max(1.0)
}

fn ascending(rows: &[(f32, bool)]) -> Vec<(f32, bool)> {
    let mut sorted = rows.to_vec();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn brute_force(rows: &[(f32, bool)]) -> Option<f64> {
        let pairs: Vec<f64> = rows
            .iter()
            .filter(|a| a.1)
            .flat_map(|a| rows.iter().filter(|b| !b.1).map(move |b| (a, b)))
            .map(|(a, b)| {
                if a.0 > b.0 {
                    1.0
                } else if a.0 < b.0 {
                    0.0
                } else {
                    0.5
                }
            })
            .collect();
        (!pairs.is_empty()).then(|| pairs.iter().sum::<f64>() / pairs.len() as f64)
    }

    #[test]
    fn known_cases() {
        assert_eq!(auroc(&[(0.1, false), (0.2, true)]), Some(1.0));
        assert_eq!(auroc(&[(0.2, false), (0.1, true)]), Some(0.0));
        assert_eq!(auroc(&[(0.2, false), (0.2, true)]), Some(0.5));
        assert_eq!(auroc(&[(0.2, true)]), None);
        // Right, wrong, right: risks 0, 1/2, 1/3.
        let rows = [(0.1, false), (0.2, true), (0.3, false)];
        assert!((aurc(&rows) - (0.5 + 1.0 / 3.0) / 3.0).abs() < 1e-12);
        assert!((best_aurc(&rows) - (1.0 / 3.0) / 3.0).abs() < 1e-12);
        assert_eq!(
            risk_coverage(&rows)[1],
            Coverage {
                coverage: 2.0 / 3.0,
                risk: 0.5
            }
        );
        assert!(aurc(&[]).abs() < 1e-12 && best_aurc(&[]).abs() < 1e-12);
    }

    fn rows() -> impl Strategy<Value = Vec<(f32, bool)>> {
        proptest::collection::vec(((0_u8..12).prop_map(f32::from), any::<bool>()), 1..80)
    }

    proptest! {
        #[test]
        fn the_rank_sum_is_the_share_of_won_pairs(rows in rows()) {
            match (auroc(&rows), brute_force(&rows)) {
                (Some(fast), Some(slow)) => prop_assert!((fast - slow).abs() < 1e-9),
                (fast, slow) => prop_assert_eq!(fast, slow),
            }
        }

        #[test]
        fn order_does_not_matter_and_no_score_beats_the_best(rows in rows()) {
            let reversed: Vec<_> = rows.iter().rev().copied().collect();
            prop_assert!((aurc(&rows) - aurc(&reversed)).abs() < 1e-9);
            prop_assert!(aurc(&rows) >= best_aurc(&rows) - 1e-9);
            let curve = risk_coverage(&rows);
            prop_assert!(curve.is_sorted_by(|a, b| a.coverage < b.coverage));
            prop_assert!((curve.last().unwrap().coverage - 1.0).abs() < 1e-12);
        }
    }
}
