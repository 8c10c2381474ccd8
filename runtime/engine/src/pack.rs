//! Weights in the order in which kernels read them.

use crate::kernel::{FREQUENCIES, Group};
use crate::lower::Weights;

/// Collects the packed weights of a plan.
pub(crate) struct Packer {
    lanes: usize,
    pub(crate) floats: Vec<f32>,
}

/// Blocks cut into groups of `most`; `size` is the floats of a block's weights.
pub(crate) fn groups(blocks: usize, most: usize, start: usize, size: usize) -> Vec<Group> {
    let firsts = (0..blocks).step_by(most.max(1));
    let group = |first: usize| Group {
        first,
        count: most.min(blocks - first),
        weights: start + first * size,
    };
    firsts.map(group).collect()
}

impl Packer {
    pub(crate) fn new(lanes: usize) -> Self {
        Self {
            lanes,
            floats: Vec::new(),
        }
    }

    /// Room for `floats` zeros on a cache-line boundary; their offset.
    fn room(&mut self, floats: usize) -> usize {
        let start = self.floats.len().next_multiple_of(16);
        self.floats.resize(start + floats, 0.0);
        start
    }

    /// A vector of `blocks` blocks of zeros.
    pub(crate) fn zeros(&mut self, blocks: usize) -> usize {
        self.room(blocks * self.lanes)
    }

    /// `[group][channel in][row][column]` in blocks of channels in, of `[block of the group][lane]`
    pub(crate) fn dense(&mut self, weights: &Weights, channels: usize, most: usize) -> Vec<Group> {
        let lanes = self.lanes;
        let area = weights.kernel[0] * weights.kernel[1];
        let blocks = weights.out.div_ceil(lanes);
        let size = channels * area * lanes;
        let start = self.room(blocks * size);
        let groups = groups(blocks, most, start, size);
        for group in &groups {
            let mut at = group.weights;
            for block in (0..channels).step_by(lanes) {
                for tap in 0..area {
                    for channel in block..channels.min(block + lanes) {
                        for out in group.first * lanes..(group.first + group.count) * lanes {
                            if out < weights.out {
                                self.floats[at] = weights.weight[(out * channels + channel) * area + tap];
                            }
                            at += 1;
                        }
                    }
                }
            }
        }
        groups
    }

    /// `[frequency][group][channel in][block of the group][lane]`; also the floats of a frequency.
    pub(crate) fn winograd(
        &mut self,
        weights: &Weights,
        channels: usize,
        most: usize,
    ) -> (Vec<Group>, usize) {
        let lanes = self.lanes;
        let blocks = weights.out.div_ceil(lanes);
        let size = channels * lanes;
        let frequency = blocks * size;
        let start = self.room(FREQUENCIES * frequency);
        let groups = groups(blocks, most, start, size);
        for group in &groups {
            let row = group.count * lanes;
            for out in group.first * lanes..((group.first + group.count) * lanes).min(weights.out) {
                for channel in 0..channels {
                    let filter = &weights.weight[(out * channels + channel) * 9..][..9];
                    let at = group.weights + channel * row + out - group.first * lanes;
                    for (index, value) in frequencies(filter).into_iter().enumerate() {
                        self.floats[at + index * frequency] = value;
                    }
                }
            }
        }
        (groups, frequency)
    }

    /// `[block][lane]`, of which `values` are the first.
    pub(crate) fn lanes(&mut self, values: &[f32]) -> usize {
        let start = self.room(values.len().next_multiple_of(self.lanes));
        self.floats[start..start + values.len()].copy_from_slice(values);
        start
    }

    /// As [`Packer::dense`], with slots of two channels: `words` are `[out, channels, area]`.
    pub(crate) fn word_dense(
        &mut self,
        words: &[i16],
        [channels, area]: [usize; 2],
        most: usize,
    ) -> Vec<Group> {
        let lanes = self.lanes;
        let out = words.len() / (channels * area);
        let (blocks, slots) = (out.div_ceil(lanes), channels.div_ceil(2));
        let size = slots * area * lanes;
        let start = self.room(blocks * size);
        let groups = groups(blocks, most, start, size);
        let word = |out: usize, channel: usize, tap: usize| {
            let there = channel < channels;
            let index = (out * channels + channel) * area + tap;
            if there {
                words.get(index).copied().unwrap_or(0)
            } else {
                0
            }
        };
        for group in &groups {
            let mut at = group.weights;
            for block in (0..slots).step_by(lanes) {
                for tap in 0..area {
                    for slot in block..slots.min(block + lanes) {
                        for out in group.first * lanes..(group.first + group.count) * lanes {
                            self.floats[at] = slot_of(word(out, 2 * slot, tap), word(out, 2 * slot + 1, tap));
                            at += 1;
                        }
                    }
                }
            }
        }
        groups
    }

    /// As [`Packer::winograd`], with slots of two channels: `words` are `[frequency, out, channels]`. Also the floats of a frequency.
    pub(crate) fn word_winograd(
        &mut self,
        words: &[i16],
        [out, channels]: [usize; 2],
        most: usize,
    ) -> (Vec<Group>, usize) {
        let frequency = (channels.div_ceil(2) * out.next_multiple_of(self.lanes)).next_multiple_of(16);
        let mut groups = Vec::new();
        for (index, words) in words.chunks_exact(out * channels).enumerate() {
            let made = self.word_dense(words, [channels, 1], most);
            if index == 0 {
                groups = made;
            }
        }
        (groups, frequency)
    }

    /// `[block][row][column][lane]`
    pub(crate) fn depthwise(&mut self, weights: &Weights) -> usize {
        let lanes = self.lanes;
        let area = weights.kernel[0] * weights.kernel[1];
        let start = self.room(weights.out.next_multiple_of(lanes) * area);
        for (index, value) in weights.weight.iter().enumerate() {
            let (channel, tap) = (index / area, index % area);
            self.floats[start + (channel / lanes * area + tap) * lanes + channel % lanes] = *value;
        }
        start
    }
}

/// Two words in the place of a float. Its bits are only ever copied.
fn slot_of(first: i16, second: i16) -> f32 {
    let [[a, b], [c, d]] = [first.to_ne_bytes(), second.to_ne_bytes()];
    f32::from_bits(u32::from_ne_bytes([a, b, c, d]))
}

/// The 6×6 frequencies of a 3×3 filter: `G g Gᵀ` (Lavin and Gray 2016, §4.3).
pub(crate) fn frequencies(filter: &[f32]) -> [f32; FREQUENCIES] {
    const G: [[f64; 3]; 6] = [
        [1.0 / 4.0, 0.0, 0.0],
        [-1.0 / 6.0, -1.0 / 6.0, -1.0 / 6.0],
        [-1.0 / 6.0, 1.0 / 6.0, -1.0 / 6.0],
        [1.0 / 24.0, 1.0 / 12.0, 1.0 / 6.0],
        [1.0 / 24.0, -1.0 / 12.0, 1.0 / 6.0],
        [0.0, 0.0, 1.0],
    ];
    let mut out = [0.0; FREQUENCIES];
    for (index, value) in out.iter_mut().enumerate() {
        let (row, column) = (G[index / 6], G[index % 6]);
        let terms = (0..9).map(|i| row[i / 3] * column[i % 3] * f64::from(filter[i]));
        *value = terms.sum::<f64>() as f32;
    }
    out
}
