//! Weights in the order in which kernels read them.

use crate::kernel::{FREQUENCIES, Group, Memory};
use crate::lower::Weights;

/// Collects the packed weights of a plan. Layer by layer, so that putting them together never holds them twice.
pub(crate) struct Packer {
    lanes: usize,
    /// Where each part will lie, and the part.
    parts: Vec<(usize, Vec<f32>)>,
    floats: usize,
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
            parts: Vec::new(),
            floats: 0,
        }
    }

    /// All that was packed, one behind the other.
    pub(crate) fn finish(self) -> Memory {
        let mut memory = Memory::zeroed(self.floats);
        for (start, part) in self.parts {
            memory.as_mut_slice()[start..][..part.len()].copy_from_slice(&part);
        }
        memory
    }

    /// Keeps `part` on a cache-line boundary; its offset.
    fn keep(&mut self, part: Vec<f32>) -> usize {
        let start = self.next();
        self.floats = start + part.len();
        self.parts.push((start, part));
        start
    }

    /// Where the next part will lie.
    fn next(&self) -> usize {
        self.floats.next_multiple_of(16)
    }

    /// A vector of `blocks` blocks of zeros.
    pub(crate) fn zeros(&mut self, blocks: usize) -> usize {
        self.keep(vec![0.0; blocks * self.lanes])
    }

    /// `[group][channel in][row][column]` in blocks of channels in, of `[block of the group][lane]`
    pub(crate) fn dense(&mut self, weights: &Weights, channels: usize, most: usize) -> Vec<Group> {
        let lanes = self.lanes;
        let area = weights.kernel[0] * weights.kernel[1];
        let blocks = weights.out.div_ceil(lanes);
        let size = channels * area * lanes;
        let groups = groups(blocks, most, self.next(), size);
        let mut packed = Vec::with_capacity(blocks * size);
        for group in &groups {
            for block in (0..channels).step_by(lanes) {
                for tap in 0..area {
                    for channel in block..channels.min(block + lanes) {
                        let outs = group.first * lanes..(group.first + group.count) * lanes;
                        let weight = |out| weights.weight[(out * channels + channel) * area + tap];
                        packed.extend(outs.map(|out| if out < weights.out { weight(out) } else { 0.0 }));
                    }
                }
            }
        }
        self.keep(packed);
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
        let start = self.next();
        let groups = groups(blocks, most, start, size);
        let mut packed = vec![0.0; FREQUENCIES * frequency];
        for group in &groups {
            let row = group.count * lanes;
            for out in group.first * lanes..((group.first + group.count) * lanes).min(weights.out) {
                for channel in 0..channels {
                    let filter = &weights.weight[(out * channels + channel) * 9..][..9];
                    let at = group.weights - start + channel * row + out - group.first * lanes;
                    for (index, value) in frequencies(filter).into_iter().enumerate() {
                        packed[at + index * frequency] = value;
                    }
                }
            }
        }
        self.keep(packed);
        (groups, frequency)
    }

    /// `[block][lane]`, of which `values` are the first.
    pub(crate) fn lanes(&mut self, values: &[f32]) -> usize {
        let mut packed = vec![0.0; values.len().next_multiple_of(self.lanes)];
        packed[..values.len()].copy_from_slice(values);
        self.keep(packed)
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
        let groups = groups(blocks, most, self.next(), size);
        let mut packed = Vec::with_capacity(blocks * size);
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
            for block in (0..slots).step_by(lanes) {
                for tap in 0..area {
                    for slot in block..slots.min(block + lanes) {
                        let outs = group.first * lanes..(group.first + group.count) * lanes;
                        packed.extend(
                            outs.map(|out| slot_of(word(out, 2 * slot, tap), word(out, 2 * slot + 1, tap))),
                        );
                    }
                }
            }
        }
        self.keep(packed);
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
        let mut packed = vec![0.0; weights.out.next_multiple_of(lanes) * area];
        for (index, value) in weights.weight.iter().enumerate() {
            let (channel, tap) = (index / area, index % area);
            packed[(channel / lanes * area + tap) * lanes + channel % lanes] = *value;
        }
        self.keep(packed)
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
