//! Which layers are computed in 8 bits, and which values are stored so.

use crate::graph::Graph;
use crate::kernel::Grid;
use crate::lower::{Clamp, Kind, Lowered, Step, Weights};
use crate::ranges::Ranges;
use crate::shape::Shape;

/// Fewest channels in of an 8-bit layer. The first layer of a network has three: rounding its pixels costs more time than their
/// products, and accuracy.
const FEWEST_CHANNELS: usize = 8;
/// Most products of a sum: 127·255 each, and all of them have to fit into 32 bits.
const MOST_PRODUCTS: usize = 1 << 16;

/// The rule: dense convolutions of maps of at least [`FEWEST_CHANNELS`] channels whose input has a range. Depthwise convolutions have
/// nothing to gain, as each number they read takes part in few products, and linear layers are too small to matter; both stay in
/// floats, as does all else.
fn suits(weights: &Weights, input: Shape, output: Shape) -> bool {
    let [channels, ..] = input.as_map();
    let products = channels * weights.kernel[0] * weights.kernel[1];
    !output.is_vector() && channels >= FEWEST_CHANNELS && products <= MOST_PRODUCTS
}

/// Turns what suits into 8-bit layers. A value that only such layers read, and one of them makes, is stored in 8 bits; of other values
/// that they read, a step makes a copy in 8 bits in each run.
pub(crate) fn quantise(lowered: &mut Lowered, graph: &Graph, ranges: &Ranges) {
    let nodes = graph.nodes.len();
    let grid = |value: usize| {
        if (nodes..nodes + graph.segments.len()).contains(&value) {
            Some(Grid::new(graph.input.range()))
        } else {
            ranges.get(value).map(Grid::new)
        }
    };
    let mut readers: Vec<Vec<bool>> = vec![Vec::new(); lowered.shapes.len()];
    let mut made = vec![false; lowered.shapes.len()];
    for run in &mut lowered.runs {
        for step in &mut run.steps {
            if let (Kind::Dense(weights), [input]) = (&step.kind, &step.inputs[..])
                && grid(*input).is_some()
                && suits(weights, lowered.shapes[*input], lowered.shapes[step.output])
            {
                step.kind = Kind::Words(weights.clone());
                made[step.output] = true;
            }
            let takes = matches!(step.kind, Kind::Words(_));
            for value in step.inputs.iter().chain(&step.residual) {
                readers[*value].push(takes);
            }
        }
        for output in &run.outputs {
            readers[*output].push(false);
        }
    }
    for (value, readers) in readers.iter().enumerate() {
        if made[value] && readers.iter().all(|takes| *takes) {
            lowered.grids[value] = grid(value);
        }
    }
    for run in &mut lowered.runs {
        let mut copies: Vec<(usize, usize)> = Vec::new();
        let mut steps = Vec::with_capacity(run.steps.len());
        for mut step in run.steps.drain(..) {
            let input = step.inputs.first().copied().unwrap_or_default();
            if matches!(step.kind, Kind::Words(_)) && lowered.grids[input].is_none() {
                let copy = copies.iter().find(|(of, _)| *of == input).map(|(_, copy)| *copy);
                let copy = copy.or_else(|| {
                    let grid = grid(input)?;
                    let copy = lowered.shapes.len();
                    lowered.shapes.push(lowered.shapes[input]);
                    lowered.grids.push(Some(grid));
                    copies.push((input, copy));
                    steps.push(Step {
                        kind: Kind::Quantise(grid),
                        inputs: vec![input],
                        residual: None,
                        output: copy,
                        clamp: Clamp::NONE,
                    });
                    Some(copy)
                });
                step.inputs = copy.into_iter().collect();
            }
            steps.push(step);
        }
        run.steps = steps;
    }
}
