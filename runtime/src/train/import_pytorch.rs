//! `meanet train import-pytorch`: brings in a network that `PyTorch` trained.

use std::error::Error;
use std::path::PathBuf;

use meanet_net::train::{Classifier, Recipe};
use meanet_net::{Backbone, Block, CloudNetwork, InputSpec, StateDict};
use tracing::info;

/// See the help of each argument.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The network's state dict: safetensors, or what `torch.save` wrote.
    #[arg(long)]
    weights: PathBuf,
    /// Network, like `ResNet56` or `MobileNetV2x0.5Cifar`; without it the one whose keys these are.
    #[arg(long)]
    backbone: Option<Backbone>,
    /// Classes it tells apart.
    #[arg(long, default_value_t = 100)]
    classes: usize,
    /// Side of the images it takes, in pixels.
    #[arg(long, default_value_t = 32)]
    side: usize,
    /// Mean of each channel that images are normalised by, in 0..1.
    #[arg(long, value_delimiter = ',', default_value = "0.5071,0.4867,0.4408")]
    mean: Vec<f32>,
    /// Standard deviation of each channel.
    #[arg(long, value_delimiter = ',', default_value = "0.2675,0.2565,0.2761")]
    std: Vec<f32>,
    /// Folder of the run.
    #[arg(long)]
    out: PathBuf,
}

/// Imports it into its folder.
pub(super) fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let three = |name: &str, values: &[f32]| -> Result<[f32; 3], String> {
        let three = <[f32; 3]>::try_from(values).ok();
        three
            .filter(|v| v.iter().all(|v| v.is_finite()) && (name == "mean" || v.iter().all(|v| *v > 0.0)))
            .ok_or_else(|| {
                format!("--{name} wants three numbers, one a channel; a standard deviation is above 0")
            })
    };
    let input = InputSpec {
        height: args.side,
        width: args.side,
        mean: three("mean", &args.mean)?,
        std: three("std", &args.std)?,
    };
    let state = StateDict::read(&args.weights)?;
    let backbone = args.backbone.or_else(|| state.recognise(&input)).ok_or_else(|| {
        format!(
            "failed to recognise the network of {}: give --backbone",
            args.weights.display()
        )
    })?;
    let network = Classifier::import(Recipe::new(backbone, args.classes, input), &state, &args.out)?;
    // Trying it once finds what shapes do not show.
    CloudNetwork::load(&network.blob(Block::Cloud)?)?;
    info!(%backbone, "imported into {}", args.out.display());
    Ok(())
}
