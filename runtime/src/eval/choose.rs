//! `meanet choose`: thresholds for a budget, for an accuracy, or for a risk that is guaranteed.

use std::error::Error;
use std::io::{self, Write};

use clap::ValueEnum;
use meanet_crds::deployment::Routing as RoutingSpec;
use meanet_crds::{GROUP, MEANetDeployment, VERSION};
use meanet_method::Tally;
use meanet_method::choose::{
    Choice, EXTEND_COST, Goal, Risk, RiskBound, by_risk, choose, choose_both, extend_above,
};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::figures::Figures;
use super::setting::{Common, RuleName, ScoreName, Setting, energy, fit_router, present, threshold};
use super::stored::Stored;

/// Chooses thresholds on the selection images of a stored evaluation, tells what they do on its other images, and prints
/// the routing to apply.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("goal").required(true).multiple(false))]
pub struct Args {
    #[command(flatten)]
    common: Common,
    /// Send at most this share of the images, 0..1.
    #[arg(long, group = "goal")]
    offload_budget: Option<f64>,
    /// Be right for at least this share of the images, 0..1, and send as few as that needs.
    #[arg(long, group = "goal")]
    target_accuracy: Option<f64>,
    /// Keep the risk at or below this, 0..1, with the confidence given, and send as few as that needs.
    #[arg(long, group = "goal")]
    max_risk: Option<f64>,
    /// Probability that the risk is kept, over the draw of the selection images.
    #[arg(long, default_value_t = 0.95, requires = "max_risk")]
    confidence: f64,
    /// Which errors count as risk.
    #[arg(long, default_value = "wrong", requires = "max_risk")]
    risk: RiskName,
    /// Score of the main exit; the present one otherwise.
    #[arg(long)]
    score: Option<ScoreName>,
    /// Whose answer counts when the extension was asked; as at present otherwise.
    #[arg(long)]
    extension_rule: Option<RuleName>,
    /// Main score above which images of hard classes are extended, instead of the highest that costs little enough.
    #[arg(long, value_parser = threshold)]
    extend_above: Option<f32>,
    /// Share of the answers, 0..1, that the edge by itself may get wrong for not extending all images of hard classes. Not with
    /// --max-risk, whose guarantee lets the same images choose no second threshold: without --extend-above all are extended there.
    #[arg(long, default_value_t = EXTEND_COST, conflicts_with_all = ["max_risk", "extend_above"])]
    extend_cost: f64,
    /// Extension's score above which images go on to the cloud; without it the extension's answers are final.
    #[arg(long, value_parser = threshold)]
    extension_offload_above: Option<f32>,
    /// Choose the extension's threshold as well.
    #[arg(long, conflicts_with_all = ["max_risk", "extension_offload_above"])]
    two_stage: bool,
}

/// Errors that count as risk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
enum RiskName {
    /// Wrong answers, of all.
    Wrong,
    /// Wrong answers, of those given at the edge.
    WrongAtEdge,
    /// Wrong answers at the edge where the cloud would have been right, of all.
    Missed,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Chosen {
    setting: Setting,
    /// On the images that the thresholds were chosen by.
    selection: Figures,
    /// On others.
    report: Figures,
    /// To apply.
    routing: Value,
}

/// Runs the sub-command.
pub fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let stored = Stored::open(&args.common.eval)?;
    let (deployment, spec) = present(args.common.deployment.as_deref())?;
    let profile = energy(args.common.energy.as_deref())?;
    let (setting, selected) = pick(args, &stored, &Setting::try_from(&spec)?)?;
    let judged = setting.judge(&stored.report, &stored.selection)?;
    let tally = Tally::of(&judged, setting.threshold(), setting.extension_offload_above);
    let costs = stored.config.costs();
    let chosen = Chosen {
        setting,
        selection: Figures::new(&selected, &profile, &costs),
        report: Figures::new(&tally, &profile, &costs),
        routing: fragment(&setting, &spec, deployment.as_ref()),
    };
    let text = if args.common.json {
        serde_json::to_string_pretty(&chosen)?
    } else {
        args.words(&chosen)?
    };
    Ok(writeln!(io::stdout().lock(), "{}", text.trim_end())?)
}

/// The setting chosen on the selection images, and what it does on them.
fn pick(args: &Args, stored: &Stored, present: &Setting) -> Result<(Setting, Tally), Box<dyn Error>> {
    let mut setting = Setting {
        score: args.score.unwrap_or(present.score),
        learned: None,
        offload_above: None,
        extend_above: args.extend_above,
        extension_offload_above: args.extension_offload_above,
        extension_rule: args.extension_rule.unwrap_or(present.extension_rule),
    };
    if setting.score == ScoreName::Learned {
        if args.max_risk.is_some() {
            return Err(
                "failed to guarantee a risk for the learned score: its weights are fitted to the images that would have to prove \
                 it; give another --score, or --offload-budget or --target-accuracy"
                    .into(),
            );
        }
        setting.learned = Some(fit_router(&stored.selection, setting.extension_rule.into())?);
    }
    let mut judged = setting.judge(&stored.selection, &stored.selection)?;
    if setting.extend_above.is_none() && args.max_risk.is_none() {
        // First, so that what the other thresholds are chosen for is so with this one.
        setting.extend_above = extend_above(&judged, args.extend_cost)?;
        judged = setting.judge(&stored.selection, &stored.selection)?;
    }
    let escalate = setting.extension_offload_above;
    let goal = args
        .offload_budget
        .map(Goal::OffloadBudget)
        .or(args.target_accuracy.map(Goal::TargetAccuracy));
    let choice: Choice = match (goal, args.max_risk) {
        (Some(goal), _) if args.two_stage => choose_both(&judged, goal)?,
        (Some(goal), _) => choose(&judged, escalate, goal)?,
        (None, Some(at_most)) => {
            let bound = RiskBound {
                risk: args.risk.into(),
                at_most,
                confidence: args.confidence,
            };
            by_risk(
                &judged,
                escalate,
                setting.score.score().range(stored.selection.classes()),
                bound,
            )?
        }
        (None, None) => return Err("give --offload-budget, --target-accuracy or --max-risk".into()),
    };
    let setting = Setting {
        offload_above: Some(choice.offload_above),
        extension_offload_above: choice.extension_offload_above,
        ..setting
    };
    Ok((setting, choice.tally))
}

impl From<RiskName> for Risk {
    fn from(name: RiskName) -> Self {
        match name {
            RiskName::Wrong => Self::Wrong,
            RiskName::WrongAtEdge => Self::WrongAtEdge,
            RiskName::Missed => Self::Missed,
        }
    }
}

/// What of `spec.routing` has to be set; with the deployment known, the object to apply.
fn fragment(setting: &Setting, spec: &RoutingSpec, deployment: Option<&MEANetDeployment>) -> Value {
    let mut routing = Map::new();
    routing.insert("score".to_owned(), json!(setting.score.as_str()));
    if let Some(router) = &setting.learned {
        let weights = json!({"weights": router.weights(), "bias": router.bias()});
        routing.insert("learned".to_owned(), weights);
    }
    routing.insert("offloadAbove".to_owned(), number(setting.threshold()));
    for (name, chosen, before) in [
        ("extendAbove", setting.extend_above, spec.extend_above),
        (
            "extensionOffloadAbove",
            setting.extension_offload_above,
            spec.extension_offload_above,
        ),
    ] {
        match chosen {
            Some(above) => routing.insert(name.to_owned(), number(above)),
            // Only null takes a value away that someone has set.
            None if before.is_some() => routing.insert(name.to_owned(), Value::Null),
            None => None,
        };
    }
    routing.insert(
        "extensionRule".to_owned(),
        json!(format!("{:?}", setting.extension_rule)),
    );
    let mut object = json!({"spec": {"routing": routing}});
    if let Some(deployment) = deployment {
        let metadata = &deployment.metadata;
        object["apiVersion"] = json!(format!("{GROUP}/{VERSION}"));
        object["kind"] = json!("MEANetDeployment");
        object["metadata"] = json!({"name": metadata.name});
        if let Some(namespace) = &metadata.namespace {
            object["metadata"]["namespace"] = json!(namespace);
        }
    }
    object
}

/// The shortest decimal that is this threshold again at the edge, which computes in 32 bits.
fn number(value: f32) -> Value {
    value
        .to_string()
        .parse::<f64>()
        .map_or(Value::Null, |value| json!(value))
}

impl Args {
    fn words(&self, chosen: &Chosen) -> Result<String, Box<dyn Error>> {
        let line = |what: &str, figures: &Figures| {
            format!(
                "# on {} {what} images: accuracy {:.2} % (standard error {:.2}), sent {:.2} %, missed at the edge {:.2} %, {:.2} mJ an image\n",
                figures.images,
                100.0 * figures.accuracy,
                100.0 * figures.standard_error,
                100.0 * figures.offload,
                100.0 * figures.missed,
                1e3 * figures.spent.joules,
            )
        };
        let promise = match (self.offload_budget, self.target_accuracy, self.max_risk) {
            (Some(budget), _, _) => format!("# sends at most {budget} of the selection images\n"),
            (_, Some(target), _) => format!("# right for at least {target} of the selection images\n"),
            (_, _, Some(risk)) => format!(
                "# risk ({:?}) at most {risk} with confidence {}, on images like the selection images\n",
                self.risk, self.confidence
            ),
            _ => String::new(),
        };
        let extended = if chosen.setting.extend_above.is_some() && self.extend_above.is_none() {
            format!(
                "# extendAbove costs the edge by itself at most {} of the selection images\n",
                self.extend_cost
            )
        } else {
            String::new()
        };
        let how = if self.common.deployment.is_some() {
            "# kubectl apply --server-side --field-manager=meanet-choose --force-conflicts -f THIS\n"
        } else {
            "# kubectl patch mead NAME --type=merge --patch-file=THIS\n"
        };
        let yaml = serde_saphyr::to_string(&chosen.routing)?;
        let selection = line("selection", &chosen.selection);
        Ok(format!(
            "{promise}{extended}{selection}{}{how}{yaml}",
            line("other", &chosen.report)
        ))
    }
}

#[cfg(test)]
mod tests;
