//! Which exit answers. The order of the tests is the reference code's: complexity first, hardness second.

use serde::{Deserialize, Serialize};

use crate::hard::HardClasses;
use crate::router::Router;
use crate::score::{Score, ScoreError, best, softmax};

/// Who answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Exit {
    /// The main block.
    Main,
    /// The extension block.
    Extension,
    /// The cloud.
    Cloud,
}

impl Exit {
    /// The name in answers and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::Extension => "extension",
            Self::Cloud => "cloud",
        }
    }
}

/// Whose answer counts when the extension was asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExtensionRule {
    /// The extension's.
    #[default]
    Extension,
    /// The more confident one of main exit and extension.
    MoreConfident,
}

/// What an input gets that should go to the cloud when the cloud does not answer in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenUnavailable {
    /// The edge's own answer, marked `degraded`.
    #[default]
    AnswerLocally,
    /// An error.
    Fail,
}

/// How an exit's doubt is measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Ranking {
    /// By a function of its softmax.
    Score(Score),
    /// The main exit by a learned router: the probability that the cloud is right where the edge is wrong. The extension by entropy, as
    /// the router knows nothing of it.
    Learned(Router),
}

impl From<Score> for Ranking {
    fn from(score: Score) -> Self {
        Self::Score(score)
    }
}

impl Ranking {
    /// The main exit's score, of its probabilities `p`, `[classes]`; larger means rather to the cloud.
    #[must_use]
    pub fn of(&self, p: &[f32]) -> f32 {
        match self {
            Self::Score(score) => score.of(p),
            Self::Learned(router) => router.of(p),
        }
    }

    /// The extension's score, of its probabilities `q`, `[outputs of the extension]`.
    #[must_use]
    pub fn of_extension(&self, q: &[f32]) -> f32 {
        match self {
            Self::Score(score) => score.of(q),
            Self::Learned(_) => Score::Entropy.of(q),
        }
    }

    /// The largest value possible for the main exit of `classes` classes.
    #[must_use]
    pub fn range(&self, classes: usize) -> f32 {
        match self {
            Self::Score(score) => score.range(classes),
            Self::Learned(_) => 1.0,
        }
    }
}

/// When an input leaves by which exit.
#[derive(Clone, Debug, PartialEq)]
pub struct Routing {
    /// How unsure an exit is.
    pub score: Ranking,
    /// Inputs with a main score above this go to the cloud.
    pub offload_above: f32,
    /// Inputs of a hard class are extended with a main score above this; absent: all of them.
    pub extend_above: Option<f32>,
    /// Inputs with an extension score above this go on to the cloud.
    pub extension_offload_above: Option<f32>,
    /// Whose answer counts when the extension was asked.
    pub rule: ExtensionRule,
    /// What happens without the cloud.
    pub when_unavailable: WhenUnavailable,
}

/// A label and how it was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The class.
    pub label: u32,
    /// Probability of the class at the exit that answered.
    pub confidence: f32,
    /// Who answered.
    pub exit: Exit,
}

/// What follows from the main exit.
#[derive(Clone, Debug, PartialEq)]
pub enum AfterMain {
    /// An easy class or sure beyond doubt, and nothing for the cloud: done.
    Answer,
    /// A hard class, and not sure beyond doubt: the extension is asked.
    Extend,
    /// Not sure: to the cloud.
    Offload,
}

/// What the main exit says of one input.
#[derive(Clone, Debug, PartialEq)]
pub struct LocalAnswer {
    /// The main exit's own answer.
    pub main: Answer,
    /// Score of the main exit.
    pub score: f32,
    /// Whether the edge by itself asks the extension: that class is hard, and the score above `extend_above`.
    pub extends: bool,
    /// What follows.
    pub next: AfterMain,
}

/// Reads the main exit: its answer, its score and what follows. `logits` is `[classes]`.
pub fn after_main(logits: &[f32], routing: &Routing, hard: &HardClasses) -> Result<LocalAnswer, ScoreError> {
    let p = softmax(logits)?;
    let (index, confidence) = best(&p);
    let label = index as u32;
    let score = routing.score.of(&p);
    let extends = hard.contains(label) && routing.extend_above.is_none_or(|t| score > t);
    let next = if score > routing.offload_above {
        AfterMain::Offload
    } else if extends {
        AfterMain::Extend
    } else {
        AfterMain::Answer
    };
    Ok(LocalAnswer {
        main: Answer {
            label,
            confidence,
            exit: Exit::Main,
        },
        score,
        extends,
        next,
    })
}

/// The edge's answer once the extension was asked, and whether the extension is too unsure of it. `logits` is
/// `[outputs of the extension]`.
pub fn local_answer(
    main: &Answer,
    logits: &[f32],
    routing: &Routing,
    hard: &HardClasses,
) -> Result<(Answer, bool), ScoreError> {
    let q = softmax(logits)?;
    let (index, confidence) = best(&q);
    let unsure = routing
        .extension_offload_above
        .is_some_and(|t| routing.score.of_extension(&q) > t);
    let main_wins = routing.rule == ExtensionRule::MoreConfident && main.confidence > confidence;
    let answer = match hard.class(index) {
        Some(label) if !main_wins => Answer {
            label,
            confidence,
            exit: Exit::Extension,
        },
        _ => main.clone(),
    };
    Ok((answer, unsure))
}

/// The cloud's answer. `logits` is `[classes]`; whoever reads a server that gives something else makes logits of it.
pub fn cloud_answer(logits: &[f32]) -> Result<Answer, ScoreError> {
    let (index, confidence) = best(&softmax(logits)?);
    Ok(Answer {
        label: index as u32,
        confidence,
        exit: Exit::Cloud,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn routing() -> Routing {
        Routing {
            score: Score::Entropy.into(),
            offload_above: 0.9,
            extend_above: None,
            extension_offload_above: None,
            rule: ExtensionRule::Extension,
            when_unavailable: WhenUnavailable::AnswerLocally,
        }
    }

    fn hard() -> HardClasses {
        HardClasses::new(&[1, 2], &[1, 2], 4).unwrap()
    }

    #[test]
    fn sure_and_easy_leaves_at_main() {
        let read = after_main(&[9.0, 0.0, 0.0, 0.0], &routing(), &hard()).unwrap();
        assert_eq!(
            (read.next, read.main.label, read.extends),
            (AfterMain::Answer, 0, false)
        );
    }

    #[test]
    fn sure_and_hard_goes_to_the_extension() {
        let read = after_main(&[0.0, 9.0, 0.0, 0.0], &routing(), &hard()).unwrap();
        assert_eq!(read.next, AfterMain::Extend);
        let (answer, unsure) = local_answer(&read.main, &[0.0, 5.0], &routing(), &hard()).unwrap();
        assert_eq!((answer.label, answer.exit, unsure), (2, Exit::Extension, false));
    }

    #[test]
    fn hard_and_sure_beyond_doubt_leaves_at_main() {
        let sure = [0.0, 9.0, 0.0, 0.0];
        let score = after_main(&sure, &routing(), &hard()).unwrap().score;
        let read = |extend_above, offload_above| {
            let routing = Routing {
                offload_above,
                extend_above,
                ..routing()
            };
            let read = after_main(&sure, &routing, &hard()).unwrap();
            (read.next, read.extends)
        };
        assert_eq!(
            read(Some(score), 0.9),
            (AfterMain::Answer, false),
            "strictly above"
        );
        assert_eq!(read(Some(0.0), 0.9), (AfterMain::Extend, true));
        // The cloud is asked before the extension; where it does not answer, the same holds of the edge's own answer.
        assert_eq!(read(Some(score), 0.0), (AfterMain::Offload, false));
        assert_eq!(read(Some(0.0), 0.0), (AfterMain::Offload, true));
    }

    #[test]
    fn the_extension_may_say_that_it_was_no_hard_class() {
        let hard = HardClasses::new(&[1], &[0, 1, 2, 3], 4).unwrap();
        let read = after_main(&[0.0, 9.0, 0.0, 0.0], &routing(), &hard).unwrap();
        assert_eq!(read.next, AfterMain::Extend);
        let (answer, _) = local_answer(&read.main, &[0.0, 0.0, 0.0, 5.0], &routing(), &hard).unwrap();
        assert_eq!(answer.label, 3);
    }

    #[test]
    fn unsure_goes_to_the_cloud_even_when_hard() {
        for logits in [[0.0; 4], [0.0, 0.1, 0.0, 0.0]] {
            assert_eq!(
                after_main(&logits, &routing(), &hard()).unwrap().next,
                AfterMain::Offload
            );
        }
    }

    #[test]
    fn the_more_confident_exit_wins_where_asked() {
        let routing = Routing {
            rule: ExtensionRule::MoreConfident,
            extension_offload_above: Some(0.1),
            ..routing()
        };
        let read = after_main(&[0.0, 9.0, 0.0, 0.0], &routing, &hard()).unwrap();
        let (answer, unsure) = local_answer(&read.main, &[0.0, 0.1], &routing, &hard()).unwrap();
        assert_eq!((answer.label, answer.exit, unsure), (1, Exit::Main, true));
    }

    #[test]
    fn logits_that_look_like_probabilities_are_logits_all_the_same() {
        let answer = cloud_answer(&[0.3, 0.7]).unwrap();
        assert_eq!((answer.label, answer.exit), (1, Exit::Cloud));
        assert!(
            (answer.confidence - 0.5987).abs() < 1e-4,
            "and not as sure as 0.7"
        );
    }

    #[test]
    fn a_number_that_is_none_is_an_error_and_not_easy() {
        assert!(cloud_answer(&[0.0, f32::NAN, 1.0]).is_err() && cloud_answer(&[]).is_err());
        assert!(after_main(&[f32::NAN, 0.0, 0.0, 0.0], &routing(), &hard()).is_err());
    }

    proptest! {
        #[test]
        fn a_higher_threshold_never_offloads_more(
            logits in proptest::collection::vec(-20_f32..20.0, 4), low in 0_f32..2.0, more in 0_f32..2.0
        ) {
            let at = |t| after_main(&logits, &Routing { offload_above: t, ..routing() }, &hard()).unwrap().next;
            prop_assert!(!(at(low + more) == AfterMain::Offload && at(low) != AfterMain::Offload));
        }

        #[test]
        fn a_higher_threshold_never_extends_more_and_none_extends_as_one_below_all_scores(
            logits in proptest::collection::vec(-20_f32..20.0, 4), low in 0_f32..2.0, more in 0_f32..2.0
        ) {
            let at = |extend_above| after_main(&logits, &Routing { extend_above, ..routing() }, &hard()).unwrap();
            prop_assert!(!at(Some(low + more)).extends || at(Some(low)).extends);
            prop_assert!(!at(Some(low)).extends || at(None).extends);
            prop_assert_eq!(at(Some(-1.0)), at(None));
            let offloaded = |extend_above| at(extend_above).next == AfterMain::Offload;
            prop_assert_eq!(offloaded(Some(low)), offloaded(None), "what is for the cloud stays so");
        }
    }
}
