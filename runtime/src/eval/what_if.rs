//! `meanet what-if`: what another routing would do, from a stored evaluation, without running the model.

use std::error::Error;
use std::io::{self, Write};

use meanet_method::{Difference, Exit};
use serde::Serialize;

use super::figures::Figures;
use super::setting::{Common, RuleName, ScoreName, Setting, energy, present, threshold};
use super::stored::Stored;

/// Tells what another routing would do, from a stored evaluation. What is not given stays as it is at present.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    common: Common,
    /// Main score above which images would go to the cloud.
    #[arg(long, value_parser = threshold)]
    offload_above: Option<f32>,
    /// Main score above which images of hard classes would be extended.
    #[arg(long, conflicts_with = "extend_all", value_parser = threshold)]
    extend_above: Option<f32>,
    /// Extend all images of hard classes that stay at the edge.
    #[arg(long)]
    extend_all: bool,
    /// Extension's score above which images would go on to the cloud.
    #[arg(long, conflicts_with = "no_extension_offload", value_parser = threshold)]
    extension_offload_above: Option<f32>,
    /// Take the extension's answers as final.
    #[arg(long)]
    no_extension_offload: bool,
    /// Score of the main exit; needs --offload-above where it is not the present one.
    #[arg(long)]
    score: Option<ScoreName>,
    /// Whose answer counts when the extension was asked.
    #[arg(long)]
    extension_rule: Option<RuleName>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Comparison {
    present: Side,
    proposed: Side,
    change: Difference,
}

#[derive(Serialize)]
struct Side {
    setting: Setting,
    figures: Figures,
}

/// Runs the sub-command.
pub fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let stored = Stored::open(&args.common.eval)?;
    let present = Setting::try_from(&present(args.common.deployment.as_deref())?.1)?;
    let proposed = args.proposed(&present)?;
    let profile = energy(args.common.energy.as_deref())?;
    let side = |setting: Setting| {
        let judged = setting.judge(&stored.report, &stored.selection)?;
        let figures = Figures::new(&setting.tally(&judged), &profile, &stored.config.costs());
        Ok::<_, Box<dyn Error>>((judged, Side { setting, figures }))
    };
    let (before, present) = side(present)?;
    let (after, proposed) = side(proposed)?;
    let change = Difference::between(
        &present.setting.answers(&before),
        &proposed.setting.answers(&after),
    );
    let comparison = Comparison {
        present,
        proposed,
        change,
    };
    let text = if args.common.json {
        serde_json::to_string_pretty(&comparison)?
    } else {
        table(&comparison)
    };
    Ok(writeln!(io::stdout().lock(), "{text}")?)
}

impl Args {
    fn proposed(&self, present: &Setting) -> Result<Setting, String> {
        let score = self.score.unwrap_or(present.score);
        let carried = present.with(score);
        let lost = |before: Option<f32>, after: Option<f32>| before.is_some() && after.is_none();
        let missing = if self.offload_above.is_none() && lost(present.offload_above, carried.offload_above) {
            Some("--offload-above")
        } else if self.extend_above.is_none()
            && !self.extend_all
            && lost(present.extend_above, carried.extend_above)
        {
            Some("--extend-above or --extend-all")
        } else if self.extension_offload_above.is_none()
            && !self.no_extension_offload
            && lost(present.extension_offload_above, carried.extension_offload_above)
        {
            Some("--extension-offload-above or --no-extension-offload")
        } else {
            None
        };
        if let Some(flag) = missing {
            return Err(format!(
                "failed to compare: a threshold for {} means nothing for {}; give {flag}",
                present.score.as_str(),
                score.as_str()
            ));
        }
        let extend_above = carried.extend_above.filter(|_| !self.extend_all);
        let extension_offload_above = carried
            .extension_offload_above
            .filter(|_| !self.no_extension_offload);
        Ok(Setting {
            score,
            learned: carried.learned,
            offload_above: self.offload_above.or(present.offload_above),
            extend_above: self.extend_above.or(extend_above),
            extension_offload_above: self.extension_offload_above.or(extension_offload_above),
            extension_rule: self.extension_rule.unwrap_or(present.extension_rule),
        })
    }
}

fn table(comparison: &Comparison) -> String {
    let (before, after) = (&comparison.present.figures, &comparison.proposed.figures);
    let mut rows = vec![[
        String::new(),
        "present".to_owned(),
        "proposed".to_owned(),
        "difference".to_owned(),
    ]];
    rows.extend(routings(
        &comparison.present.setting,
        &comparison.proposed.setting,
    ));
    let mut number = |name: String, unit: &str, scale: f64, old: f64, new: f64| {
        let show = |value: f64| format!("{:.2} {unit}", value * scale);
        rows.push([name, show(old), show(new), format!("{:+.2}", (new - old) * scale)]);
    };
    number("accuracy".to_owned(), "%", 100.0, before.accuracy, after.accuracy);
    for (old, new) in before.exits.iter().zip(&after.exits) {
        number(
            format!("share of {}", old.exit.as_str()),
            "%",
            100.0,
            old.share,
            new.share,
        );
        if old.exit != Exit::Cloud || old.share + new.share > 0.0 {
            number(
                format!("accuracy of {}", old.exit.as_str()),
                "%",
                100.0,
                old.accuracy,
                new.accuracy,
            );
        }
    }
    number(
        "missed at the edge".to_owned(),
        "%",
        100.0,
        before.missed,
        after.missed,
    );
    number(
        "edge MACs an image".to_owned(),
        "M",
        1e-6,
        before.spent.edge_macs,
        after.spent.edge_macs,
    );
    number(
        "sent an image".to_owned(),
        "B",
        1.0,
        before.spent.bytes,
        after.spent.bytes,
    );
    number(
        "energy an image".to_owned(),
        "mJ",
        1e3,
        before.spent.joules,
        after.spent.joules,
    );
    let lines = rows
        .iter()
        .map(|[name, old, new, change]| format!("{name:<26}{old:>16}{new:>16}{change:>12}"));
    let Difference {
        mended,
        spoiled,
        share,
        reach,
    } = comparison.change;
    format!(
        "{}\n\n{} images that nothing was fitted to; {mended} answers mended, {spoiled} spoiled: {:+.2} ± {:.2} points (95 %). \
         Standard error of the accuracy: {:.2} points.",
        lines.collect::<Vec<_>>().join("\n"),
        after.images,
        100.0 * share,
        100.0 * reach,
        100.0 * after.standard_error
    )
}

/// The rows of the table that say what is compared.
fn routings(old: &Setting, new: &Setting) -> [[String; 4]; 5] {
    let row =
        |name: &str, of: &dyn Fn(&Setting) -> String| [name.to_owned(), of(old), of(new), String::new()];
    let above = |value: Option<f32>, absent: &str| value.map_or_else(|| absent.to_owned(), |t| t.to_string());
    [
        row("score", &|s| s.score.as_str().to_owned()),
        row("offload above", &|s| above(s.offload_above, "never")),
        row("extend above", &|s| above(s.extend_above, "all hard")),
        row("extension offload above", &|s| {
            above(s.extension_offload_above, "never")
        }),
        row("extension rule", &|s| format!("{:?}", s.extension_rule)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    fn proposed(flags: &[&str]) -> Result<Setting, String> {
        let present = Setting {
            score: ScoreName::Entropy,
            learned: None,
            offload_above: Some(0.9),
            extend_above: Some(0.1),
            extension_offload_above: Some(0.5),
            extension_rule: RuleName::Extension,
        };
        Cli::try_parse_from(["what-if", "--eval", "run"].iter().chain(flags))
            .unwrap()
            .args
            .proposed(&present)
    }

    #[test]
    fn what_is_not_given_stays() {
        let changed = proposed(&["--offload-above", "1.5"]).unwrap();
        assert_eq!(
            (changed.offload_above, changed.extension_offload_above),
            (Some(1.5), Some(0.5))
        );
        assert_eq!(changed.extend_above, Some(0.1));
        assert_eq!(
            proposed(&["--no-extension-offload"])
                .unwrap()
                .extension_offload_above,
            None
        );
        let extended = |flags: &[&str]| proposed(flags).unwrap().extend_above;
        assert_eq!(extended(&["--extend-above", "0.3"]), Some(0.3));
        assert_eq!(extended(&["--extend-all"]), None);
        let changed = proposed(&[
            "--score",
            "learned",
            "--offload-above",
            "0.4",
            "--extend-above",
            "0.2",
        ])
        .unwrap();
        assert_eq!(
            (changed.offload_above, changed.extension_offload_above),
            (Some(0.4), Some(0.5))
        );
    }

    #[test]
    fn a_threshold_of_one_score_is_not_taken_for_another() {
        assert!(
            proposed(&["--score", "margin"])
                .unwrap_err()
                .contains("--offload-above")
        );
        let error = proposed(&["--score", "margin", "--offload-above", "0.4"]).unwrap_err();
        assert!(error.contains("--extend-all"), "{error}");
        let flags = ["--score", "margin", "--offload-above", "0.4", "--extend-all"];
        let error = proposed(&flags).unwrap_err();
        assert!(error.contains("--no-extension-offload"), "{error}");
        let changed = proposed(&[
            "--score",
            "margin",
            "--offload-above",
            "0.4",
            "--extend-all",
            "--no-extension-offload",
        ])
        .unwrap();
        assert_eq!(
            (
                changed.score,
                changed.extend_above,
                changed.extension_offload_above
            ),
            (ScoreName::Margin, None, None)
        );
    }
}
