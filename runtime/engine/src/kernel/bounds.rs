//! What dense layers reach of what they read and write, for those that check it once.

use super::direct::Group;
use super::frame::Place;

/// Where packed weights of `fan_in` rows end.
pub(super) fn end(groups: &[Group], fan_in: usize, lanes: usize) -> usize {
    let ends = groups.iter().map(|g| g.weights + g.count * fan_in * lanes);
    ends.max().unwrap_or_default()
}

/// What is wrong with groups that are to make `blocks` blocks of channels.
pub(super) fn covers(groups: &[Group], blocks: usize) -> Option<&'static str> {
    let mut next = 0;
    for group in groups {
        if group.first != next {
            return Some("leaves out channels");
        }
        next += group.count;
    }
    (next != blocks).then_some("has another number of channels than its output")
}

/// What is wrong with a kernel, stride and padding between two values.
pub(super) fn window(
    (kernel, stride, padding): ([usize; 2], usize, usize),
    input: &Place,
    output: &Place,
) -> Option<&'static str> {
    let covered = |length: usize, kernel: usize| (length - 1) * stride + kernel;
    (padding > input.border
        || covered(output.height, kernel[0]) > input.height + 2 * padding
        || covered(output.width, kernel[1]) > input.width + 2 * padding)
        .then_some("reads beyond its input's border")
}
