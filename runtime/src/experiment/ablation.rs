//! What each part of the edge is worth: the main block alone, the adaptive block blinded, other tables of hard classes.

use std::error::Error;

use meanet_data::Shuffle;
use meanet_method::choose::{EXTEND_COST, extend_above};
use meanet_method::{
    Costs, Difference, EnergyProfile, ExtensionRule, Judged, Outputs, Proportion, Score, judge,
};
use meanet_net::train::select_hard_classes;

use super::line::{Line, Routed};
use super::unshifted::Unshifted;

/// Random tables of hard classes that are tried.
const DRAWS: u64 = 10;
/// Share of hard classes in the paper.
const HALF: f64 = 0.5;

/// Lines of the edge by itself; each is compared with the main block alone.
pub(super) fn ablation(
    unshifted: &Unshifted,
    profile: &EnergyProfile,
    seed: u64,
) -> Result<Vec<Line>, Box<dyn Error>> {
    let (report, costs) = (&unshifted.stored.report, unshifted.stored.config.costs());
    let main = edge(
        &Unshifted::with_hard(report, Vec::new()),
        ExtensionRule::Extension,
    )?;
    let alone = local(&main).answers();
    let line = |name: &str, outputs: &Outputs, rule| -> Result<Line, Box<dyn Error>> {
        Ok(local(&edge(outputs, rule)?).line(name, Some(&alone), profile, &costs))
    };
    let mut lines = vec![
        Line {
            change: None,
            ..local(&main).line("main block alone (extension off)", None, profile, &costs)
        },
        line(
            "edge: main, adaptive, extension",
            report,
            ExtensionRule::Extension,
        )?,
        local(&sparing(
            &unshifted.stored.selection,
            edge(report, ExtensionRule::Extension)?,
        )?)
        .line(
            "edge, extension not asked what the main exit is sure of",
            Some(&alone),
            profile,
            &costs,
        )
        .noted("`extendAbove`, chosen on held-out images at a cost of at most 0.1 points"),
        line(
            "edge, the more confident exit answers",
            report,
            ExtensionRule::MoreConfident,
        )?,
        line(
            "edge, adaptive block blinded",
            &unshifted.with_extension(unshifted.blinded.clone()),
            ExtensionRule::Extension,
        )?
        .noted("shown the mean colour instead of the image; not trained anew"),
    ];
    let (hard, all) = (&report.hard_classes, &report.extension_classes);
    let random = |count| random_tables(report, count, &alone, profile, &costs, seed);
    if hard.len() < all.len() {
        lines.push(random(hard.len())?);
        let every = Unshifted::with_hard(report, all.clone());
        lines.push(line(
            "edge, extension asked about every image",
            &every,
            ExtensionRule::Extension,
        )?);
    } else if all.len() == report.classes() {
        // There is nothing to draw where all are hard, but what it is worth to choose shows with half of them.
        let held_out = &unshifted.stored.selection;
        let half = select_hard_classes(&held_out.main, &held_out.labels, all.len(), HALF);
        let less_precise = Unshifted::with_hard(report, half);
        lines.push(
            line(
                "edge, the less precise half of the classes hard",
                &less_precise,
                ExtensionRule::Extension,
            )?
            .noted("the paper's rule, on held-out images"),
        );
        lines.push(random(less_precise.hard_classes.len())?);
    }
    Ok(lines)
}

/// Mean over tables of `count` hard classes, drawn at random from those that the extension can answer with.
fn random_tables(
    report: &Outputs,
    count: usize,
    alone: &[bool],
    profile: &EnergyProfile,
    costs: &Costs,
    seed: u64,
) -> Result<Line, Box<dyn Error>> {
    let all = &report.extension_classes;
    let (mut right, mut extended, mut change) = (Vec::new(), 0.0, Vec::new());
    let mut spent = meanet_method::Spent::default();
    for draw in 0..DRAWS {
        let order = Shuffle::new(seed.wrapping_add(draw)).epoch(all.len());
        let mut table: Vec<u32> = order.iter().take(count).map(|&i| all[i]).collect();
        table.sort_unstable();
        let judged = edge(&Unshifted::with_hard(report, table), ExtensionRule::Extension)?;
        let routed = local(&judged);
        let answers = routed.answers();
        right.push(answers.iter().filter(|right| **right).count() as f64);
        change.push(Difference::between(alone, &answers));
        let line = routed.line("", None, profile, costs);
        extended += line.extended / DRAWS as f64;
        spent.edge_macs += line.spent.edge_macs / DRAWS as f64;
        spent.joules += line.spent.joules / DRAWS as f64;
    }
    let share = |count: f64| 100.0 * count / report.len().max(1) as f64;
    let low = right.iter().copied().fold(f64::INFINITY, f64::min);
    let high = right.iter().copied().fold(0.0, f64::max);
    let note = format!(
        "mean of {DRAWS} draws; from {:.2} to {:.2} %",
        share(low),
        share(high)
    );
    Ok(Line {
        name: format!("edge, {count} random hard classes"),
        accuracy: Proportion::new(right.iter().sum::<f64>() / DRAWS as f64, report.len()),
        change: None,
        offload: 0.0,
        extended,
        spent,
        note: Some(note),
    })
}

/// Judges the edge by itself.
pub(super) fn edge(outputs: &Outputs, rule: ExtensionRule) -> Result<Vec<Judged>, Box<dyn Error>> {
    let outputs = Outputs {
        cloud: Vec::new(),
        ..outputs.clone()
    };
    Ok(judge(&outputs, Score::Entropy.into(), rule)?)
}

/// `judged` with the extension asked as little as costs next to nothing on the held-out images.
pub(super) fn sparing(selection: &Outputs, judged: Vec<Judged>) -> Result<Vec<Judged>, Box<dyn Error>> {
    let above = extend_above(&edge(selection, ExtensionRule::Extension)?, EXTEND_COST)?;
    Ok(judged.into_iter().map(|one| one.extended_above(above)).collect())
}

/// Nothing sent.
pub(super) fn local(judged: &[Judged]) -> Routed<'_> {
    Routed {
        judged,
        offload_above: f32::INFINITY,
        extension_offload_above: None,
    }
}
