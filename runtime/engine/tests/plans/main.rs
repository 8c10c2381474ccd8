//! Plans against loops as in the definition, for every instruction set of this machine.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::float_cmp,
    missing_docs,
    reason = "a test that cannot go on has failed"
)]

mod allocations;
mod int8;
mod naive;
mod networks;

use std::num::NonZeroUsize;

use meanet_engine::{EngineError, Graph, Images, Isa, Op, Options, Plan, SegmentId, Session, Source};
use proptest::prelude::*;

use networks::{Builder, meanet};

fn here() -> impl Iterator<Item = Isa> {
    Isa::ALL.into_iter().filter(|isa| isa.is_here())
}

fn options(isa: Isa, threads: usize, winograd: bool) -> Options {
    Options {
        threads: NonZeroUsize::new(threads).unwrap(),
        isa: Some(isa),
        max_batch: 8,
        winograd,
    }
}

fn pixels(count: usize, seed: u64) -> Vec<u8> {
    (0..count as u64)
        .map(|i| (i.wrapping_add(seed).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8)
        .collect()
}

/// Largest difference, by the largest expected value.
fn difference(got: &[f32], expected: &[f64]) -> f64 {
    assert_eq!(got.len(), expected.len());
    let largest = expected.iter().fold(1.0_f64, |m, v| m.max(v.abs()));
    got.iter().zip(expected).fold(0.0_f64, |m, (g, e)| {
        assert!(g.is_finite(), "{g}");
        m.max((f64::from(*g) - e).abs())
    }) / largest
}

/// All outputs of a segment for an image, against the naive values.
fn check(session: &Session, graph: &Graph, segment: SegmentId, row: usize, image: &[u8], what: &str) {
    let image: Vec<f32> = image.iter().map(|&p| f32::from(p)).collect();
    let expected = naive::values(graph, &image);
    for (output, &node) in graph.segments[segment.0].outputs.iter().enumerate() {
        let mut got = vec![0.0; session.shape(segment, output).unwrap().values()];
        session.read(segment, output, row, &mut got).unwrap();
        let off = difference(&got, &expected[node].data);
        assert!(
            off < 1e-3,
            "{what}: output {output} of segment {}: off by {off}",
            segment.0
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn whole_networks_compute_what_they_say(
        side in 5_usize..20,
        narrow in 1_usize..35,
        more in 0_usize..20,
        classes in 1_usize..40,
        mobile: bool,
        threads in 1_usize..4,
        count in 1_usize..6,
        winograd: bool,
        seed: u64,
    ) {
        let (graph, main, extension) = meanet(side, [narrow, narrow + more], classes, mobile, seed);
        let each = graph.input.values();
        let images = pixels(count * each, seed);
        for isa in here() {
            let plan = Plan::compile(&graph, &options(isa, threads, winograd)).unwrap();
            let mut session = plan.session().unwrap();
            session.run(main, Images::Bytes(&images), count).unwrap();
            let rows: Vec<usize> = (0..count).filter(|row| row % 2 == 0).collect();
            session.run_rows(extension, Images::Bytes(&images), count, &rows).unwrap();
            for row in 0..count {
                let image = &images[row * each..][..each];
                let what = format!("{isa:?}, {threads} threads, image {row}");
                check(&session, &graph, main, row, image, &what);
                if row % 2 == 0 {
                    check(&session, &graph, extension, row, image, &what);
                }
            }
        }
    }

    #[test]
    fn one_convolution_computes_what_it_says(
        shape in [1_usize..40, 1..24, 1..24],
        out in 1_usize..40,
        kernel in prop::sample::select(vec![1_usize, 3, 5]),
        stride in 1_usize..3,
        deep: bool,
        winograd: bool,
        seed: u64,
    ) {
        let (out, groups) = if deep { (shape[0], shape[0]) } else { (out, 1) };
        let mut b = Builder::new(shape, seed);
        let made = b.conv(Source::Image, [shape[0], out], kernel, stride, groups);
        let made = b.graph.add(Op::Relu, [made]);
        let segment = b.graph.end_segment("one", [made]);
        let images = pixels(2 * b.graph.input.values(), seed);
        for isa in here() {
            let plan = Plan::compile(&b.graph, &options(isa, 1, winograd)).unwrap();
            let mut session = plan.session().unwrap();
            session.run(segment, Images::Bytes(&images), 2).unwrap();
            for row in 0..2 {
                let image = &images[row * b.graph.input.values()..][..b.graph.input.values()];
                check(&session, &b.graph, segment, row, image, &format!("{isa:?}"));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn pools_compute_what_they_say(
        shape in [1_usize..20, 3..20, 3..20],
        kernel in 1_usize..4,
        stride in 1_usize..4,
        padded in 0_usize..3,
        threads in 1_usize..3,
        seed: u64,
    ) {
        let mut b = Builder::new(shape, seed);
        let padding = padded.min(kernel - 1);
        let largest = b.graph.add(Op::MaxPool { kernel, stride, padding }, [Source::Image]);
        let mean = b.graph.add(Op::AvgPool { kernel, stride }, [Source::Image]);
        let whole = b.graph.add(Op::GlobalAvgPool, [largest]);
        let segment = b.graph.end_segment("pools", [largest, mean, whole]);
        let images = pixels(b.graph.input.values(), seed);
        for isa in here() {
            let mut session = Plan::compile(&b.graph, &options(isa, threads, true)).unwrap().session().unwrap();
            session.run(segment, Images::Bytes(&images), 1).unwrap();
            check(&session, &b.graph, segment, 0, &images, &format!("{isa:?}"));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn squeezed_blocks_compute_what_they_say(
        channels in 1_usize..40,
        side in 3_usize..12,
        count in 1_usize..6,
        threads in 1_usize..3,
        seed: u64,
    ) {
        let mut b = Builder::new([3, side, side], seed);
        let x = b.conv(Source::Image, [3, channels], 3, 1, 1);
        let x = b.graph.add(Op::Swish, [x]);
        let mean = b.graph.add(Op::GlobalAvgPool, [x]);
        let few = b.dense(mean, [channels, 2]);
        let few = b.graph.add(Op::Swish, [few]);
        let factors = b.dense(few, [2, channels]);
        let factors = b.graph.add(Op::Sigmoid, [factors]);
        let scaled = b.graph.add(Op::Scale, [x, factors]);
        let out = b.conv(scaled, [channels, 8], 3, 2, 1);
        let segment = b.graph.end_segment("squeezed", [factors, scaled, out]);
        let images = pixels(count * b.graph.input.values(), seed);
        for isa in here() {
            let mut session = Plan::compile(&b.graph, &options(isa, threads, true)).unwrap().session().unwrap();
            session.run(segment, Images::Bytes(&images), count).unwrap();
            for (row, image) in images.chunks_exact(b.graph.input.values()).enumerate() {
                check(&session, &b.graph, segment, row, image, &format!("{isa:?}"));
            }
        }
    }
}

#[test]
fn bytes_and_floats_of_the_same_value_say_the_same() {
    let (graph, main, _) = meanet(12, [16, 32], 10, false, 7);
    let bytes = pixels(3 * graph.input.values(), 1);
    let floats: Vec<f32> = bytes.iter().map(|&b| f32::from(b)).collect();
    let mut session = Plan::compile(&graph, &Options::default())
        .unwrap()
        .session()
        .unwrap();
    let mut said = |images: Images| {
        session.run(main, images, 3).unwrap();
        (0..3)
            .map(|row| session.vector(main, 1, row).unwrap().to_vec())
            .collect::<Vec<_>>()
    };
    assert_eq!(said(Images::Bytes(&bytes)), said(Images::Floats(&floats)));
}

#[test]
fn an_image_says_the_same_in_any_batch() {
    let (graph, main, _) = meanet(12, [16, 32], 10, true, 7);
    let each = graph.input.values();
    let images = pixels(8 * each, 1);
    for threads in [1, 2] {
        let plan = Plan::compile(&graph, &options(Isa::best(), threads, true)).unwrap();
        let mut session = plan.session().unwrap();
        session.run(main, Images::Bytes(&images), 8).unwrap();
        let together: Vec<Vec<f32>> = (0..8)
            .map(|r| session.vector(main, 1, r).unwrap().to_vec())
            .collect();
        for (row, expected) in together.iter().enumerate() {
            session
                .run(main, Images::Bytes(&images[row * each..][..each]), 1)
                .unwrap();
            let alone: Vec<f64> = session
                .vector(main, 1, 0)
                .unwrap()
                .iter()
                .map(|v| f64::from(*v))
                .collect();
            assert!(difference(expected, &alone) < 1e-5);
        }
    }
}

#[test]
fn what_was_saved_goes_on_elsewhere() {
    let (graph, main, extension) = meanet(12, [16, 24], 10, false, 7);
    let each = graph.input.values();
    let images = pixels(3 * each, 1);
    let plan = Plan::compile(&graph, &options(Isa::best(), 1, true)).unwrap();
    let (mut one, mut other) = (plan.session().unwrap(), plan.session().unwrap());
    one.run(main, Images::Bytes(&images), 3).unwrap();
    one.run(extension, Images::Bytes(&images), 3).unwrap();
    let mut saved = Vec::new();
    one.save(main, 2, &mut saved).unwrap();
    other.restore(main, 0, &saved).unwrap();
    other
        .run(extension, Images::Bytes(&images[2 * each..]), 1)
        .unwrap();
    assert_eq!(other.vector(main, 1, 0).unwrap(), one.vector(main, 1, 2).unwrap());
    assert_eq!(
        other.vector(extension, 0, 0).unwrap(),
        one.vector(extension, 0, 2).unwrap()
    );
    assert!(other.restore(main, 0, &saved[1..]).is_err());
    assert!(other.restore(main, 8, &saved).is_err());
    assert!(one.save(main, 3, &mut saved).is_err());
}

#[test]
fn what_cannot_be_run_is_said() {
    let (graph, main, extension) = meanet(12, [16, 32], 10, false, 7);
    let images = pixels(2 * graph.input.values(), 1);
    let mut session = Plan::compile(&graph, &options(Isa::best(), 1, true))
        .unwrap()
        .session()
        .unwrap();
    let early = session.run_rows(extension, Images::Bytes(&images), 2, &[0]);
    assert!(matches!(early, Err(EngineError::Missing { .. })), "{early:?}");
    let short = session.run(main, Images::Bytes(&images[1..]), 2);
    assert!(matches!(short, Err(EngineError::Pixels { .. })), "{short:?}");
    let many = session.run(main, Images::Bytes(&pixels(9 * graph.input.values(), 1)), 9);
    assert!(matches!(many, Err(EngineError::Batch { .. })), "{many:?}");
    session.run(main, Images::Bytes(&images), 2).unwrap();
    assert!(
        session
            .run_rows(extension, Images::Bytes(&images), 2, &[2])
            .is_err()
    );
    assert!(session.vector(main, 1, 2).is_err());
    assert!(matches!(
        session.vector(main, 0, 0),
        Err(EngineError::Kind { .. })
    ));
}

#[test]
fn a_graph_that_does_not_fit_names_its_node() {
    let mut b = Builder::new([3, 8, 8], 1);
    let conv = b.conv(Source::Image, [4, 8], 3, 1, 1);
    b.graph.end_segment("main", [conv]);
    let Err(error) = Plan::compile(&b.graph, &Options::default()) else {
        panic!("taken")
    };
    assert!(error.to_string().contains("node 0"), "{error}");
}
