//! Dense convolution of words, straight from the definition.

use crate::lower::Clamp;

use super::super::direct::{Cuts, Group};
use super::super::frame::{Frame, Part, Place};
use super::table::WordTileFn;
use super::tile::{Blocks, Finish, Outcome, WordTile};

/// How sums become results, for all blocks of a layer.
pub(crate) struct Scaling {
    /// Offset of `[block][LANES]` factors.
    pub(crate) scale: usize,
    /// Offset of `[block][LANES]` biases.
    pub(crate) bias: usize,
    /// Of the residual.
    pub(crate) factor: f32,
    /// In the units of the output.
    pub(crate) clamp: Clamp,
}

/// A dense layer of words, ready to run.
pub(crate) struct WordDirect {
    /// Rows of the output taken at once; more than one only for 1×1 convolutions between values without borders.
    pub(crate) merged: usize,
    pub(crate) kernel: [usize; 2],
    pub(crate) stride: usize,
    pub(crate) padding: usize,
    pub(crate) groups: Vec<Group>,
    pub(crate) scaling: Scaling,
    pub(crate) cuts: Cuts<WordTileFn>,
}

impl WordDirect {
    /// # Safety
    /// As for [`super::super::program::Program`]'s tasks.
    pub(crate) unsafe fn run(
        &self,
        frame: &Frame,
        [input, output]: [&Place; 2],
        residual: Option<&Place>,
        part: Part,
    ) {
        let lanes = frame.kernels.lanes;
        let (images, height, width) = (
            frame.images(),
            output.height / self.merged,
            output.width * self.merged,
        );
        for unit in part.of(self.groups.len() * images * height) {
            let (y, rest) = (unit % height * self.merged, unit / height);
            let (image, group) = (rest % images, self.groups[rest / images]);
            // SAFETY: the program was checked for these places, and units are disjoint rows and blocks of the output.
            unsafe {
                let from = frame.map(input, image);
                let to = frame.map(output, image);
                let add = residual.map(|place| (frame.map(place, image), place.format));
                if y == 0 {
                    clear_border(frame, output, image, group);
                }
                for &(x, count, compute) in self.cuts.get(width, group.count) {
                    compute(&WordTile {
                        count,
                        input: from.at_padded(0, y * self.stride, x * self.stride, self.padding, lanes),
                        input_block: from.block,
                        input_row: from.row,
                        slots: input.slots(),
                        kernel: self.kernel,
                        weights: frame.weights.add(group.weights),
                        outcome: Outcome::Finish(Finish {
                            scale: frame.weights.add(self.scaling.scale + group.first * lanes),
                            bias: frame.weights.add(self.scaling.bias + group.first * lanes),
                            residual: add.map(|(map, format)| Blocks {
                                base: map.at(0, y, x, lanes),
                                step: map.block,
                                first: group.first,
                                format,
                            }),
                            factor: self.scaling.factor,
                            clamp: self.scaling.clamp,
                            output: Blocks {
                                base: to.at(0, y, x, lanes),
                                step: to.block,
                                first: group.first,
                                format: output.format,
                            },
                        }),
                        times: 1,
                        strides: [0; 3],
                    });
                }
            }
        }
    }
}

/// Zeros the borders of the output's blocks that begin in `group`, whose blocks are of `LANES` channels.
///
/// # Safety
/// The place was checked, and nobody else has this group of this image.
pub(super) unsafe fn clear_border(frame: &Frame, output: &Place, image: usize, group: Group) {
    use super::super::frame::Format;
    let lanes = frame.kernels.lanes;
    let halves = match output.format {
        Format::Floats => 1,
        Format::Words => 2,
    };
    // SAFETY: as promised by the caller; a block of words is cleared by whoever has its first half.
    unsafe {
        let to = frame.map(output, image);
        for block in (group.first..group.first + group.count).filter(|b| b.is_multiple_of(halves)) {
            to.clear_border(output, block / halves, lanes);
        }
    }
}
