//! Up to which main score the main exit answers for hard classes as well.

use snafu::ensure;

use super::{ChooseError, EmptySnafu, share_in_range};
use crate::judge::Judged;

/// Share of the answers, a tenth of a point, that the edge by itself may get wrong for asking the extension less, where nothing else
/// is said.
pub const EXTEND_COST: f64 = 0.001;

/// The threshold up to which the extension need not be asked: the highest of the scores seen in hard classes for which neither it nor
/// any below costs the edge by itself more than `at_most` of the answers, 0..=1. Absent where already the lowest costs more.
///
/// It is climbed from below, and not sought from above: what is lost below is not made good by what the extension spoils further up, for
/// there the cloud may answer. So the bound holds whatever `offload_above` is. And the last of many chances to come back within
/// the bound is one that other images rarely have.
pub fn extend_above(judged: &[Judged], at_most: f64) -> Result<Option<f32>, ChooseError> {
    ensure!(!judged.is_empty(), EmptySnafu);
    share_in_range("the accuracy that extendAbove may cost", at_most)?;
    let mut asked: Vec<&Judged> = judged
        .iter()
        .filter(|one| one.extension_score.is_some())
        .collect();
    asked.sort_by(|a, b| a.main_score.total_cmp(&b.main_score));
    let (mut mended, mut spoiled, mut highest) = (0, 0, None);
    for group in asked.chunk_by(|a, b| a.main_score >= b.main_score) {
        mended += group
            .iter()
            .filter(|one| one.edge_right && !one.main_right)
            .count();
        spoiled += group
            .iter()
            .filter(|one| !one.edge_right && one.main_right)
            .count();
        let lost = mended.saturating_sub(spoiled);
        // In images, so that a tenth of 10 images is 1 whatever 0.1 is in binary.
        if lost as f64 > at_most * judged.len() as f64 * (1.0 + 1e-12) {
            break;
        }
        highest = group.last().map(|one| one.main_score);
    }
    Ok(highest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::Exit;
    use crate::samples::judged;
    use crate::tally::Tally;
    use proptest::prelude::*;

    /// An image of a hard class, which main exit and extension get right or wrong.
    fn hard(main_score: f32, main_right: bool, edge_right: bool) -> Judged {
        Judged {
            main_score,
            extension_score: Some(0.5),
            main_right,
            edge_exit: Exit::Extension,
            edge_right,
            cloud_right: None,
        }
    }

    fn easy(main_score: f32) -> Judged {
        Judged {
            extension_score: None,
            edge_exit: Exit::Main,
            ..hard(main_score, true, true)
        }
    }

    #[test]
    fn an_extension_that_changes_nothing_is_asked_about_nothing_seen() {
        let images = [easy(0.9), hard(0.7, true, true), hard(0.2, false, false)];
        assert_eq!(extend_above(&images, 0.0), Ok(Some(0.7)));
        assert_eq!(
            extend_above(&[easy(0.9)], 0.0),
            Ok(None),
            "there is nothing to ask it"
        );
    }

    #[test]
    fn what_it_mends_is_given_up_within_the_bound_alone() {
        let images = [
            hard(0.1, true, true),
            hard(0.2, false, true),
            hard(0.3, true, true),
            hard(0.4, false, true),
            easy(0.5),
        ];
        let chosen = [0.0, 0.2, 0.39, 0.4].map(|at_most| extend_above(&images, at_most).unwrap());
        assert_eq!(chosen, [Some(0.1), Some(0.3), Some(0.3), Some(0.4)]);
        assert_eq!(
            extend_above(&images[1..], 0.0),
            Ok(None),
            "it mends the surest one"
        );
    }

    #[test]
    fn equal_scores_are_asked_together() {
        let images = [
            hard(0.1, true, true),
            hard(0.2, true, false),
            hard(0.2, false, true),
        ];
        assert_eq!(
            extend_above(&images, 0.0),
            Ok(Some(0.2)),
            "one mended, one spoiled"
        );
        let images = [
            hard(0.1, true, true),
            hard(0.2, true, true),
            hard(0.2, false, true),
        ];
        assert_eq!(extend_above(&images, 0.0), Ok(Some(0.1)));
    }

    #[test]
    fn what_it_spoils_further_up_does_not_pay_for_what_it_mends() {
        let images = [
            hard(0.1, true, true),
            hard(0.2, false, true),
            hard(0.3, true, false),
        ];
        assert_eq!(extend_above(&images, 0.0), Ok(Some(0.1)));
    }

    #[test]
    fn what_cannot_be_is_said() {
        assert_eq!(extend_above(&[], 0.0), Err(ChooseError::Empty));
        let error = extend_above(&[easy(0.1)], -0.1).unwrap_err().to_string();
        assert!(error.contains("extendAbove may cost is -0.1"), "{error}");
    }

    proptest! {
        #[test]
        fn the_bound_holds_with_and_without_a_cloud_and_the_next_threshold_would_break_it(
            judged in judged(60), at_most in 0_f64..0.2, offload_above in 0_f32..1.2
        ) {
            let chosen = extend_above(&judged, at_most).unwrap();
            let right = |extend_above, offload_above| {
                let all: Vec<Judged> = judged.iter().map(|one| one.extended_above(extend_above)).collect();
                Tally::of(&all, offload_above, None).right() as f64
            };
            // Nothing chosen is a threshold below all scores.
            let threshold = Some(chosen.unwrap_or(-1.0));
            let allowed = at_most * judged.len() as f64 + 1e-9;
            for offload_above in [offload_above, f32::INFINITY] {
                prop_assert!(right(None, offload_above) - right(threshold, offload_above) <= allowed);
            }
            let next = judged
                .iter()
                .filter(|one| one.extension_score.is_some() && Some(one.main_score) > chosen)
                .map(|one| one.main_score)
                .min_by(f32::total_cmp);
            if let Some(next) = next {
                prop_assert!(right(None, f32::INFINITY) - right(Some(next), f32::INFINITY) > allowed - 2e-9);
            }
        }

        #[test]
        fn a_higher_threshold_never_asks_more(judged in judged(60), low in 0_f32..1.0, more in 0_f32..1.0) {
            let extended = |extend_above| {
                let all: Vec<Judged> = judged.iter().map(|one| one.extended_above(extend_above)).collect();
                Tally::of(&all, f32::INFINITY, None).extended
            };
            prop_assert!(extended(Some(low + more)) <= extended(Some(low)));
            prop_assert_eq!(extended(None), extended(Some(-1.0)));
        }
    }
}
