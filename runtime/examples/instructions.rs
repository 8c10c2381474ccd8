//! Fixed work, to count the instructions of: `instructions CASE TIMES`, or `instructions` for the names of the cases.
//!
//! Instruction sets are named, not chosen by the machine, so that counts are the same wherever the set is there; a case whose set is
//! not ends with status 3. `hack/bench/instructions` counts, and compares with what was counted before.

#![allow(clippy::print_stdout)]

use std::error::Error;
use std::hint::black_box;
use std::process::ExitCode;

use meanet_engine::{
    BatchNorm, Conv2d, Descend, Graph, Images, Input, Isa, Learner, Linear, Op, Options, Plan, Purpose,
    SegmentId, Source,
};
use meanet_method::{ExtensionRule, HardClasses, Routing, Score, WhenUnavailable, after_main, local_answer};
use meanet_net::InputSpec;
use meanet_runtime::protocol::{images, json};

const CASES: [&str; 9] = [
    "resnet-avx2",
    "resnet-portable",
    "mobile-avx2",
    "mobile-portable",
    "train_resnet-avx2",
    "train_mobile-avx2",
    "route",
    "json_floats",
    "json_bytes",
];
const CLASSES: usize = 100;
/// Images that a case of routing answers.
const ROUTED: usize = 1000;
/// Images of a step of training.
const BATCH: usize = 2;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [case, times] = &args[..] else {
        println!("{}", CASES.join("\n"));
        return Ok(ExitCode::SUCCESS);
    };
    let times: usize = times.parse()?;
    match case.rsplit_once('-') {
        Some((network, isa)) => {
            let isa: Isa = isa.parse()?;
            if !isa.is_here() {
                eprintln!("{case}: this machine has no {isa:?}");
                return Ok(ExitCode::from(3));
            }
            match network.strip_prefix("train_") {
                Some(network) => train(network, isa, times)?,
                None => infer(network, isa, times)?,
            }
        }
        None if case == "route" => route(times)?,
        None if case == "json_floats" => decode("FP32", ".5", times)?,
        None if case == "json_bytes" => decode("UINT8", "", times)?,
        None => return Err(format!("failed to find the case {case}").into()),
    }
    Ok(ExitCode::SUCCESS)
}

/// Values in ±1 that are the same each time.
fn numbers(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// Runs a small network on one image.
fn infer(network: &str, isa: Isa, times: usize) -> Result<(), Box<dyn Error>> {
    let (graph, segment) = Drawing::new(false).finish(network)?;
    let options = Options {
        isa: Some(isa),
        max_batch: 1,
        ..Options::default()
    };
    let mut session = Plan::compile(&graph, &options)?.session()?;
    let image = pixels(1);
    for _ in 0..times {
        session.run(segment, Images::Bytes(&image), 1)?;
        black_box(session.vector(segment, 0, 0)?);
    }
    Ok(())
}

/// Takes steps of training of a small network.
fn train(network: &str, isa: Isa, times: usize) -> Result<(), Box<dyn Error>> {
    let (graph, segment) = Drawing::new(true).finish(network)?;
    let options = Options {
        isa: Some(isa),
        max_batch: BATCH,
        ..Options::default()
    };
    let purpose = Purpose::Learn { averaged: true };
    let mut learner = Learner::compile(&graph, segment, (segment, 0), purpose, &options)?;
    let images = pixels(BATCH);
    let gradient: Vec<f32> = numbers(BATCH * CLASSES, 3).iter().map(|v| v * 1e-3).collect();
    let how = Descend {
        rate: 1e-3,
        momentum: 0.9,
        weight_decay: 1e-4,
        keep: Some(0.9),
    };
    for _ in 0..times {
        black_box(learner.forward(Images::Bytes(&images), &[])?);
        learner.step(&gradient, how)?;
    }
    Ok(())
}

fn pixels(images: usize) -> Vec<u8> {
    let values = numbers(images * 3 * 32 * 32, 9);
    values.iter().map(|v| (v * 127.0 + 128.0) as u8).collect()
}

/// A network that is drawn, with norms behind its convolutions or with these folded in.
struct Drawing {
    graph: Graph,
    norms: bool,
}

impl Drawing {
    fn new(norms: bool) -> Self {
        Self {
            graph: Graph::new(Input::normalised([3, 32, 32], &[0.5; 3], &[0.25; 3])),
            norms,
        }
    }

    fn finish(mut self, network: &str) -> Result<(Graph, SegmentId), Box<dyn Error>> {
        let segment = match network {
            "resnet" => self.resnet(),
            "mobile" => self.mobile(),
            _ => return Err(format!("failed to find the network {network}").into()),
        };
        Ok((self.graph, segment))
    }

    /// `[channels in, channels out, side of the kernel, stride, groups]`
    fn conv(&mut self, from: Source, [input, out, kernel, stride, groups]: [usize; 5]) -> Source {
        let fan_in = input / groups * kernel * kernel;
        let spread = (3.0 / fan_in as f32).sqrt();
        let weight = numbers(out * fan_in, self.graph.nodes.len() as u32);
        let conv = Conv2d {
            out,
            kernel: [kernel; 2],
            stride,
            padding: kernel / 2,
            groups,
            weight: weight.iter().map(|v| v * spread).collect(),
            bias: if self.norms { Vec::new() } else { vec![0.1; out] },
        };
        let conv = self.op(Op::Conv2d(conv), &[from]);
        if !self.norms {
            return conv;
        }
        let norm = BatchNorm {
            gamma: vec![1.0; out],
            beta: vec![0.1; out],
            mean: vec![0.0; out],
            variance: vec![1.0; out],
            epsilon: 1e-5,
        };
        self.op(Op::BatchNorm(norm), &[conv])
    }

    fn op(&mut self, op: Op, inputs: &[Source]) -> Source {
        self.graph.add(op, inputs)
    }

    fn head(&mut self, from: Source, channels: usize) -> SegmentId {
        let pooled = self.op(Op::GlobalAvgPool, &[from]);
        let linear = Linear {
            out: CLASSES,
            weight: numbers(CLASSES * channels, 7),
            bias: vec![0.0; CLASSES],
        };
        let logits = self.op(Op::Linear(linear), &[pooled]);
        self.graph.end_segment("main", [logits])
    }

    /// A residual block at each width of a CIFAR `ResNet`.
    fn resnet(&mut self) -> SegmentId {
        let mut x = self.conv(Source::Image, [3, 16, 3, 1, 1]);
        x = self.op(Op::Relu, &[x]);
        for (input, out, stride) in [(16, 16, 1), (16, 32, 2), (32, 64, 2)] {
            let y = self.conv(x, [input, out, 3, stride, 1]);
            let y = self.op(Op::Relu, &[y]);
            let y = self.conv(y, [out, out, 3, 1, 1]);
            let around = if stride == 1 {
                x
            } else {
                self.conv(x, [input, out, 1, stride, 1])
            };
            let sum = self.op(Op::Add, &[y, around]);
            x = self.op(Op::Relu, &[sum]);
        }
        self.head(x, 64)
    }

    /// Inverted residuals, as in `MobileNetV2`.
    fn mobile(&mut self) -> SegmentId {
        let mut x = self.conv(Source::Image, [3, 16, 3, 1, 1]);
        for (input, out, stride) in [(16, 16, 1), (16, 32, 2), (32, 32, 1)] {
            let hidden = 6 * input;
            let y = self.conv(x, [input, hidden, 1, 1, 1]);
            let y = self.op(Op::Relu6, &[y]);
            let y = self.conv(y, [hidden, hidden, 3, stride, hidden]);
            let y = self.op(Op::Relu6, &[y]);
            let y = self.conv(y, [hidden, out, 1, 1, 1]);
            x = if input == out && stride == 1 {
                self.op(Op::Add, &[y, x])
            } else {
                y
            };
        }
        self.head(x, 32)
    }
}

/// Finds the exits of a thousand images.
fn route(times: usize) -> Result<(), Box<dyn Error>> {
    let table: Vec<u32> = (0..CLASSES as u32).step_by(2).collect();
    let hard = HardClasses::new(&table, &table, CLASSES)?;
    let routing = Routing {
        score: Score::Entropy.into(),
        offload_above: 4.0,
        extend_above: None,
        extension_offload_above: None,
        rule: ExtensionRule::Extension,
        when_unavailable: WhenUnavailable::AnswerLocally,
    };
    let main: Vec<Vec<f32>> = (0..ROUTED)
        .map(|i| numbers(CLASSES, i as u32).iter().map(|v| v * 6.0).collect())
        .collect();
    let extension = numbers(table.len(), 3);
    for _ in 0..times {
        for logits in &main {
            let read = after_main(black_box(logits), &routing, &hard)?;
            if read.extends {
                black_box(local_answer(&read.main, &extension, &routing, &hard)?);
            }
            black_box(read);
        }
    }
    Ok(())
}

/// Reads a request of one image, whose numbers end with `tail`.
fn decode(datatype: &str, tail: &str, times: usize) -> Result<(), Box<dyn Error>> {
    let pixels = numbers(3 * 32 * 32, 5);
    let data: Vec<String> = pixels
        .iter()
        .map(|v| format!("{}{tail}", (v * 127.0 + 127.0) as u8))
        .collect();
    let body = format!(
        r#"{{"inputs": [{{"name": "image", "datatype": "{datatype}", "shape": [1, 3, 32, 32], "data": [{}]}}]}}"#,
        data.join(", ")
    );
    let spec = InputSpec::cifar100();
    for _ in 0..times {
        let request = json::read_request(black_box(body.as_bytes()), None).map_err(|e| e.message)?;
        black_box(images::batch(request.inputs, &spec).map_err(|e| e.message)?);
    }
    Ok(())
}
