//! Input that changed after training: how much accuracy is lost, and what each way to follow the change wins back, ships, takes
//! and spoils.

use std::error::Error;

use meanet_data::{Images, Shift, Shuffle};
use meanet_method::{Difference, Proportion};
use meanet_net::train::Material;
use serde::{Deserialize, Serialize};

use super::Args;
use super::setup::Setup;
use super::steps::Steps;
pub(super) use answers::logits;
use answers::{Answers, answers};
use ways::{Adapted, Plan};
pub(super) use ways::{Labels, Way};

mod answers;
mod labels;
mod ways;

/// What one shift does, and what helps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Shifted {
    /// Such as `noise:2`.
    pub(super) shift: String,
    /// The main block alone, on shifted images, with nothing done.
    pub(super) main: Proportion,
    /// The edge by itself.
    pub(super) edge: Proportion,
    /// The cloud.
    pub(super) cloud: Option<Proportion>,
    /// Labels of the cloud for the images that are learned from, once it follows their domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) labels: Option<Proportion>,
    pub(super) ways: Vec<WayResult>,
}

/// What one way to follow a shift is worth.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WayResult {
    pub(super) way: Way,
    pub(super) labels: Labels,
    /// The edge by itself on shifted images, afterwards.
    pub(super) shifted: Proportion,
    /// Against the edge with nothing done.
    pub(super) change: Difference,
    /// Of the accuracy that the edge had lost.
    pub(super) won_back: f64,
    /// On images that are not shifted.
    pub(super) unshifted: Proportion,
    pub(super) unshifted_change: Difference,
    /// Bytes of the tensors that are no longer what the edge has.
    pub(super) shipped_bytes: u64,
    /// Processor time of the training.
    pub(super) cpu_seconds: f64,
    /// Whether the gate lets it pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) accepted: Option<bool>,
}

/// The order in which ways are tried, so that a run that ends early has the most telling ones.
const ORDER: [(Way, Labels); 8] = [
    (Way::Extension, Labels::True),
    (Way::Head, Labels::True),
    (Way::Extension, Labels::Cloud),
    (Way::Norms, Labels::None),
    (Way::Colours, Labels::None),
    (Way::Everything, Labels::True),
    (Way::Head, Labels::Cloud),
    (Way::Everything, Labels::Cloud),
];

/// Work of labelling by the cloud, in the unit of [`Way::work`].
const LABELLING: f64 = 4.0;

/// How many of the units that [`Steps`] counts in a whole run has.
pub(super) fn work(args: &Args) -> f64 {
    let each: f64 = ORDER.iter().map(|(way, _)| way.work()).sum();
    args.shifts().len() as f64 * (1.0 + LABELLING + each)
}

/// Tries every way on every shift, as far as there is time.
pub(super) fn shifts(setup: &Setup, args: &Args, steps: &mut Steps) -> Result<Vec<Shifted>, Box<dyn Error>> {
    let all = &setup.test.0;
    let count = args.shift_images.unwrap_or(all.len()).min(all.len());
    let as_trained = all.select(&(0..count).collect::<Vec<_>>());
    let Some(unshifted) = before(setup, steps, None, &as_trained)? else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for shift in args.shifts() {
        // Test images and those that are learned from get noise of their own.
        let test = shift.apply(&as_trained, setup.seed.wrapping_mul(2));
        let Some(before) = before(setup, steps, Some(shift), &test)? else {
            continue;
        };
        let labels = match &setup.subject.cloud {
            Some(cloud) => {
                let plan = labels::plan(setup, args, shift);
                let name = format!("{shift}, labels of the cloud");
                steps.step("labels", &name, LABELLING, &plan, || {
                    labels::by_cloud(cloud, setup, shifted(setup, args, shift))
                })?
            }
            None => None,
        };
        found.push((shift, before, labels, Vec::new()));
    }
    for (way, labels) in ORDER {
        for (shift, _, of_cloud, ways) in &mut found {
            if labels == Labels::Cloud && of_cloud.is_none() {
                continue;
            }
            let plan = Plan::new(setup, args, count, (*shift, way, labels))?;
            let name = format!("{shift}, {}, {}", way.as_str(), labels.as_str());
            let place = steps.place("adaptation", &plan)?;
            let adapted = steps.step("adapted", &name, way.work(), &plan, || {
                let images = shifted(setup, args, *shift);
                let learned_from = match (labels, &of_cloud) {
                    (Labels::Cloud, Some(said)) => said.on(images),
                    _ => Material::of_people(images),
                };
                let test = shift.apply(&as_trained, setup.seed.wrapping_mul(2));
                let mut adapted = ways::adapt(setup, &plan, &learned_from, &place, [&test, &as_trained])?;
                if let (Way::Extension, Labels::Cloud, Some(said)) = (way, labels, &of_cloud) {
                    adapted.cpu_seconds += said.cpu_seconds;
                }
                Ok(adapted)
            })?;
            ways.extend(adapted.map(|adapted: Adapted| (way, labels, adapted)));
        }
    }
    Ok(found
        .into_iter()
        .map(|(shift, before, labels, ways)| Shifted {
            shift: shift.to_string(),
            main: Proportion::of(&before.main),
            edge: Proportion::of(&before.edge),
            cloud: before.cloud.as_deref().map(Proportion::of),
            labels: labels.map(|labels| labels.right),
            ways: ways
                .into_iter()
                .map(|(way, labels, adapted)| judged(way, labels, &adapted, &before, &unshifted))
                .collect(),
        })
        .collect())
}

fn judged(way: Way, labels: Labels, adapted: &Adapted, before: &Answers, unshifted: &Answers) -> WayResult {
    let share = |answers: &[bool]| Proportion::of(answers).share;
    let lost = share(&unshifted.edge) - share(&before.edge);
    let gained = share(&adapted.shifted) - share(&before.edge);
    WayResult {
        way,
        labels,
        shifted: Proportion::of(&adapted.shifted),
        change: Difference::between(&before.edge, &adapted.shifted),
        won_back: if lost > 0.0 { gained / lost } else { 0.0 },
        unshifted: Proportion::of(&adapted.unshifted),
        unshifted_change: Difference::between(&unshifted.edge, &adapted.unshifted),
        shipped_bytes: adapted.shipped_bytes,
        cpu_seconds: adapted.cpu_seconds,
        accepted: adapted.accepted,
    }
}

/// What the model answers with nothing done.
fn before(
    setup: &Setup,
    steps: &mut Steps,
    shift: Option<Shift>,
    test: &Images,
) -> Result<Option<Answers>, Box<dyn Error>> {
    let shift = shift.map(|shift| shift.to_string());
    let name = format!("{}, nothing done", shift.as_deref().unwrap_or("unshifted"));
    steps.step(
        "answers",
        &name,
        1.0,
        &(&setup.identity, &shift, setup.seed),
        || answers(&setup.subject, test),
    )
}

/// Held-out images to learn a shift from.
fn shifted(setup: &Setup, args: &Args, shift: Shift) -> Images {
    let all = &setup.held_out.0;
    let mut chosen = Shuffle::new(setup.seed).epoch(all.len());
    chosen.truncate(args.labelled);
    shift.apply(&all.select(&chosen), setup.seed.wrapping_mul(2).wrapping_add(1))
}
