//! `meanet reproduce`: what the method is worth, measured on test images that nothing was trained, chosen or tuned by, and written
//! down as docs/results.json, docs/results.md and plots. Every experiment has a file of its own.

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use meanet_data::Shift;
use meanet_method::{Costs, EnergyProfile};
use meanet_net::Backend;
use tracing::info;

use crate::eval::subject::NetworkFile;
use claims::Evidence;
use results::{About, Results};
use setup::Setup;
use steps::Steps;
use unshifted::Unshifted;

mod ablation;
mod aims;
mod cascade;
mod claims;
mod document;
mod line;
mod memory;
mod network;
mod plots;
mod results;
mod setup;
mod shift;
mod steps;
#[cfg(test)]
mod tests;
mod unshifted;

/// Networks that the paper's claims are about.
const CLAIMED: [&str; 2] = ["ResNet32", "MobileNetV2"];
/// Entropy above which inputs go to the cloud where no threshold can be chosen: that of the paper's reference code, in nats.
const REFERENCE_THRESHOLD: f32 = 0.9;

/// Measures what the method is worth and writes it down. What was computed before is not computed again.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder with manifest.json and blobs.
    #[arg(long)]
    model: PathBuf,
    /// Data set: cifar-100-binary.tar.gz or a folder with test images. Without one the project draws its own.
    #[arg(long, env = "MEANET_DATA")]
    data: Option<PathBuf>,
    /// Network in place of the model's own cloud, FILE or BACKBONE=FILE.
    #[arg(long)]
    cloud: Option<NetworkFile>,
    /// Network for the edge of a plain cascade, to compare with; may be repeated.
    #[arg(long)]
    peer: Vec<NetworkFile>,
    /// Main block that others trained, to judge the paper's claims by; may be repeated.
    #[arg(long)]
    main: Vec<NetworkFile>,
    /// Folder for what was computed.
    #[arg(long, default_value = ".reproduce")]
    cache: PathBuf,
    /// Folder for results.json, results.md and plots.
    #[arg(long, default_value = "docs")]
    out: PathBuf,
    /// What computes a training: engine or flex, or torch where it was built in.
    #[arg(long, default_value = "engine")]
    backend: Backend,
    /// Seed of everything random.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Shifts to follow; all of them otherwise.
    #[arg(long, value_delimiter = ',')]
    shift: Vec<Shift>,
    /// Images that a shift is learned from, at most.
    #[arg(long, default_value_t = 4000)]
    labelled: usize,
    /// Passes over them.
    #[arg(long, default_value_t = 8)]
    epochs: usize,
    /// Training images that an extension over a foreign main block learns from, at most.
    #[arg(long, default_value_t = 10_000)]
    foreign_images: usize,
    /// Count the first N test images only.
    #[arg(long)]
    test_images: Option<usize>,
    /// Count the first N of these under shifts only.
    #[arg(long)]
    shift_images: Option<usize>,
    /// Begin nothing new after so many minutes; what is missing is named in the results.
    #[arg(long)]
    minutes: Option<f64>,
}

impl Args {
    /// Shifts to follow, strong ones first.
    fn shifts(&self) -> Vec<Shift> {
        if self.shift.is_empty() {
            let mut all: Vec<Shift> = Shift::all().collect();
            all.sort_by_key(|shift| std::cmp::Reverse(shift.strength()));
            all
        } else {
            self.shift.clone()
        }
    }
}

/// Runs the sub-command.
pub fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let setup = Setup::open(args)?;
    let limit = args
        .minutes
        .map(|minutes| Duration::from_secs_f64(minutes.max(0.0) * 60.0));
    let planned = 4.0 + args.peer.len() as f64 + 20.0 * args.main.len() as f64 + shift::work(args);
    let mut steps = Steps::open(&args.cache, limit, planned)?;
    let profile = EnergyProfile::default();
    let mut results = Results::new(About::new(&setup, args));
    if let Some(unshifted) = Unshifted::open(&setup, &mut steps)? {
        let peers = network::peers(&setup, args, &mut steps)?;
        results.ablation = ablation::ablation(&unshifted, &profile, args.seed)?;
        results.cascade = cascade::cascade(&unshifted, &peers, &profile)?;
        results.claims = claims_of(&setup, args, &unshifted, &profile, &mut steps)?;
    }
    results.memory = memory::memory(&setup, args, &mut steps)?;
    results.shifts = shift::shifts(&setup, args, &mut steps)?;
    results.missing = steps.missing();
    results.aims = aims::aims(&results);
    results.write(&args.out)?;
    info!("wrote {}", args.out.join("results.md").display());
    Ok(())
}

/// The claims about the model itself, about main blocks that others trained, and about networks that there are none of.
fn claims_of(
    setup: &Setup,
    args: &Args,
    unshifted: &Unshifted,
    profile: &EnergyProfile,
    steps: &mut Steps,
) -> Result<Vec<claims::Claim>, Box<dyn Error>> {
    use meanet_method::choose::{Goal, choose};
    use meanet_method::{ExtensionRule, Score, judge};

    let stored = &unshifted.stored;
    let judged = judge(&stored.selection, Score::Entropy.into(), ExtensionRule::Extension)?;
    let half = choose(&judged, None, Goal::OffloadBudget(0.5));
    let mut found = claims::claims(&Evidence {
        network: setup.subject.manifest.backbone.to_string(),
        outputs: &stored.report,
        costs: stored.config.costs(),
        profile,
        offload_above: half.map_or(REFERENCE_THRESHOLD, |choice| choice.offload_above),
        has_seen_all: false,
        note: "weights of this project; threshold chosen on held-out images".to_owned(),
    })?;
    for foreign in network::foreign(setup, args, steps)? {
        let costs = Costs {
            main_macs: foreign.main_macs,
            extension_macs: foreign.extension_macs,
            ..stored.config.costs()
        };
        found.extend(claims::claims(&Evidence {
            network: format!("{} (main block of others)", foreign.backbone),
            outputs: &foreign.outputs,
            costs,
            profile,
            offload_above: REFERENCE_THRESHOLD,
            has_seen_all: true,
            note: format!(
                "main block {}; extension trained the paper's way on {} images",
                foreign.main, foreign.trained_on
            ),
        })?);
    }
    for network in CLAIMED {
        if !found.iter().any(|claim| claim.network.starts_with(network)) {
            found.extend(claims::not_tried(network));
        }
    }
    Ok(found)
}
