//! Plans of 8 bits: the same bits from every instruction set, and near to what the definition says.

use meanet_engine::{Graph, Images, Isa, Observer, Op, Plan, Ranges, SegmentId, Source};
use proptest::prelude::*;

use crate::networks::{Builder, meanet};
use crate::{here, naive, options, pixels};

fn observed(graph: &Graph, images: &[u8]) -> Ranges {
    let mut observer = Observer::new(graph, &options(Isa::best(), 1, true)).unwrap();
    observer.observe(Images::Bytes(images)).unwrap();
    observer.ranges()
}

/// What an output of a segment is for each image, `[n][values]`.
fn outputs(plan: &Plan, segments: &[SegmentId], images: &[u8], count: usize) -> Vec<Vec<f32>> {
    let mut session = plan.session().unwrap();
    for segment in segments {
        session.run(*segment, Images::Bytes(images), count).unwrap();
    }
    let last = *segments.last().unwrap();
    let mut all = Vec::new();
    for row in 0..count {
        let mut values = vec![0.0; session.shape(last, 0).unwrap().values()];
        session.read(last, 0, row, &mut values).unwrap();
        all.push(values);
    }
    all
}

/// Root mean square of the differences, by that of what is expected.
fn off(got: &[f32], expected: &[f64]) -> f64 {
    let squares = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>();
    let differences = squares(&mut got.iter().zip(expected).map(|(g, e)| f64::from(*g) - e));
    (differences / squares(&mut expected.iter().copied()).max(1e-12)).sqrt()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn all_instruction_sets_give_the_same_bits(
        shape in [8_usize..40, 1..20, 1..20],
        out in 1_usize..70,
        kernel in prop::sample::select(vec![1_usize, 3, 5]),
        stride in 1_usize..3,
        residual: bool,
        winograd: bool,
        threads in 1_usize..3,
        count in 1_usize..6,
        seed: u64,
    ) {
        let mut b = Builder::new(shape, seed);
        let first = b.conv(Source::Image, [shape[0], out.max(8)], kernel, stride, 1);
        let first = b.graph.add(Op::Relu, [first]);
        let mut last = b.conv(first, [out.max(8), out.max(8)], 3, 1, 1);
        if residual {
            last = b.graph.add(Op::Add, [last, first]);
        }
        // Stored as words, read by a layer of 8 bits that takes `last` as well.
        let again = b.graph.add(Op::Relu, [last]);
        let end = b.conv(again, [out.max(8), out], 1, 1, 1);
        let segment = b.graph.end_segment("one", [end]);
        let images = pixels(count * b.graph.input.values(), seed);
        let ranges = observed(&b.graph, &images);
        let made: Vec<_> = here()
            .map(|isa| {
                let plan = Plan::compile_int8(&b.graph, &ranges, &options(isa, threads, winograd)).unwrap();
                outputs(&plan, &[segment], &images, count)
            })
            .collect();
        // Winograd is for as many channels as half a vector has, which differs between 16 lanes and 8; here all have 8.
        for other in &made[1..] {
            prop_assert!(made[0] == *other);
        }
        let image: Vec<f32> = images[..b.graph.input.values()].iter().map(|&p| f32::from(p)).collect();
        let Source::Node(node) = end else { panic!("a node") };
        let error = off(&made[0][0], &naive::values(&b.graph, &image)[node].data);
        prop_assert!(error < 0.05, "off by {error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn whole_networks_are_near_to_what_they_say(
        side in 5_usize..20,
        narrow in 8_usize..35,
        more in 0_usize..20,
        mobile: bool,
        threads in 1_usize..4,
        winograd: bool,
        seed: u64,
    ) {
        let (graph, main, extension) = meanet(side, [narrow, narrow + more], 10, mobile, seed);
        let each = graph.input.values();
        let images = pixels(4 * each, seed);
        let ranges = observed(&graph, &images);
        for isa in here() {
            let plan = Plan::compile_int8(&graph, &ranges, &options(isa, threads, winograd)).unwrap();
            let got = outputs(&plan, &[main, extension], &images, 4);
            let node = graph.segments[extension.0].outputs[0];
            for (image, got) in images.chunks_exact(each).zip(&got) {
                let image: Vec<f32> = image.iter().map(|&p| f32::from(p)).collect();
                let error = off(got, &naive::values(&graph, &image)[node].data);
                prop_assert!(error < 0.2, "{isa:?}: off by {error}");
            }
        }
    }
}

#[test]
fn ranges_go_by_layer() {
    let (graph, main, extension) = meanet(12, [16, 32], 10, false, 7);
    let images = pixels(4 * graph.input.values(), 1);
    let ranges = observed(&graph, &images);
    let lists = vec![ranges.layers(&graph, main), ranges.layers(&graph, extension)];
    assert_eq!(lists[0].len(), graph.layers(main).len());
    assert_eq!(Ranges::of_layers(&graph, &lists), Some(ranges));
    assert_eq!(Ranges::of_layers(&graph, &lists[..1]), None);
    let mut wrong = lists.clone();
    wrong[0][1] = [1.0, f32::NAN];
    assert_eq!(Ranges::of_layers(&graph, &wrong), None);
}

#[test]
fn without_ranges_all_is_computed_in_floats() {
    let (graph, main, _) = meanet(12, [16, 32], 10, false, 7);
    let images = pixels(2 * graph.input.values(), 1);
    let options = options(Isa::best(), 1, true);
    let floats = Plan::compile(&graph, &options).unwrap();
    let none = Plan::compile_int8(&graph, &Ranges::default(), &options).unwrap();
    let image_alone = outputs(&none, &[main], &images, 2);
    assert_eq!(outputs(&floats, &[main], &images, 2), image_alone);
}

#[test]
fn an_8_bit_plan_allocates_nothing_and_is_smaller() {
    let (graph, main, _) = meanet(16, [16, 32], 10, false, 3);
    let images = pixels(4 * graph.input.values(), 1);
    let ranges = observed(&graph, &images);
    let options = options(Isa::best(), 1, true);
    let plan = Plan::compile_int8(&graph, &ranges, &options).unwrap();
    assert!(plan.weight_bytes() < Plan::compile(&graph, &options).unwrap().weight_bytes());
    let mut session = plan.session().unwrap();
    let before = crate::allocations::count();
    session.run(main, Images::Bytes(&images), 4).unwrap();
    assert_eq!(crate::allocations::count(), before);
}
