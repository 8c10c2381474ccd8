//! A batch norm in training: what all images count together, and what it makes of that, there and back.

use std::ptr;

use crate::kernel::frame::{Frame, Map, Place};
use crate::lower::Clamp;

use super::program::PARTS;
use super::rows::{Apply, Extent, Incoming, Moments, Plane, Slopes, Through};

/// A batch norm. Offsets are in the weights unless said otherwise.
pub(crate) struct Norm {
    /// Floats of each of its lists.
    pub(crate) floats: usize,
    pub(crate) gamma: usize,
    pub(crate) beta: usize,
    /// Running statistics.
    pub(crate) mean: usize,
    pub(crate) variance: usize,
    /// What follows of a batch: scale, shift, mean, inverse of the deviation, and three factors of the way back.
    pub(crate) derived: usize,
    /// Of its two sums, in the counts.
    pub(crate) counts: usize,
    /// Positions of all images of a batch.
    pub(crate) positions: usize,
    pub(crate) epsilon: f32,
    pub(crate) momentum: f32,
    pub(crate) clamp: Clamp,
    /// Whether others have lain where its result does, so that the border has to be cleared.
    pub(crate) clears: bool,
}

impl Norm {
    const LISTS: usize = 7;

    fn list(&self, index: usize) -> usize {
        self.derived + index * self.floats
    }

    fn scale(&self) -> usize {
        self.list(0)
    }

    fn shift(&self) -> usize {
        self.list(1)
    }

    fn batch_mean(&self) -> usize {
        self.list(2)
    }

    fn inverse(&self) -> usize {
        self.list(3)
    }

    fn factors(&self) -> usize {
        self.list(4)
    }

    /// Floats of all its derived lists.
    pub(crate) fn derived_floats(floats: usize) -> usize {
        Self::LISTS * floats
    }

    /// Counts what comes out of a layer.
    ///
    /// # Safety
    /// As for [`super::program::Program`]'s operations; so for all methods.
    pub(super) unsafe fn moments(&self, frame: &Frame, z: &Place, counts: *mut f32) {
        let lanes = frame.kernels.lanes;
        // SAFETY: as promised by the caller.
        unsafe {
            let map = frame.map(z, 0);
            for block in 0..z.blocks(lanes) {
                (frame.kernels.learn.moments)(&Moments {
                    extent: extent(z),
                    z: plane(map, block, lanes),
                    around: frame.weights.add(self.mean + block * lanes),
                    to: counts.add(self.counts + block * lanes),
                    step: self.floats,
                });
            }
        }
    }

    /// # Safety
    /// See [`Norm::moments`].
    pub(super) unsafe fn apply(&self, frame: &Frame, [z, output]: [&Place; 2], residual: Option<&Place>) {
        let lanes = frame.kernels.lanes;
        // SAFETY: as promised by the caller.
        unsafe {
            let (from, to) = (frame.map(z, 0), frame.map(output, 0));
            let residual = residual.map(|place| frame.map(place, 0));
            for block in 0..z.blocks(lanes) {
                if self.clears {
                    to.clear_border(output, block, lanes);
                }
                (frame.kernels.learn.apply)(&Apply {
                    extent: extent(z),
                    z: plane(from, block, lanes),
                    scale: frame.weights.add(self.scale() + block * lanes),
                    shift: frame.weights.add(self.shift() + block * lanes),
                    residual: residual.map_or(NOWHERE, |map| plane(map, block, lanes)),
                    to: plane(to, block, lanes),
                    low: self.clamp.low,
                    high: self.clamp.high,
                });
            }
        }
    }

    /// What comes back: of the places of the gradient, of `z`, and of the result where something was added to it.
    unsafe fn incoming(
        &self,
        frame: &Frame,
        [gradient, z]: [&Place; 2],
        result: Option<&Place>,
        block: usize,
    ) -> Incoming {
        let lanes = frame.kernels.lanes;
        // SAFETY: as promised by the caller.
        unsafe {
            Incoming {
                extent: extent(z),
                gradient: plane(frame.map(gradient, 0), block, lanes),
                z: plane(frame.map(z, 0), block, lanes),
                result: result.map_or(NOWHERE, |place| plane(frame.map(place, 0), block, lanes)),
                scale: frame.weights.add(self.scale() + block * lanes),
                shift: frame.weights.add(self.shift() + block * lanes),
                low: self.clamp.low,
                high: self.clamp.high,
            }
        }
    }

    /// Counts what comes back.
    ///
    /// # Safety
    /// See [`Norm::moments`].
    pub(super) unsafe fn slopes(
        &self,
        frame: &Frame,
        values: [&Place; 2],
        result: Option<&Place>,
        counts: *mut f32,
    ) {
        let lanes = frame.kernels.lanes;
        for block in 0..self.floats / lanes {
            // SAFETY: as promised by the caller.
            unsafe {
                (frame.kernels.learn.slopes)(&Slopes {
                    incoming: self.incoming(frame, values, result, block),
                    mean: frame.weights.add(self.batch_mean() + block * lanes),
                    to: counts.add(self.counts + block * lanes),
                    step: self.floats,
                });
            }
        }
    }

    /// Takes the gradient of the result to that of `z`, in its place, and to that of what was added, which may have one already.
    ///
    /// # Safety
    /// See [`Norm::moments`].
    pub(super) unsafe fn through(
        &self,
        frame: &Frame,
        values: [&Place; 2],
        result: Option<&Place>,
        residual: Option<(&Place, bool)>,
    ) {
        let lanes = frame.kernels.lanes;
        for block in 0..self.floats / lanes {
            // SAFETY: as promised by the caller.
            unsafe {
                let (residual, add) = match residual {
                    None => (NOWHERE, false),
                    Some((place, add)) => {
                        let map = frame.map(place, 0);
                        if !add {
                            map.clear_border(place, block, lanes);
                        }
                        (plane(map, block, lanes), add)
                    }
                };
                (frame.kernels.learn.through)(&Through {
                    incoming: self.incoming(frame, values, result, block),
                    factors: frame.weights.add(self.factors() + block * lanes),
                    step: self.floats,
                    residual,
                    add,
                });
            }
        }
    }

    /// Makes use of [`Norm::moments`] of all images.
    ///
    /// # Safety
    /// Nobody else uses the memory.
    pub(super) unsafe fn counted(&self, counts: &Counts, weights: *mut f32) {
        let count = self.positions as f64;
        for channel in 0..self.floats {
            // SAFETY: offsets were checked; the caller promises the rest.
            unsafe {
                let at = |offset: usize| weights.add(offset + channel);
                let [mean, square] = counts.take(self, channel).map(|sum| sum / count);
                let variance = (square - mean * mean).max(0.0);
                let mean = mean + f64::from(*at(self.mean));
                let inverse = 1.0 / (variance + f64::from(self.epsilon)).sqrt();
                let scale = f64::from(*at(self.gamma)) * inverse;
                at(self.scale()).write(scale as f32);
                at(self.shift()).write((f64::from(*at(self.beta)) - mean * scale) as f32);
                at(self.batch_mean()).write(mean as f32);
                at(self.inverse()).write(inverse as f32);
                let momentum = f64::from(self.momentum);
                for (running, now) in [(self.mean, mean), (self.variance, variance)] {
                    let before = f64::from(*at(running));
                    at(running).write((before + momentum * (now - before)) as f32);
                }
            }
        }
    }

    /// Makes use of [`Norm::slopes`] of all images: its own gradients, and how theirs go through it.
    ///
    /// # Safety
    /// Nobody else uses the memory.
    pub(super) unsafe fn returned(&self, counts: &Counts, weights: *mut f32, gradients: *mut f32) {
        let count = self.positions as f64;
        for channel in 0..self.floats {
            // SAFETY: offsets were checked; the caller promises the rest.
            unsafe {
                let at = |offset: usize| weights.add(offset + channel);
                let [gradient, product] = counts.take(self, channel);
                let inverse = f64::from(*at(self.inverse()));
                let scale = f64::from(*at(self.gamma)) * inverse;
                let b = -scale * inverse * inverse * product / count;
                let c = -scale * gradient / count - b * f64::from(*at(self.batch_mean()));
                for (list, factor) in [scale, b, c].into_iter().enumerate() {
                    at(self.factors() + list * self.floats).write(factor as f32);
                }
                *gradients.add(self.gamma + channel) += (product * inverse) as f32;
                *gradients.add(self.beta + channel) += gradient as f32;
            }
        }
    }
}

/// What the parts of a batch have counted, each `step` floats behind the one before.
pub(super) struct Counts {
    pub(super) at: *mut f32,
    pub(super) step: usize,
}

impl Counts {
    /// Both sums of a norm, which begin anew.
    unsafe fn take(&self, norm: &Norm, channel: usize) -> [f64; 2] {
        [0, 1].map(|list| {
            let sums = (0..PARTS).map(|part| {
                let at = part * self.step + norm.counts + list * norm.floats + channel;
                // SAFETY: the caller of `counted` or `returned` has the memory for itself.
                f64::from(unsafe { self.at.add(at).replace(0.0) })
            });
            sums.sum()
        })
    }
}

const NOWHERE: Plane = Plane {
    at: ptr::null_mut(),
    row: 0,
};

fn extent(place: &Place) -> Extent {
    Extent {
        rows: place.height,
        pixels: place.width,
    }
}

/// # Safety
/// The block lies in the map.
unsafe fn plane(map: Map, block: usize, lanes: usize) -> Plane {
    Plane {
        // SAFETY: as promised.
        at: unsafe { map.at(block, 0, 0, lanes) },
        row: map.row,
    }
}
