//! `meanet data`: data sets into a store, and smaller ones out of larger ones.

use std::error::Error;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use meanet_data::{Images, Shift, Source, write_records};

/// Largest data set that is put, in bytes.
const MAX_BYTES: u64 = 16 << 30;
/// Records hold images of this side.
const SIDE: usize = 32;

/// What to do with data sets.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Command {
    /// Put standard input into the store as `datasets/NAME`.
    Put {
        /// Path below `datasets/`.
        name: String,
        /// Root of the store.
        #[arg(long, env = "MEANET_STORE", default_value = "/store")]
        store: PathBuf,
    },
    /// Write some images of a data set as CIFAR-100 records.
    Pack {
        /// Data set: cifar-100-binary.tar.gz or a folder of images. Without one the project draws its own.
        #[arg(long, env = "MEANET_DATA")]
        data: Option<PathBuf>,
        /// Take training images instead of test images.
        #[arg(long)]
        training: bool,
        /// Images left out at the beginning.
        #[arg(long, default_value_t = 0)]
        skip: usize,
        /// Images at most.
        #[arg(long, default_value_t = usize::MAX)]
        limit: usize,
        /// What happened to the camera: noise, blur or colour with a strength of 1 or 2, such as noise:2.
        #[arg(long)]
        shift: Option<Shift>,
        /// File to write; `-` is standard output.
        #[arg(long, default_value = "-")]
        out: PathBuf,
    },
}

/// Does it.
pub fn run(command: &Command) -> Result<(), Box<dyn Error>> {
    match command {
        Command::Put { name, store } => {
            let size = meanet_store::datasets::put(store, name, io::stdin().lock(), MAX_BYTES)?;
            tracing::info!(size, "datasets/{name} is in place");
            Ok(())
        }
        Command::Pack {
            data,
            training,
            skip,
            limit,
            shift,
            out,
        } => {
            let source = Source::find(data.as_deref())?;
            let images: Images = if *training {
                source.training(SIDE, SIDE)?.0
            } else {
                source.test(SIDE, SIDE)?.0
            };
            let chosen: Vec<usize> = (0..images.len()).skip(*skip).take(*limit).collect();
            if chosen.is_empty() {
                let count = images.len();
                return Err(format!(
                    "failed to pack any image: --skip {skip} --limit {limit} of {count} leaves none"
                )
                .into());
            }
            let writer: Box<dyn Write> = if out.as_os_str() == "-" {
                Box::new(io::stdout().lock())
            } else {
                Box::new(File::create(out)?)
            };
            let images = images.select(&chosen);
            // Training and test images get noise of their own.
            let images = match shift {
                Some(shift) => shift.apply(&images, u64::from(*training) << 32 | *skip as u64),
                None => images,
            };
            write_records(&images, BufWriter::new(writer))?;
            tracing::info!(images = chosen.len(), "packed from {}", source.describe());
            Ok(())
        }
    }
}
