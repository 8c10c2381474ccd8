//! Whether a plan computes what the burn module does that it was made from.

use burn::tensor::{Device, Tensor};
use meanet_engine::{Images, SegmentId, Session};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use snafu::{ResultExt, ensure};
use tracing::debug;

use crate::input::InputSpec;
use crate::lower::{CoarseSnafu, CompileSnafu, DiffersSnafu, LowerError, NotFiniteSnafu, PlanError, values};

/// How far a plan may be off, by the largest number of a block's answers. Winograd's convolution rounds to about 1e-5 of it in a
/// `ResNet` of 110 layers; a wrong weight is off by far more.
pub const TOLERANCE: f32 = 1e-3;
/// The same of a device that the tensor library computes on. GPUs round factors to 10 bits, which is off by some 1e-3 in a deep network.
pub const TOLERANCE_DEVICE: f32 = 2e-2;
/// How far an 8-bit plan may be off: root mean square of the differences, by that of the answers that a block gives or adds to. The images compared on are not
/// like those that ranges were taken on, which costs most of this; a wrong weight, kernel or range is off by about all of it.
pub const TOLERANCE_INT8: f32 = 0.4;
/// Answers smaller than this are compared as if they were this large.
const LEAST: f32 = 1e-3;

/// Images that burn and plan are compared on; a plan has to take them at once.
pub(crate) const PROBES: usize = 3;

/// The images that burn and plan are compared on: one all grey, one of noise, one of shapes and shades like a photograph's.
pub(crate) struct Probes {
    pixels: Vec<u8>,
    count: usize,
}

impl Probes {
    pub(crate) fn new(input: &InputSpec) -> Self {
        let (height, width) = (input.height, input.width);
        let mut random = ChaCha8Rng::seed_from_u64(0);
        let mut pixels = vec![127; input.values()];
        pixels.extend((0..input.values()).map(|_| random.random::<u8>()));
        for channel in 0..3 {
            for y in 0..height {
                for x in 0..width {
                    let (down, right) = (y as f32 / height as f32, x as f32 / width as f32);
                    let sky = 200.0 - 120.0 * down + 10.0 * channel as f32;
                    let disc = (down - 0.6).hypot(right - 0.4) < 0.25;
                    let stripes = down > 0.8 && (x / 2) % 2 == 0;
                    let shade = match (disc, stripes) {
                        (true, _) => 40.0 + 70.0 * channel as f32 + 60.0 * right,
                        (_, true) => 230.0 - 90.0 * channel as f32,
                        _ => sky,
                    };
                    pixels.push(shade as u8);
                }
            }
        }
        Self {
            pixels,
            count: PROBES,
        }
    }

    /// As burn modules take them, `[n, 3, height, width]`.
    pub(crate) fn tensor(&self, input: &InputSpec, device: &Device) -> Tensor<4> {
        let values = self.pixels.iter().map(|&v| f32::from(v)).collect();
        input.tensor(values, [input.height, input.width], device)
    }

    /// What `tensor`, a burn module's answer to the probes, obliges an output of a segment to.
    pub(crate) fn expect<const D: usize>(
        &self,
        block: &'static str,
        (segment, output): (SegmentId, usize),
        tensor: Tensor<D>,
    ) -> Result<Expectation<'_>, LowerError> {
        Ok(Expectation {
            probes: self,
            block,
            segment,
            output,
            values: values("answers of a block", tensor)?,
            answers: None,
        })
    }
}

/// How far `found` is off at most, by the largest of what is `expected`; a number that is none is infinitely far off.
pub(crate) fn difference(expected: &[f32], found: &[f32]) -> f32 {
    let largest = expected.iter().fold(LEAST, |m, v| m.max(v.abs()));
    let off = found.iter().zip(expected).map(|(f, e)| (f - e).abs() / largest);
    off.fold(0.0_f32, |m, d| {
        if d <= m {
            m
        } else if d.is_nan() {
            f32::INFINITY
        } else {
            d
        }
    })
}

/// What an output of a segment has to be for the probes.
pub(crate) struct Expectation<'a> {
    probes: &'a Probes,
    block: &'static str,
    segment: SegmentId,
    output: usize,
    /// Row-major, `[n, …]`.
    values: Vec<f32>,
    /// The answers that these are a part of, where they are none by themselves.
    answers: Option<Vec<f32>>,
}

impl Expectation<'_> {
    /// What is expected is a part of `answers`, such as what an extension adds to the main block's: an 8-bit plan is judged by how far it
    /// has these off.
    pub(crate) fn part_of<const D: usize>(self, answers: Tensor<D>) -> Result<Self, LowerError> {
        let answers = Some(values("answers of a block", answers)?);
        Ok(Self { answers, ..self })
    }

    /// Runs the segment, whose needs must have been run on the probes, and compares.
    pub(crate) fn check(&self, session: &mut Session) -> Result<(), PlanError> {
        let found = self.run(session)?;
        let (block, tolerance) = (self.block, TOLERANCE);
        let difference = difference(&self.values, &found);
        ensure!(
            difference <= tolerance,
            DiffersSnafu {
                block,
                difference,
                tolerance
            }
        );
        Ok(())
    }

    /// As [`Expectation::check`], for an 8-bit plan.
    pub(crate) fn check_int8(&self, session: &mut Session) -> Result<(), PlanError> {
        let (found, block) = (self.run(session)?, self.block);
        let differences: f32 = found.iter().zip(&self.values).map(|(f, e)| (f - e).powi(2)).sum();
        let answers = self.answers.as_ref().unwrap_or(&self.values);
        let answers: f32 = answers.iter().map(|e| e.powi(2)).sum();
        let difference = (differences / answers.max(LEAST * LEAST)).sqrt();
        debug!(block, difference, "8-bit plan against the network");
        // Written so that a number that is none is too large.
        ensure!(
            difference <= TOLERANCE_INT8,
            CoarseSnafu {
                block,
                difference,
                tolerance: TOLERANCE_INT8
            }
        );
        Ok(())
    }

    /// What the segment answers, `[n, …]`.
    fn run(&self, session: &mut Session) -> Result<Vec<f32>, PlanError> {
        let block = self.block;
        let count = self.probes.count;
        ensure!(
            self.values.iter().all(|v| v.is_finite()),
            NotFiniteSnafu { block }
        );
        session
            .run(self.segment, Images::Bytes(&self.probes.pixels), count)
            .context(CompileSnafu)?;
        let mut found = vec![0.0; self.values.len()];
        let each = (self.values.len() / count).max(1);
        for (row, to) in found.chunks_exact_mut(each).enumerate() {
            session
                .read(self.segment, self.output, row, to)
                .context(CompileSnafu)?;
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use meanet_engine::{Observer, Op, Options, Plan, Ranges};

    use super::*;
    use crate::extend::{Adaptive, Extension};
    use crate::layout::Blueprint;
    use crate::lower::{CloudGraph, Compute, EdgeGraph, FEATURES, LOGITS, Runner};
    use crate::network::Network;
    use crate::train::initial::seeded;

    const INPUT: InputSpec = InputSpec {
        height: 16,
        width: 16,
        mean: [0.5; 3],
        std: [0.25; 3],
    };

    /// The plan of an untrained network whose graph was changed after its modules had said what to expect.
    fn plan(change: impl Fn(&mut EdgeGraph)) -> Result<Runner, PlanError> {
        let device = Device::flex();
        let blueprint = Blueprint::whole("ResNet20".parse().unwrap());
        let main = Network::main(&blueprint, 10, [INPUT.height, INPUT.width], &device).unwrap();
        let main = seeded(main, 3).unwrap();
        let adaptive = seeded(Adaptive::new(&blueprint, &device), 4).unwrap();
        let extension = seeded(Extension::new(&blueprint, 5, &device), 5).unwrap();
        let mut graph = EdgeGraph::new(&INPUT, &main, &adaptive, &extension).unwrap();
        let probes = Probes::new(&INPUT);
        let images = probes.tensor(&INPUT, &device);
        let features = main.features(images.clone());
        let again = adaptive.forward(images);
        let extended = extension.forward(features.clone(), again.clone());
        let expectations = [
            probes
                .expect("main block", (graph.main, FEATURES), features.clone())
                .unwrap(),
            probes
                .expect("main block", (graph.main, LOGITS), main.logits(features))
                .unwrap(),
            probes
                .expect("adaptive block", (graph.adaptive, FEATURES), again)
                .unwrap(),
            probes
                .expect("extension block", (graph.extension, 0), extended)
                .unwrap(),
        ];
        change(&mut graph);
        Runner::new(&graph.graph, Compute::default(), &expectations)
    }

    /// Convolutions of a segment.
    fn convolutions(graph: &mut EdgeGraph, segment: SegmentId) -> Vec<&mut meanet_engine::Conv2d> {
        let ends: Vec<usize> = graph.graph.segments.iter().map(|s| s.end).collect();
        let start = segment.0.checked_sub(1).map_or(0, |before| ends[before]);
        let nodes = graph.graph.nodes[start..ends[segment.0]].iter_mut();
        nodes
            .filter_map(|node| match &mut node.op {
                Op::Conv2d(conv) => Some(conv),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn a_plan_of_the_same_network_is_taken() {
        plan(|_| {}).map(|_| ()).unwrap();
    }

    #[test]
    fn an_8_bit_plan_by_ranges_of_another_network_is_refused() {
        let device = Device::flex();
        let blueprint = Blueprint::whole("ResNet20".parse().unwrap());
        let main = Network::main(&blueprint, 10, [INPUT.height, INPUT.width], &device).unwrap();
        let main = seeded(main, 3).unwrap();
        let CloudGraph { graph, network } = CloudGraph::new(&INPUT, &main).unwrap();
        let probes = Probes::new(&INPUT);
        let features = main.features(probes.tensor(&INPUT, &device));
        let logits = main.logits(features.clone());
        let expectations = [
            probes
                .expect("main block", (network, FEATURES), features)
                .unwrap(),
            probes.expect("main block", (network, LOGITS), logits).unwrap(),
        ];
        let mut observer = Observer::new(&graph, &Options::default()).unwrap();
        observer.observe(Images::Bytes(&probes.pixels)).unwrap();
        let layers = observer.ranges().layers(&graph, network);
        let plan = |factor: f32| {
            let ranges = layers.iter().map(|range| range.map(|end| end * factor)).collect();
            let ranges = Ranges::of_layers(&graph, &[ranges]).unwrap();
            Runner::int8(&graph, &ranges, Compute::default(), &expectations)
        };
        plan(1.0).map(|_| ()).unwrap();
        let error = plan(0.001).err().unwrap().to_string();
        assert!(
            error.contains("main block is off by") && error.contains("Int8"),
            "{error}"
        );
    }

    #[test]
    fn an_8_bit_part_is_judged_by_what_it_is_a_part_of() {
        let device = Device::flex();
        let network = seeded(Network::new("ResNet20".parse().unwrap(), 10, &device), 3).unwrap();
        let CloudGraph {
            graph,
            network: segment,
        } = CloudGraph::new(&INPUT, &network).unwrap();
        let probes = Probes::new(&INPUT);
        let logits = network.logits(network.features(probes.tensor(&INPUT, &device)));
        let plan = Plan::compile(
            &graph,
            &Options {
                max_batch: PROBES,
                ..Options::default()
            },
        )
        .unwrap();
        // Half as large as the plan says, so that it is off by as much as all of it.
        let half = || {
            probes
                .expect("extension block", (segment, LOGITS), logits.clone() / 2.0)
                .unwrap()
        };
        assert!(half().check_int8(&mut plan.session().unwrap()).is_err());
        let part = half().part_of(logits.clone() * 3.0).unwrap();
        part.check_int8(&mut plan.session().unwrap()).unwrap();
    }

    #[test]
    fn a_plan_that_differs_is_refused_by_the_name_of_its_block() {
        let refused = |change: &dyn Fn(&mut EdgeGraph)| plan(change).err().unwrap().to_string();
        let error = refused(&|graph| {
            let segment = graph.adaptive;
            convolutions(graph, segment)[3].weight[5] += 0.5;
        });
        assert!(error.contains("adaptive block is off by"), "{error}");
        let error = refused(&|graph| {
            let segment = graph.main;
            let channels = &mut convolutions(graph, segment)[0].weight;
            channels.rotate_right(27);
        });
        assert!(error.contains("main block is off by"), "{error}");
    }

    #[test]
    fn numbers_that_overflow_are_refused() {
        let error = plan(|graph| {
            let segment = graph.main;
            for conv in convolutions(graph, segment) {
                conv.weight.fill(1e30);
            }
        });
        let error = error.err().unwrap().to_string();
        assert!(error.contains("main block is off by"), "{error}");
    }
}
