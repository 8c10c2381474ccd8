//! The steps of a plan with their memory, checked once and run often.

use std::sync::atomic::Ordering;

use crate::error::{EngineError, GraphSnafu};
use crate::graph::Shortcut;
use crate::images::Images;
use crate::lower::Clamp;

use super::curve::{self, Curve};
use super::depthwise::Depthwise;
use super::direct::Direct;
use super::frame::{Frame, Part, Place, Rows};
use super::memory::Memory;
use super::plain::{self, Normalise, Pool};
use super::shares::Shares;
use super::table::Kernels;
use super::threads::{Member, Threads};
use super::winograd::Winograd;
use super::words::direct::WordDirect;
use super::words::quantise::Grid;
use super::words::winograd::WordWinograd;

mod check;

/// Labour of a part that is worth handing to another thread; some 2 µs.
const LEAST_LABOUR: usize = 100_000;
/// Parts a task is cut into for each thread at most.
const PARTS_PER_THREAD: usize = 2;

/// What a task does.
pub(crate) enum Work {
    Normalise(Normalise),
    Direct(Direct),
    Winograd(Winograd),
    WordDirect(WordDirect),
    WordWinograd(WordWinograd),
    Quantise(Grid),
    Depthwise(Depthwise),
    Pool(Pool),
    Concat,
    Shortcut(Shortcut),
    Curve(Curve),
    Scale,
}

/// One step with its memory; numbers are places.
pub(crate) struct Task {
    pub(crate) work: Work,
    pub(crate) inputs: Vec<usize>,
    pub(crate) residual: Option<usize>,
    pub(crate) output: usize,
    pub(crate) clamp: Clamp,
    /// Multiplications, or what takes as long, for an image.
    pub(crate) labour: usize,
}

impl Task {
    /// In how many parts `threads` threads should do it for `images` images: more than threads, so that one that comes late finds
    /// some left, but none too small to be worth a thread's while.
    fn parts(&self, images: usize, threads: usize) -> usize {
        (self.labour * images / LEAST_LABOUR).clamp(1, PARTS_PER_THREAD * threads)
    }
}

/// All that does not change while a plan runs.
pub(crate) struct Program {
    kernels: &'static Kernels,
    places: Vec<Place>,
    /// By segment.
    tasks: Vec<Vec<Task>>,
    weights: Memory,
    sizes: Sizes,
}

/// Floats of the buffers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    /// Images that scratch has room for.
    pub(crate) chunk: usize,
    pub(crate) scratch: usize,
    pub(crate) max_batch: usize,
    pub(crate) kept: usize,
    pub(crate) workspace: usize,
}

/// The memory of one session.
pub(crate) struct Buffers {
    kept: Memory,
    /// One for each thread.
    scratch: Vec<Memory>,
    workspace: Vec<Memory>,
}

impl Program {
    /// Checks what the kernels rely on.
    pub(crate) fn new(
        kernels: &'static Kernels,
        places: Vec<Place>,
        tasks: Vec<Vec<Task>>,
        weights: Memory,
        sizes: Sizes,
    ) -> Result<Self, EngineError> {
        let program = Self {
            kernels,
            places,
            tasks,
            weights,
            sizes,
        };
        match program.fault() {
            None => Ok(program),
            Some(reason) => GraphSnafu {
                reason: format!("its memory was laid out wrongly: {reason}"),
            }
            .fail(),
        }
    }

    pub(crate) fn places(&self) -> &[Place] {
        &self.places
    }

    pub(crate) fn sizes(&self) -> Sizes {
        self.sizes
    }

    pub(crate) fn lanes(&self) -> usize {
        self.kernels.lanes
    }

    /// Bytes of packed weights.
    pub(crate) fn weight_bytes(&self) -> usize {
        self.weights.len() * size_of::<f32>()
    }

    /// Memory for `threads` threads.
    pub(crate) fn buffers(&self, threads: usize) -> Buffers {
        let each = |size| (0..threads).map(|_| Memory::zeroed(size)).collect();
        Buffers {
            kept: Memory::zeroed(self.sizes.kept),
            scratch: each(self.sizes.scratch),
            workspace: each(self.sizes.workspace),
        }
    }
}

impl Buffers {
    pub(crate) fn kept(&self) -> &[f32] {
        self.kept.as_slice()
    }

    pub(crate) fn kept_mut(&mut self) -> &mut [f32] {
        self.kept.as_mut_slice()
    }

    /// Bytes of all buffers.
    pub(crate) fn bytes(&self) -> usize {
        let own: usize = self.scratch.iter().chain(&self.workspace).map(Memory::len).sum();
        (self.kept.len() + own) * size_of::<f32>()
    }
}

/// A segment to be run on some images of a batch.
pub(crate) struct Job<'a> {
    pub(crate) segment: usize,
    pub(crate) pixels: Images<'a>,
    pub(crate) rows: Rows<'a>,
}

/// Room for the addresses of the buffers while a job runs.
pub(crate) struct Addresses {
    kept: *mut f32,
    /// Scratch and workspace of each thread.
    own: Vec<(*mut f32, *mut f32)>,
}

// SAFETY: addresses are only followed while `Program::run` holds the buffers; it says which thread uses what.
unsafe impl Sync for Addresses {}
// SAFETY: see above.
unsafe impl Send for Addresses {}

impl Addresses {
    pub(crate) fn with_capacity(threads: usize) -> Self {
        Self {
            kept: std::ptr::null_mut(),
            own: Vec::with_capacity(threads),
        }
    }
}

impl Program {
    /// Runs a job. Its rows must be distinct, below the planned batch and within the pixels.
    pub(crate) fn run(
        &self,
        job: &Job,
        buffers: &mut Buffers,
        threads: &mut Threads,
        addresses: &mut Addresses,
    ) -> Result<(), EngineError> {
        let both = buffers.scratch.iter_mut().zip(&mut buffers.workspace);
        addresses.own.clear();
        addresses
            .own
            .extend(both.map(|(scratch, workspace)| (scratch.as_mut_ptr(), workspace.as_mut_ptr())));
        addresses.kept = buffers.kept.as_mut_ptr();
        let addresses = &*addresses;
        let shared = Shares::default();
        threads.run(&|member: &Member| self.share(job, addresses, &shared, member))
    }

    /// One thread's share: chunks of images as long as there is one for each thread, then parts of the steps of the rest.
    fn share(&self, job: &Job, addresses: &Addresses, shares: &Shares, member: &Member) {
        let total = job.rows.len();
        let alone = total - total % member.count;
        let chunk = self.sizes.chunk.min((alone / member.count).max(1));
        let tasks = &self.tasks[job.segment];
        let frame = |rows, scratch: usize| Frame {
            kernels: self.kernels,
            weights: self.weights.as_ptr(),
            scratch: addresses.own[scratch].0,
            kept: addresses.kept,
            workspace: addresses.own[member.index].1,
            pixels: job.pixels,
            rows,
        };
        loop {
            let start = shares.images.fetch_add(chunk, Ordering::Relaxed);
            if start >= alone {
                break;
            }
            let frame = frame(job.rows.slice(start..alone.min(start + chunk)), member.index);
            for task in tasks {
                // SAFETY: no other thread has this scratch or these images.
                unsafe { self.perform(task, &frame, Part { index: 0, of: 1 }) };
            }
        }
        // The rest lies in the caller's scratch, who has left it as it is here.
        let rest = |step: usize| {
            let start = alone + step / tasks.len() * self.sizes.chunk;
            let rows = start..total.min(start + self.sizes.chunk);
            let task = &tasks[step % tasks.len()];
            let parts = task.parts(rows.len(), member.count);
            (task, frame(job.rows.slice(rows), 0), parts)
        };
        let perform = |step: usize, index: usize| {
            let (task, frame, of) = rest(step);
            // SAFETY: each part of a step is given to one thread, and a step begins when all parts of the one before are done.
            unsafe { self.perform(task, &frame, Part { index, of }) };
        };
        let steps = (total - alone).div_ceil(self.sizes.chunk) * tasks.len();
        if member.index == 0 {
            shares.lead(steps, |step| rest(step).2, perform, || member.is_lost());
        } else if steps > 0 {
            shares.help(steps, |step| rest(step).2, perform, || member.is_lost());
        }
    }

    /// # Safety
    /// Nobody else uses this part of the task's output, or writes what it reads.
    unsafe fn perform(&self, task: &Task, frame: &Frame, part: Part) {
        let place = |index: usize| &self.places[index];
        let output = place(task.output);
        let residual = task.residual.map(place);
        let pair = || [place(task.inputs[0]), output];
        // SAFETY: `fault` has found none, and the caller promises the rest.
        unsafe {
            match &task.work {
                Work::Normalise(normalise) => normalise.run(frame, output, part),
                Work::Direct(direct) => direct.run(frame, pair(), residual, task.clamp, part),
                Work::Winograd(winograd) => winograd.run(frame, pair(), residual, task.clamp, part),
                Work::WordDirect(direct) => direct.run(frame, pair(), residual, part),
                Work::WordWinograd(winograd) => winograd.run(frame, pair(), residual, part),
                Work::Quantise(grid) => grid.run(frame, pair(), part),
                Work::Depthwise(depthwise) => depthwise.run(frame, pair(), residual, task.clamp, part),
                Work::Pool(pool) => pool.run(frame, pair(), part),
                Work::Shortcut(shortcut) => shortcut.run(frame, pair(), part),
                Work::Curve(curve) => curve.run(frame, pair(), part),
                Work::Scale => {
                    let [input, output] = pair();
                    curve::scale(frame, [input, place(task.inputs[1]), output], part);
                }
                Work::Concat => {
                    let inputs = task.inputs.iter().map(|p| place(*p));
                    plain::concat(frame, inputs, output, part);
                }
            }
        }
    }
}
