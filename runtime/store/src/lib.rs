//! What a deployment keeps on its claim, and an edge in its cache: blobs by digest, samples, data sets. Blocking IO on a
//! file system; several processes may share one.

mod blobs;
pub mod datasets;
mod digest;
mod place;
mod samples;

pub use blobs::{BlobError, Blobs};
pub use datasets::DatasetError;
pub use digest::{Digest, ParseDigestError};
pub use samples::{Sample, SampleError, SampleWriter, read_samples};
