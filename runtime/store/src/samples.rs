//! Hard samples: what an edge was unsure of, with what the cloud said of it.
//!
//! `samples/<deployment>/<time>-<count>.seg`. Each writer has segments of its own and never opens another's, so several
//! writers share a claim without locks. A record carries a check: what a crash tore is the end of its segment and no more.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use snafu::{ResultExt, Snafu, ensure};

use crate::digest::Digest;
use crate::place::create_unique;

const MAGIC: &[u8; 8] = b"MEANETS1";
/// Magic, height and width.
const HEADER: usize = 16;
/// Time, edge label, edge score, cloud label, cloud confidence, feedback, check.
const FIELDS: usize = 8 + 4 * 5 + 4;
/// Samples in a segment at most.
const SEGMENT: usize = 256;
/// Longest side of an image kept.
const MAX_SIDE: u32 = 1024;
/// Stands for no label.
const NONE: u32 = u32::MAX;

/// One image and what is known of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Rows.
    pub height: u32,
    /// Columns.
    pub width: u32,
    /// `[3, height, width]`, red plane first.
    pub pixels: Vec<u8>,
    /// What the edge would have said.
    pub edge_label: Option<u32>,
    /// How unsure the edge was; 0 where it said nothing.
    pub edge_score: f32,
    /// What the cloud said.
    pub cloud_label: Option<u32>,
    /// How sure the cloud was; 0 where it said nothing.
    pub cloud_confidence: f32,
    /// What a person said it is.
    pub feedback: Option<u32>,
}

/// Why samples could not be kept or read.
#[derive(Debug, Snafu)]
#[non_exhaustive]
pub enum SampleError {
    /// The file system refused.
    #[snafu(display("failed to use {}", path.display()))]
    SampleIo {
        /// File or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// No deployment has such a name.
    #[snafu(display(
        "failed to use samples of {deployment:?}: a deployment's name holds only a-z, 0-9 and -"
    ))]
    Name {
        /// The name.
        deployment: String,
    },
    /// The pixels do not fill the image, or the image is too large.
    #[snafu(display(
        "failed to keep a sample of {height}×{width} with {pixels} values: give 3·height·width, sides of 1 to {MAX_SIDE}"
    ))]
    Shape {
        /// Rows.
        height: u32,
        /// Columns.
        width: u32,
        /// Values given.
        pixels: usize,
    },
}

fn folder(root: &Path, deployment: &str) -> Result<PathBuf, SampleError> {
    let plain = !deployment.is_empty()
        && deployment.len() <= 63
        && deployment
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    ensure!(plain, NameSnafu { deployment });
    Ok(root.join("samples").join(deployment))
}

/// Adds samples; the oldest make room.
pub struct SampleWriter {
    folder: PathBuf,
    max: usize,
    segment: Option<Segment>,
}

struct Segment {
    path: PathBuf,
    file: File,
    size: (u32, u32),
    count: usize,
}

impl SampleWriter {
    /// Keeps about `max` samples of `deployment` below `root`: never more than that and one segment for each further writer.
    pub fn open(root: &Path, deployment: &str, max: usize) -> Result<Self, SampleError> {
        let folder = folder(root, deployment)?;
        fs::create_dir_all(&folder).context(SampleIoSnafu { path: &folder })?;
        Ok(Self {
            folder,
            max: max.max(1),
            segment: None,
        })
    }

    fn capacity(&self) -> usize {
        (self.max / 10).clamp(1, SEGMENT)
    }

    /// Adds one sample. After an error the next one begins a segment of its own.
    pub fn add(&mut self, sample: &Sample) -> Result<(), SampleError> {
        let (height, width) = (sample.height, sample.width);
        let fits = (1..=MAX_SIDE).contains(&height)
            && (1..=MAX_SIDE).contains(&width)
            && sample.pixels.len() == 3 * (height * width) as usize;
        ensure!(
            fits,
            ShapeSnafu {
                height,
                width,
                pixels: sample.pixels.len()
            }
        );
        let capacity = self.capacity();
        let mut segment = match self.segment.take() {
            Some(segment) if segment.size == (height, width) && segment.count < capacity => segment,
            _ => self.begin((height, width))?,
        };
        segment
            .file
            .write_all(&encode(sample))
            .context(SampleIoSnafu { path: &segment.path })?;
        segment.count += 1;
        self.segment = Some(segment);
        Ok(())
    }

    fn begin(&self, size: (u32, u32)) -> Result<Segment, SampleError> {
        self.make_room()?;
        let (path, mut file) = create_unique(&self.folder, |nanos, count| {
            format!("{nanos:020}-{count:08x}.seg")
        })
        .context(SampleIoSnafu { path: &self.folder })?;
        let header = [MAGIC.as_slice(), &size.0.to_le_bytes(), &size.1.to_le_bytes()].concat();
        file.write_all(&header).context(SampleIoSnafu { path: &path })?;
        Ok(Segment {
            path,
            file,
            size,
            count: 0,
        })
    }

    /// Removes the oldest segments until a further one fits.
    fn make_room(&self) -> Result<(), SampleError> {
        let segments = segments(&self.folder)?;
        let mut counts: Vec<usize> = segments.iter().map(|path| count(path)).collect();
        let mut total: usize = counts.iter().sum();
        for (path, count) in segments.iter().zip(&mut counts) {
            if total + self.capacity() <= self.max {
                break;
            }
            match fs::remove_file(path) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(SampleError::SampleIo {
                        path: path.clone(),
                        source,
                    });
                }
                _ => total -= *count,
            }
        }
        Ok(())
    }
}

/// The newest samples of `deployment`, `max` at most, oldest first. None where nothing was collected.
pub fn read_samples(root: &Path, deployment: &str, max: usize) -> Result<Vec<Sample>, SampleError> {
    let folder = folder(root, deployment)?;
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut newest = Vec::new();
    for path in segments(&folder)?.iter().rev() {
        if newest.len() >= max {
            break;
        }
        match read_segment(path) {
            Ok(mut samples) => {
                samples.reverse();
                newest.extend(samples);
            }
            // Room was made for newer ones while we read.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => {
                return Err(SampleError::SampleIo {
                    path: path.clone(),
                    source,
                });
            }
        }
    }
    newest.truncate(max);
    newest.reverse();
    Ok(newest)
}

/// Segments, oldest first.
fn segments(folder: &Path) -> Result<Vec<PathBuf>, SampleError> {
    let entries = fs::read_dir(folder).context(SampleIoSnafu { path: folder })?;
    let mut paths: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .map(|e| e.path())
        .filter(|p| p.extension().is_some_and(|e| e == "seg"))
        .collect();
    paths.sort();
    Ok(paths)
}

/// Length of a record, by the header.
fn record(header: &[u8]) -> Option<(u32, u32, usize)> {
    let rest = header.strip_prefix(MAGIC.as_slice())?;
    let height = u32::from_le_bytes(rest.get(..4)?.try_into().ok()?);
    let width = u32::from_le_bytes(rest.get(4..8)?.try_into().ok()?);
    let fits = (1..=MAX_SIDE).contains(&height) && (1..=MAX_SIDE).contains(&width);
    fits.then(|| (height, width, FIELDS + 3 * (height * width) as usize))
}

fn count(path: &Path) -> usize {
    let mut header = [0; HEADER];
    let read = File::open(path).and_then(|mut file| {
        file.read_exact(&mut header)?;
        Ok(file.metadata()?.len() as usize)
    });
    read.ok()
        .zip(record(&header))
        .map_or(0, |(size, (_, _, length))| (size - HEADER).div_ceil(length))
}

fn read_segment(path: &Path) -> io::Result<Vec<Sample>> {
    let mut reader = BufReader::new(File::open(path)?);
    let mut header = [0; HEADER];
    let mut samples = Vec::new();
    if reader.read_exact(&mut header).is_err() {
        return Ok(samples);
    }
    let Some((height, width, length)) = record(&header) else {
        return Ok(samples);
    };
    let mut bytes = vec![0; length];
    while samples.len() < SEGMENT {
        match reader.read_exact(&mut bytes) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
            Err(error) => return Err(error),
        }
        match decode(&bytes, height, width) {
            Some(sample) => samples.push(sample),
            None => break,
        }
    }
    Ok(samples)
}

fn check(bytes: &[u8]) -> [u8; 4] {
    let hex = Digest::of(bytes).hex();
    let mut check = [0; 4];
    check.copy_from_slice(&hex.as_bytes()[..4]);
    check
}

fn encode(sample: &Sample) -> Vec<u8> {
    let time = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_millis() as u64);
    let mut bytes = Vec::with_capacity(FIELDS + sample.pixels.len());
    bytes.extend(time.to_le_bytes());
    bytes.extend(sample.edge_label.unwrap_or(NONE).to_le_bytes());
    bytes.extend(sample.edge_score.to_le_bytes());
    bytes.extend(sample.cloud_label.unwrap_or(NONE).to_le_bytes());
    bytes.extend(sample.cloud_confidence.to_le_bytes());
    bytes.extend(sample.feedback.unwrap_or(NONE).to_le_bytes());
    bytes.extend(&sample.pixels);
    bytes.extend(check(&bytes));
    bytes
}

fn decode(bytes: &[u8], height: u32, width: u32) -> Option<Sample> {
    let (body, found) = bytes.split_at_checked(bytes.len().checked_sub(4)?)?;
    if check(body) != found {
        return None;
    }
    let word = |at: usize| Some(u32::from_le_bytes(body.get(at..at + 4)?.try_into().ok()?));
    let label = |at: usize| Some(Some(word(at)?).filter(|&label| label != NONE));
    Some(Sample {
        height,
        width,
        edge_label: label(8)?,
        edge_score: f32::from_bits(word(12)?),
        cloud_label: label(16)?,
        cloud_confidence: f32::from_bits(word(20)?),
        feedback: label(24)?,
        pixels: body.get(28..)?.to_vec(),
    })
}

#[cfg(test)]
mod tests;
