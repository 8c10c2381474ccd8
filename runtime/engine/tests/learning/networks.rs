//! Small networks with all that can be trained.

use meanet_engine::{BatchNorm, Conv2d, Graph, Input, Linear, Op, SegmentId, Shortcut, Source};

pub struct Network {
    pub name: &'static str,
    pub graph: Graph,
    pub first: SegmentId,
    pub output: SegmentId,
    /// Values of each value that is given.
    pub given: Vec<usize>,
}

/// Numbers between -1 and 1, as if by chance.
pub fn numbers(count: usize, seed: u64) -> Vec<f32> {
    (0..count as u64)
        .map(|i| {
            let mixed = i.wrapping_add(seed << 32).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            (mixed >> 40) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

struct Builder {
    graph: Graph,
    seed: u64,
}

impl Builder {
    fn new(shape: [usize; 3]) -> Self {
        Self {
            graph: Graph::new(Input::new(shape)),
            seed: 0,
        }
    }

    fn numbers(&mut self, count: usize, around: f32, spread: f32) -> Vec<f32> {
        self.seed += 1;
        let all = numbers(count, 1000 + self.seed);
        all.into_iter().map(|v| around + spread * v).collect()
    }

    /// Kernel, stride, and whether channels are by themselves.
    fn conv(&mut self, [channels, out]: [usize; 2], [kernel, stride]: [usize; 2], from: Source) -> Source {
        let fan_in = channels * kernel * kernel;
        let weight = self.numbers(out * fan_in, 0.0, 1.7 / (fan_in as f32).sqrt());
        let conv = Conv2d {
            out,
            kernel: [kernel; 2],
            stride,
            padding: kernel / 2,
            weight,
            ..Conv2d::default()
        };
        let conv = self.graph.add(Op::Conv2d(conv), [from]);
        self.norm(out, conv)
    }

    fn depthwise(&mut self, channels: usize, stride: usize, from: Source) -> Source {
        let conv = Conv2d {
            out: channels,
            kernel: [3, 3],
            stride,
            padding: 1,
            groups: channels,
            weight: self.numbers(channels * 9, 0.0, 0.6),
            ..Conv2d::default()
        };
        let conv = self.graph.add(Op::Conv2d(conv), [from]);
        self.norm(channels, conv)
    }

    fn norm(&mut self, channels: usize, from: Source) -> Source {
        let norm = BatchNorm {
            gamma: self.numbers(channels, 1.0, 0.4),
            beta: self.numbers(channels, 0.2, 0.5),
            mean: self.numbers(channels, 0.0, 0.3),
            variance: self.numbers(channels, 1.0, 0.3),
            epsilon: 1e-5,
        };
        self.graph.add(Op::BatchNorm(norm), [from])
    }

    fn relu(&mut self, from: Source) -> Source {
        self.graph.add(Op::Relu, [from])
    }

    fn relu6(&mut self, from: Source) -> Source {
        self.graph.add(Op::Relu6, [from])
    }

    fn sum(&mut self, a: Source, b: Source) -> Source {
        self.graph.add(Op::Add, [a, b])
    }

    /// As in a `ResNet`.
    fn basic(&mut self, [channels, out]: [usize; 2], stride: usize, from: Source) -> Source {
        let x = self.conv([channels, out], [3, stride], from);
        let x = self.relu(x);
        let x = self.conv([out, out], [3, 1], x);
        let way = if channels == out && stride == 1 {
            from
        } else {
            self.conv([channels, out], [1, stride], from)
        };
        let x = self.sum(x, way);
        self.relu(x)
    }

    /// As in a `MobileNetV2`.
    fn inverted(&mut self, [channels, out]: [usize; 2], stride: usize, from: Source) -> Source {
        let x = self.conv([channels, 3 * channels], [1, 1], from);
        let x = self.relu6(x);
        let x = self.depthwise(3 * channels, stride, x);
        let x = self.relu6(x);
        let x = self.conv([3 * channels, out], [1, 1], x);
        if channels == out && stride == 1 {
            self.sum(x, from)
        } else {
            x
        }
    }

    fn head(&mut self, channels: usize, out: usize, from: Source) -> Source {
        let pooled = self.graph.add(Op::GlobalAvgPool, [from]);
        let linear = Linear {
            out,
            weight: self.numbers(out * channels, 0.0, 0.5),
            bias: self.numbers(out, 0.0, 0.5),
        };
        self.graph.add(Op::Linear(linear), [pooled])
    }

    fn whole(mut self, name: &'static str, output: Source) -> Network {
        let segment = self.graph.end_segment("main", [output]);
        Network {
            name,
            graph: self.graph,
            first: segment,
            output: segment,
            given: Vec::new(),
        }
    }
}

pub fn all() -> Vec<Network> {
    vec![plain(), residual(), mobile(), joined(false), joined(true)]
}

/// A layer of any shape between two others, `[channels in, channels out]`, `[side, kernel, stride]`; depthwise where both are alike.
pub fn one(channels: [usize; 2], [side, kernel, stride]: [usize; 3], depthwise: bool) -> Network {
    let [from, to] = channels;
    let mut builder = Builder::new([3, side, side + 1]);
    let x = builder.conv([3, from], [1, 1], Source::Image);
    let x = builder.relu6(x);
    let x = if depthwise {
        builder.depthwise(from, stride, x)
    } else {
        builder.conv([from, to], [kernel, stride], x)
    };
    let x = builder.relu(x);
    let x = builder.head(if depthwise { from } else { to }, 3, x);
    builder.whole("one layer", x)
}

fn plain() -> Network {
    let mut builder = Builder::new([3, 7, 5]);
    let x = builder.conv([3, 20], [3, 1], Source::Image);
    let x = builder.relu(x);
    let x = builder.conv([20, 9], [1, 1], x);
    let x = builder.head(9, 5, x);
    builder.whole("plain", x)
}

fn residual() -> Network {
    let mut builder = Builder::new([3, 8, 8]);
    let x = builder.conv([3, 16], [3, 1], Source::Image);
    let x = builder.relu(x);
    let x = builder.basic([16, 16], 1, x);
    let x = builder.basic([16, 24], 2, x);
    let x = builder.basic([24, 24], 1, x);
    let x = builder.head(24, 7, x);
    builder.whole("residual", x)
}

fn mobile() -> Network {
    let mut builder = Builder::new([3, 9, 8]);
    let x = builder.conv([3, 8], [3, 2], Source::Image);
    let x = builder.relu6(x);
    let x = builder.inverted([8, 8], 1, x);
    let x = builder.inverted([8, 12], 2, x);
    let x = builder.inverted([12, 12], 1, x);
    let x = builder.head(12, 5, x);
    builder.whole("mobile", x)
}

/// Features of an earlier segment, which are given, next to or added to those of the image.
fn joined(added: bool) -> Network {
    let mut builder = Builder::new([3, 8, 8]);
    let shortcut = Shortcut {
        stride: 2,
        before: 3,
        after: 7,
    };
    let features = builder.graph.add(Op::Shortcut(shortcut), [Source::Image]);
    builder.graph.end_segment("main", [features]);
    let own = if added { 13 } else { 11 };
    let x = builder.conv([3, own], [3, 2], Source::Image);
    let x = builder.relu(x);
    let first = builder.graph.end_segment("adaptive", [x]);
    let op = if added { Op::Add } else { Op::Concat };
    let x = builder.graph.add(op, [features, x]);
    let x = builder.basic([if added { 13 } else { 24 }, 16], 1, x);
    let x = builder.head(16, 6, x);
    let output = builder.graph.end_segment("extension", [x]);
    Network {
        name: if added { "added" } else { "joined" },
        graph: builder.graph,
        first,
        output,
        given: vec![13 * 16],
    }
}
