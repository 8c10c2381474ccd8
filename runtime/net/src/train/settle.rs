//! How much of what was trained is taken, and which classes are routed to it: chosen on images set aside, of which the training knows
//! nothing. Blocks that were trained on few images, or over a main block that knows its images by heart, mend some answers and spoil
//! others; part of the way there often does better than all of it.

use meanet_data::Images;
use meanet_method::{Outputs, Routing};
use snafu::ResultExt;

use crate::calibrate::{Calibrated, calibrate};
use crate::edge::{EdgeBlobs, EdgeNetwork};
use crate::evaluate::{Report, outputs};
use crate::lower::Compute;
use crate::precision::Precision;
use crate::train::blend::{Pair, blend};
use crate::train::extension::TrainedExtension;
use crate::train::run::{TrainError, WeightsSnafu};
use crate::train::select::select_by_gain;

/// Shares of the way that are tried. Nothing of it still takes the statistics of the new input; from nothing on it would be nothing.
const SHARES: [f32; 5] = [1.0, 0.75, 0.5, 0.25, 0.0];

/// What blocks are settled by.
#[derive(Clone, Copy, Debug)]
pub struct Settling<'a> {
    /// Blob of the main block.
    pub main: &'a [u8],
    /// Blobs of the adaptive and the extension block that the training began with; none: it began with nothing.
    pub from: Option<Pair<'a>>,
    /// What the blocks are to compute in.
    pub precision: Precision,
    /// Images to take ranges for 8 bits on; none: the blocks get no ranges.
    pub ranges_of: Option<&'a Images>,
    /// How inputs leave; nothing is sent to the cloud.
    pub routing: &'a Routing,
    /// Images that choose.
    pub selection: &'a Images,
}

/// Blocks to put into service.
pub struct Settled {
    /// Blob of the adaptive block.
    pub adaptive: Vec<u8>,
    /// Blob of the extension block.
    pub extension: Vec<u8>,
    /// The network of these.
    pub network: EdgeNetwork,
    /// The classes for which it pays to ask the extension.
    pub hard_classes: Vec<u32>,
    /// How much of the way was taken.
    pub share: f32,
    accuracy: f64,
}

/// The share of the way from the beginning to `trained` that is most accurate at the edge by itself; of equal ones the largest.
pub fn settle(settling: &Settling<'_>, trained: &TrainedExtension) -> Result<Settled, TrainError> {
    let mut best = try_share(settling, trained, SHARES[0])?;
    for &share in SHARES[1..]
        .iter()
        .filter(|share| settling.from.is_some() || **share > 0.0)
    {
        let found = try_share(settling, trained, share)?;
        if found.accuracy > best.accuracy {
            best = found;
        }
    }
    Ok(best)
}

fn try_share(settling: &Settling<'_>, trained: &TrainedExtension, share: f32) -> Result<Settled, TrainError> {
    let Settling {
        main,
        from,
        precision,
        ranges_of,
        routing,
        selection,
    } = *settling;
    let to: Pair<'_> = (&trained.adaptive, &trained.extension);
    let [mut adaptive, mut extension] = blend(main, from, to, share).context(WeightsSnafu)?;
    if let Some(images) = ranges_of {
        let blobs = EdgeBlobs {
            main,
            adaptive: &adaptive,
            extension: &extension,
        };
        let calibrated = calibrate(blobs, images, Calibrated::Retrained).context(WeightsSnafu)?;
        (adaptive, extension) = (calibrated.adaptive, calibrated.extension);
    }
    let blobs = EdgeBlobs {
        main,
        adaptive: &adaptive,
        extension: &extension,
    };
    let network = EdgeNetwork::load_as(blobs, precision, Compute::default()).context(WeightsSnafu)?;
    let mut found = run(&network, network.outputs(), selection)?;
    found.hard_classes = select_by_gain(&found).map_err(of_data)?;
    let accuracy = report(&found, routing)?.accuracy;
    Ok(Settled {
        adaptive,
        extension,
        network,
        hard_classes: found.hard_classes,
        share,
        accuracy,
    })
}

/// What the edge says of the images by itself.
pub(super) fn run(
    network: &EdgeNetwork,
    hard_classes: &[u32],
    images: &Images,
) -> Result<Outputs, TrainError> {
    outputs(network, hard_classes, None, images).map_err(of_data)
}

pub(super) fn report(outputs: &Outputs, routing: &Routing) -> Result<Report, TrainError> {
    outputs.report(routing).map_err(of_data)
}

fn of_data(error: impl std::fmt::Display) -> TrainError {
    TrainError::Data {
        reason: error.to_string(),
    }
}
