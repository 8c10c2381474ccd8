//! `meanet train calibrate`: makes a model that can be run in 8 bits of one that cannot.

use std::error::Error;
use std::path::PathBuf;

use meanet_data::Images;
use meanet_net::{
    Calibrated, CalibratedBlobs, Compute, EdgeNetwork, Manifest, ModelBlobs, Precision, calibrate,
};

use super::{DataArgs, read};

/// See the help of each argument.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    data: DataArgs,
    /// Folder of the model.
    #[arg(long)]
    model: PathBuf,
    /// Folder of the model made of it, which has another digest.
    #[arg(long)]
    out: PathBuf,
}

/// Writes the model and prints its digest.
pub(super) fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let (manifest, _, blobs) = Manifest::open(&args.model)?;
    let parts = read(&args.data, &manifest.input)?;
    let blobs = calibrated(blobs, &parts.training.0)?;
    EdgeNetwork::load_as(blobs.edge(), Precision::Int8, Compute::default())?;
    let manifest = Manifest {
        weights: blobs.digests(),
        ..manifest
    };
    println!("{}", manifest.write(&args.out, &blobs)?);
    Ok(())
}

/// The blobs with ranges taken on training images.
pub(super) fn calibrated(blobs: ModelBlobs, training: &Images) -> Result<ModelBlobs, Box<dyn Error>> {
    let CalibratedBlobs {
        main,
        adaptive,
        extension,
    } = calibrate(blobs.edge(), training, Calibrated::All)?;
    Ok(ModelBlobs {
        main,
        adaptive,
        extension,
        cloud: blobs.cloud,
    })
}
