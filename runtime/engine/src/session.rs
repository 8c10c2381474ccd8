use std::sync::Arc;

use snafu::{OptionExt, ensure};

use crate::error::{BatchSnafu, EngineError, IndexSnafu, KindSnafu, MissingSnafu, PixelsSnafu};
use crate::graph::SegmentId;
use crate::images::Images;
use crate::kernel::{Addresses, Buffers, Job, Place, Program, Rows, Threads};
use crate::plan::{Outline, Plan, SegmentOutline};
use crate::shape::Shape;

/// The memory and the threads of a plan. Running it allocates nothing.
pub struct Session {
    program: Arc<Program>,
    outline: Arc<Outline>,
    buffers: Buffers,
    addresses: Addresses,
    threads: Threads,
    /// By segment and image of the batch: whether its outputs are there.
    done: Vec<Vec<bool>>,
    /// By image of the batch; false between calls.
    seen: Vec<bool>,
}

impl Session {
    pub(crate) fn new(plan: &Plan, threads: usize) -> Result<Self, EngineError> {
        let program = Arc::clone(&plan.program);
        let max_batch = program.sizes().max_batch;
        Ok(Self {
            buffers: program.buffers(threads),
            addresses: Addresses::with_capacity(threads),
            threads: Threads::new(threads)?,
            done: vec![vec![false; max_batch]; plan.outline.segments.len()],
            seen: vec![false; max_batch],
            outline: Arc::clone(&plan.outline),
            program,
        })
    }

    /// Runs a segment on all of `count` images; images behind them are forgotten.
    pub fn run(&mut self, segment: SegmentId, images: Images, count: usize) -> Result<(), EngineError> {
        self.check(segment, images, count)?;
        self.compute(segment, images, Rows::Range(0, count))?;
        if let Some(done) = self.done.get_mut(segment.0) {
            done[count..].fill(false);
        }
        Ok(())
    }

    /// Runs a segment on the images at `rows`, each at most once, of `count` images.
    pub fn run_rows(
        &mut self,
        segment: SegmentId,
        images: Images,
        count: usize,
        rows: &[usize],
    ) -> Result<(), EngineError> {
        self.check(segment, images, count)?;
        let mut wrong = None;
        for &row in rows {
            if row >= count || std::mem::replace(&mut self.seen[row], true) {
                wrong = Some(row);
                break;
            }
        }
        self.seen[..count].fill(false);
        if let Some(index) = wrong {
            return IndexSnafu {
                what: "an image, given once,",
                index,
                count,
            }
            .fail();
        }
        self.compute(segment, images, Rows::Pick(rows))
    }

    /// A vector that a segment has put out for an image of the batch.
    pub fn vector(&self, segment: SegmentId, output: usize, row: usize) -> Result<&[f32], EngineError> {
        let (place, shape) = self.output(segment, output, row)?;
        let Shape::Vector(length) = shape else {
            return KindSnafu {
                output,
                found: "map; copy it with `read`",
            }
            .fail();
        };
        Ok(&self.buffers.kept()[place.offset + row * place.image..][..length])
    }

    /// Shape of an output.
    pub fn shape(&self, segment: SegmentId, output: usize) -> Result<Shape, EngineError> {
        Ok(self.declared(segment, output)?.1)
    }

    /// Copies what a segment has put out for an image of the batch: a vector, or a map as `[channels, height, width]`.
    pub fn read(
        &self,
        segment: SegmentId,
        output: usize,
        row: usize,
        to: &mut [f32],
    ) -> Result<(), EngineError> {
        let (place, shape) = self.output(segment, output, row)?;
        check_values(to.len(), shape.values())?;
        let from = &self.buffers.kept()[place.offset + row * place.image..];
        for (value, at) in to.iter_mut().zip(place.floats(self.program.lanes())) {
            *value = from[at];
        }
        Ok(())
    }

    /// Takes `from`, a vector or a map `[channels, height, width]`, as what a segment has put out for an image of the batch.
    pub fn write(
        &mut self,
        segment: SegmentId,
        output: usize,
        row: usize,
        from: &[f32],
    ) -> Result<(), EngineError> {
        let (place, shape) = self.declared(segment, output)?;
        self.check_row(row)?;
        check_values(from.len(), shape.values())?;
        let place = place.clone();
        let to = &mut self.buffers.kept_mut()[place.offset + row * place.image..];
        for (value, at) in from.iter().zip(place.floats(self.program.lanes())) {
            to[at] = *value;
        }
        self.done[segment.0][row] = true;
        Ok(())
    }

    /// Appends all that a segment has put out for an image of the batch, for [`Session::restore`] of a session of the same plan.
    pub fn save(&self, segment: SegmentId, row: usize, to: &mut Vec<f32>) -> Result<(), EngineError> {
        let count = self.segment(segment)?.outputs.len();
        for output in 0..count {
            let (place, _) = self.output(segment, output, row)?;
            to.extend_from_slice(&self.buffers.kept()[place.offset + row * place.image..][..place.image]);
        }
        Ok(())
    }

    /// Takes what [`Session::save`] gave as what the segment has put out for an image of the batch.
    pub fn restore(&mut self, segment: SegmentId, row: usize, from: &[f32]) -> Result<(), EngineError> {
        self.check_row(row)?;
        self.segment(segment)?;
        let (program, outputs) = (&self.program, &self.outline.segments[segment.0].outputs);
        let places = || outputs.iter().map(|(place, _)| &program.places()[*place]);
        check_values(from.len(), places().map(|place| place.image).sum())?;
        let mut rest = from;
        for place in places() {
            let (values, behind) = rest.split_at(place.image);
            self.buffers.kept_mut()[place.offset + row * place.image..][..place.image]
                .copy_from_slice(values);
            rest = behind;
        }
        self.done[segment.0][row] = true;
        Ok(())
    }

    fn check_row(&self, row: usize) -> Result<(), EngineError> {
        let max_batch = self.seen.len();
        ensure!(
            row < max_batch,
            IndexSnafu {
                what: "image",
                index: row,
                count: max_batch
            }
        );
        Ok(())
    }

    /// Bytes of the session's own memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.buffers.bytes()
    }

    fn segment(&self, segment: SegmentId) -> Result<&SegmentOutline, EngineError> {
        let count = self.outline.segments.len();
        let index = segment.0;
        self.outline.segments.get(index).context(IndexSnafu {
            what: "segment",
            index,
            count,
        })
    }

    fn declared(&self, segment: SegmentId, output: usize) -> Result<(&Place, Shape), EngineError> {
        let outputs = &self.segment(segment)?.outputs;
        let count = outputs.len();
        let (place, shape) = *outputs.get(output).context(IndexSnafu {
            what: "output",
            index: output,
            count,
        })?;
        Ok((&self.program.places()[place], shape))
    }

    fn output(&self, segment: SegmentId, output: usize, row: usize) -> Result<(&Place, Shape), EngineError> {
        let declared = self.declared(segment, output)?;
        let done = self.done[segment.0].get(row).copied().unwrap_or(false);
        let count = self.done[segment.0].iter().filter(|d| **d).count();
        ensure!(
            done,
            IndexSnafu {
                what: "results of image",
                index: row,
                count
            }
        );
        Ok(declared)
    }

    fn check(&self, segment: SegmentId, images: Images, count: usize) -> Result<(), EngineError> {
        self.segment(segment)?;
        let max_batch = self.seen.len();
        ensure!(count <= max_batch, BatchSnafu { count, max_batch });
        let expected = count * self.outline.pixels;
        ensure!(
            images.len() == expected,
            PixelsSnafu {
                count,
                values: images.len(),
                expected
            }
        );
        Ok(())
    }

    fn compute(&mut self, segment: SegmentId, images: Images, rows: Rows) -> Result<(), EngineError> {
        let outline = self.segment(segment)?;
        for &needed in &outline.needs {
            if let Some(index) = (0..rows.len()).find(|i| !self.done[needed][rows.get(*i)]) {
                let needs = self.outline.segments[needed].name.clone();
                let segment = outline.name.clone();
                return MissingSnafu {
                    segment,
                    row: rows.get(index),
                    needs,
                }
                .fail();
            }
        }
        let job = Job {
            segment: segment.0,
            pixels: images,
            rows,
        };
        self.program
            .run(&job, &mut self.buffers, &mut self.threads, &mut self.addresses)?;
        for index in 0..rows.len() {
            self.done[segment.0][rows.get(index)] = true;
        }
        Ok(())
    }
}

/// Whether there are as many numbers as one image has.
fn check_values(values: usize, expected: usize) -> Result<(), EngineError> {
    ensure!(
        values == expected,
        PixelsSnafu {
            count: 1_usize,
            values,
            expected
        }
    );
    Ok(())
}
