//! What a graph computes, in the plainest way: loops as in the definition, sums in f64.

use meanet_engine::{Conv2d, Graph, Op, Source};

/// A value: channels, height, width (a vector has height and width 1) and its numbers.
#[derive(Clone)]
pub struct Value {
    pub shape: [usize; 3],
    pub data: Vec<f64>,
}

impl Value {
    fn new(shape: [usize; 3], at: impl Fn(usize, usize, usize) -> f64) -> Self {
        let [channels, height, width] = shape;
        let mut data = Vec::with_capacity(channels * height * width);
        for c in 0..channels {
            for y in 0..height {
                for x in 0..width {
                    data.push(at(c, y, x));
                }
            }
        }
        Self { shape, data }
    }

    fn at(&self, c: usize, y: usize, x: usize) -> f64 {
        self.data[(c * self.shape[1] + y) * self.shape[2] + x]
    }
}

/// The values of all nodes for one image.
pub fn values(graph: &Graph, image: &[f32]) -> Vec<Value> {
    let [_, height, width] = graph.input.shape;
    let pixels = Value::new(graph.input.shape, |c, y, x| {
        let pixel = f64::from(image[(c * height + y) * width + x]);
        pixel * f64::from(graph.input.scale[c]) + f64::from(graph.input.shift[c])
    });
    let mut all: Vec<Value> = Vec::new();
    for node in &graph.nodes {
        let inputs: Vec<&Value> = node
            .inputs
            .iter()
            .map(|source| match source {
                Source::Image => &pixels,
                Source::Node(index) => &all[*index],
            })
            .collect();
        let value = compute(&node.op, &inputs);
        all.push(value);
    }
    all
}

fn compute(op: &Op, inputs: &[&Value]) -> Value {
    let of = inputs[0];
    let [channels, height, width] = of.shape;
    match op {
        Op::Conv2d(conv) => convolve(conv, of),
        Op::BatchNorm(norm) => Value::new(of.shape, |c, y, x| {
            let deviation = (f64::from(norm.variance[c]) + f64::from(norm.epsilon)).sqrt();
            (of.at(c, y, x) - f64::from(norm.mean[c])) / deviation * f64::from(norm.gamma[c])
                + f64::from(norm.beta[c])
        }),
        Op::Relu => Value::new(of.shape, |c, y, x| of.at(c, y, x).max(0.0)),
        Op::Relu6 => Value::new(of.shape, |c, y, x| of.at(c, y, x).clamp(0.0, 6.0)),
        Op::Add => Value::new(of.shape, |c, y, x| of.at(c, y, x) + inputs[1].at(c, y, x)),
        Op::GlobalAvgPool => Value::new([channels, 1, 1], |c, _, _| {
            let sum: f64 = (0..height)
                .flat_map(|y| (0..width).map(move |x| (y, x)))
                .map(|(y, x)| of.at(c, y, x))
                .sum();
            sum / (height * width) as f64
        }),
        Op::AvgPool { kernel, stride } => {
            let side = |n: usize| (n - kernel) / stride + 1;
            Value::new([channels, side(height), side(width)], |c, y, x| {
                let square = (0..*kernel).flat_map(|i| (0..*kernel).map(move |j| (i, j)));
                square
                    .map(|(i, j)| of.at(c, y * stride + i, x * stride + j))
                    .sum::<f64>()
                    / (kernel * kernel) as f64
            })
        }
        Op::MaxPool {
            kernel,
            stride,
            padding,
        } => {
            let side = |n: usize| (n + 2 * padding - kernel) / stride + 1;
            Value::new([channels, side(height), side(width)], |c, y, x| {
                let square = (0..*kernel).flat_map(|i| (0..*kernel).map(move |j| (i, j)));
                let inside = square.filter_map(|(i, j)| {
                    let row = (y * stride + i).checked_sub(*padding)?;
                    let column = (x * stride + j).checked_sub(*padding)?;
                    (row < height && column < width).then(|| of.at(c, row, column))
                });
                inside.fold(f64::NEG_INFINITY, f64::max)
            })
        }
        Op::Linear(linear) => Value::new([linear.out, 1, 1], |o, _, _| {
            let row = &linear.weight[o * of.data.len()..][..of.data.len()];
            let bias = linear.bias.get(o).map_or(0.0, |b| f64::from(*b));
            bias + row
                .iter()
                .zip(&of.data)
                .map(|(w, v)| f64::from(*w) * v)
                .sum::<f64>()
        }),
        Op::Concat => Value {
            shape: [inputs.iter().map(|v| v.shape[0]).sum(), height, width],
            data: inputs.iter().flat_map(|v| v.data.iter().copied()).collect(),
        },
        Op::Shortcut(cut) => {
            let side = |n: usize| n.div_ceil(cut.stride);
            let shape = [cut.before + channels + cut.after, side(height), side(width)];
            Value::new(shape, |c, y, x| {
                if (cut.before..cut.before + channels).contains(&c) {
                    of.at(c - cut.before, y * cut.stride, x * cut.stride)
                } else {
                    0.0
                }
            })
        }
    }
}

fn convolve(conv: &Conv2d, of: &Value) -> Value {
    let [channels, height, width] = of.shape;
    let [rows, columns] = conv.kernel;
    let side = |n: usize, kernel: usize| (n + 2 * conv.padding - kernel) / conv.stride + 1;
    let (each, out_each) = (channels / conv.groups, conv.out / conv.groups);
    Value::new([conv.out, side(height, rows), side(width, columns)], |o, y, x| {
        let mut sum = conv.bias.get(o).map_or(0.0, |b| f64::from(*b));
        for c in 0..each {
            for i in 0..rows {
                for j in 0..columns {
                    let (v, h) = (y * conv.stride + i, x * conv.stride + j);
                    if v < conv.padding
                        || h < conv.padding
                        || v - conv.padding >= height
                        || h - conv.padding >= width
                    {
                        continue;
                    }
                    let weight = conv.weight[((o * each + c) * rows + i) * columns + j];
                    sum += f64::from(weight)
                        * of.at(o / out_each * each + c, v - conv.padding, h - conv.padding);
                }
            }
        }
        sum
    })
}
