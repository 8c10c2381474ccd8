//! Memory that a job may take at its peak. Alone in its process, whose memory is measured.
#![cfg(target_os = "linux")]
#![allow(missing_docs, clippy::unwrap_used)]

use std::fs;

use meanet_data::Training;
use meanet_data::procedural;
use meanet_net::train::{Lessons, Recipe, Run, Stage, reestimate_norms, train_classifier};
use meanet_net::{Backend, Block, InputSpec};

/// A line of this process's status in MiB, `VmRSS` or `VmHWM`.
fn mebibytes(name: &str) -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() / 1024
}

/// A training job has 1 GiB, and statistics are the first thing that it takes.
#[test]
fn new_statistics_keep_nothing_for_a_way_back() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = Recipe {
        stages: vec![Stage { side: 32, epochs: 0 }],
        ..Recipe::new("ResNet20".parse().unwrap(), 4, InputSpec::cifar100())
    };
    let images = Training(procedural(4, 256, 1));
    let processor = Backend::Engine.processor().unwrap();
    let run = Run::open(folder.path(), &recipe).unwrap();
    let lessons = Lessons {
        training: &images,
        holdout: &images,
        start: None,
        teacher: None,
    };
    let main = train_classifier(&recipe, &lessons, &run, &processor)
        .unwrap()
        .blob(Block::Main)
        .unwrap();
    // Forgets the peak until now.
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = mebibytes("VmRSS");
    reestimate_norms(&main, &InputSpec::cifar100(), &images.0, 0, &processor).unwrap();
    let taken = mebibytes("VmHWM") - before;
    println!("{taken} MiB");
    assert!(taken < 400, "{taken} MiB on top of {before}");
}
