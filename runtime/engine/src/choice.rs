//! Which kernels suit a dense layer, whether it serves or is trained.

use crate::kernel::Place;
use crate::lower::Weights;

/// Fewest pixels that are worth a row of tiles.
const LONG_ROW: usize = 32;

/// Kernel, stride and padding of a dense layer.
pub(crate) type Window = ([usize; 2], usize, usize);

/// Each pixel by itself.
pub(crate) const POINTWISE: Window = ([1, 1], 1, 0);

pub(crate) fn window(weights: &Weights) -> Window {
    (weights.kernel, weights.stride, weights.padding)
}

/// Whether Winograd's convolution pays for a dense layer from the first place to the second.
pub(crate) fn suits_winograd(window: Window, [input, output]: [&Place; 2], lanes: usize) -> bool {
    let half = lanes / 2;
    window == ([3, 3], 1, 1)
        && input.channels >= half
        && output.channels >= half
        && output.height.min(output.width) >= 4
}

/// How many rows of `output` are gone through as one, of a layer that reads and writes `all`. It divides the height.
pub(crate) fn merged_rows<'a>(
    window: Window,
    mut all: impl Iterator<Item = &'a Place>,
    output: &Place,
) -> usize {
    if window != POINTWISE || all.any(|place| place.border > 0) {
        return 1;
    }
    let long = |rows: &usize| output.height.is_multiple_of(*rows) && rows * output.width >= LONG_ROW;
    (1..=output.height).find(long).unwrap_or(output.height)
}
