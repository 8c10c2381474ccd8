//! Graphs of the engine as ONNX files, so that any other runtime can check or serve what this project trained.
//!
//! Images enter as `image`, `[n, channels, height, width]`, pixels in 0..255: what normalises them is part of the file. The batch
//! `n` is free. Batch norms stay nodes of their own.

mod nodes;
mod proto;

use meanet_engine::{EngineError, Graph, SegmentId};
use prost::Message;
use snafu::{ResultExt, Snafu, ensure};

use crate::nodes::Writer;

/// Version of the operators, of 2021; everything reads it.
const OPSET: i64 = 17;
/// Version of the file format that belongs to it.
const IR_VERSION: i64 = 8;

/// Why a graph cannot be written.
#[derive(Debug, Snafu)]
#[non_exhaustive]
pub enum ExportError {
    /// The graph itself is wrong.
    #[snafu(display("failed to export: {source}"))]
    Graph {
        /// What is wrong.
        source: EngineError,
    },
    /// What is to be exported does not hang together.
    #[snafu(display("failed to export {name}: {reason}"))]
    Parts {
        /// The model.
        name: String,
        /// What is missing.
        reason: String,
    },
}

/// A value of the graph, and how it is called outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The name.
    pub name: String,
    /// The node whose value it is.
    pub node: usize,
}

impl Named {
    /// `node` as `name`.
    pub fn new(name: impl Into<String>, node: usize) -> Self {
        Self {
            name: name.into(),
            node,
        }
    }
}

/// One file: some segments of a graph.
#[derive(Clone, Debug)]
pub struct Export<'a> {
    /// Name of the model in the file.
    pub name: &'a str,
    /// What it is, for people.
    pub description: &'a str,
    /// All of the network.
    pub graph: &'a Graph,
    /// What of it is written.
    pub segments: &'a [SegmentId],
    /// Values of other segments, which enter by these names.
    pub inputs: Vec<Named>,
    /// Values that come out.
    pub outputs: Vec<Named>,
    /// What is added to outputs before they come out.
    pub sums: Vec<Sum>,
}

/// Some columns of one vector, multiplied by a number, added to another.
#[derive(Clone, Debug, PartialEq)]
pub struct Sum {
    /// Name of the output that is added to.
    pub output: String,
    /// The node that is added, an input or of the segments.
    pub from: usize,
    /// Which of its numbers, one for each of the output's.
    pub columns: Vec<u32>,
    /// What these are multiplied by.
    pub weight: f32,
}

impl Export<'_> {
    /// The bytes of the file.
    pub fn bytes(&self) -> Result<Vec<u8>, ExportError> {
        let shapes = self.graph.shapes().context(GraphSnafu)?;
        let mut writer = Writer::new(self.graph, &shapes);
        for input in &self.inputs {
            ensure!(
                input.node < shapes.len(),
                PartsSnafu {
                    name: self.name,
                    reason: format!("there is no node {} to enter as {}", input.node, input.name)
                }
            );
            writer.enter(input.node, &input.name);
        }
        for segment in self.segments {
            let end = self.graph.segments.get(segment.0).map(|s| s.end);
            let start = segment
                .0
                .checked_sub(1)
                .and_then(|before| self.graph.segments.get(before))
                .map_or(0, |s| s.end);
            for node in start..end.unwrap_or(start) {
                writer.node(node).or_else(|reason| {
                    PartsSnafu {
                        name: self.name,
                        reason,
                    }
                    .fail()
                })?;
            }
        }
        for output in &self.outputs {
            let sum = self.sums.iter().find(|sum| sum.output == output.name);
            writer.leave(output, sum).or_else(|reason| {
                PartsSnafu {
                    name: self.name,
                    reason,
                }
                .fail()
            })?;
        }
        let model = proto::Model {
            ir_version: IR_VERSION,
            producer_name: "meanet".to_owned(),
            producer_version: env!("CARGO_PKG_VERSION").to_owned(),
            doc_string: self.description.to_owned(),
            graph: Some(writer.finish(self.name)),
            opset_import: vec![proto::OperatorSet {
                domain: String::new(),
                version: OPSET,
            }],
        };
        Ok(model.encode_to_vec())
    }
}
