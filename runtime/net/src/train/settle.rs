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
use crate::train::blend::{Pair, Taken, blend};
use crate::train::extension::TrainedExtension;
use crate::train::run::{TrainError, WeightsSnafu};
use crate::train::select::select_by_gain;

/// Shares of the way that are tried. Nothing of it still takes the statistics of the new input; from nothing on it would be nothing.
const SHARES: [f32; 5] = [1.0, 0.75, 0.5, 0.25, 0.0];

/// Parts that images are split into, to count what a table is worth on images that it was not chosen by.
const PARTS: usize = 5;

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
    /// Hard classes of these; they may still be the best choice.
    pub hard_classes: Option<&'a [u32]>,
    /// Whether the training took place in another domain than that of these: then they may do as they are, moved there.
    pub moved: bool,
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
    /// What was taken.
    pub taken: Taken,
    accuracy: f64,
}

/// What of the way from the beginning to `trained` is most accurate at the edge by itself; of equal ones the domain alone, then the
/// largest share.
pub fn settle(settling: &Settling<'_>, trained: &TrainedExtension) -> Result<Settled, TrainError> {
    let shares = SHARES
        .iter()
        .filter(|share| settling.from.is_some() || **share > 0.0);
    let domain = settling.moved.then_some(Taken::Domain).into_iter();
    let mut best: Option<Settled> = None;
    for taken in domain.chain(shares.map(|&share| Taken::Share(share))) {
        let found = attempt(settling, trained, taken)?;
        if best.as_ref().is_none_or(|best| found.accuracy > best.accuracy) {
            best = Some(found);
        }
    }
    best.ok_or_else(|| of_data("there was nothing to settle"))
}

fn attempt(settling: &Settling<'_>, trained: &TrainedExtension, taken: Taken) -> Result<Settled, TrainError> {
    let Settling {
        main,
        from,
        precision,
        ranges_of,
        routing,
        hard_classes,
        selection,
        ..
    } = *settling;
    let to: Pair<'_> = (&trained.adaptive, &trained.extension);
    let [mut adaptive, mut extension] = blend(main, from, to, taken).context(WeightsSnafu)?;
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
    let (hard_classes, accuracy) = choose_table(&mut found, hard_classes, routing)?;
    Ok(Settled {
        adaptive,
        extension,
        network,
        hard_classes,
        taken,
        accuracy,
    })
}

/// The table of hard classes that is to be had, and how accurate the edge by itself is with it: the one in service, or that of the
/// classes which gain. A table that was chosen by some images looks better on these than it is, so its accuracy is counted on parts
/// of the images that it was chosen without.
fn choose_table(
    outputs: &mut Outputs,
    in_service: Option<&[u32]>,
    routing: &Routing,
) -> Result<(Vec<u32>, f64), TrainError> {
    let chosen = select_by_gain(outputs).map_err(of_data)?;
    let mut right = 0.0;
    for part in 0..PARTS {
        let of_part = |image: &usize| image % PARTS == part;
        let (counted, others): (Vec<usize>, Vec<usize>) = (0..outputs.len()).partition(of_part);
        if counted.is_empty() || others.is_empty() {
            continue;
        }
        let mut part = outputs.select(&counted);
        part.hard_classes = select_by_gain(&outputs.select(&others)).map_err(of_data)?;
        right += report(&part, routing)?.accuracy * counted.len() as f64;
    }
    let accuracy = right / outputs.len().max(1) as f64;
    if let Some(table) = in_service {
        outputs.hard_classes = table.to_vec();
        let as_it_is = report(outputs, routing)?.accuracy;
        if as_it_is >= accuracy {
            return Ok((table.to_vec(), as_it_is));
        }
    }
    Ok((chosen, accuracy))
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

pub(super) fn answers(outputs: &Outputs, routing: &Routing) -> Result<Vec<bool>, TrainError> {
    outputs.answers(routing).map_err(of_data)
}

fn of_data(error: impl std::fmt::Display) -> TrainError {
    TrainError::Data {
        reason: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use meanet_method::{ExtensionRule, by_entropy};

    use super::*;

    /// The main block takes all images for class 0; the extension knows.
    fn outputs(images: usize) -> Outputs {
        let labels: Vec<u32> = (0..images).map(|image| (image % 2) as u32).collect();
        let known = |&label: &u32| vec![1.0 - label as f32, label as f32];
        Outputs {
            main: vec![vec![2.0, 1.0]; images],
            extension: labels.iter().map(known).collect(),
            cloud: Vec::new(),
            labels,
            extension_classes: vec![0, 1],
            hard_classes: vec![0, 1],
        }
    }

    #[test]
    fn the_table_in_service_stays_unless_another_is_better() {
        let routing = by_entropy(None, ExtensionRule::Extension);
        let chosen = |in_service: Option<&[u32]>| {
            let (table, accuracy) = choose_table(&mut outputs(40), in_service, &routing).unwrap();
            (table, (accuracy * 40.0).round() as usize)
        };
        assert!(chosen(None).0.contains(&0));
        assert_eq!(chosen(Some(&[0, 1])), (vec![0, 1], 40), "as good as any");
        let (table, right) = chosen(Some(&[1]));
        assert!(
            table.contains(&0) && right == 40,
            "what the main block never names is of no use: {table:?}"
        );
    }
}
