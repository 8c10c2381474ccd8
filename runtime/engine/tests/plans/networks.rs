//! Networks of random weights, as the runtime's are built.

use meanet_engine::{BatchNorm, Conv2d, Graph, Input, Linear, Op, SegmentId, Shortcut, Source};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Builds graphs; keeps the channels of the value that comes last.
pub struct Builder {
    pub graph: Graph,
    random: ChaCha8Rng,
}

impl Builder {
    pub fn new(shape: [usize; 3], seed: u64) -> Self {
        let half = vec![0.5; shape[0]];
        Self {
            graph: Graph::new(Input::normalised(shape, &half, &half)),
            random: ChaCha8Rng::seed_from_u64(seed),
        }
    }

    pub fn numbers(&mut self, count: usize, bound: f32) -> Vec<f32> {
        (0..count)
            .map(|_| self.random.random_range(-bound..bound))
            .collect()
    }

    /// Convolution and batch norm. `wide` is channels in and out.
    pub fn conv(
        &mut self,
        from: Source,
        wide: [usize; 2],
        kernel: usize,
        stride: usize,
        groups: usize,
    ) -> Source {
        let inputs = wide[0] / groups * kernel * kernel;
        let weight = self.numbers(wide[1] * inputs, (3.0 / inputs as f32).sqrt());
        let conv = Conv2d {
            out: wide[1],
            kernel: [kernel, kernel],
            stride,
            padding: kernel / 2,
            groups,
            weight,
            bias: if kernel == 1 {
                self.numbers(wide[1], 0.1)
            } else {
                Vec::new()
            },
        };
        let conv = self.graph.add(Op::Conv2d(conv), [from]);
        let norm = BatchNorm {
            gamma: self.numbers(wide[1], 0.5).iter().map(|g| g + 1.0).collect(),
            beta: self.numbers(wide[1], 0.5),
            mean: self.numbers(wide[1], 0.5),
            variance: self.numbers(wide[1], 0.5).iter().map(|v| v + 1.0).collect(),
            epsilon: 1e-5,
        };
        self.graph.add(Op::BatchNorm(norm), [conv])
    }

    /// A residual block as in He et al. 2016 for CIFAR, shortcut of option A.
    pub fn block(&mut self, from: Source, wide: [usize; 2], stride: usize) -> Source {
        let first = self.conv(from, wide, 3, stride, 1);
        let first = self.graph.add(Op::Relu, [first]);
        let second = self.conv(first, [wide[1], wide[1]], 3, 1, 1);
        let around = if stride == 1 && wide[0] == wide[1] {
            from
        } else {
            let before = (wide[1] - wide[0]) / 2;
            let after = wide[1] - wide[0] - before;
            self.graph.add(
                Op::Shortcut(Shortcut {
                    stride,
                    before,
                    after,
                }),
                [from],
            )
        };
        let sum = self.graph.add(Op::Add, [second, around]);
        self.graph.add(Op::Relu, [sum])
    }

    /// An inverted residual as in Sandler et al. 2018.
    pub fn inverted(&mut self, from: Source, wide: [usize; 2], expand: usize, stride: usize) -> Source {
        let hidden = wide[0] * expand;
        let up = self.conv(from, [wide[0], hidden], 1, 1, 1);
        let up = self.graph.add(Op::Relu6, [up]);
        let deep = self.conv(up, [hidden, hidden], 3, stride, hidden);
        let deep = self.graph.add(Op::Relu6, [deep]);
        let down = self.conv(deep, [hidden, wide[1]], 1, 1, 1);
        if stride == 1 && wide[0] == wide[1] {
            self.graph.add(Op::Add, [down, from])
        } else {
            down
        }
    }

    /// Pooling and a linear layer.
    pub fn head(&mut self, from: Source, channels: usize, classes: usize) -> Source {
        let pooled = self.graph.add(Op::GlobalAvgPool, [from]);
        self.dense(pooled, [channels, classes])
    }

    /// A linear layer. `wide` is values in and out.
    pub fn dense(&mut self, from: Source, wide: [usize; 2]) -> Source {
        let [input, out] = wide;
        let weight = self.numbers(out * input, (3.0 / input as f32).sqrt());
        let bias = self.numbers(out, 0.1);
        self.graph.add(Op::Linear(Linear { out, weight, bias }), [from])
    }
}

/// A small MEANet: main block with an exit, adaptive and extension block on its features. Gives the graph, and the segments
/// `main` (features, logits) and `extension` (logits).
pub fn meanet(
    side: usize,
    widths: [usize; 2],
    classes: usize,
    mobile: bool,
    seed: u64,
) -> (Graph, SegmentId, SegmentId) {
    let mut b = Builder::new([3, side, side], seed);
    let [narrow, wide] = widths;
    let stem = b.conv(Source::Image, [3, narrow], 3, 1, 1);
    let stem = b.graph.add(Op::Relu, [stem]);
    let features = if mobile {
        let x = b.inverted(stem, [narrow, narrow], 2, 1);
        b.inverted(x, [narrow, wide], 3, 2)
    } else {
        let x = b.block(stem, [narrow, narrow], 1);
        b.block(x, [narrow, wide], 2)
    };
    let logits = b.head(features, wide, classes);
    let main = b.graph.end_segment("main", [features, logits]);
    let adaptive = b.conv(Source::Image, [3, narrow], 3, 2, 1);
    let both = b.graph.add(Op::Concat, [features, adaptive]);
    let x = b.conv(both, [wide + narrow, wide], 3, 1, 1);
    let x = b.graph.add(Op::Relu, [x]);
    let logits = b.head(x, wide, classes);
    let extension = b.graph.end_segment("extension", [logits]);
    (b.graph, main, extension)
}
