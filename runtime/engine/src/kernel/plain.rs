//! Steps that only move or average numbers.

use std::ops::Range;

use crate::graph::Shortcut;
use crate::images::Images;

use super::frame::{Frame, Map, Part, Place};

/// How pixels become numbers.
pub(crate) struct Normalise {
    pub(crate) scale: Vec<f32>,
    pub(crate) shift: Vec<f32>,
}

impl Normalise {
    /// # Safety
    /// As for [`super::program::Program`]'s tasks; the pixels hold all images of the frame.
    pub(crate) unsafe fn run(&self, frame: &Frame, output: &Place, part: Part) {
        let lanes = frame.kernels.lanes;
        let plane = output.height * output.width;
        for unit in part.of(frame.images() * output.height) {
            let (y, image) = (unit % output.height, unit / output.height);
            // SAFETY: units are disjoint rows of the output.
            unsafe {
                let map = frame.map(output, image);
                for block in 0..output.blocks(lanes) {
                    if y == 0 {
                        map.clear_border(output, block, lanes);
                    }
                    map.at(block, y, 0, lanes).write_bytes(0, output.width * lanes);
                }
                for channel in 0..output.channels {
                    let to = map.at(channel / lanes, y, 0, lanes).add(channel % lanes);
                    let start =
                        (frame.rows.get(image) * output.channels + channel) * plane + y * output.width;
                    let (scale, shift) = (self.scale[channel], self.shift[channel]);
                    let set = |x: usize, value: f32| to.add(x * lanes).write(value * scale + shift);
                    let pixels = start..start + output.width;
                    match frame.pixels {
                        Images::Bytes(all) => all[pixels]
                            .iter()
                            .enumerate()
                            .for_each(|(x, v)| set(x, f32::from(*v))),
                        Images::Floats(all) => all[pixels].iter().enumerate().for_each(|(x, v)| set(x, *v)),
                    }
                }
            }
        }
    }
}

/// What becomes of the pixels of a square.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fold {
    Mean,
    Max,
}

/// Means or largest values of squares.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pool {
    pub(crate) fold: Fold,
    /// Rows and columns.
    pub(crate) kernel: [usize; 2],
    pub(crate) stride: usize,
    /// Pixels that squares may reach beyond the map, where they count for nothing.
    pub(crate) padding: usize,
}

impl Pool {
    /// Where a square of `kernel` pixels at `position` lies in `length` pixels.
    fn span(self, position: usize, kernel: usize, length: usize) -> Range<usize> {
        let start = position * self.stride;
        start.saturating_sub(self.padding)..(start + kernel - self.padding).min(length)
    }

    /// # Safety
    /// As for [`super::program::Program`]'s tasks.
    pub(crate) unsafe fn run(self, frame: &Frame, [input, output]: [&Place; 2], part: Part) {
        const MOST_LANES: usize = 16;
        let lanes = frame.kernels.lanes;
        let blocks = output.blocks(lanes);
        let [rows, columns] = self.kernel;
        let (first, factor) = match self.fold {
            Fold::Mean => (0.0, 1.0 / (rows * columns) as f32),
            Fold::Max => (f32::NEG_INFINITY, 1.0),
        };
        for unit in part.of(frame.images() * blocks) {
            let (block, image) = (unit % blocks, unit / blocks);
            // SAFETY: units are disjoint blocks of the output; squares are cut at the edges of the input.
            unsafe {
                let (from, to) = (frame.map(input, image), frame.map(output, image));
                to.clear_border(output, block, lanes);
                for y in 0..output.height {
                    for x in 0..output.width {
                        let mut folded = [first; MOST_LANES];
                        for row in self.span(y, rows, input.height) {
                            for column in self.span(x, columns, input.width) {
                                let pixel = from.at(block, row, column, lanes);
                                for (lane, sum) in folded[..lanes].iter_mut().enumerate() {
                                    let value = *pixel.add(lane);
                                    *sum = match self.fold {
                                        Fold::Mean => *sum + value,
                                        Fold::Max => sum.max(value),
                                    };
                                }
                            }
                        }
                        let pixel = to.at(block, y, x, lanes);
                        for (lane, sum) in folded[..lanes].iter().enumerate() {
                            pixel.add(lane).write(sum * factor);
                        }
                    }
                }
            }
        }
    }
}

/// Channels of several values, one behind the other.
///
/// # Safety
/// As for [`super::program::Program`]'s tasks.
#[allow(
    clippy::needless_pass_by_value,
    reason = "an iterator is cloned for each image"
)]
pub(crate) unsafe fn concat<'a>(
    frame: &Frame,
    inputs: impl Iterator<Item = &'a Place> + Clone,
    output: &Place,
    part: Part,
) {
    // SAFETY: parts are different images.
    unsafe {
        for unit in part.of(frame.images()) {
            let to = frame.map(output, unit);
            clear(to, output, frame.kernels.lanes);
            let mut first = 0;
            for input in inputs.clone() {
                copy(
                    frame.map(input, unit),
                    input,
                    to,
                    output,
                    [first, 1],
                    frame.kernels.lanes,
                );
                first += input.channels;
            }
        }
    }
}

impl Shortcut {
    /// # Safety
    /// As for [`super::program::Program`]'s tasks.
    pub(crate) unsafe fn run(self, frame: &Frame, [input, output]: [&Place; 2], part: Part) {
        // SAFETY: parts are different images.
        unsafe {
            for unit in part.of(frame.images()) {
                let to = frame.map(output, unit);
                clear(to, output, frame.kernels.lanes);
                copy(
                    frame.map(input, unit),
                    input,
                    to,
                    output,
                    [self.before, self.stride],
                    frame.kernels.lanes,
                );
            }
        }
    }
}

/// Zeros of a whole value.
unsafe fn clear(to: Map, output: &Place, lanes: usize) {
    // SAFETY: the caller owns this value of this image.
    unsafe {
        for block in 0..output.blocks(lanes) {
            to.clear_border(output, block, lanes);
            for y in 0..output.height {
                to.at(block, y, 0, lanes).write_bytes(0, output.width * lanes);
            }
        }
    }
}

/// Every `stride`-th pixel, channels from `first` on.
unsafe fn copy(from: Map, input: &Place, to: Map, output: &Place, [first, stride]: [usize; 2], lanes: usize) {
    // SAFETY: the caller owns the output; channels and pixels were checked with the shapes.
    unsafe {
        for y in 0..output.height {
            if first % lanes == 0 {
                for block in 0..input.blocks(lanes) {
                    let (source, target) = (
                        from.at(block, y * stride, 0, lanes),
                        to.at(first / lanes + block, y, 0, lanes),
                    );
                    if stride == 1 {
                        target.copy_from_nonoverlapping(source, output.width * lanes);
                    } else {
                        for x in 0..output.width {
                            target
                                .add(x * lanes)
                                .copy_from_nonoverlapping(source.add(x * stride * lanes), lanes);
                        }
                    }
                }
            } else {
                for channel in 0..input.channels {
                    let source = from
                        .at(channel / lanes, y * stride, 0, lanes)
                        .add(channel % lanes);
                    let there = first + channel;
                    let target = to.at(there / lanes, y, 0, lanes).add(there % lanes);
                    for x in 0..output.width {
                        target.add(x * lanes).write(*source.add(x * stride * lanes));
                    }
                }
            }
        }
    }
}
