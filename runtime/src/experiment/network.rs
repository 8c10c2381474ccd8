//! Networks that others trained: alone at the edge, and as main blocks under adaptive and extension blocks of this project. Their
//! main blocks have seen every training image, so hard classes and thresholds taken from these say little; it is said
//! beside each figure.

use std::error::Error;
use std::fs;

use meanet_data::Training;
use meanet_method::Outputs;
use meanet_net::train::{Examples, ExtensionRecipe, Optimisation, select_hard_classes, train_extension};
use meanet_net::{Block, CloudNetwork, Cost, EdgeBlobs, EdgeNetwork, digest};
use serde::{Deserialize, Serialize};

use super::Args;
use super::cascade::Peer;
use super::setup::Setup;
use super::shift::logits;
use super::steps::Steps;
use crate::eval::subject::NetworkFile;

/// Share of the classes that are hard.
const HARD_SHARE: f64 = 0.5;

/// What a network over a foreign main block says of the test images.
#[derive(Serialize, Deserialize)]
pub(super) struct Foreign {
    pub(super) backbone: String,
    /// Digest of the main block.
    pub(super) main: String,
    pub(super) outputs: Outputs,
    pub(super) main_macs: u64,
    pub(super) extension_macs: u64,
    /// Images that the extension was trained on.
    pub(super) trained_on: usize,
}

/// What the plain networks at `--peer` say.
pub(super) fn peers(setup: &Setup, args: &Args, steps: &mut Steps) -> Result<Vec<Peer>, Box<dyn Error>> {
    let mut peers = Vec::new();
    for file in &args.peer {
        let cloud = file.cloud(setup.subject.edge.classes())?;
        let name = cloud.network.card().backbone.to_string();
        let inputs = (&cloud.digest, &setup.identity.test);
        let said = steps.step("peer", &format!("{name} alone"), 1.0, &inputs, || {
            logits(&cloud.network, &setup.test.0)
        })?;
        peers.extend(said.map(|logits| Peer {
            name,
            logits,
            macs: cloud.network.cost().macs as u64,
        }));
    }
    Ok(peers)
}

/// The paper's way over each main block at `--main`: the half of the classes that it predicts least precisely is hard, and the
/// extension learns from images of these alone.
pub(super) fn foreign(setup: &Setup, args: &Args, steps: &mut Steps) -> Result<Vec<Foreign>, Box<dyn Error>> {
    let mut found = Vec::new();
    for file in &args.main {
        let main = file.blob(setup.subject.edge.classes(), Block::Main)?;
        let plan = (
            &setup.identity,
            digest(&main),
            args.foreign_images,
            args.epochs,
            setup.seed,
        );
        let name = format!("adaptive and extension block over {file}");
        let place = steps.place("foreign", &plan)?;
        found.extend(steps.step("foreign", &name, 20.0, &plan, || {
            over(setup, args, file, &main, &place)
        })?);
    }
    Ok(found)
}

fn over(
    setup: &Setup,
    args: &Args,
    file: &NetworkFile,
    main: &[u8],
    place: &std::path::Path,
) -> Result<Foreign, Box<dyn Error>> {
    let classes = setup.subject.edge.classes();
    let processor = args.backend.processor()?;
    let alone = CloudNetwork::load(&meanet_net::train::classifier_of(main)?)
        .map_err(|e| format!("failed to use {file}: {e}"))?;
    let measured = logits(&alone, &setup.measure.0)?;
    let hard = select_hard_classes(&measured, &setup.measure.0.labels, classes, HARD_SHARE);
    let chosen: Vec<usize> = (0..setup.training.0.len()).take(args.foreign_images).collect();
    let recipe = ExtensionRecipe {
        epochs: args.epochs,
        optimisation: Optimisation {
            batch_size: 64,
            learning_rate: 0.05,
            ..Optimisation::default()
        },
        adds_to_main: false,
        seed: setup.seed,
        ..ExtensionRecipe::new(hard.clone())
    };
    let training = Training(setup.training.0.select(&chosen));
    let trained = train_extension(&recipe, main, &Examples::of(&training), None, &processor)?;
    fs::create_dir_all(place)?;
    for (name, blob) in [("adaptive", &trained.adaptive), ("extension", &trained.extension)] {
        fs::write(place.join(format!("{name}.safetensors")), blob)?;
    }
    let edge = EdgeNetwork::load(EdgeBlobs {
        main,
        adaptive: &trained.adaptive,
        extension: &trained.extension,
    })?;
    let cloud = setup.subject.cloud.as_ref().map(|cloud| &cloud.network);
    let cost = edge.cost();
    let macs = |cost: Cost| cost.macs as u64;
    Ok(Foreign {
        backbone: edge.card().backbone.to_string(),
        main: digest(main),
        outputs: meanet_net::evaluate::outputs(&edge, &hard, cloud, &setup.test.0)?,
        main_macs: macs(cost.main),
        extension_macs: macs(cost.adaptive) + macs(cost.extension),
        trained_on: trained.trained_on,
    })
}
