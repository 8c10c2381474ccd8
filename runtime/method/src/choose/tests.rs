use super::*;
use crate::samples::judged;
use proptest::prelude::*;

fn image(main_score: f32, edge_right: bool) -> Judged {
    Judged {
        main_score,
        extension_score: None,
        main_right: edge_right,
        edge_exit: Exit::Main,
        edge_right,
        cloud_right: Some(true),
    }
}

#[test]
fn a_budget_is_the_exact_quantile() {
    let images: Vec<Judged> = (1..=10).map(|i| image(i as f32 / 10.0, true)).collect();
    let at = |budget| choose(&images, None, Goal::OffloadBudget(budget)).unwrap();
    assert_eq!(
        (at(0.2).offload_above, at(0.2).tally.exit(Exit::Cloud).images),
        (0.8, 2)
    );
    assert_eq!(
        (
            at(0.29).offload_above,
            at(1.0).offload_above,
            at(0.0).offload_above
        ),
        (0.8, 0.0, 1.0)
    );
}

#[test]
fn equal_scores_stay_together_within_the_budget() {
    let images = [0.1, 0.5, 0.5, 0.5, 0.9].map(|score| image(score, true));
    let chosen = choose(&images, None, Goal::OffloadBudget(0.4)).unwrap();
    assert_eq!(
        (chosen.offload_above, chosen.tally.exit(Exit::Cloud).images),
        (0.5, 1)
    );
}

#[test]
fn a_target_is_reached_with_as_little_as_possible() {
    let images = [(0.1, true), (0.2, false), (0.3, true), (0.4, false)].map(|(s, right)| image(s, right));
    let chosen = choose(&images, None, Goal::TargetAccuracy(0.75)).unwrap();
    assert_eq!((chosen.offload_above, chosen.tally.right()), (0.3, 3));
    let error = choose(&[image(0.0, false)], None, Goal::TargetAccuracy(0.5)).unwrap_err();
    assert!(error.to_string().contains("reaches 0.0000"), "{error}");
}

#[test]
fn what_cannot_be_is_said() {
    assert_eq!(
        choose(&[], None, Goal::OffloadBudget(0.5)),
        Err(ChooseError::Empty)
    );
    let lonely = Judged {
        cloud_right: None,
        ..image(0.5, true)
    };
    assert_eq!(
        choose(&[lonely], None, Goal::OffloadBudget(0.5)),
        Err(ChooseError::NoCloud)
    );
    let error = choose(&[image(0.5, true)], None, Goal::OffloadBudget(20.0))
        .unwrap_err()
        .to_string();
    assert!(error.contains("offload budget is 20"), "{error}");
    let escalated = Judged {
        extension_score: Some(0.9),
        ..image(0.5, true)
    };
    let error = choose(&[escalated], Some(0.1), Goal::OffloadBudget(0.5))
        .unwrap_err()
        .to_string();
    assert!(error.contains("raise it"), "{error}");
}

proptest! {
    #[test]
    fn a_budget_holds_and_the_next_threshold_would_break_it(
        judged in judged(60), escalate in proptest::option::of(0.5_f32..1.0), budget in 0_f64..1.0
    ) {
        match choose(&judged, escalate, Goal::OffloadBudget(budget)) {
            Ok(chosen) => {
                prop_assert!(chosen.tally.offload() <= budget + 1e-9);
                prop_assert_eq!(chosen.tally, Tally::of(&judged, chosen.offload_above, escalate));
                let below = Tally::of(&judged, chosen.offload_above - 0.05, escalate);
                prop_assert!(chosen.offload_above <= 0.0 || below.offload() > budget);
            }
            Err(error) => {
                let broken = matches!(error, ChooseError::Budget { .. });
                prop_assert!(broken && escalate.is_some());
            }
        }
    }

    #[test]
    fn two_thresholds_are_no_worse_than_one(judged in judged(60), budget in 0_f64..1.0) {
        let goal = Goal::OffloadBudget(budget);
        let (one, two) = (choose(&judged, None, goal).unwrap(), choose_both(&judged, goal).unwrap());
        prop_assert!(two.tally.right() >= one.tally.right() && two.tally.offload() <= budget + 1e-9);
    }
}
