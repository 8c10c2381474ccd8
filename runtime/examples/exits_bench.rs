//! A whole edge network on real images, when told to: a peer for benchmarks that interleave several of them.
//!
//! ```text
//! exits_bench MODEL RECORDS MODE [--batch 32]
//! ```
//!
//! `MODEL` is a folder with a manifest, `RECORDS` a file of CIFAR-100 records, as `meanet data pack` writes. `MODE` says what runs on
//! each image: `all`, main and extension on every one; `hard`, the extension where the main block names a hard class; `offload=S`, the
//! same, but what has more than S nats of entropy leaves for the cloud, which is not part of this.
//!
//! Standard output begins with one line of JSON: images, and shares and accuracies by exit. Then `run N` is answered by nanoseconds a
//! pass over all images, the mean over N passes.

#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::File;
use std::io::{self, BufRead, Write};
use std::time::Instant;

use meanet_data::{Images, read_records};
use meanet_method::{
    AfterMain, ExtensionRule, HardClasses, Routing, Score, WhenUnavailable, after_main, local_answer,
};
use meanet_net::{EdgeNetwork, ImageBatch, Manifest};

/// What runs on each image.
#[derive(Clone, Copy, PartialEq)]
enum Mode {
    All,
    Exits,
}

struct Bench {
    network: EdgeNetwork,
    hard: HardClasses,
    routing: Routing,
    mode: Mode,
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [model, records, mode, batch @ ..] = &args[..] else {
        return Err("failed to start: give MODEL RECORDS MODE".into());
    };
    let batch: usize = match batch {
        [] => 32,
        [flag, size] if flag == "--batch" => size.parse()?,
        _ => return Err("failed to start: after MODE there may be --batch N".into()),
    };
    let (manifest, _, blobs) = Manifest::open(model.as_ref())?;
    let network = EdgeNetwork::load(blobs.edge())?;
    let hard = HardClasses::new(&manifest.hard_classes, network.outputs(), network.classes())?;
    let (mode, above) = match mode.split_once('=') {
        None if mode == "all" => (Mode::All, f32::MAX),
        None if mode == "hard" => (Mode::Exits, f32::MAX),
        Some(("offload", nats)) => (Mode::Exits, nats.parse()?),
        _ => return Err(format!("failed to read the mode {mode}: it is all, hard or offload=S").into()),
    };
    let routing = Routing {
        score: Score::Entropy,
        offload_above: above,
        extension_offload_above: None,
        rule: ExtensionRule::Extension,
        when_unavailable: WhenUnavailable::AnswerLocally,
    };
    let bench = Bench {
        network,
        hard,
        routing,
        mode,
    };
    let images = read_records(File::open(records)?)?;
    let batches = batches(&images, batch)?;
    let mut exits: BTreeMap<&str, [usize; 2]> = BTreeMap::new();
    for (rows, labels) in &batches {
        for (exit, label) in bench.answer(rows)?.into_iter().zip(labels) {
            let counts = exits.entry(exit.0).or_default();
            counts[0] += 1;
            counts[1] += usize::from(exit.1 == Some(*label));
        }
    }
    let about = serde_json::json!({"images": images.len(), "exits": exits, "backbone": manifest.backbone});
    println!("{about}");
    for line in io::stdin().lock().lines() {
        let line = line?;
        let Some(count) = line.strip_prefix("run ") else { break };
        let count: u32 = count.trim().parse()?;
        let began = Instant::now();
        for _ in 0..count {
            for (rows, _) in &batches {
                bench.answer(rows)?;
            }
        }
        println!("{}", began.elapsed().as_nanos() / u128::from(count.max(1)));
        io::stdout().flush()?;
    }
    Ok(())
}

type Batch = (ImageBatch, Vec<u32>);

fn batches(images: &Images, size: usize) -> Result<Vec<Batch>, Box<dyn Error>> {
    let rows: Vec<usize> = (0..images.len()).collect();
    rows.chunks(size.max(1))
        .map(|rows| {
            let pixels = rows.iter().flat_map(|&row| images.image(row)).copied().collect();
            let labels = rows.iter().map(|&row| images.labels[row]).collect();
            Ok((ImageBatch::from_bytes(images.height, images.width, pixels)?, labels))
        })
        .collect()
}

impl Bench {
    /// Exit and label of each image; what leaves for the cloud has no label here.
    fn answer(&self, images: &ImageBatch) -> Result<Vec<(&'static str, Option<u32>)>, Box<dyn Error>> {
        let pass = self.network.main(images)?;
        let read = pass.logits.iter().map(|logits| after_main(logits, &self.routing, &self.hard));
        let main = read.collect::<Result<Vec<_>, _>>()?;
        let extend = |row: &usize| self.mode == Mode::All || main[*row].next == AfterMain::Extend;
        let chosen: Vec<usize> = (0..main.len()).filter(extend).collect();
        let mut answers: Vec<_> = main
            .iter()
            .map(|read| match read.next {
                AfterMain::Offload => ("cloud", None),
                _ => ("main", Some(read.main.label)),
            })
            .collect();
        let logits = self.network.extension(&pass, images, &chosen)?;
        for (&row, logits) in chosen.iter().zip(&logits) {
            if main[row].hard {
                let (answer, _) = local_answer(&main[row].main, logits, &self.routing, &self.hard)?;
                answers[row] = ("extension", Some(answer.label));
            }
        }
        Ok(answers)
    }
}
