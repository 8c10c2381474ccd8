//! A step down the gradient, and weights in the other orders in which kernels read them.

use std::ptr;

use crate::kernel::bounds;
use crate::kernel::direct::Group;
use crate::kernel::simd::Simd;
use crate::kernel::winograd::FREQUENCIES;

/// How weights are moved: SGD with Nesterov momentum, L2 penalty, and a moving average.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Descend {
    /// Learning rate.
    pub rate: f32,
    /// Share of its velocity that a weight keeps.
    pub momentum: f32,
    /// L2 penalty.
    pub weight_decay: f32,
    /// Share of itself that the average keeps; none: there is no average.
    pub keep: Option<f32>,
}

/// Which numbers of a training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbers {
    /// The weights, with running statistics.
    Weights,
    /// How fast they move; running statistics do not.
    Velocities,
    /// Their moving average.
    Average,
}

/// A range of weights, whole vectors of them.
pub(crate) struct Sgd {
    pub(crate) weights: *mut f32,
    pub(crate) velocity: *mut f32,
    /// Null where there is none.
    pub(crate) average: *mut f32,
    /// The first part's gradients; set to zero.
    pub(crate) gradients: *mut f32,
    /// From part to part.
    pub(crate) step: usize,
    pub(crate) parts: usize,
    pub(crate) floats: usize,
    pub(crate) how: Descend,
}

impl Sgd {
    /// # Safety
    /// The machine has the instruction set, and the fields describe writable memory that nobody else uses.
    #[inline(always)]
    pub(crate) unsafe fn compute<V: Simd>(&self) {
        let Descend {
            rate,
            momentum,
            weight_decay,
            keep,
        } = self.how;
        // SAFETY: as promised by the caller.
        unsafe {
            let (minus_rate, momentum, decay) = (V::splat(-rate), V::splat(momentum), V::splat(weight_decay));
            let keep = V::splat(keep.unwrap_or(0.0));
            for at in (0..self.floats).step_by(V::LANES) {
                let weight = V::load(self.weights.add(at));
                let mut gradient = V::splat(0.0);
                for part in 0..self.parts {
                    let from = self.gradients.add(part * self.step + at);
                    gradient = V::add(gradient, V::load(from));
                    V::store(from, V::splat(0.0));
                }
                gradient = V::fma(decay, weight, gradient);
                let velocity = V::fma(momentum, V::load(self.velocity.add(at)), gradient);
                V::store(self.velocity.add(at), velocity);
                let weight = V::fma(minus_rate, V::fma(momentum, velocity, gradient), weight);
                V::store(self.weights.add(at), weight);
                if !self.average.is_null() {
                    let average = self.average.add(at);
                    V::store(average, V::fma(V::sub(V::load(average), weight), keep, weight));
                }
            }
        }
    }
}

/// The frequencies of one vector of 3×3 filters: `G g Gᵀ` (Lavin and Gray 2016, §4.3).
pub(crate) struct Frequencies {
    pub(crate) from: *const f32,
    /// From element to element of the filters.
    pub(crate) tap: usize,
    pub(crate) to: *mut f32,
    /// From frequency to frequency.
    pub(crate) step: usize,
}

impl Frequencies {
    /// # Safety
    /// As for [`Sgd::compute`].
    #[inline(always)]
    pub(crate) unsafe fn compute<V: Simd>(&self) {
        // SAFETY: as promised by the caller.
        unsafe {
            let mut columns = [[V::splat(0.0); 6]; 3];
            for column in 0..3 {
                let a = V::load(self.from.add(column * self.tap));
                let b = V::load(self.from.add((3 + column) * self.tap));
                let c = V::load(self.from.add((6 + column) * self.tap));
                columns[column] = six::<V>([a, b, c]);
            }
            for row in 0..6 {
                let line = six::<V>([columns[0][row], columns[1][row], columns[2][row]]);
                for column in 0..6 {
                    V::store(self.to.add((row * 6 + column) * self.step), line[column]);
                }
            }
        }
    }
}

#[inline(always)]
unsafe fn six<V: Simd>([a, b, c]: [V::V; 3]) -> [V::V; 6] {
    // SAFETY: the caller has the instruction set.
    unsafe {
        let zero = V::splat(0.0);
        let even = V::fma(V::splat(-1.0 / 6.0), V::add(a, c), zero);
        let far = V::fma(V::splat(1.0 / 24.0), a, V::fma(V::splat(1.0 / 6.0), c, zero));
        [
            V::fma(V::splat(0.25), a, zero),
            V::fma(V::splat(-1.0 / 6.0), b, even),
            V::fma(V::splat(1.0 / 6.0), b, even),
            V::fma(V::splat(1.0 / 12.0), b, far),
            V::fma(V::splat(-1.0 / 12.0), b, far),
            c,
        ]
    }
}

/// Packed weights of a dense layer.
pub(crate) struct Packed {
    pub(crate) groups: Vec<Group>,
    /// Channels in, and elements of the kernel.
    pub(crate) channels: usize,
    pub(crate) area: usize,
}

impl Packed {
    /// Where the weight of `channel`, `tap` and `out` lies.
    pub(crate) fn at(&self, [out, channel, tap]: [usize; 3], lanes: usize) -> usize {
        let most = self.groups.first().map_or(1, |group| group.count);
        let group = &self.groups[out / lanes / most];
        let (block, within) = (channel / lanes, channel % lanes);
        let here = lanes.min(self.channels - block * lanes);
        let row = block * lanes * self.area + tap * here + within;
        group.weights + (row * group.count + out / lanes - group.first) * lanes + out % lanes
    }

    /// From a channel in to the next of its block, for the group of `out`.
    fn row(&self, out: usize, lanes: usize) -> usize {
        let most = self.groups.first().map_or(1, |group| group.count);
        self.groups[out / lanes / most].count * lanes
    }

    /// End of it.
    pub(crate) fn end(&self, lanes: usize) -> usize {
        bounds::end(&self.groups, self.channels * self.area, lanes)
    }
}

/// Weights that follow from those that are trained.
pub(crate) enum Derived {
    /// Those of a dense layer for the way back: filters turned around, channels in and out exchanged. Channels out of the layer.
    Back { from: Packed, to: Packed, out: usize },
    /// Those of a depthwise layer for the way back: filters turned around.
    BackDepthwise { from: usize, to: usize, floats: usize },
    /// Frequencies of packed filters. Groups are alike.
    Winograd {
        from: Packed,
        to: Vec<Group>,
        frequency: usize,
    },
}

impl Derived {
    /// # Safety
    /// `weights` is writable as far as the offsets reach, and nobody else uses what is written or writes what is read.
    pub(crate) unsafe fn run(&self, weights: *mut f32, lanes: usize, frequencies: unsafe fn(&Frequencies)) {
        // SAFETY: offsets were checked with the program.
        unsafe {
            match self {
                Self::Back { from, to, out } => {
                    for channel in 0..from.channels {
                        for tap in 0..from.area {
                            let turned = from.area - 1 - tap;
                            for first in (0..*out).step_by(lanes) {
                                // The lanes of a block lie side by side here, and a row apart there.
                                let here = from.at([first, channel, tap], lanes);
                                let there = to.at([channel, first, turned], lanes);
                                let row = to.row(channel, lanes);
                                for lane in 0..lanes.min(out - first) {
                                    *weights.add(there + lane * row) = *weights.add(here + lane);
                                }
                            }
                        }
                    }
                }
                Self::BackDepthwise { from, to, floats } => {
                    let area = 9;
                    for vector in 0..floats / lanes {
                        let turned = vector / area * area + area - 1 - vector % area;
                        ptr::copy_nonoverlapping(
                            weights.add(from + vector * lanes),
                            weights.add(to + turned * lanes),
                            lanes,
                        );
                    }
                }
                Self::Winograd { from, to, frequency } => {
                    for (group, to) in from.groups.iter().zip(to) {
                        let row = group.count * lanes;
                        for channel in 0..from.channels {
                            let (block, within) = (channel / lanes, channel % lanes);
                            let here = lanes.min(from.channels - block * lanes);
                            let first = block * lanes * from.area + within;
                            for n in 0..group.count {
                                frequencies(&Frequencies {
                                    from: weights.add(group.weights + first * row + n * lanes),
                                    tap: here * row,
                                    to: weights.add(to.weights + channel * row + n * lanes),
                                    step: *frequency,
                                });
                            }
                        }
                    }
                }
            }
        }
    }

    /// Ends of what it reads and writes.
    pub(crate) fn ends(&self, lanes: usize) -> [usize; 2] {
        match self {
            Self::Back { from, to, .. } => [from.end(lanes), to.end(lanes)],
            Self::BackDepthwise { from, to, floats } => [from + floats, to + floats],
            Self::Winograd { from, to, frequency } => {
                let ends = to
                    .iter()
                    .map(|g| g.weights + (FREQUENCIES - 1) * frequency + g.count * lanes * from.channels);
                [from.end(lanes), ends.max().unwrap_or_default()]
            }
        }
    }
}
