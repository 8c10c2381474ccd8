use crate::error::EngineError;
use crate::graph::{Graph, Op, Source};
use crate::shape::{Shape, infer};

/// What one segment takes for one image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Trained values: weights, biases, factors and summands of batch norms. Running statistics are not trained.
    pub parameters: usize,
    /// Multiply-accumulates of convolutions and linear layers, by their definition.
    pub macs: usize,
}

impl Graph {
    /// The shape of every node's value; checks the graph as [`crate::Plan::compile`] does.
    pub fn shapes(&self) -> Result<Vec<Shape>, EngineError> {
        infer(self)
    }

    /// The cost of every segment.
    pub fn costs(&self) -> Result<Vec<Cost>, EngineError> {
        let shapes = infer(self)?;
        let mut start = 0;
        let segments = self.segments.iter().map(|segment| {
            let nodes = start..segment.end;
            start = segment.end;
            nodes.fold(Cost::default(), |sum, node| {
                let cost = self.cost(node, &shapes);
                Cost {
                    parameters: sum.parameters + cost.parameters,
                    macs: sum.macs + cost.macs,
                }
            })
        });
        Ok(segments.collect())
    }

    fn cost(&self, node: usize, shapes: &[Shape]) -> Cost {
        match &self.nodes[node].op {
            Op::Conv2d(conv) => {
                let [_, height, width] = shapes[node].as_map();
                Cost {
                    parameters: conv.weight.len() + conv.bias.len(),
                    macs: conv.weight.len() * height * width,
                }
            }
            Op::Linear(linear) => Cost {
                parameters: linear.weight.len() + linear.bias.len(),
                macs: linear.weight.len(),
            },
            Op::BatchNorm(norm) => Cost {
                parameters: norm.gamma.len() + norm.beta.len(),
                macs: 0,
            },
            _ => Cost::default(),
        }
    }

    /// The shape of where a value comes from, given those of all nodes.
    #[must_use]
    pub fn shape_of(&self, source: Source, shapes: &[Shape]) -> Shape {
        match source {
            Source::Image => Shape::Map(self.input.shape),
            Source::Node(node) => shapes[node],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{BatchNorm, Conv2d, Input, Linear};

    #[test]
    fn costs_are_those_of_the_definition() {
        let mut graph = Graph::new(Input::new([3, 8, 8]));
        let conv = graph.add(
            Op::Conv2d(Conv2d {
                out: 4,
                kernel: [3, 3],
                stride: 2,
                padding: 1,
                weight: vec![0.1; 108],
                ..Conv2d::default()
            }),
            [Source::Image],
        );
        let list = || vec![1.0; 4];
        let norm = BatchNorm {
            gamma: list(),
            beta: list(),
            mean: list(),
            variance: list(),
            epsilon: 1e-5,
        };
        let norm = graph.add(Op::BatchNorm(norm), [conv]);
        graph.end_segment("first", [norm]);
        let pooled = graph.add(Op::GlobalAvgPool, [norm]);
        let linear = Linear {
            out: 5,
            weight: vec![0.1; 20],
            bias: vec![0.0; 5],
        };
        let logits = graph.add(Op::Linear(linear), [pooled]);
        graph.end_segment("second", [logits]);
        let [first, second] = graph.costs().unwrap()[..] else {
            panic!("two segments")
        };
        assert_eq!((first.parameters, first.macs), (108 + 8, 108 * 4 * 4));
        assert_eq!((second.parameters, second.macs), (25, 20));
        assert_eq!(graph.shapes().unwrap()[0], Shape::Map([4, 4, 4]));
    }
}
