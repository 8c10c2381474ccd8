//! What is known of each image before any threshold is set.

use snafu::ResultExt;

use crate::outputs::{EvaluateError, LogitsSnafu, Outputs};
use crate::route::{Exit, ExtensionRule, Ranking, Routing, WhenUnavailable, after_main, local_answer};
use crate::score::{best, softmax};

/// One image under one ranking and one rule. Thresholds are still open, but for the one of [`Judged::extended_above`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judged {
    /// Score of the main exit.
    pub main_score: f32,
    /// Score of the extension, where the edge by itself asks it.
    pub extension_score: Option<f32>,
    /// Whether the main exit is right.
    pub main_right: bool,
    /// Who answers when nothing is sent.
    pub edge_exit: Exit,
    /// Whether that answer is right.
    pub edge_right: bool,
    /// Whether the cloud is right; absent without a cloud.
    pub cloud_right: Option<bool>,
}

impl Judged {
    /// The same with the extension asked above a main score of `extend_above` alone, as [`after_main`] has it; absent: as it is.
    #[must_use]
    pub fn extended_above(self, extend_above: Option<f32>) -> Self {
        if extend_above.is_none_or(|above| self.main_score > above) {
            return self;
        }
        Self {
            extension_score: None,
            edge_exit: Exit::Main,
            edge_right: self.main_right,
            ..self
        }
    }

    /// Where the image leaves. Both comparisons are strict, as [`after_main`] and [`local_answer`] have it.
    #[must_use]
    pub fn exit(&self, offload_above: f32, extension_offload_above: Option<f32>) -> Exit {
        let offloaded = self.main_score > offload_above || self.escalates(extension_offload_above);
        if self.cloud_right.is_some() && offloaded {
            Exit::Cloud
        } else {
            self.edge_exit
        }
    }

    /// Whether the answer is right that it leaves with.
    #[must_use]
    pub fn right(&self, offload_above: f32, extension_offload_above: Option<f32>) -> bool {
        match self.exit(offload_above, extension_offload_above) {
            Exit::Cloud => self.cloud_right == Some(true),
            Exit::Main | Exit::Extension => self.edge_right,
        }
    }

    /// Whether the extension runs.
    #[must_use]
    pub fn extends(&self, offload_above: f32) -> bool {
        self.extension_score.is_some() && (self.cloud_right.is_none() || self.main_score <= offload_above)
    }

    fn escalates(&self, extension_offload_above: Option<f32>) -> bool {
        matches!((self.extension_score, extension_offload_above), (Some(score), Some(above)) if score > above)
    }

    /// Whether sending the image would turn a wrong answer into a right one.
    #[must_use]
    pub fn gains(&self) -> bool {
        !self.edge_right && self.cloud_right == Some(true)
    }
}

/// Judges every image: the exits by `score`, the edge's answer by `rule`. The extension is asked about every input of a hard class.
pub fn judge(outputs: &Outputs, score: Ranking, rule: ExtensionRule) -> Result<Vec<Judged>, EvaluateError> {
    let hard = outputs.check()?;
    let routing = Routing {
        score,
        offload_above: f32::INFINITY,
        extend_above: None,
        extension_offload_above: None,
        rule,
        when_unavailable: WhenUnavailable::AnswerLocally,
    };
    let one = |image: usize, label: u32| {
        let logits = &outputs.main[image];
        let local = after_main(logits, &routing, &hard).context(LogitsSnafu { image })?;
        let mut judged = Judged {
            main_score: local.score,
            extension_score: None,
            main_right: local.main.label == label,
            edge_exit: Exit::Main,
            edge_right: local.main.label == label,
            cloud_right: None,
        };
        if local.extends {
            let logits = &outputs.extension[image];
            let (answer, _) =
                local_answer(&local.main, logits, &routing, &hard).context(LogitsSnafu { image })?;
            let q = softmax(logits).context(LogitsSnafu { image })?;
            judged.extension_score = Some(score.of_extension(&q));
            judged.edge_exit = answer.exit;
            judged.edge_right = answer.label == label;
        }
        if let Some(logits) = outputs.cloud.get(image) {
            let p = softmax(logits).context(LogitsSnafu { image })?;
            judged.cloud_right = Some(best(&p).0 == label as usize);
        }
        Ok(judged)
    };
    outputs
        .labels
        .iter()
        .enumerate()
        .map(|(image, &label)| one(image, label))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::AfterMain;
    use crate::router::Router;
    use crate::samples::outputs;
    use crate::score::Score;
    use proptest::prelude::*;

    proptest! {
        /// The evaluation says what the serving path does.
        #[test]
        fn judged_images_leave_where_the_router_sends_them(
            outputs in outputs(30),
            offload_above in 0_f32..1.6,
            extend_above in proptest::option::of(0_f32..1.6),
            escalate in proptest::option::of(0_f32..1.0),
            tie: Option<proptest::sample::Index>,
            tie_of_extend: Option<proptest::sample::Index>,
            more_confident: bool,
            which in 0_usize..4,
        ) {
            let score = [
                Ranking::Score(Score::Entropy),
                Ranking::Score(Score::LeastConfidence),
                Ranking::Score(Score::Margin),
                Ranking::Learned(Router::new([-1.0, 0.5, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 3.0, -0.5], 0.2).unwrap()),
            ][which];
            let rule = if more_confident { ExtensionRule::MoreConfident } else { ExtensionRule::Extension };
            let all = judge(&outputs, score, rule).unwrap();
            // Thresholds are strict: often one is just the score of some image.
            let tied = tie.map(|index| all[index.index(all.len())]);
            let offload_above = tied.map_or(offload_above, |one| one.main_score);
            let extend_above = tie_of_extend.map(|index| all[index.index(all.len())].main_score).or(extend_above);
            let escalate = tied.and_then(|one| one.extension_score).or(escalate);
            let routing = Routing {
                score, offload_above, extend_above, extension_offload_above: escalate, rule, when_unavailable: WhenUnavailable::Fail,
            };
            let hard = outputs.check().unwrap();
            for (image, judged) in all.into_iter().enumerate() {
                let judged = judged.extended_above(extend_above);
                let main = after_main(&outputs.main[image], &routing, &hard).unwrap();
                let exit = match main.next {
                    AfterMain::Answer => Exit::Main,
                    AfterMain::Offload => Exit::Cloud,
                    AfterMain::Extend => {
                        let (answer, unsure) =
                            local_answer(&main.main, &outputs.extension[image], &routing, &hard).unwrap();
                        if unsure { Exit::Cloud } else { answer.exit }
                    }
                };
                prop_assert_eq!(judged.exit(offload_above, escalate), exit);
                prop_assert_eq!(judged.extends(offload_above), main.next == AfterMain::Extend);
                prop_assert_eq!(judged.extension_score.is_some(), main.extends);
            }
        }
    }
}
