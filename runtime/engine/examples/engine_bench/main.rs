//! Runs one network as fast as the engine can, when told to: a peer for benchmarks that interleave several of them.
//!
//! ```text
//! engine_bench [--weights FILE | --network NAME] [--batch 1] [--threads 1] [--isa avx2] [--images FILE] [--plain] [--int8]
//! ```
//!
//! `--weights` is a safetensors file with `PyTorch`'s names of a CIFAR `ResNet`, or of a `MobileNetV2` ×0.5 whose batch norms are folded;
//! `--network` is `resnet20`, `resnet32`, `resnet56` or `mobilenetv2`, with random weights. `--images` holds images one behind the other,
//! 3×32×32 bytes each, red plane first; without it they are noise. `--plain` leaves Winograd's convolution out.
//!
//! `--int8` computes convolutions in 8 bits, by the ranges that values have for these images.
//!
//! Standard output begins with one line of JSON about the plan. Then each line of standard input is answered by one line:
//!
//! | line | answer |
//! |---|---|
//! | `run N` | nanoseconds a call, the mean over `N` calls of `--batch` images |
//! | `logits` | the logits of the batch, `[[…], …]` |

#![allow(clippy::print_stdout, missing_docs)]

mod networks;

use std::error::Error;
use std::io::{self, BufRead, Write};
use std::num::NonZeroUsize;
use std::time::Instant;

use meanet_engine::{Images, Observer, Options, Plan, Session};

use networks::Network;

/// Values of an image.
const IMAGE: usize = 3 * 32 * 32;

struct Args {
    network: Network,
    options: Options,
    images: Option<String>,
    int8: bool,
}

fn main() -> Result<(), Box<dyn Error>> {
    let args = parse(std::env::args().skip(1))?;
    let batch = args.options.max_batch;
    let (graph, segment) = args.network.graph()?;
    let cost = graph.costs()?[segment.0];
    let pixels = pixels(args.images.as_deref(), batch)?;
    let plan = if args.int8 {
        let mut observer = Observer::new(&graph, &args.options)?;
        observer.observe(Images::Bytes(&pixels))?;
        Plan::compile_int8(&graph, &observer.ranges(), &args.options)?
    } else {
        Plan::compile(&graph, &args.options)?
    };
    let mut session = plan.session()?;
    println!(
        "{}",
        serde_json::json!({
            "isa": format!("{:?}", plan.isa()),
            "precision": if args.int8 { "int8" } else { "float32" },
            "parameters": cost.parameters,
            "macs": cost.macs,
            "weight_bytes": plan.weight_bytes(),
            "session_bytes": session.bytes(),
        })
    );
    let run = |session: &mut Session| session.run(segment, Images::Bytes(&pixels), batch);
    for line in io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["run", count] => {
                let count: u32 = count.parse()?;
                let began = Instant::now();
                for _ in 0..count {
                    run(&mut session)?;
                }
                println!("{}", began.elapsed().as_nanos() / u128::from(count.max(1)));
            }
            ["logits"] => {
                run(&mut session)?;
                let rows = (0..batch).map(|row| session.vector(segment, 0, row));
                println!(
                    "{}",
                    serde_json::to_string(&rows.collect::<Result<Vec<_>, _>>()?)?
                );
            }
            [] => break,
            _ => return Err(format!("failed to obey {line}: write run N, or logits").into()),
        }
        io::stdout().flush()?;
    }
    Ok(())
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Args, Box<dyn Error>> {
    let mut args = Args {
        network: Network::Random("resnet32".to_owned()),
        options: Options {
            max_batch: 1,
            ..Options::default()
        },
        images: None,
        int8: false,
    };
    while let Some(flag) = words.next() {
        if flag == "--plain" {
            args.options.winograd = false;
            continue;
        }
        if flag == "--int8" {
            args.int8 = true;
            continue;
        }
        let value = words
            .next()
            .ok_or_else(|| format!("failed to read {flag}: give it a value"))?;
        match flag.as_str() {
            "--weights" => args.network = Network::File(value),
            "--network" => args.network = Network::Random(value),
            "--images" => args.images = Some(value),
            "--batch" => args.options.max_batch = value.parse()?,
            "--threads" => args.options.threads = value.parse::<NonZeroUsize>()?,
            "--isa" => args.options.isa = Some(value.parse()?),
            _ => return Err(format!("failed to read {flag}: there is no such option").into()),
        }
    }
    Ok(args)
}

/// The first images of the file, or noise.
fn pixels(file: Option<&str>, count: usize) -> Result<Vec<u8>, Box<dyn Error>> {
    let Some(file) = file else {
        let noise = (0..(count * IMAGE) as u64).map(|i| (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8);
        return Ok(noise.collect());
    };
    let mut pixels = std::fs::read(file)?;
    if pixels.len() < count * IMAGE {
        return Err(format!("failed to read {file}: it holds fewer than {count} images").into());
    }
    pixels.truncate(count * IMAGE);
    Ok(pixels)
}
