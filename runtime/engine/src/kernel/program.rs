//! The steps of a plan with their memory, checked once and run often.

use std::sync::atomic::Ordering;

use crate::error::{EngineError, GraphSnafu};
use crate::graph::Shortcut;
use crate::images::Images;
use crate::lower::Clamp;

use super::curve::{self, Curve};
use super::depthwise::Depthwise;
use super::direct::{Direct, Group};
use super::frame::{Format, Frame, Home, Part, Place, Rows};
use super::memory::Memory;
use super::plain::{self, Normalise, Pool};
use super::shares::Shares;
use super::table::Kernels;
use super::threads::{Member, Threads};
use super::winograd::{FREQUENCIES, Winograd};
use super::words::direct::WordDirect;
use super::words::quantise::Grid;
use super::words::winograd::WordWinograd;

/// Labour of a part that is worth handing to another thread; some 2 µs.
const LEAST_LABOUR: usize = 100_000;
/// Parts a task is cut into for each thread at most.
const PARTS_PER_THREAD: usize = 2;

/// Ends of what a layer reads of the packed weights, its padding, its kernel and stride, and its groups.
type Reads<'a> = ([usize; 2], usize, ([usize; 2], usize), &'a [Group]);

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

    /// What is wrong with the layout.
    fn fault(&self) -> Option<String> {
        let lanes = self.kernels.lanes;
        // A value that was fused away lies nowhere, and no task touches it.
        let touched = self.tasks.iter().flatten().flat_map(|task| {
            let read = task.inputs.iter().chain(&task.residual);
            read.chain([&task.output]).copied()
        });
        for index in touched {
            let place = &self.places[index];
            let (images, size) = match place.home {
                Home::Scratch => (self.sizes.chunk, self.sizes.scratch),
                Home::Kept => (self.sizes.max_batch, self.sizes.kept),
            };
            if place.end(images, lanes) > size {
                return Some(format!("value {index} ends behind its buffer of {size}"));
            }
        }
        for (index, task) in self.tasks.iter().flatten().enumerate() {
            let reads: Vec<&Place> = task
                .inputs
                .iter()
                .chain(&task.residual)
                .map(|p| &self.places[*p])
                .collect();
            let output = &self.places[task.output];
            if reads.iter().any(|place| self.overlap(place, output)) {
                return Some(format!("task {index} writes over what it reads"));
            }
            if let Some(reason) = self.task_fault(task, output) {
                return Some(format!("task {index} {reason}"));
            }
        }
        None
    }

    fn overlap(&self, a: &Place, b: &Place) -> bool {
        let images = match a.home {
            Home::Scratch => self.sizes.chunk,
            Home::Kept => self.sizes.max_batch,
        };
        let lanes = self.kernels.lanes;
        a.home == b.home && a.offset < b.end(images, lanes) && b.offset < a.end(images, lanes)
    }

    fn task_fault(&self, task: &Task, output: &Place) -> Option<&'static str> {
        let lanes = self.kernels.lanes;
        let blocks = output.blocks(lanes);
        let input = task.inputs.first().map(|p| &self.places[*p]);
        if let Some(residual) = task.residual.map(|p| &self.places[p])
            && [residual.channels, residual.height, residual.width]
                != [output.channels, output.height, output.width]
        {
            return Some("adds a value of another shape");
        }
        if let Some(fault) = self.format_fault(task, output) {
            return Some(fault);
        }
        let (ends, padding, window, groups) = match (&task.work, input) {
            (Work::Normalise(normalise), None) => {
                let lists = [normalise.scale.len(), normalise.shift.len()];
                return (lists != [output.channels; 2])
                    .then_some("has another number of channels than the images");
            }
            (Work::Direct(direct), Some(input)) => {
                let fan_in = input.channels * direct.kernel[0] * direct.kernel[1];
                let ends = direct.groups.iter().map(|g| g.weights + g.count * fan_in * lanes);
                let end = ends.max().unwrap_or_default();
                (
                    [end, direct.bias + blocks * lanes],
                    direct.padding,
                    (direct.kernel, direct.stride),
                    &direct.groups[..],
                )
            }
            (Work::Winograd(winograd), Some(input)) => {
                let tiling = &winograd.tiling;
                if tiling.workspace() > self.sizes.workspace {
                    return Some("has too small a workspace");
                }
                let widest = tiling.groups.iter().map(|g| g.count).max();
                let zeros = winograd.zeros + widest.unwrap_or_default() * lanes;
                let end = tiling.end(input.channels * lanes).max(zeros);
                (
                    [end, winograd.bias + blocks * lanes],
                    1,
                    ([3, 3], 1),
                    &tiling.groups[..],
                )
            }
            (Work::WordDirect(_) | Work::WordWinograd(_), Some(input)) => {
                match self.word_reads(task, input, output) {
                    Ok(reads) => reads,
                    Err(reason) => return Some(reason),
                }
            }
            (Work::Quantise(_), Some(input)) => {
                let shape = |place: &Place| [place.channels, place.height, place.width];
                return (shape(input) != shape(output)).then_some("changes its shape");
            }
            (Work::Depthwise(depthwise), Some(_)) => (
                depthwise.ends(blocks, lanes),
                depthwise.padding(),
                depthwise.window(),
                &[][..],
            ),
            // Squares are cut at the edges, so their padding needs no border; less than a square has to be cut off.
            (Work::Pool(pool), Some(input)) => {
                return (!pool_fits(pool, input, output)).then_some("pools what is not there");
            }
            (Work::Shortcut(shortcut), Some(_)) => ([0; 2], 0, ([1, 1], shortcut.stride), &[][..]),
            (Work::Concat, Some(_)) => ([0; 2], 0, ([1, 1], 1), &[][..]),
            (Work::Curve(_) | Work::Scale, Some(input)) => {
                let factors = task.inputs.get(1).map(|p| &self.places[*p]);
                let shape = |place: &Place| [place.channels, place.height, place.width];
                let fits = match (&task.work, factors) {
                    (Work::Scale, Some(factors)) => shape(factors) == [output.channels, 1, 1],
                    (Work::Scale, None) => false,
                    _ => true,
                };
                return (!fits || shape(input) != shape(output)).then_some("changes its shape");
            }
            _ => return Some("has no input, or one too many"),
        };
        let input = input?;
        let covered = |length: usize, kernel: usize| (length - 1) * window.1 + kernel;
        if ends.into_iter().any(|end| end > self.weights.len()) {
            return Some("reads behind the weights");
        }
        if padding > input.border
            || covered(output.height, window.0[0]) > input.height + 2 * padding
            || covered(output.width, window.0[1]) > input.width + 2 * padding
        {
            return Some("reads beyond its input's border");
        }
        let mut next = 0;
        for group in groups {
            if group.first != next {
                return Some("leaves out channels");
            }
            next += group.count;
        }
        let blocks = output.channels.div_ceil(lanes);
        (!groups.is_empty() && next != blocks).then_some("has another number of channels than its output")
    }

    /// What a layer of words reads: ends of its weights, padding, kernel and stride, groups.
    fn word_reads<'a>(
        &self,
        task: &'a Task,
        input: &Place,
        output: &Place,
    ) -> Result<Reads<'a>, &'static str> {
        let lanes = self.kernels.lanes;
        match &task.work {
            Work::WordDirect(direct) => {
                let fan_in = input.slots() * direct.kernel[0] * direct.kernel[1];
                let ends = direct.groups.iter().map(|g| g.weights + g.count * fan_in * lanes);
                let floats = output.channels.div_ceil(lanes) * lanes;
                let end = ends.max().unwrap_or_default().max(direct.scaling.scale + floats);
                Ok((
                    [end, direct.scaling.bias + floats],
                    direct.padding,
                    (direct.kernel, direct.stride),
                    &direct.groups[..],
                ))
            }
            Work::WordWinograd(winograd) => {
                let tiling = &winograd.tiling;
                if tiling.workspace() > self.sizes.workspace {
                    return Err("has too small a workspace");
                }
                let floats = output.channels.div_ceil(lanes) * lanes;
                let end = tiling.end(input.slots() * lanes);
                Ok((
                    [
                        end.max(winograd.scaling.scale + FREQUENCIES * floats),
                        winograd.scaling.bias + floats,
                    ],
                    1,
                    ([3, 3], 1),
                    &tiling.groups[..],
                ))
            }
            _ => Err("is no layer of words"),
        }
    }

    /// Whether a task meets floats where it takes words, or the other way around.
    fn format_fault(&self, task: &Task, output: &Place) -> Option<&'static str> {
        let all = |format| task.inputs.iter().all(|p| self.places[*p].format == format);
        let sound = match &task.work {
            Work::WordDirect(_) | Work::WordWinograd(_) => all(Format::Words),
            Work::Quantise(_) => all(Format::Floats) && output.format == Format::Words,
            _ => {
                let residual = task.residual.map(|p| self.places[p].format);
                all(Format::Floats)
                    && output.format == Format::Floats
                    && residual.is_none_or(|format| format == Format::Floats)
            }
        };
        (!sound).then_some("meets values in another format than it takes")
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

fn pool_fits(pool: &Pool, input: &Place, output: &Place) -> bool {
    let reach = |length: usize, kernel: usize| (length - 1) * pool.stride + kernel;
    pool.padding < pool.kernel[0].min(pool.kernel[1])
        && reach(output.height, pool.kernel[0]) <= input.height + 2 * pool.padding
        && reach(output.width, pool.kernel[1]) <= input.width + 2 * pool.padding
        && input.channels == output.channels
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
