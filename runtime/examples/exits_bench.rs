//! A whole edge network on real images, when told to: a peer for benchmarks that interleave several of them.
//!
//! ```text
//! exits_bench MODEL RECORDS MODE [--batch 32] [--timed N]
//! ```
//!
//! `MODEL` is a folder with a manifest, `RECORDS` a file of CIFAR-100 records, as `meanet data pack` writes. `MODE` says what runs on
//! each image: `all`, main and extension on every one; `hard`, the extension where the main block names a hard class; `hard=COST`, the same,
//! but this share of the answers may be wrong for the sake of speed; `offload=S`, as `hard`, but what has more than S nats of entropy leaves
//! for the cloud, which is not part of this.
//!
//! With `--timed`, the first N images are timed and reported on. In the modes with exits, `extendAbove` is chosen on the others, as `meanet
//! choose` does. Without it there is no such threshold, and all images are timed.
//!
//! Standard output begins with one line of JSON: images, counts and right answers by exit, `extendAbove`, and how many of the images answered
//! here mode `all` gets right. Then `run N` is answered by nanoseconds a pass over all images timed, the mean over N passes.

#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::File;
use std::io::{self, BufRead, Write};
use std::time::Instant;

use meanet_data::{Images, read_records};
use meanet_method::choose::{EXTEND_COST, extend_above};
use meanet_method::{
    AfterMain, ExtensionRule, HardClasses, Routing, after_main, by_entropy, judge, local_answer,
};
use meanet_net::evaluate::outputs;
use meanet_net::{EdgeNetwork, ImageBatch, Manifest};

struct Bench {
    network: EdgeNetwork,
    hard: HardClasses,
}

/// What runs on each image.
struct Mode {
    routing: Routing,
    /// Share of the answers that `extendAbove` may cost.
    cost: f64,
    /// The extension runs on every image, needed or not.
    all: bool,
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [model, records, mode, flags @ ..] = &args[..] else {
        return Err("failed to start: give MODEL RECORDS MODE".into());
    };
    let (mut batch, mut timed) = (32, usize::MAX);
    for flag in flags.chunks(2) {
        match flag {
            [name, value] if name == "--batch" => batch = value.parse()?,
            [name, value] if name == "--timed" => timed = value.parse()?,
            _ => return Err("failed to start: after MODE there may be --batch N and --timed N".into()),
        }
    }
    let (manifest, _, blobs) = Manifest::open(model.as_ref())?;
    let network = EdgeNetwork::load(blobs.edge())?;
    let hard = HardClasses::new(&manifest.hard_classes, network.outputs(), network.classes())?;
    let bench = Bench { network, hard };
    let images = read_records(File::open(records)?)?;
    let (timed, others): (Vec<usize>, Vec<usize>) = (0..images.len()).partition(|&row| row < timed);
    let mut mode = Mode::read(mode)?;
    if !mode.all && !others.is_empty() {
        let others = outputs(
            &bench.network,
            &manifest.hard_classes,
            None,
            &images.select(&others),
        )?;
        let judged = judge(&others, mode.routing.score, mode.routing.rule)?;
        mode.routing.extend_above = extend_above(&judged, mode.cost)?;
    }
    let batches = batches(&images.select(&timed), batch)?;
    let mut exits: BTreeMap<&str, [usize; 2]> = BTreeMap::new();
    let (everything, mut right_by_all) = (Mode::read("all")?, 0);
    for (rows, labels) in &batches {
        let answers = bench.answer(&mode, rows)?;
        let by_all = bench.answer(&everything, rows)?;
        for (((exit, answer), (_, by_all)), label) in answers.into_iter().zip(by_all).zip(labels) {
            let counts = exits.entry(exit).or_default();
            counts[0] += 1;
            counts[1] += usize::from(answer == Some(*label));
            right_by_all += usize::from(answer.is_some() && by_all == Some(*label));
        }
    }
    let about = serde_json::json!({
        "images": timed.len(),
        "exits": exits,
        "backbone": manifest.backbone,
        "extendAbove": mode.routing.extend_above,
        "rightByAll": right_by_all,
    });
    println!("{about}");
    for line in io::stdin().lock().lines() {
        let line = line?;
        let Some(count) = line.strip_prefix("run ") else {
            break;
        };
        let count: u32 = count.trim().parse()?;
        let began = Instant::now();
        for _ in 0..count {
            for (rows, _) in &batches {
                bench.answer(&mode, rows)?;
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
            Ok((
                ImageBatch::from_bytes(images.height, images.width, pixels)?,
                labels,
            ))
        })
        .collect()
}

impl Mode {
    fn read(name: &str) -> Result<Self, Box<dyn Error>> {
        let (mut cost, mut offload_above) = (EXTEND_COST, None);
        match name.split_once('=') {
            None if name == "all" || name == "hard" => {}
            Some(("hard", share)) => cost = share.parse()?,
            Some(("offload", nats)) => offload_above = Some(nats.parse()?),
            _ => {
                return Err(format!(
                    "failed to read the mode {name}: it is all, hard, hard=COST or offload=S"
                )
                .into());
            }
        }
        Ok(Self {
            routing: by_entropy(offload_above, ExtensionRule::Extension),
            cost,
            all: name == "all",
        })
    }
}

impl Bench {
    /// Exit and label of each image; what leaves for the cloud has no label here.
    fn answer(
        &self,
        mode: &Mode,
        images: &ImageBatch,
    ) -> Result<Vec<(&'static str, Option<u32>)>, Box<dyn Error>> {
        let routing = &mode.routing;
        let pass = self.network.main(images)?;
        let read = pass
            .logits
            .iter()
            .map(|logits| after_main(logits, routing, &self.hard));
        let main = read.collect::<Result<Vec<_>, _>>()?;
        let extend = |row: &usize| mode.all || main[*row].next == AfterMain::Extend;
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
            if main[row].next == AfterMain::Extend {
                let (answer, _) = local_answer(&main[row].main, logits, routing, &self.hard)?;
                answers[row] = ("extension", Some(answer.label));
            }
        }
        Ok(answers)
    }
}
