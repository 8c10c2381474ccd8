//! The two networks, from tensors by `PyTorch`'s names.

use std::collections::HashMap;
use std::error::Error;

use meanet_engine::{BatchNorm, Conv2d, Graph, Input, Linear, Op, SegmentId, Source};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use safetensors::SafeTensors;

const CLASSES: usize = 100;

/// Where the weights come from.
pub enum Network {
    /// A safetensors file.
    File(String),
    /// Random ones, for the network of this name.
    Random(String),
}

/// Tensors by name, or random numbers.
enum Tensors {
    Named(HashMap<String, Vec<f32>>),
    Random(Box<ChaCha8Rng>),
}

impl Tensors {
    /// `count` values; random ones are even in `around ± spread`.
    fn take(
        &mut self,
        name: &str,
        count: usize,
        around: f32,
        spread: f32,
    ) -> Result<Vec<f32>, Box<dyn Error>> {
        let values = match self {
            Self::Named(tensors) => tensors
                .remove(name)
                .ok_or_else(|| format!("failed to find tensor {name}"))?,
            Self::Random(random) => (0..count)
                .map(|_| around + random.random_range(-spread..spread))
                .collect(),
        };
        if values.len() == count {
            Ok(values)
        } else {
            Err(format!("failed to use {name}: {} values instead of {count}", values.len()).into())
        }
    }
}

impl Network {
    /// The network with its logits as only output.
    pub fn graph(&self) -> Result<(Graph, SegmentId), Box<dyn Error>> {
        let (mean, std) = ([0.5071, 0.4867, 0.4408], [0.2675, 0.2565, 0.2761]);
        let mut builder = Builder {
            graph: Graph::new(Input::normalised([3, 32, 32], &mean, &std)),
            tensors: Tensors::Random(Box::new(ChaCha8Rng::seed_from_u64(1))),
        };
        let name = match self {
            Self::Random(name) => name.clone(),
            Self::File(path) => {
                let bytes = std::fs::read(path)?;
                let file = SafeTensors::deserialize(&bytes)?;
                let named = file.tensors().into_iter().map(|(name, view)| {
                    let values = view.data().chunks_exact(4);
                    let values = values.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
                    (name, values.collect())
                });
                let named: HashMap<String, Vec<f32>> = named.collect();
                let blocks = (0..named.len())
                    .take_while(|i| named.contains_key(&format!("layer1.{i}.conv1.weight")))
                    .count();
                builder.tensors = Tensors::Named(named);
                if blocks > 0 {
                    format!("resnet{}", 6 * blocks + 2)
                } else {
                    "mobilenetv2".to_owned()
                }
            }
        };
        let logits = match name.strip_prefix("resnet").map(str::parse::<usize>) {
            Some(Ok(depth)) if depth % 6 == 2 => builder.resnet((depth - 2) / 6)?,
            None if name == "mobilenetv2" => builder.mobilenet()?,
            _ => return Err(format!("failed to find a network named {name}").into()),
        };
        let segment = builder.graph.end_segment("main", [logits]);
        Ok((builder.graph, segment))
    }
}

struct Builder {
    graph: Graph,
    tensors: Tensors,
}

impl Builder {
    /// `[channels in, channels out, side of the kernel, stride, groups]`
    fn conv(
        &mut self,
        name: &str,
        from: Source,
        [input, out, kernel, stride, groups]: [usize; 5],
        bias: bool,
    ) -> Result<Source, Box<dyn Error>> {
        let fan_in = input / groups * kernel * kernel;
        let spread = (6.0 / fan_in as f32).sqrt();
        let conv = Conv2d {
            out,
            kernel: [kernel, kernel],
            stride,
            padding: kernel / 2,
            groups,
            weight: self
                .tensors
                .take(&format!("{name}.weight"), out * fan_in, 0.0, spread)?,
            bias: if bias {
                self.tensors.take(&format!("{name}.bias"), out, 0.0, 0.1)?
            } else {
                Vec::new()
            },
        };
        Ok(self.graph.add(Op::Conv2d(conv), [from]))
    }

    fn norm(&mut self, name: &str, from: Source, channels: usize) -> Result<Source, Box<dyn Error>> {
        let mut list = |of: &str, around| self.tensors.take(&format!("{name}.{of}"), channels, around, 0.2);
        let norm = BatchNorm {
            gamma: list("weight", 0.7)?,
            beta: list("bias", 0.0)?,
            mean: list("running_mean", 0.0)?,
            variance: list("running_var", 1.0)?,
            epsilon: 1e-5,
        };
        Ok(self.graph.add(Op::BatchNorm(norm), [from]))
    }

    fn head(&mut self, name: &str, from: Source, channels: usize) -> Result<Source, Box<dyn Error>> {
        let pooled = self.graph.add(Op::GlobalAvgPool, [from]);
        let spread = (3.0 / channels as f32).sqrt();
        let linear = Linear {
            out: CLASSES,
            weight: self
                .tensors
                .take(&format!("{name}.weight"), CLASSES * channels, 0.0, spread)?,
            bias: self.tensors.take(&format!("{name}.bias"), CLASSES, 0.0, 0.1)?,
        };
        Ok(self.graph.add(Op::Linear(linear), [pooled]))
    }

    /// He et al. 2016, §4.2, with 1×1 convolutions as shortcuts where the shape changes.
    fn resnet(&mut self, blocks: usize) -> Result<Source, Box<dyn Error>> {
        let x = self.conv("conv1", Source::Image, [3, 16, 3, 1, 1], false)?;
        let x = self.norm("bn1", x, 16)?;
        let mut x = self.graph.add(Op::Relu, [x]);
        let mut input = 16;
        for (stage, out) in [16, 32, 64].into_iter().enumerate() {
            for block in 0..blocks {
                let name = format!("layer{}.{block}", stage + 1);
                let stride = if stage > 0 && block == 0 { 2 } else { 1 };
                let first = self.conv(&format!("{name}.conv1"), x, [input, out, 3, stride, 1], false)?;
                let first = self.norm(&format!("{name}.bn1"), first, out)?;
                let first = self.graph.add(Op::Relu, [first]);
                let second = self.conv(&format!("{name}.conv2"), first, [out, out, 3, 1, 1], false)?;
                let second = self.norm(&format!("{name}.bn2"), second, out)?;
                let around = if input == out {
                    x
                } else {
                    let cut = self.conv(
                        &format!("{name}.downsample.0"),
                        x,
                        [input, out, 1, stride, 1],
                        false,
                    )?;
                    self.norm(&format!("{name}.downsample.1"), cut, out)?
                };
                let sum = self.graph.add(Op::Add, [second, around]);
                x = self.graph.add(Op::Relu, [sum]);
                input = out;
            }
        }
        self.head("fc", x, 64)
    }

    /// Sandler et al. 2018 for CIFAR, half as wide.
    fn mobilenet(&mut self) -> Result<Source, Box<dyn Error>> {
        const STAGES: [[usize; 4]; 7] = [
            [1, 8, 1, 1],
            [6, 16, 2, 1],
            [6, 16, 3, 2],
            [6, 32, 4, 2],
            [6, 48, 3, 1],
            [6, 80, 3, 2],
            [6, 160, 1, 1],
        ];
        let x = self.conv("features.0.0", Source::Image, [3, 16, 3, 1, 1], true)?;
        let mut x = self.graph.add(Op::Relu6, [x]);
        let (mut input, mut index) = (16, 1);
        for [expand, out, repeat, stride] in STAGES {
            for block in 0..repeat {
                let stride = if block == 0 { stride } else { 1 };
                let name = format!("features.{index}.conv");
                let hidden = input * expand;
                let mut y = x;
                let mut layer = 0;
                if expand > 1 {
                    y = self.conv(&format!("{name}.0.0"), y, [input, hidden, 1, 1, 1], true)?;
                    y = self.graph.add(Op::Relu6, [y]);
                    layer = 1;
                }
                let deep = [hidden, hidden, 3, stride, hidden];
                y = self.conv(&format!("{name}.{layer}.0"), y, deep, true)?;
                y = self.graph.add(Op::Relu6, [y]);
                y = self.conv(&format!("{name}.{}", layer + 1), y, [hidden, out, 1, 1, 1], true)?;
                x = if stride == 1 && input == out {
                    self.graph.add(Op::Add, [y, x])
                } else {
                    y
                };
                (input, index) = (out, index + 1);
            }
        }
        let x = self.conv(&format!("features.{index}.0"), x, [input, 1280, 1, 1, 1], true)?;
        let x = self.graph.add(Op::Relu6, [x]);
        self.head("classifier.1", x, 1280)
    }
}
