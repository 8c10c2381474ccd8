//! Rust engines as peers: `peers tract|rten|gemm --model FILE --images FILE --batch 1 --threads 1`.
//!
//! One line of JSON at the start; then `run N` is answered by nanoseconds a call, `logits` by the logits of the batch.
//! `gemm` multiplies two square matrices of 768 floats a side, which shows what the machine's arithmetic can do at best.

use std::error::Error;
use std::io::{self, BufRead, Write};
use std::sync::Arc;
use std::time::Instant;

use rten_tensor::AsView;
use tract_linalg::multithread::{Executor, set_default_executor};
use tract_onnx::prelude::*;

type Result<T> = std::result::Result<T, Box<dyn Error>>;
/// Runs once; gives the logits, row by row.
type Run = Box<dyn FnMut() -> Result<Vec<f32>>>;

/// Rows and columns of the matrices of `gemm`.
const SIDE: usize = 768;

#[derive(Default)]
struct Args {
    model: String,
    images: String,
    batch: usize,
    threads: usize,
}

impl Args {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self> {
        let mut args = Self {
            batch: 1,
            threads: 1,
            ..Self::default()
        };
        while let Some(flag) = words.next() {
            let value = words
                .next()
                .ok_or_else(|| format!("failed to read {flag}: give it a value"))?;
            match flag.as_str() {
                "--model" => args.model = value,
                "--images" => args.images = value,
                "--batch" => args.batch = value.parse()?,
                "--threads" => args.threads = value.parse()?,
                _ => return Err(format!("failed to read {flag}: there is no such option").into()),
            }
        }
        Ok(args)
    }

    /// The images, normalised.
    fn pixels(&self) -> Result<Vec<f32>> {
        let bytes = std::fs::read(&self.images)?;
        let (values, _) = bytes.as_chunks::<4>();
        Ok(values.iter().map(|v| f32::from_le_bytes(*v)).collect())
    }

    fn shape(&self) -> [usize; 4] {
        [self.batch, 3, 32, 32]
    }
}

fn main() -> Result<()> {
    let mut words = std::env::args().skip(1);
    let engine = words.next().unwrap_or_default();
    let args = Args::parse(words)?;
    let (mut run, version) = match engine.as_str() {
        "tract" => (tract(&args)?, "0.23.9"),
        "rten" => (rten(&args)?, "0.27.0"),
        "gemm" => (gemm(&args), "0.19.0"),
        _ => return Err("failed to start: name tract, rten or gemm".into()),
    };
    run()?;
    println!("{{\"version\": \"{version}\", \"side\": {SIDE}}}");
    for line in io::stdin().lock().lines() {
        let line = line?;
        match line.split_whitespace().collect::<Vec<_>>()[..] {
            ["run", count] => {
                let count: u32 = count.parse()?;
                let began = Instant::now();
                for _ in 0..count {
                    run()?;
                }
                println!("{}", began.elapsed().as_nanos() / u128::from(count.max(1)));
            }
            ["logits"] => {
                let values = run()?;
                let rows = values
                    .chunks(values.len() / args.batch)
                    .map(|row| format!("{row:?}"));
                println!("[{}]", rows.collect::<Vec<_>>().join(", "));
            }
            _ => break,
        }
        io::stdout().flush()?;
    }
    Ok(())
}

fn tract(args: &Args) -> Result<Run> {
    if args.threads > 1 {
        set_default_executor(Executor::multithread(args.threads));
    }
    let model = tract_onnx::onnx()
        .model_for_path(&args.model)?
        .into_optimized()?
        .into_runnable()?;
    let input = Tensor::from_shape(&args.shape(), &args.pixels()?)?;
    Ok(Box::new(move || {
        let outputs = model.run(tvec!(input.clone().into()))?;
        Ok(outputs[0].to_plain_array_view::<f32>()?.iter().copied().collect())
    }))
}

fn rten(args: &Args) -> Result<Run> {
    let mut options = rten::ModelOptions::with_all_ops();
    let model = options.prepack_weights(true).load_file(&args.model)?;
    let threads = u32::try_from(args.threads)?;
    let pool = Arc::new(rten::ThreadPool::with_num_threads(threads as _));
    let input = rten_tensor::NdTensor::from_data(args.shape(), args.pixels()?);
    Ok(Box::new(move || {
        let options = rten::RunOptions::default().with_thread_pool(Some(Arc::clone(&pool)));
        let output = model.run_one(input.view().into(), Some(options))?;
        let logits: rten_tensor::NdTensor<f32, 2> = output.try_into()?;
        Ok(logits.to_vec())
    }))
}

fn gemm(args: &Args) -> Run {
    let (left, right) = (vec![0.5_f32; SIDE * SIDE], vec![0.25_f32; SIDE * SIDE]);
    let mut product = vec![0.0_f32; SIDE * SIDE];
    let parallelism = match args.threads {
        1 => gemm::Parallelism::None,
        threads => gemm::Parallelism::Rayon(threads),
    };
    Box::new(move || {
        let (to, row) = (product.as_mut_ptr(), SIDE as isize);
        // SAFETY: all three are square matrices of SIDE a side, row by row.
        unsafe {
            gemm::gemm(
                SIDE,
                SIDE,
                SIDE,
                to,
                1,
                row,
                false,
                left.as_ptr(),
                1,
                row,
                right.as_ptr(),
                1,
                row,
                0.0,
                1.0,
                false,
                false,
                false,
                parallelism,
            );
        }
        Ok(product[..1].to_vec())
    })
}
