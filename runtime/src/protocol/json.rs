//! Requests and answers in JSON, with or without the binary tensor extension: then the JSON is followed by the elements of
//! those tensors that say `binary_data_size`, in their order.

mod elements;
mod read;
mod write;

pub use read::{read_request, read_response};
pub use write::{Encoded, write_request, write_response};

/// Header with the length of the JSON before binary data.
pub const LENGTH_HEADER: &str = "inference-header-content-length";

#[cfg(test)]
mod tests;
