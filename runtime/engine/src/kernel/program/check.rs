//! What a layout of memory must keep to, so that kernels need not look where they read and write.

use super::{Program, Task, Work};
use crate::kernel::bounds;
use crate::kernel::direct::Group;
use crate::kernel::frame::{Format, Home, Place};
use crate::kernel::plain::Pool;
use crate::kernel::winograd::FREQUENCIES;

/// Ends of what a layer reads of the packed weights, its padding, its kernel and stride, and its groups.
type Reads<'a> = ([usize; 2], usize, ([usize; 2], usize), &'a [Group]);

impl Program {
    /// What is wrong with the layout.
    pub(super) fn fault(&self) -> Option<String> {
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
                let end = bounds::end(&direct.groups, fan_in, lanes);
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
        if ends.into_iter().any(|end| end > self.weights.len()) {
            return Some("reads behind the weights");
        }
        bounds::window((window.0, window.1, padding), input, output).or_else(|| {
            if groups.is_empty() {
                return None;
            }
            bounds::covers(groups, output.channels.div_ceil(lanes))
        })
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
}

fn pool_fits(pool: &Pool, input: &Place, output: &Place) -> bool {
    let reach = |length: usize, kernel: usize| (length - 1) * pool.stride + kernel;
    pool.padding < pool.kernel[0].min(pool.kernel[1])
        && reach(output.height, pool.kernel[0]) <= input.height + 2 * pool.padding
        && reach(output.width, pool.kernel[1]) <= input.width + 2 * pool.padding
        && input.channels == output.channels
}
