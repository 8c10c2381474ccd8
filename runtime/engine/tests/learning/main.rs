//! Training steps against differences of the loss, for every instruction set of this machine.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a test that cannot go on has failed"
)]

mod networks;

use std::num::NonZeroUsize;

use meanet_engine::{
    Descend, EngineError, Graph, Images, Isa, Learner, Numbers, Op, Options, Purpose, SegmentId,
};

use proptest::prelude::*;

use networks::{Network, all, numbers, one};

const BATCH: usize = 9;

fn options(isa: Isa, threads: usize, winograd: bool) -> Options {
    Options {
        threads: NonZeroUsize::new(threads).unwrap(),
        isa: Some(isa),
        max_batch: BATCH,
        winograd,
    }
}

fn here() -> impl Iterator<Item = Isa> {
    Isa::ALL.into_iter().filter(|isa| isa.is_here())
}

fn learner(network: &Network, averaged: bool, options: &Options) -> Learner {
    made(network, Purpose::Learn { averaged }, options)
}

fn made(network: &Network, purpose: Purpose, options: &Options) -> Learner {
    let Network {
        graph, first, output, ..
    } = network;
    Learner::compile(graph, *first, (*output, 0), purpose, options).unwrap()
}

/// Images, and what is given besides.
fn batch(network: &Network) -> (Vec<f32>, Vec<Vec<f32>>) {
    let images = numbers(BATCH * network.graph.input.values(), 3);
    let given = network.given.iter().map(|&values| numbers(BATCH * values, 4));
    (images, given.collect())
}

fn forward(learner: &mut Learner, network: &Network) -> Vec<f32> {
    let (images, given) = batch(network);
    let given: Vec<&[f32]> = given.iter().map(Vec::as_slice).collect();
    learner.forward(Images::Floats(&images), &given).unwrap().to_vec()
}

/// A loss that is not linear: `Σ r·y + y²/2`
fn loss(logits: &[f32]) -> f64 {
    let factors = numbers(logits.len(), 9);
    let terms = logits.iter().zip(&factors);
    terms
        .map(|(y, r)| f64::from(*y) * f64::from(*r) + 0.5 * f64::from(*y).powi(2))
        .sum()
}

fn gradient(logits: &[f32]) -> Vec<f32> {
    let factors = numbers(logits.len(), 9);
    logits.iter().zip(&factors).map(|(y, r)| y + r).collect()
}

const PLAIN: Descend = Descend {
    rate: 1.0,
    momentum: 0.0,
    weight_decay: 0.0,
    keep: None,
};

/// What is trained of an operation.
fn trained(op: &Op) -> Vec<f32> {
    match op {
        Op::Conv2d(conv) => [&conv.weight[..], &conv.bias].concat(),
        Op::Linear(linear) => [&linear.weight[..], &linear.bias].concat(),
        Op::BatchNorm(norm) => [&norm.gamma[..], &norm.beta].concat(),
        _ => panic!("{op:?} has no weights"),
    }
}

/// The operation with `by` times the direction added.
fn moved(op: &Op, direction: &[f32], by: f32) -> Op {
    let mut op = op.clone();
    let mut rest = direction.iter();
    let lists: [&mut Vec<f32>; 2] = match &mut op {
        Op::Conv2d(conv) => [&mut conv.weight, &mut conv.bias],
        Op::Linear(linear) => [&mut linear.weight, &mut linear.bias],
        Op::BatchNorm(norm) => [&mut norm.gamma, &mut norm.beta],
        other => panic!("{other:?} has no weights"),
    };
    for value in lists.into_iter().flatten() {
        *value += by * rest.next().unwrap();
    }
    op
}

#[test]
fn a_step_follows_the_slope_of_the_loss() {
    for network in all() {
        for isa in here() {
            for winograd in [false, true] {
                let what = format!("{}, {isa:?}, winograd {winograd}", network.name);
                let options = options(isa, 2, winograd);
                let mut learner = learner(&network, false, &options);
                let nodes: Vec<usize> = learner.nodes().collect();
                let before: Vec<Op> = nodes
                    .iter()
                    .map(|&node| learner.get(node, Numbers::Weights).unwrap())
                    .collect();
                let logits = forward(&mut learner, &network);
                learner.step(&gradient(&logits), PLAIN).unwrap();
                let slopes: Vec<Vec<f32>> = nodes
                    .iter()
                    .zip(&before)
                    .map(|(&node, before)| {
                        let after = trained(&learner.get(node, Numbers::Weights).unwrap());
                        trained(before).iter().zip(after).map(|(b, a)| b - a).collect()
                    })
                    .collect();
                for (&node, op) in nodes.iter().zip(&before) {
                    learner.set(node, Numbers::Weights, op).unwrap();
                }
                for ((&node, op), slope) in nodes.iter().zip(&before).zip(&slopes) {
                    // Along the slope itself the difference is the largest, and along a direction by chance nothing may cancel.
                    let length = slope.iter().map(|v| v * v).sum::<f32>().sqrt();
                    let count = slope.len();
                    for direction in [
                        slope.iter().map(|v| v / length.max(1e-9)).collect(),
                        numbers(count, 7),
                    ] {
                        let direction: Vec<f32> = direction;
                        let scale = trained(op).iter().map(|v| v * v).sum::<f32>().sqrt();
                        let size = direction.iter().map(|v| v * v).sum::<f32>().sqrt();
                        let by = 5e-4 * scale.max(1.0) / size;
                        let mut at = |by: f32| {
                            learner
                                .set(node, Numbers::Weights, &moved(op, &direction, by))
                                .unwrap();
                            learner.ready().unwrap();
                            loss(&forward(&mut learner, &network))
                        };
                        let found = (at(by) - at(-by)) / (2.0 * f64::from(by));
                        learner.set(node, Numbers::Weights, op).unwrap();
                        let expected: f64 = slope
                            .iter()
                            .zip(&direction)
                            .map(|(s, d)| f64::from(*s) * f64::from(*d))
                            .sum();
                        let each = f64::from(length * size) / (count as f64).sqrt();
                        assert!(
                            (found - expected).abs() < 0.5 * (each + 0.05 * f64::from(size)),
                            "{what}, node {node}: {found} by differences, {expected} by the step"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let how = Descend {
        rate: 0.05,
        momentum: 0.9,
        weight_decay: 1e-3,
        keep: Some(0.5),
    };
    for network in all() {
        let run = |threads: usize| {
            let mut learner = learner(&network, true, &options(Isa::best(), threads, true));
            for _ in 0..3 {
                let logits = forward(&mut learner, &network);
                learner.step(&gradient(&logits), how).unwrap();
            }
            let nodes: Vec<usize> = learner.nodes().collect();
            let all = [Numbers::Weights, Numbers::Velocities, Numbers::Average];
            nodes
                .iter()
                .flat_map(|&node| all.map(|which| learner.get(node, which).unwrap()))
                .collect::<Vec<Op>>()
        };
        assert!(run(1) == run(3), "{}", network.name);
    }
}

#[test]
fn a_step_takes_all_gradients_that_were_gathered() {
    let how = Descend { rate: 0.1, ..PLAIN };
    for network in all() {
        let moved = |times: usize| {
            let mut learner = learner(&network, false, &options(Isa::best(), 2, true));
            let node = learner.nodes().next().unwrap();
            let weights = |learner: &Learner| trained(&learner.get(node, Numbers::Weights).unwrap());
            let start = weights(&learner);
            for _ in 0..times {
                let logits = forward(&mut learner, &network);
                learner.gather(&gradient(&logits)).unwrap();
            }
            learner.descend(how).unwrap();
            let now = weights(&learner);
            // Nothing is left of them for the next step.
            learner.descend(how).unwrap();
            assert_eq!(now, weights(&learner), "{}", network.name);
            start
                .iter()
                .zip(now)
                .map(|(start, now)| now - start)
                .collect::<Vec<f32>>()
        };
        let longest = moved(1).iter().fold(0.0_f32, |longest, by| longest.max(by.abs()));
        for (once, thrice) in moved(1).iter().zip(moved(3)) {
            assert!(
                (3.0 * once - thrice).abs() < 1e-3 * longest + 1e-6,
                "{}",
                network.name
            );
        }
    }
}

#[test]
fn steps_are_nesterovs_with_decay_and_average() {
    let network = &all()[0];
    let how = Descend {
        rate: 0.1,
        momentum: 0.9,
        weight_decay: 0.01,
        keep: Some(0.75),
    };
    let mut learner = learner(network, true, &options(Isa::best(), 1, true));
    let node = learner.nodes().next().unwrap();
    let weights = |learner: &Learner, which| trained(&learner.get(node, which).unwrap());
    let start = weights(&learner, Numbers::Weights);
    // Without a gradient the penalty alone moves a weight: by -rate·(1 + momentum)·decay·w at first.
    let zeros = vec![0.0; forward(&mut learner, network).len()];
    learner.step(&zeros, how).unwrap();
    let now = weights(&learner, Numbers::Weights);
    let velocity = weights(&learner, Numbers::Velocities);
    let average = weights(&learner, Numbers::Average);
    for (((start, now), velocity), average) in start.iter().zip(&now).zip(&velocity).zip(&average) {
        assert!((velocity - 0.01 * start).abs() < 1e-6);
        assert!((now - start * (1.0 - 0.1 * 1.9 * 0.01)).abs() < 1e-6);
        assert!((average - (0.75 * start + 0.25 * now)).abs() < 1e-6);
    }
}

#[test]
fn running_statistics_follow_the_batches() {
    let network = &all()[0];
    let mut learner = learner(network, false, &options(Isa::best(), 2, false));
    let norm = learner
        .nodes()
        .find(|&node| matches!(network.graph.nodes[node].op, Op::BatchNorm(_)))
        .unwrap();
    let statistics = |learner: &Learner| match learner.get(norm, Numbers::Weights).unwrap() {
        Op::BatchNorm(norm) => (norm.mean, norm.variance),
        other => panic!("{other:?}"),
    };
    let (before, _) = statistics(&learner);
    forward(&mut learner, network);
    let (once, _) = statistics(&learner);
    for _ in 0..200 {
        forward(&mut learner, network);
    }
    let (end, variance) = statistics(&learner);
    for ((before, once), end) in before.iter().zip(&once).zip(&end) {
        assert!(
            (once - (0.9 * before + 0.1 * end)).abs() < 1e-4,
            "{before} {once} {end}"
        );
    }
    assert!(variance.iter().all(|v| *v > 0.0));
}

#[test]
fn what_cannot_be_trained_is_refused_by_name() {
    let mut graph = Graph::new(meanet_engine::Input::new([3, 8, 8]));
    let swish = graph.add(Op::Swish, [meanet_engine::Source::Image]);
    let segment = graph.end_segment("main", [swish]);
    let error = Learner::compile(
        &graph,
        segment,
        (segment, 0),
        Purpose::Count,
        &options(Isa::best(), 1, true),
    );
    let error = error.err().unwrap().to_string();
    assert!(
        error.contains("node 0") && error.contains("another backend"),
        "{error}"
    );

    let network = &all()[0];
    let mut learner = learner(network, false, &options(Isa::best(), 1, true));
    assert!(matches!(
        learner.forward(Images::Floats(&[0.0; 7]), &[]),
        Err(EngineError::Pixels { .. })
    ));
    assert!(learner.step(&[0.0; 3], PLAIN).is_err());
    assert!(learner.get(10_000, Numbers::Weights).is_err());
    let missing = Learner::compile(
        &network.graph,
        SegmentId(9),
        (SegmentId(0), 0),
        Purpose::Count,
        &options(Isa::best(), 1, true),
    );
    assert!(missing.is_err());
}

#[test]
fn counting_takes_the_same_statistics_in_less_memory() {
    for network in all() {
        let options = options(Isa::best(), 2, true);
        let mut whole = learner(&network, false, &options);
        let mut counting = made(&network, Purpose::Count, &options);
        assert!(counting.bytes() < whole.bytes(), "{}", network.name);
        for _ in 0..2 {
            assert_eq!(forward(&mut counting, &network), forward(&mut whole, &network));
        }
        let nodes: Vec<usize> = whole.nodes().collect();
        for node in nodes {
            let [a, b] = [&whole, &counting].map(|learner| learner.get(node, Numbers::Weights).unwrap());
            assert!(a == b, "{}, node {node}", network.name);
        }
        let logits = forward(&mut counting, &network);
        let error = counting.step(&logits, PLAIN).unwrap_err().to_string();
        assert!(error.contains("count only"), "{error}");
    }
}

/// All numbers after a step.
fn stepped(network: &Network, options: &Options) -> Vec<f32> {
    let mut learner = learner(network, false, options);
    let logits = forward(&mut learner, network);
    learner
        .step(&gradient(&logits), Descend { rate: 0.1, ..PLAIN })
        .unwrap();
    let nodes: Vec<usize> = learner.nodes().collect();
    let weights = nodes
        .iter()
        .flat_map(|&node| trained(&learner.get(node, Numbers::Weights).unwrap()));
    weights.collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever the shape, all kernels lead where the plain ones do.
    #[test]
    fn a_layer_of_any_shape_learns_the_same_on_all_instruction_sets(
        channels in [1..40_usize, 1..70_usize],
        side in 3..14_usize,
        three in any::<bool>(),
        stride in 1..=2_usize,
        depthwise in any::<bool>(),
    ) {
        let network = one(channels, [side, if three { 3 } else { 1 }, stride], depthwise);
        let wanted = stepped(&network, &options(Isa::Portable, 1, false));
        let largest = wanted.iter().fold(1.0_f32, |most, v| most.max(v.abs()));
        for isa in here() {
            for winograd in [false, true] {
                let found = stepped(&network, &options(isa, 2, winograd));
                let off = wanted.iter().zip(&found).filter(|(a, b)| (**a - **b).abs() > 2e-3 * largest).count();
                // What rounding takes across a kink moves the weights of one channel.
                prop_assert!(off * 50 <= wanted.len(), "{isa:?}, winograd {winograd}: {off} of {} weights differ", wanted.len());
            }
        }
    }
}
