#[path = "engine_bench/networks.rs"]
mod networks;
use meanet_engine::*;
use std::num::NonZeroUsize;
use std::time::Instant;
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let (graph, segment) = networks::Network::Random(args[1].clone()).graph().unwrap();
    let batch: usize = args[2].parse().unwrap();
    let threads: usize = args[3].parse().unwrap();
    let winograd = args.get(4).is_none();
    let options = Options {
        threads: NonZeroUsize::new(threads).unwrap(),
        max_batch: batch,
        winograd,
        ..Options::default()
    };
    let mut learner = Learner::compile(&graph, segment, (segment, 0), true, &options).unwrap();
    println!("{} MB", learner.bytes() / 1_000_000);
    let images: Vec<f32> = (0..batch * 3072).map(|i| (i * 7919 % 256) as f32).collect();
    let how = Descend {
        rate: 0.0,
        momentum: 0.9,
        weight_decay: 0.0,
        keep: Some(0.9),
    };
    let (mut f, mut b) = (0.0, 0.0);
    for i in 0..9 {
        let t = Instant::now();
        let out = learner.forward(Images::Floats(&images), &[]).unwrap();
        let g: Vec<f32> = out.iter().map(|v| v * 1e-3).collect();
        let t1 = t.elapsed().as_secs_f64();
        learner.step(&g, how).unwrap();
        let t2 = t.elapsed().as_secs_f64();
        if i > 1 {
            f += t1;
            b += t2 - t1;
        }
    }
    println!(
        "{} fwd {:.1} ms, back {:.1} ms, {:.0} img/s",
        args[1],
        f / 7.0 * 1e3,
        b / 7.0 * 1e3,
        batch as f64 * 7.0 / (f + b)
    );
}
