//! The operations of a training step with their memory, checked once and run often.

use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::{EngineError, GraphSnafu};
use crate::images::Images;
use crate::kernel::depthwise;
use crate::kernel::direct::Direct;
use crate::kernel::frame::{Frame, Map, Part, Place, Rows};
use crate::kernel::memory::Memory;
use crate::kernel::plain::{self, Normalise, Pool};
use crate::kernel::table::Kernels;
use crate::kernel::threads::Threads;
use crate::kernel::winograd::Winograd;
use crate::lower::Clamp;

use super::gradient::{self, Dense};
use super::moves::{self, Window};
use super::rows::{Apply, Extent, Incoming, Moments, Plane, Slopes, Through};
use super::update::{Derived, Descend, Sgd};

/// Parts of a batch. Each has gradients of its own, so that sums, and with them the result of a training, do not depend on how
/// many threads there are.
pub(crate) const SHARDS: usize = 8;
/// Weights that a thread moves at a time.
const STRETCH: usize = 8 * 1024;
const WHOLE: Part = Part { index: 0, of: 1 };

/// What an operation does to one image.
pub(crate) enum Work {
    Normalise(Normalise),
    /// Takes the value of this number that is given with the batch.
    Give(usize),
    Direct(Direct),
    Winograd(Winograd),
    Depthwise(depthwise::Depthwise),
    Concat,
    /// Two values, added.
    Sum,
    Pool(Pool),
    /// Counts what comes out of a layer, for its norm.
    Moments(usize),
    /// A norm, and what is added behind it.
    Apply(usize),
    /// Counts the gradient that comes back to a norm, whose result is the second input where something was added to it.
    Slopes(usize),
    /// A norm on the way back; the output is the gradient of what was added behind it, or none.
    Through(usize),
    Dense(Dense),
    DepthwiseGradient(gradient::Depthwise),
    /// The gradient of a bias at this offset.
    Bias(usize),
    Spread(usize),
    Unpool,
    Split(Window),
}

/// One step of one image; numbers are places. Layers add to what is there if `add`.
pub(crate) struct Operation {
    pub(crate) work: Work,
    pub(crate) inputs: Vec<usize>,
    pub(crate) output: Option<usize>,
    pub(crate) add: bool,
}

/// Operations that each image goes through without the others, and what is counted over all of them at the end.
#[derive(Default)]
pub(crate) struct Phase {
    pub(crate) operations: Vec<Operation>,
    pub(crate) finish: Vec<Finish>,
}

/// What all images of a phase have counted together, made use of; numbers are norms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finish {
    Moments(usize),
    Slopes(usize),
}

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
}

/// Floats of the memory of a program.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Layout {
    pub(crate) batch: usize,
    /// Values and gradients of all images.
    pub(crate) arena: usize,
    /// Weights that are trained, which come first.
    pub(crate) trained: usize,
    /// Running statistics, which come behind them.
    pub(crate) running: usize,
    /// All weights, with what follows from them.
    pub(crate) weights: usize,
    /// Sums of norms, of one part of a batch.
    pub(crate) counts: usize,
    /// Of one thread.
    pub(crate) scratch: usize,
    pub(crate) workspace: usize,
}

/// What a program does.
pub(crate) struct Lesson {
    pub(crate) places: Vec<Place>,
    pub(crate) forward: Vec<Phase>,
    pub(crate) backward: Vec<Phase>,
    pub(crate) norms: Vec<Norm>,
    /// What follows from weights; the second from the first.
    pub(crate) derived: [Vec<Derived>; 2],
    pub(crate) layout: Layout,
}

/// A training step with its memory.
pub(crate) struct Program {
    pub(crate) kernels: &'static Kernels,
    pub(crate) lesson: Lesson,
    arena: Memory,
    weights: Memory,
    velocity: Memory,
    /// Of weights and running statistics; empty where there is none.
    average: Memory,
    /// Of each part of a batch.
    gradients: Memory,
    counts: Memory,
    /// Scratch and workspace of each thread.
    own: Vec<[Memory; 2]>,
}

/// Which numbers of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counted {
    Weights,
    Velocities,
    Average,
}

/// What threads share; each uses parts that no other one does.
struct Shared {
    arena: *mut f32,
    weights: *mut f32,
    velocity: *mut f32,
    average: *mut f32,
    gradients: *mut f32,
    counts: *mut f32,
    own: Vec<[*mut f32; 2]>,
}

// SAFETY: `Program` hands out images, and stretches of weights, to one thread each.
unsafe impl Sync for Shared {}

impl Program {
    /// Checks what the kernels rely on. `averaged`: weights are averaged over the steps.
    pub(crate) fn new(
        kernels: &'static Kernels,
        lesson: Lesson,
        threads: usize,
        averaged: bool,
    ) -> Result<Self, EngineError> {
        if let Some(reason) = lesson.fault(kernels) {
            return GraphSnafu {
                reason: format!("its training was laid out wrongly: {reason}"),
            }
            .fail();
        }
        let layout = lesson.layout;
        Ok(Self {
            arena: Memory::zeroed(layout.arena),
            weights: Memory::zeroed(layout.weights),
            velocity: Memory::zeroed(layout.trained),
            average: Memory::zeroed(if averaged {
                layout.trained + layout.running
            } else {
                0
            }),
            gradients: Memory::zeroed(SHARDS * layout.trained),
            counts: Memory::zeroed(SHARDS * layout.counts),
            own: (0..threads)
                .map(|_| [layout.scratch, layout.workspace].map(Memory::zeroed))
                .collect(),
            kernels,
            lesson,
        })
    }

    /// Bytes of all its memory.
    pub(crate) fn bytes(&self) -> usize {
        let own = self.own.iter().flatten();
        let all = [
            &self.arena,
            &self.weights,
            &self.velocity,
            &self.average,
            &self.gradients,
            &self.counts,
        ];
        all.into_iter()
            .chain(own)
            .map(|memory| memory.len() * size_of::<f32>())
            .sum()
    }

    pub(crate) fn numbers(&self, which: Counted) -> &[f32] {
        match which {
            Counted::Weights => self.weights.as_slice(),
            Counted::Velocities => self.velocity.as_slice(),
            Counted::Average => self.average.as_slice(),
        }
    }

    pub(crate) fn numbers_mut(&mut self, which: Counted) -> &mut [f32] {
        match which {
            Counted::Weights => self.weights.as_mut_slice(),
            Counted::Velocities => self.velocity.as_mut_slice(),
            Counted::Average => self.average.as_mut_slice(),
        }
    }

    fn shared(&mut self) -> Shared {
        Shared {
            arena: self.arena.as_mut_ptr(),
            weights: self.weights.as_mut_ptr(),
            velocity: self.velocity.as_mut_ptr(),
            average: if self.average.len() == 0 {
                ptr::null_mut()
            } else {
                self.average.as_mut_ptr()
            },
            gradients: self.gradients.as_mut_ptr(),
            counts: self.counts.as_mut_ptr(),
            own: self
                .own
                .iter_mut()
                .map(|own| own.each_mut().map(Memory::as_mut_ptr))
                .collect(),
        }
    }

    /// The value at `place` of each image, `[n, channels, height, width]`.
    pub(crate) fn read(&mut self, place: usize, to: &mut [f32]) {
        let shared = self.shared();
        let place = &self.lesson.places[place];
        let values = place.channels * place.height * place.width;
        for (image, to) in to
            .chunks_exact_mut(values)
            .enumerate()
            .take(self.lesson.layout.batch)
        {
            // SAFETY: the place was checked, and this thread has the program for itself.
            unsafe { moves::take(&self.frame(&shared, Images::Floats(&[]), image, 0), place, to) }
        }
    }

    /// Sets the value at `place` of each image.
    pub(crate) fn write(&mut self, place: usize, from: &[f32]) {
        let shared = self.shared();
        let place = &self.lesson.places[place];
        let values = place.channels * place.height * place.width;
        for (image, from) in from
            .chunks_exact(values)
            .enumerate()
            .take(self.lesson.layout.batch)
        {
            // SAFETY: as for `read`.
            unsafe { moves::give(&self.frame(&shared, Images::Floats(&[]), image, 0), place, from) }
        }
    }

    /// All images forward; `given` has the values of all images of each value that is given.
    pub(crate) fn forward(
        &mut self,
        threads: &mut Threads,
        images: Images<'_>,
        given: &[&[f32]],
    ) -> Result<(), EngineError> {
        let shared = self.shared();
        self.go(threads, &shared, &self.lesson.forward, images, given)
    }

    /// All images back, from the gradient that was written.
    pub(crate) fn backward(&mut self, threads: &mut Threads) -> Result<(), EngineError> {
        let shared = self.shared();
        self.go(threads, &shared, &self.lesson.backward, Images::Floats(&[]), &[])
    }

    fn go(
        &self,
        threads: &mut Threads,
        shared: &Shared,
        phases: &[Phase],
        images: Images<'_>,
        given: &[&[f32]],
    ) -> Result<(), EngineError> {
        let batch = self.lesson.layout.batch;
        for phase in phases {
            let next = AtomicUsize::new(0);
            threads.run(&|member| {
                loop {
                    let shard = next.fetch_add(1, Ordering::Relaxed);
                    if shard >= SHARDS {
                        return;
                    }
                    for image in (Part {
                        index: shard,
                        of: SHARDS,
                    })
                    .of(batch)
                    {
                        let frame = self.frame(shared, images, image, member.index);
                        for operation in &phase.operations {
                            // SAFETY: this thread has the part of the batch, and its own scratch; phases come one after
                            // the other.
                            unsafe { self.perform(operation, &frame, shared, [image, shard], given) }
                        }
                    }
                }
            })?;
            for finish in &phase.finish {
                // SAFETY: all threads have left.
                unsafe { self.finish(*finish, shared) };
            }
        }
        Ok(())
    }

    fn frame<'a>(&self, shared: &Shared, images: Images<'a>, image: usize, member: usize) -> Frame<'a> {
        Frame {
            kernels: self.kernels,
            weights: shared.weights,
            scratch: shared.own[member][0],
            kept: shared.arena,
            workspace: shared.own[member][1],
            pixels: images,
            rows: Rows::Range(image, image + 1),
        }
    }

    /// # Safety
    /// Nobody else uses this image, this part's counts and gradients, or this frame's scratch.
    unsafe fn perform(
        &self,
        operation: &Operation,
        frame: &Frame,
        shared: &Shared,
        [image, shard]: [usize; 2],
        given: &[&[f32]],
    ) {
        let Lesson { places, layout, .. } = &self.lesson;
        let place = |index: usize| &places[index];
        let input = operation.inputs.first().map(|p| place(*p));
        let output = operation.output.map(place);
        let residual = output.filter(|_| operation.add);
        // SAFETY: `fault` has found none, and the caller promises the rest.
        unsafe {
            let gradients = shared.gradients.add(shard * layout.trained);
            let counts = shared.counts.add(shard * layout.counts);
            match (&operation.work, input, output) {
                (Work::Normalise(normalise), _, Some(output)) => normalise.run(frame, output, WHOLE),
                (Work::Give(index), _, Some(output)) => {
                    let values = output.channels * output.height * output.width;
                    moves::give(frame, output, &given[*index][image * values..][..values]);
                }
                (Work::Direct(direct), Some(input), Some(output)) => {
                    direct.run(frame, [input, output], residual, Clamp::NONE, WHOLE);
                }
                (Work::Winograd(winograd), Some(input), Some(output)) => {
                    winograd.run(frame, [input, output], residual, Clamp::NONE, WHOLE);
                }
                (Work::Depthwise(depthwise), Some(input), Some(output)) => {
                    depthwise.run(frame, [input, output], residual, Clamp::NONE, WHOLE);
                }
                (Work::Concat, _, Some(output)) => {
                    let inputs = operation.inputs.iter().map(|p| place(*p));
                    plain::concat(frame, inputs, output, WHOLE);
                }
                (Work::Sum, Some(input), Some(output)) => {
                    let other = place(operation.inputs[1]);
                    moves::split(frame, [input, output], Window { first: 0, add: false });
                    moves::split(frame, [other, output], Window { first: 0, add: true });
                }
                (Work::Pool(pool), Some(input), Some(output)) => pool.run(frame, [input, output], WHOLE),
                (Work::Moments(norm), Some(z), _) => self.moments(*norm, frame, z, shared.weights, counts),
                (Work::Apply(norm), Some(z), Some(output)) => {
                    let residual = operation.inputs.get(1).map(|p| place(*p));
                    self.apply(*norm, frame, [z, output], residual, shared.weights);
                }
                (Work::Slopes(norm), ..) => {
                    let values: [Option<&Place>; 3] =
                        std::array::from_fn(|i| operation.inputs.get(i).map(|p| place(*p)));
                    self.slopes(*norm, frame, values, shared.weights, counts);
                }
                (Work::Through(norm), ..) => {
                    let values: [Option<&Place>; 3] =
                        std::array::from_fn(|i| operation.inputs.get(i).map(|p| place(*p)));
                    self.through(*norm, frame, values, (output, operation.add), shared.weights);
                }
                (Work::Dense(dense), Some(input), Some(gradient)) => {
                    dense.run(frame, [input, gradient], gradients);
                }
                (Work::DepthwiseGradient(depthwise), Some(input), Some(gradient)) => {
                    depthwise.run(frame, [input, gradient], gradients);
                }
                (Work::Bias(at), Some(gradient), _) => self.bias(frame, gradient, gradients.add(*at)),
                (Work::Spread(stride), Some(input), Some(output)) => {
                    moves::spread(frame, [input, output], *stride);
                }
                (Work::Unpool, Some(input), Some(output)) => {
                    moves::unpool(frame, [input, output], operation.add);
                }
                (Work::Split(window), Some(input), Some(output)) => {
                    moves::split(frame, [input, output], *window);
                }
                _ => {}
            }
        }
    }

    unsafe fn moments(&self, norm: usize, frame: &Frame, z: &Place, weights: *const f32, counts: *mut f32) {
        let lanes = self.kernels.lanes;
        let norm = &self.lesson.norms[norm];
        // SAFETY: as for `perform`.
        unsafe {
            let map = frame.map(z, 0);
            for block in 0..z.blocks(lanes) {
                (self.kernels.learn.moments)(&Moments {
                    extent: extent(z),
                    z: plane(map, block, lanes),
                    around: weights.add(norm.mean + block * lanes),
                    to: counts.add(norm.counts + block * lanes),
                    step: norm.floats,
                });
            }
        }
    }

    unsafe fn apply(
        &self,
        norm: usize,
        frame: &Frame,
        [z, output]: [&Place; 2],
        residual: Option<&Place>,
        weights: *const f32,
    ) {
        let lanes = self.kernels.lanes;
        let norm = &self.lesson.norms[norm];
        // SAFETY: as for `perform`.
        unsafe {
            let (from, to) = (frame.map(z, 0), frame.map(output, 0));
            let residual = residual.map(|place| frame.map(place, 0));
            for block in 0..z.blocks(lanes) {
                (self.kernels.learn.apply)(&Apply {
                    extent: extent(z),
                    z: plane(from, block, lanes),
                    scale: weights.add(norm.scale() + block * lanes),
                    shift: weights.add(norm.shift() + block * lanes),
                    residual: residual.map_or(NOWHERE, |map| plane(map, block, lanes)),
                    to: plane(to, block, lanes),
                    low: norm.clamp.low,
                    high: norm.clamp.high,
                });
            }
        }
    }

    /// What comes back to a norm: of the places of the gradient, of `z`, and of the result where something was added to it.
    unsafe fn incoming(
        &self,
        norm: &Norm,
        frame: &Frame,
        [gradient, z, result]: [Option<&Place>; 3],
        block: usize,
        weights: *const f32,
    ) -> Option<Incoming> {
        let lanes = self.kernels.lanes;
        // SAFETY: as for `perform`.
        unsafe {
            Some(Incoming {
                extent: extent(z?),
                gradient: plane(frame.map(gradient?, 0), block, lanes),
                z: plane(frame.map(z?, 0), block, lanes),
                result: result.map_or(NOWHERE, |place| plane(frame.map(place, 0), block, lanes)),
                scale: weights.add(norm.scale() + block * lanes),
                shift: weights.add(norm.shift() + block * lanes),
                low: norm.clamp.low,
                high: norm.clamp.high,
            })
        }
    }

    unsafe fn slopes(
        &self,
        norm: usize,
        frame: &Frame,
        values: [Option<&Place>; 3],
        weights: *const f32,
        counts: *mut f32,
    ) {
        let lanes = self.kernels.lanes;
        let norm = &self.lesson.norms[norm];
        for block in 0..norm.floats / lanes {
            // SAFETY: as for `perform`.
            unsafe {
                let Some(incoming) = self.incoming(norm, frame, values, block, weights) else {
                    return;
                };
                (self.kernels.learn.slopes)(&Slopes {
                    incoming,
                    mean: weights.add(norm.batch_mean() + block * lanes),
                    to: counts.add(norm.counts + block * lanes),
                    step: norm.floats,
                });
            }
        }
    }

    unsafe fn through(
        &self,
        norm: usize,
        frame: &Frame,
        values: [Option<&Place>; 3],
        (residual, add): (Option<&Place>, bool),
        weights: *const f32,
    ) {
        let lanes = self.kernels.lanes;
        let norm = &self.lesson.norms[norm];
        for block in 0..norm.floats / lanes {
            // SAFETY: as for `perform`.
            unsafe {
                let Some(incoming) = self.incoming(norm, frame, values, block, weights) else {
                    return;
                };
                let residual = residual.map(|place| {
                    let map = frame.map(place, 0);
                    if !add {
                        map.clear_border(place, block, lanes);
                    }
                    plane(map, block, lanes)
                });
                (self.kernels.learn.through)(&Through {
                    incoming,
                    factors: weights.add(norm.factors() + block * lanes),
                    step: norm.floats,
                    residual: residual.unwrap_or(NOWHERE),
                    add,
                });
            }
        }
    }

    unsafe fn bias(&self, frame: &Frame, gradient: &Place, to: *mut f32) {
        let lanes = self.kernels.lanes;
        // SAFETY: as for `perform`.
        unsafe {
            let map = frame.map(gradient, 0);
            for block in 0..gradient.blocks(lanes) {
                for y in 0..gradient.height {
                    let row = map.at(block, y, 0, lanes);
                    for at in 0..gradient.width * lanes {
                        *to.add(block * lanes + at % lanes) += *row.add(at);
                    }
                }
            }
        }
    }

    /// # Safety
    /// Nobody else uses the memory.
    unsafe fn finish(&self, finish: Finish, shared: &Shared) {
        let layout = &self.lesson.layout;
        let (Finish::Moments(index) | Finish::Slopes(index)) = finish;
        let norm = &self.lesson.norms[index];
        let count = norm.positions as f64;
        for channel in 0..norm.floats {
            // SAFETY: offsets were checked; the caller promises the rest.
            unsafe {
                let mut sums = [0.0_f64; 2];
                for shard in 0..SHARDS {
                    for (list, sum) in sums.iter_mut().enumerate() {
                        let at = shard * layout.counts + norm.counts + list * norm.floats + channel;
                        *sum += f64::from(shared.counts.add(at).replace(0.0));
                    }
                }
                let at = |offset: usize| shared.weights.add(offset + channel);
                let gamma = f64::from(*at(norm.gamma));
                if finish == Finish::Moments(index) {
                    let [mean, square] = sums.map(|sum| sum / count);
                    let variance = (square - mean * mean).max(0.0);
                    let mean = mean + f64::from(*at(norm.mean));
                    let inverse = 1.0 / (variance + f64::from(norm.epsilon)).sqrt();
                    let scale = gamma * inverse;
                    at(norm.scale()).write(scale as f32);
                    at(norm.shift()).write((f64::from(*at(norm.beta)) - mean * scale) as f32);
                    at(norm.batch_mean()).write(mean as f32);
                    at(norm.inverse()).write(inverse as f32);
                    let momentum = f64::from(norm.momentum);
                    for (running, now) in [(norm.mean, mean), (norm.variance, variance)] {
                        let before = f64::from(*at(running));
                        at(running).write((before + momentum * (now - before)) as f32);
                    }
                } else {
                    let [gradient, product] = sums;
                    let inverse = f64::from(*at(norm.inverse()));
                    let scale = gamma * inverse;
                    let b = -scale * inverse * inverse * product / count;
                    let c = -scale * gradient / count - b * f64::from(*at(norm.batch_mean()));
                    for (list, factor) in [scale, b, c].into_iter().enumerate() {
                        at(norm.factors() + list * norm.floats).write(factor as f32);
                    }
                    *shared.gradients.add(norm.gamma + channel) += (product * inverse) as f32;
                    *shared.gradients.add(norm.beta + channel) += gradient as f32;
                }
            }
        }
    }

    /// Moves the weights against their gradients.
    pub(crate) fn descend(&mut self, threads: &mut Threads, how: Descend) -> Result<(), EngineError> {
        let shared = self.shared();
        let Layout { trained, running, .. } = self.lesson.layout;
        let next = AtomicUsize::new(0);
        threads.run(&|_| {
            let shared = &shared;
            loop {
                let start = next.fetch_add(STRETCH, Ordering::Relaxed);
                if start >= trained {
                    return;
                }
                // SAFETY: this thread has the stretch; all lists are as long as the weights that are trained, which are whole vectors.
                unsafe {
                    let average = if shared.average.is_null() || how.keep.is_none() {
                        ptr::null_mut()
                    } else {
                        shared.average.add(start)
                    };
                    (self.kernels.learn.sgd)(&Sgd {
                        weights: shared.weights.add(start),
                        velocity: shared.velocity.add(start),
                        average,
                        gradients: shared.gradients.add(start),
                        step: trained,
                        parts: SHARDS,
                        floats: STRETCH.min(trained - start),
                        how,
                    });
                }
            }
        })?;
        if let (Some(keep), false) = (how.keep, shared.average.is_null()) {
            for at in trained..trained + running {
                // SAFETY: both are at least as long.
                unsafe {
                    let (old, new) = (shared.average.add(at), *shared.weights.add(at));
                    old.write((*old - new) * keep + new);
                }
            }
        }
        self.derive(threads)
    }

    /// Makes what follows from the weights.
    pub(crate) fn derive(&mut self, threads: &mut Threads) -> Result<(), EngineError> {
        let shared = self.shared();
        let (lanes, frequencies) = (self.kernels.lanes, self.kernels.learn.frequencies);
        for round in &self.lesson.derived {
            let next = AtomicUsize::new(0);
            threads.run(&|_| {
                let shared = &shared;
                while let Some(derived) = round.get(next.fetch_add(1, Ordering::Relaxed)) {
                    // SAFETY: each is made by one thread, of weights that nobody writes meanwhile.
                    unsafe { derived.run(shared.weights, lanes, frequencies) };
                }
            })?;
        }
        Ok(())
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
