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
    let present = Setting::from(&present(args.common.deployment.as_deref())?.1);
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
        let kept = carried
            .extension_offload_above
            .filter(|_| !self.no_extension_offload);
        Ok(Setting {
            score,
            offload_above: self.offload_above.or(present.offload_above),
            extension_offload_above: self.extension_offload_above.or(kept),
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
    let above = |value: Option<f32>| value.map_or_else(|| "never".to_owned(), |t| t.to_string());
    let (old, new) = (&comparison.present.setting, &comparison.proposed.setting);
    let mut text =
        |name: &str, old: String, new: String| rows.push([name.to_owned(), old, new, String::new()]);
    text(
        "score",
        old.score.as_str().to_owned(),
        new.score.as_str().to_owned(),
    );
    text(
        "offload above",
        above(old.offload_above),
        above(new.offload_above),
    );
    text(
        "extension offload above",
        above(old.extension_offload_above),
        above(new.extension_offload_above),
    );
    text(
        "extension rule",
        format!("{:?}", old.extension_rule),
        format!("{:?}", new.extension_rule),
    );
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
            offload_above: Some(0.9),
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
        assert_eq!(
            proposed(&["--no-extension-offload"])
                .unwrap()
                .extension_offload_above,
            None
        );
        let changed = proposed(&["--score", "learned", "--offload-above", "0.4"]).unwrap();
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
        assert!(error.contains("--no-extension-offload"), "{error}");
        let changed = proposed(&[
            "--score",
            "margin",
            "--offload-above",
            "0.4",
            "--no-extension-offload",
        ])
        .unwrap();
        assert_eq!(
            (changed.score, changed.extension_offload_above),
            (ScoreName::Margin, None)
        );
    }
}
