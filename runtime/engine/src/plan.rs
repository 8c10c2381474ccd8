use std::num::NonZeroUsize;
use std::sync::Arc;

use snafu::{OptionExt, ensure};

use crate::choice::{POINTWISE, merged_rows, suits_winograd, window};
use crate::error::{BoundsSnafu, EngineError, MissingIsaSnafu};
use crate::graph::Graph;
use crate::kernel::{
    Cuts, Depthwise, Direct, Fold, Grid, Group, Home, Kernels, Menu, Normalise, Place, Pool, Program,
    Scaling, Sizes, Task, Tiling, Walk, Winograd, WordDirect, WordWinograd, Work, best_group, floats, step,
};
use crate::layout::{keep_vectors, lay_out};
use crate::lower::{Clamp, Kind, Lowered, Run, Step, Weights, lower};
use crate::options::{Isa, Options};
use crate::pack::Packer;
use crate::quantise::quantise;
use crate::ranges::Ranges;
use crate::round::{self, Rounded};
use crate::session::Session;
use crate::shape::{Shape, infer};

/// Most threads of a plan.
pub(crate) const MAX_THREADS: usize = 256;
/// Most images of a batch.
pub(crate) const MAX_BATCH: usize = 4096;
/// Floats of scratch that stay in a core's own cache.
const CACHE: usize = 128 * 1024;
/// Most images that a thread computes together.
const MAX_CHUNK: usize = 8;

/// A graph, compiled for this machine. Cheap to clone; sessions share its weights.
#[derive(Clone)]
pub struct Plan {
    pub(crate) program: Arc<Program>,
    pub(crate) outline: Arc<Outline>,
    isa: Isa,
    threads: NonZeroUsize,
}

/// What a session checks requests against.
pub(crate) struct Outline {
    /// Values of an image.
    pub(crate) pixels: usize,
    pub(crate) segments: Vec<SegmentOutline>,
}

pub(crate) struct SegmentOutline {
    pub(crate) name: String,
    /// Earlier segments that it reads.
    pub(crate) needs: Vec<usize>,
    /// Place and shape.
    pub(crate) outputs: Vec<(usize, Shape)>,
}

impl Plan {
    /// Compiles `graph`; refuses what it cannot compute, and says why.
    pub fn compile(graph: &Graph, options: &Options) -> Result<Self, EngineError> {
        Self::with(graph, None, options)
    }

    /// Compiles `graph` such that dense convolutions multiply integers of 8 bits: weights rounded for each channel out by itself,
    /// values to 256 integers for the range they have. Layers without a range are computed in floats. Layers of 8 bits give the same
    /// bits on all instruction sets.
    pub fn compile_int8(graph: &Graph, ranges: &Ranges, options: &Options) -> Result<Self, EngineError> {
        Self::with(graph, Some(ranges), options)
    }

    fn with(graph: &Graph, ranges: Option<&Ranges>, options: &Options) -> Result<Self, EngineError> {
        within("threads", options.threads.get(), MAX_THREADS)?;
        within("max_batch", options.max_batch, MAX_BATCH)?;
        let isa = options.isa.unwrap_or_else(Isa::best);
        let kernels = Kernels::of(isa).context(MissingIsaSnafu { isa })?;
        let mut lowered = lower(graph, infer(graph)?);
        keep_vectors(&mut lowered);
        if let Some(ranges) = ranges {
            quantise(&mut lowered, graph, ranges);
        }
        let single = lay_out(&lowered, kernels.lanes, 1, options.max_batch);
        let share = options.max_batch.div_ceil(options.threads.get());
        let chunk = (CACHE / single.scratch.max(1)).clamp(1, MAX_CHUNK.min(share));
        let layout = lay_out(&lowered, kernels.lanes, chunk, options.max_batch);
        let outline = Arc::new(outline(graph, &lowered));
        let mut builder = Builder {
            kernels,
            options,
            graph,
            chunk,
            places: &layout.places,
            grids: &lowered.grids,
            packer: Packer::new(kernels.lanes),
            workspace: 0,
        };
        // A step's weights go as soon as they are packed.
        let pack = |run: Run| run.steps.into_iter().map(|s| builder.task(&s)).collect();
        let tasks = lowered.runs.into_iter().map(pack).collect();
        let sizes = Sizes {
            chunk,
            scratch: layout.scratch,
            max_batch: options.max_batch,
            kept: layout.kept,
            workspace: builder.workspace,
        };
        let weights = builder.packer.finish();
        Ok(Self {
            outline,
            program: Arc::new(Program::new(kernels, layout.places, tasks, weights, sizes)?),
            isa,
            threads: options.threads,
        })
    }

    /// Memory and threads to run the plan with.
    pub fn session(&self) -> Result<Session, EngineError> {
        Session::new(self, self.threads.get())
    }

    /// Bytes of packed weights.
    #[must_use]
    pub fn weight_bytes(&self) -> usize {
        self.program.weight_bytes()
    }

    /// Instruction set it was compiled for.
    #[must_use]
    pub fn isa(&self) -> Isa {
        self.isa
    }
}

pub(crate) fn within(option: &'static str, value: usize, most: usize) -> Result<(), EngineError> {
    ensure!(
        (1..=most).contains(&value),
        BoundsSnafu {
            option,
            value,
            least: 1_usize,
            most
        }
    );
    Ok(())
}

fn outline(graph: &Graph, lowered: &Lowered) -> Outline {
    let segments = graph.segments.iter().zip(&lowered.runs);
    Outline {
        pixels: graph.input.values(),
        segments: segments
            .map(|(segment, run)| SegmentOutline {
                name: segment.name.clone(),
                needs: run.needs.clone(),
                outputs: run.outputs.iter().map(|o| (*o, lowered.shapes[*o])).collect(),
            })
            .collect(),
    }
}

/// How a 3×3 layer is cut into tiles; see [`Tiling`].
struct Tiles {
    /// Tiles that go through together.
    together: usize,
    /// Blocks of a group at most.
    most: usize,
    steps: [usize; 2],
}

/// Turns steps into tasks.
struct Builder<'a> {
    kernels: &'static Kernels,
    options: &'a Options,
    graph: &'a Graph,
    chunk: usize,
    places: &'a [Place],
    grids: &'a [Option<Grid>],
    packer: Packer,
    workspace: usize,
}

impl Builder<'_> {
    fn task(&mut self, step: &Step) -> Task {
        let output = &self.places[step.output];
        let input = step.inputs.first().map_or(output, |i| &self.places[*i]);
        let work = match &step.kind {
            Kind::Image => Work::Normalise(Normalise {
                scale: self.graph.input.scale.clone(),
                shift: self.graph.input.shift.clone(),
            }),
            Kind::Dense(weights) if self.suits_winograd(weights, input, output) => {
                self.winograd(weights, input, output)
            }
            Kind::Dense(weights) => {
                let residual = step.residual.map(|r| &self.places[r]);
                self.direct(weights, input, output, residual)
            }
            Kind::Words(weights) if self.suits_winograd(weights, input, output) => {
                self.word_winograd(weights, step, input, output)
            }
            Kind::Words(weights) => self.word_direct(weights, step, input, output),
            Kind::Quantise(grid) => Work::Quantise(*grid),
            Kind::Depthwise(weights) => {
                let offsets = [self.packer.depthwise(weights), self.packer.lanes(&weights.bias)];
                let window = [weights.stride, weights.padding];
                Work::Depthwise(Depthwise::new(
                    self.kernels,
                    [weights.kernel, window, offsets],
                    output.width,
                ))
            }
            Kind::GlobalAvgPool => Work::Pool(Pool {
                fold: Fold::Mean,
                kernel: [input.height, input.width],
                stride: 1,
                padding: 0,
            }),
            Kind::Pool(pool) => Work::Pool(*pool),
            Kind::Concat => Work::Concat,
            Kind::Curve(curve) => Work::Curve(*curve),
            Kind::Scale => Work::Scale,
            Kind::Shortcut(shortcut) => Work::Shortcut(*shortcut),
        };
        Task {
            work,
            inputs: step.inputs.clone(),
            residual: step.residual,
            output: step.output,
            clamp: step.clamp,
            labour: labour(&step.kind, input, output),
        }
    }

    fn suits_winograd(&self, weights: &Weights, input: &Place, output: &Place) -> bool {
        self.options.winograd && suits_winograd(window(weights), [input, output], self.kernels.lanes)
    }

    fn winograd(&mut self, weights: &Weights, input: &Place, output: &Place) -> Work {
        let lanes = self.kernels.lanes;
        let menu = floats(self.kernels, 1);
        let cut = self.tiles([input.blocks(lanes), output.blocks(lanes)], output, &menu);
        let packed = self.packer.winograd(weights, input.channels, cut.most);
        Work::Winograd(Winograd {
            bias: self.packer.lanes(&weights.bias),
            zeros: self.packer.zeros(cut.most),
            cuts: Cuts::new(&menu, 1..=cut.together),
            tiling: self.tiling(packed, &cut),
        })
    }

    /// How many tiles of a 3×3 layer go through their frequencies together, for `blocks` blocks in and out, and how many blocks out
    /// are a group at most.
    fn tiles<F>(&self, [blocks, out]: [usize; 2], output: &Place, menu: &impl Menu<F>) -> Tiles {
        let lanes = self.kernels.lanes;
        let per_image = output.height.div_ceil(4) * output.width.div_ceil(4);
        let tiles = Tiling::tiles(blocks + out, lanes).min(per_image * self.chunk);
        let threads = self.options.threads.get();
        // A single image with few tiles is shared out by channels: then there have to be groups enough.
        let most = if Tiling::shares_channels(per_image, threads) {
            (out / threads).max(1)
        } else {
            out
        };
        Tiles {
            together: tiles,
            most: best_group(menu, tiles, out).min(most),
            steps: [step(blocks, tiles, lanes), step(out, tiles, lanes)],
        }
    }

    /// The tiling of packed weights, for which there will be workspace.
    fn tiling(&mut self, (groups, frequency): (Vec<Group>, usize), cut: &Tiles) -> Tiling {
        let tiling = Tiling {
            groups,
            frequency,
            tiles: cut.together,
            steps: cut.steps,
        };
        self.workspace = self.workspace.max(tiling.workspace());
        tiling
    }

    fn direct(&mut self, weights: &Weights, input: &Place, output: &Place, residual: Option<&Place>) -> Work {
        let all = || [input, output].into_iter().chain(residual);
        let pointwise = window(weights) == POINTWISE;
        let side_by_side = |p: &Place| {
            p.home == Home::Scratch && p.image == self.kernels.lanes && (p.height, p.width) == (1, 1)
        };
        let (walk, widths) = if pointwise && all().all(side_by_side) {
            (Walk::Images, 1..=self.chunk)
        } else {
            let merged = merged_rows(window(weights), all(), output);
            (Walk::Rows(merged), output.width * merged..=output.width * merged)
        };
        let blocks = output.blocks(self.kernels.lanes);
        let menu = floats(self.kernels, weights.stride);
        let most = best_group(&menu, *widths.end(), blocks);
        Work::Direct(Direct {
            walk,
            kernel: weights.kernel,
            stride: weights.stride,
            padding: weights.padding,
            groups: self.packer.dense(weights, input.channels, most),
            bias: self.packer.lanes(&weights.bias),
            cuts: Cuts::new(&menu, widths),
        })
    }

    /// Packs how sums of `rounded` weights become what `step` puts out.
    fn scaling(&mut self, weights: &Weights, rounded: &Rounded, step: &Step, output: &Place) -> Scaling {
        let grid = |value: usize| self.grids[value].map(|grid| f64::from(grid.step));
        let unit = grid(step.output).unwrap_or(1.0);
        let pixel = step.inputs.first().and_then(|i| grid(*i)).unwrap_or(1.0);
        let residual = step.residual.and_then(grid).unwrap_or(1.0);
        let (mut low, mut high) = (
            f64::from(step.clamp.low) / unit,
            f64::from(step.clamp.high) / unit,
        );
        if let Some(grid) = self.grids[step.output] {
            low = low.max(f64::from(grid.low));
            high = high.min(f64::from(grid.high));
        }
        let blocks = output.channels.next_multiple_of(self.kernels.lanes);
        let mut factors = Vec::new();
        for of_frequency in rounded.factors.chunks_exact(weights.out) {
            let start = factors.len();
            factors.extend(of_frequency.iter().map(|f| (f * pixel / unit) as f32));
            factors.resize(start + blocks, 0.0);
        }
        let bias: Vec<f32> = weights
            .bias
            .iter()
            .map(|b| (f64::from(*b) / unit) as f32)
            .collect();
        Scaling {
            scale: self.packer.lanes(&factors),
            bias: self.packer.lanes(&bias),
            factor: (residual / unit) as f32,
            clamp: Clamp {
                low: low as f32,
                high: high as f32,
            },
        }
    }

    fn word_winograd(&mut self, weights: &Weights, step: &Step, input: &Place, output: &Place) -> Work {
        let lanes = self.kernels.lanes;
        let menu = self.kernels.words.menu(1);
        let blocks = [input.blocks(lanes), output.channels.div_ceil(lanes)];
        let cut = self.tiles(blocks, output, &menu);
        let grid = step.inputs.first().and_then(|i| self.grids[*i]);
        let grid = grid.unwrap_or(Grid::new([-1.0, 1.0]));
        let rounded = round::winograd(weights, input.channels, grid);
        let shape = [weights.out, input.channels];
        let packed = self.packer.word_winograd(&rounded.words, shape, cut.most);
        Work::WordWinograd(WordWinograd {
            scaling: self.scaling(weights, &rounded, step, output),
            cuts: Cuts::new(&menu, 1..=cut.together),
            tiling: self.tiling(packed, &cut),
        })
    }

    fn word_direct(&mut self, weights: &Weights, step: &Step, input: &Place, output: &Place) -> Work {
        let residual = step.residual.map(|r| &self.places[r]);
        let merged = merged_rows(
            window(weights),
            [input, output].into_iter().chain(residual),
            output,
        );
        let width = output.width * merged;
        let menu = self.kernels.words.menu(weights.stride);
        let most = best_group(&menu, width, output.channels.div_ceil(self.kernels.lanes));
        let rounded = round::direct(weights);
        let area = weights.kernel[0] * weights.kernel[1];
        Work::WordDirect(WordDirect {
            merged,
            kernel: weights.kernel,
            stride: weights.stride,
            padding: weights.padding,
            groups: self
                .packer
                .word_dense(&rounded.words, [input.channels, area], most),
            scaling: self.scaling(weights, &rounded, step, output),
            cuts: Cuts::new(&menu, width..=width),
        })
    }
}

/// Multiplications for an image; what only moves numbers takes about one for each.
fn labour(kind: &Kind, input: &Place, output: &Place) -> usize {
    let values = |place: &Place| place.channels * place.height * place.width;
    match kind {
        Kind::Dense(weights) | Kind::Words(weights) | Kind::Depthwise(weights) => {
            weights.weight.len() * output.height * output.width
        }
        _ => values(input).max(values(output)),
    }
}
