//! The operations of a training step with their memory, checked once and run often.

use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::{EngineError, GraphSnafu};
use crate::images::Images;
use crate::kernel::frame::{Frame, Part, Rows};
use crate::kernel::memory::Memory;
use crate::kernel::plain;
use crate::kernel::table::Kernels;
use crate::kernel::threads::Threads;
use crate::lower::Clamp;

use super::gradient;
use super::lesson::{Finish, Layout, Lesson, Operation, Phase, Work};
use super::moves::{self, Window};
use super::norm::Counts;
use super::update::{Descend, Numbers, Sgd};

/// Parts of a batch. Each has gradients of its own, so that sums, and with them the result of a training, do not depend on how
/// many threads there are.
pub(crate) const PARTS: usize = 8;
/// Weights that a thread moves at a time.
const STRETCH: usize = 8 * 1024;
const WHOLE: Part = Part { index: 0, of: 1 };

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
    /// Checks what the kernels rely on. Weights are moved if it `learns`, and `averaged` over the steps.
    pub(crate) fn new(
        kernels: &'static Kernels,
        lesson: Lesson,
        threads: usize,
        [learns, averaged]: [bool; 2],
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
            velocity: Memory::zeroed(if learns { layout.trained } else { 0 }),
            average: Memory::zeroed(if averaged {
                layout.trained + layout.running
            } else {
                0
            }),
            gradients: Memory::zeroed(if learns { PARTS * layout.trained } else { 0 }),
            counts: Memory::zeroed(PARTS * layout.counts),
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

    pub(crate) fn numbers(&self, which: Numbers) -> &[f32] {
        match which {
            Numbers::Weights => self.weights.as_slice(),
            Numbers::Velocities => self.velocity.as_slice(),
            Numbers::Average => self.average.as_slice(),
        }
    }

    pub(crate) fn numbers_mut(&mut self, which: Numbers) -> &mut [f32] {
        match which {
            Numbers::Weights => self.weights.as_mut_slice(),
            Numbers::Velocities => self.velocity.as_mut_slice(),
            Numbers::Average => self.average.as_mut_slice(),
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
    pub(crate) fn read(&self, place: usize, to: &mut [f32]) {
        let place = &self.lesson.places[place];
        let values = place.channels * place.height * place.width;
        for (image, to) in to.chunks_exact_mut(values).enumerate() {
            let from = &self.arena.as_slice()[place.offset + image * place.image..];
            for (value, at) in to.iter_mut().zip(place.floats(self.kernels.lanes)) {
                *value = from[at];
            }
        }
    }

    /// Sets the value at `place` of each image, with zeros around and behind the last channel: others have lain there.
    pub(crate) fn write(&mut self, place: usize, from: &[f32]) {
        let place = &self.lesson.places[place];
        let values = place.channels * place.height * place.width;
        for (image, from) in from.chunks_exact(values).enumerate() {
            let to = &mut self.arena.as_mut_slice()[place.offset + image * place.image..][..place.image];
            to.fill(0.0);
            for (value, at) in from.iter().zip(place.floats(self.kernels.lanes)) {
                to[at] = *value;
            }
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
                    let part = next.fetch_add(1, Ordering::Relaxed);
                    if part >= PARTS {
                        return;
                    }
                    for image in (Part {
                        index: part,
                        of: PARTS,
                    })
                    .of(batch)
                    {
                        let frame = self.frame(shared, images, image, member.index);
                        for operation in &phase.operations {
                            // SAFETY: this thread has the part of the batch, and its own scratch; phases come one after
                            // the other.
                            unsafe { self.perform(operation, &frame, shared, [image, part], given) }
                        }
                    }
                }
            })?;
            let layout = &self.lesson.layout;
            for finish in &phase.finish {
                let counts = Counts {
                    at: shared.counts,
                    step: layout.counts,
                };
                // SAFETY: all threads have left.
                unsafe {
                    match *finish {
                        Finish::Moments(norm) => self.lesson.norms[norm].counted(&counts, shared.weights),
                        Finish::Slopes(norm) => {
                            self.lesson.norms[norm].returned(&counts, shared.weights, shared.gradients);
                        }
                    }
                }
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
        [image, part]: [usize; 2],
        given: &[&[f32]],
    ) {
        let Lesson {
            places,
            norms,
            layout,
            ..
        } = &self.lesson;
        let place = |index: usize| &places[index];
        let input = operation.inputs.first().map(|p| place(*p));
        let third = operation.inputs.get(2).map(|p| place(*p));
        let output = operation.output.map(place);
        let residual = output.filter(|_| operation.add);
        // SAFETY: `fault` has found none, and the caller promises the rest.
        unsafe {
            let gradients = shared.gradients.add(part * layout.trained);
            let counts = shared.counts.add(part * layout.counts);
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
                (Work::Moments(norm), Some(z), _) => norms[*norm].moments(frame, z, counts),
                (Work::Apply(norm), Some(z), Some(output)) => {
                    let residual = operation.inputs.get(1).map(|p| place(*p));
                    norms[*norm].apply(frame, [z, output], residual);
                }
                (Work::Slopes(norm), Some(gradient), _) => {
                    let values = [gradient, place(operation.inputs[1])];
                    norms[*norm].slopes(frame, values, third, counts);
                }
                (Work::Through(norm), Some(gradient), _) => {
                    let values = [gradient, place(operation.inputs[1])];
                    norms[*norm].through(frame, values, third, output.map(|place| (place, operation.add)));
                }
                (Work::Dense(dense), Some(input), Some(gradient)) => {
                    dense.run(frame, [input, gradient], gradients);
                }
                (Work::DepthwiseGradient(depthwise), Some(input), Some(gradient)) => {
                    depthwise.run(frame, [input, gradient], gradients);
                }
                (Work::Bias(at), Some(given), _) => gradient::bias(frame, given, gradients.add(*at)),
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
                        parts: PARTS,
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
