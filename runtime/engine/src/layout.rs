//! Where each value lies: kept for the batch, or in scratch that later values use again.

use crate::kernel::{Format, Home, Place};
use crate::lower::{Clamp, Kind, Lowered, Step};
use crate::shape::Shape;

/// Places of all values, and the buffers that they need.
pub(crate) struct Layout {
    pub(crate) places: Vec<Place>,
    /// Floats of scratch for `chunk` images.
    pub(crate) scratch: usize,
    /// Floats kept for the batch.
    pub(crate) kept: usize,
}

/// Vectors are computed in scratch, where those of several images lie side by side, and copied to be kept.
pub(crate) fn keep_vectors(lowered: &mut Lowered) {
    for segment in 0..lowered.runs.len() {
        for output in 0..lowered.runs[segment].outputs.len() {
            let value = lowered.runs[segment].outputs[output];
            if !lowered.shapes[value].is_vector() {
                continue;
            }
            let kept = lowered.shapes.len();
            lowered.shapes.push(lowered.shapes[value]);
            lowered.grids.push(None);
            lowered.runs[segment].outputs[output] = kept;
            lowered.runs[segment].steps.push(Step {
                kind: Kind::Concat,
                inputs: vec![value],
                residual: None,
                output: kept,
                clamp: Clamp::NONE,
            });
            for step in lowered.runs[segment + 1..]
                .iter_mut()
                .flat_map(|run| &mut run.steps)
            {
                for read in step
                    .inputs
                    .iter_mut()
                    .chain(&mut step.residual)
                    .filter(|read| **read == value)
                {
                    *read = kept;
                }
            }
        }
    }
}

/// The layout for `chunk` images at a time of batches of `max_batch`.
pub(crate) fn lay_out(lowered: &Lowered, lanes: usize, chunk: usize, max_batch: usize) -> Layout {
    let borders = borders(lowered);
    let mut places: Vec<Place> = lowered
        .shapes
        .iter()
        .zip(&lowered.grids)
        .zip(&borders)
        .map(|((shape, grid), border)| {
            let format = if grid.is_some() {
                Format::Words
            } else {
                Format::Floats
            };
            place(*shape, format, *border, lanes, chunk)
        })
        .collect();
    let mut kept = 0;
    let mut scratch = 0;
    for run in &lowered.runs {
        for &output in &run.outputs {
            let place = &mut places[output];
            if place.home == Home::Scratch {
                *place = kept_place(lowered.shapes[output], place.format, borders[output], lanes);
                place.offset = kept;
                kept += max_batch * place.image;
            }
        }
        scratch = scratch.max(pack(&run.steps, &mut places, lanes, chunk));
    }
    Layout {
        places,
        scratch,
        kept,
    }
}

/// Widest padding that reads each value.
fn borders(lowered: &Lowered) -> Vec<usize> {
    let mut borders = vec![0; lowered.shapes.len()];
    for step in lowered.runs.iter().flat_map(|run| &run.steps) {
        if let (Kind::Dense(weights) | Kind::Words(weights) | Kind::Depthwise(weights), [input, ..]) =
            (&step.kind, &step.inputs[..])
        {
            borders[*input] = weights.padding.max(borders[*input]);
        }
    }
    borders
}

pub(crate) fn kept_place(shape: Shape, format: Format, border: usize, lanes: usize) -> Place {
    let [channels, height, width] = shape.as_map();
    let row = (width + 2 * border) * lanes;
    // One vector more than needed: planes of a power of two would fall into the same sets of the cache.
    let block = row * (height + 2 * border) + if shape.is_vector() { 0 } else { lanes };
    let mut place = Place {
        channels,
        format,
        height,
        width,
        border,
        home: Home::Kept,
        offset: 0,
        image: 0,
        block,
        row,
    };
    place.image = (block * place.blocks(lanes)).next_multiple_of(16);
    place
}

fn place(shape: Shape, format: Format, border: usize, lanes: usize, chunk: usize) -> Place {
    let mut place = kept_place(shape, format, border, lanes);
    place.home = Home::Scratch;
    if shape.is_vector() {
        // Side by side, so that a matrix meets all of them at once.
        place.image = lanes;
        place.block = chunk * lanes;
    }
    place
}

/// Gives the scratch values that `steps` write offsets such that no two that are alive together overlap; the floats needed.
fn pack(steps: &[Step], places: &mut [Place], lanes: usize, chunk: usize) -> usize {
    let mut taken: Vec<(std::ops::RangeInclusive<usize>, std::ops::Range<usize>)> = Vec::new();
    let mut end = 0;
    for (index, step) in steps.iter().enumerate() {
        if places[step.output].home == Home::Kept {
            continue;
        }
        let reads = |s: &Step| s.inputs.iter().chain(&s.residual).any(|v| *v == step.output);
        let last = steps.iter().rposition(reads).unwrap_or(index).max(index);
        let size = places[step.output].end(chunk, lanes).next_multiple_of(16);
        let mut alive: Vec<_> = taken
            .iter()
            .filter(|(life, _)| *life.end() >= index)
            .map(|(_, span)| span.clone())
            .collect();
        alive.sort_by_key(|span| span.start);
        let mut offset = 0;
        for span in alive {
            if span.start >= offset + size {
                break;
            }
            offset = offset.max(span.end);
        }
        places[step.output].offset = offset;
        end = end.max(offset + size);
        taken.push((index..=last, offset..offset + size));
    }
    end
}
