//! Which numbers values take: what 8-bit plans round them by.

use crate::error::EngineError;
use crate::graph::{Graph, Op, SegmentId, Source};
use crate::images::Images;
use crate::options::Options;
use crate::plan::Plan;
use crate::session::Session;

/// Lowest and highest number of the values of a graph's nodes, where known. 0 counts as within.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ranges {
    nodes: Vec<Option<[f32; 2]>>,
}

impl Ranges {
    /// Of the values that the layers of segments read, in the order of [`Graph::layers`], one list a segment; `None` if a list is not
    /// as long as its segment has layers, or has a range that is no range.
    #[must_use]
    pub fn of_layers(graph: &Graph, segments: &[Vec<[f32; 2]>]) -> Option<Self> {
        let mut nodes = vec![None; graph.nodes.len()];
        for (index, ranges) in segments.iter().enumerate() {
            let layers = graph.layers(SegmentId(index));
            let sound = |[low, high]: &[f32; 2]| low.is_finite() && high.is_finite() && low <= high;
            if layers.len() != ranges.len() || !ranges.iter().all(sound) {
                return None;
            }
            for (source, range) in layers.into_iter().zip(ranges) {
                if let Source::Node(node) = source {
                    nodes[node] = Some(*range);
                }
            }
        }
        (segments.len() == graph.segments.len()).then_some(Self { nodes })
    }

    /// The range of what each layer of a segment reads, in the order of [`Graph::layers`]; zeros where it is not known.
    #[must_use]
    pub fn layers(&self, graph: &Graph, segment: SegmentId) -> Vec<[f32; 2]> {
        let layers = graph.layers(segment).into_iter();
        layers
            .map(|source| match source {
                Source::Image => graph.input.range(),
                Source::Node(node) => self.get(node).unwrap_or_default(),
            })
            .collect()
    }

    pub(crate) fn get(&self, node: usize) -> Option<[f32; 2]> {
        self.nodes.get(node).copied().flatten()
    }
}

impl Graph {
    /// What the convolutions and linear layers of a segment read, in the order of their nodes.
    #[must_use]
    pub fn layers(&self, segment: SegmentId) -> Vec<Source> {
        let end = |index: usize| self.segments.get(index).map_or(0, |s| s.end);
        let start = segment.0.checked_sub(1).map_or(0, end);
        let nodes = self.nodes.iter().take(end(segment.0)).skip(start);
        nodes
            .filter(|node| matches!(node.op, Op::Conv2d(_) | Op::Linear(_)))
            .filter_map(|node| node.inputs.first().copied())
            .collect()
    }
}

/// Bins of a histogram.
const BINS: usize = 2048;
/// Ranges that are tried for a value.
const TRIES: usize = 80;

/// Runs a graph in floats on images and looks at the numbers that its layers read.
pub struct Observer {
    session: Session,
    max_batch: usize,
    pixels: usize,
    nodes: usize,
    segments: usize,
    watched: Vec<Watched>,
    buffer: Vec<f32>,
}

/// An output of a segment, and the node that it is.
struct Watched {
    segment: usize,
    output: usize,
    node: usize,
    seen: Histogram,
}

impl Observer {
    /// For a graph that `options` can compile.
    pub fn new(graph: &Graph, options: &Options) -> Result<Self, EngineError> {
        let mut open = graph.clone();
        let read = (0..graph.segments.len()).flat_map(|s| graph.layers(SegmentId(s)));
        let mut nodes: Vec<usize> = read
            .filter_map(|source| match source {
                Source::Node(node) => Some(node),
                Source::Image => None,
            })
            .collect();
        nodes.sort_unstable();
        nodes.dedup();
        let mut watched = Vec::new();
        for node in nodes {
            let Some(segment) = open.segments.iter().position(|s| node < s.end) else {
                continue;
            };
            let outputs = &mut open.segments[segment].outputs;
            let output = outputs.iter().position(|o| *o == node).unwrap_or_else(|| {
                outputs.push(node);
                outputs.len() - 1
            });
            watched.push(Watched {
                segment,
                output,
                node,
                seen: Histogram::default(),
            });
        }
        Ok(Self {
            session: Plan::compile(&open, options)?.session()?,
            max_batch: options.max_batch,
            pixels: graph.input.values(),
            nodes: graph.nodes.len(),
            segments: graph.segments.len(),
            watched,
            buffer: Vec::new(),
        })
    }

    /// Looks at `images`, whole ones one behind the other.
    pub fn observe(&mut self, images: Images) -> Result<(), EngineError> {
        for batch in images.chunks(self.pixels * self.max_batch) {
            let count = batch.len() / self.pixels;
            for segment in 0..self.segments {
                self.session.run(SegmentId(segment), batch, count)?;
            }
            for watched in &mut self.watched {
                let segment = SegmentId(watched.segment);
                let values = self.session.shape(segment, watched.output)?.values();
                self.buffer.resize(values, 0.0);
                for row in 0..count {
                    self.session
                        .read(segment, watched.output, row, &mut self.buffer)?;
                    watched.seen.add(&self.buffer);
                }
            }
        }
        Ok(())
    }

    /// For each value the range that loses least: numbers beyond are cut off, numbers within rounded to one of 256, and the sum of
    /// squares of both errors is least.
    #[must_use]
    pub fn ranges(&self) -> Ranges {
        let mut ranges = Ranges {
            nodes: vec![None; self.nodes],
        };
        for watched in &self.watched {
            ranges.nodes[watched.node] = Some(watched.seen.best());
        }
        ranges
    }
}

/// How often numbers near others were seen.
struct Histogram {
    /// Bins are of `-reach..reach`.
    reach: f32,
    bins: Vec<u64>,
    low: f32,
    high: f32,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            reach: 1.0,
            bins: vec![0; BINS],
            low: 0.0,
            high: 0.0,
        }
    }
}

impl Histogram {
    fn add(&mut self, values: &[f32]) {
        for value in values.iter().copied().filter(|v| v.is_finite()) {
            self.low = self.low.min(value);
            self.high = self.high.max(value);
            while value.abs() >= self.reach {
                self.widen();
            }
            let bin = (value / self.reach + 1.0) * (BINS / 2) as f32;
            self.bins[(bin as usize).min(BINS - 1)] += 1;
        }
    }

    /// Bins twice as wide.
    fn widen(&mut self) {
        let mut wide = vec![0; BINS];
        for (index, count) in self.bins.iter().enumerate() {
            wide[BINS / 4 + index / 2] += count;
        }
        self.bins = wide;
        self.reach *= 2.0;
    }

    fn best(&self) -> [f32; 2] {
        let tries = (1..=TRIES).map(|i| {
            let share = i as f32 / TRIES as f32;
            let range = [self.low * share, self.high * share];
            (self.loss(range), range)
        });
        tries
            .fold((f64::INFINITY, [self.low, self.high]), |a, b| {
                if b.0 < a.0 { b } else { a }
            })
            .1
    }

    /// Sum of the squares of errors.
    fn loss(&self, [low, high]: [f32; 2]) -> f64 {
        let rounding = (f64::from(high - low) / 255.0).powi(2) / 12.0;
        let width = 2.0 * self.reach / BINS as f32;
        let terms = self
            .bins
            .iter()
            .enumerate()
            .filter(|(_, count)| **count > 0)
            .map(|(i, count)| {
                let middle = (i as f32 + 0.5) * width - self.reach;
                let beyond = f64::from((middle - high).max(low - middle).max(0.0));
                // The bin of 0 holds mostly zeros, which are not rounded.
                let within = if i == BINS / 2 { 0.0 } else { rounding };
                *count as f64 * if beyond > 0.0 { beyond * beyond } else { within }
            });
        terms.sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_leaves_out_what_is_rare_and_far() {
        let mut seen = Histogram::default();
        let bulk: Vec<f32> = (0..3_000_000).map(|i| (i % 1000) as f32 / 100.0).collect();
        seen.add(&bulk);
        let [low, high] = seen.best();
        assert!(low == 0.0 && (9.5..=10.0).contains(&high), "{low} {high}");
        seen.add(&[100.0]);
        let [_, high] = seen.best();
        assert!((9.0..70.0).contains(&high), "{high}");
    }

    #[test]
    fn wide_numbers_do_not_lose_narrow_ones() {
        let mut seen = Histogram::default();
        seen.add(&[0.5, -0.5]);
        seen.add(&[1000.0]);
        assert_eq!(seen.bins.iter().sum::<u64>(), 3);
        assert!(seen.low < -0.4 && seen.high > 999.0);
    }
}
