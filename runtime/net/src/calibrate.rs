//! The ranges of numbers that a model's layers read, taken on training images and put into its blobs: what 8-bit plans round by.

use std::num::NonZeroUsize;

use meanet_data::Images;
use meanet_engine::{Images as Pixels, Observer, Options};
use snafu::{ResultExt, ensure};

use crate::card::{Block, Card};
use crate::domain::Domain;
use crate::edge::{EdgeBlobs, open};
use crate::lower::{CompileSnafu, EdgeGraph};
use crate::weights::{BaseSnafu, WeightsError, bound, encode};

/// Images that ranges are taken on at most; more change them by less than a step of rounding.
pub const CALIBRATION_IMAGES: usize = 512;
/// Images that are looked at together.
const BATCH: usize = 8;

/// The blobs of an edge network with ranges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CalibratedBlobs {
    /// Main block.
    pub main: Vec<u8>,
    /// Adaptive block.
    pub adaptive: Vec<u8>,
    /// Extension block.
    pub extension: Vec<u8>,
}

/// Which blocks get ranges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Calibrated {
    /// All. The main block becomes another blob, so the others are bound to that.
    All,
    /// Adaptive and extension block, over a main block that stays the blob it is.
    Retrained,
}

/// Puts into the cards of the blobs which numbers their layers read on `images`, of which the first [`CALIBRATION_IMAGES`] are used:
/// training images, never test images. Weights stay what they are.
pub fn calibrate(
    blobs: EdgeBlobs<'_>,
    images: &Images,
    which: Calibrated,
) -> Result<CalibratedBlobs, WeightsError> {
    let graph = EdgeGraph::of_blobs(blobs)?;
    let (main, adaptive, extension) = (
        open(blobs.main, Block::Main)?,
        open(blobs.adaptive, Block::Adaptive)?,
        open(blobs.extension, Block::Extension)?,
    );
    let input = &main.0.input;
    let count = images.len().min(CALIBRATION_IMAGES);
    ensure!(
        count > 0 && [images.height, images.width] == [input.height, input.width],
        BaseSnafu {
            reason: format!(
                "{count} images of {}×{} were given to take ranges on; give some training images of {}×{}",
                images.height, images.width, input.height, input.width
            )
        }
    );
    let options = Options {
        threads: NonZeroUsize::MIN,
        max_batch: BATCH,
        ..Options::default()
    };
    let mut observer = Observer::new(&graph.graph, &options).context(CompileSnafu)?;
    let pixels = &images.pixels[..count * input.values()];
    observer.observe(Pixels::Bytes(pixels)).context(CompileSnafu)?;
    let ranges = observer.ranges();
    let of = |segment| ranges.layers(&graph.graph, segment);
    let moved = Domain::of(blobs.adaptive)? != Domain::of_card(&main.0);
    let main = match which {
        Calibrated::All => encode(
            &Card {
                ranges: of(graph.main),
                ..main.0
            },
            &main.1,
        )?,
        Calibrated::Retrained => blobs.main.to_vec(),
    };
    let adaptive_card = Card {
        ranges: of(graph.adaptive),
        main_ranges: if moved { of(graph.main) } else { Vec::new() },
        ..adaptive.0
    };
    let extension_card = Card {
        ranges: of(graph.extension),
        ..extension.0
    };
    let [adaptive, extension] = bound(
        &main,
        (adaptive_card, &adaptive.1),
        (extension_card, &extension.1),
    )?;
    Ok(CalibratedBlobs {
        main,
        adaptive,
        extension,
    })
}
