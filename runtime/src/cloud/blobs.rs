//! `GET /v1/blobs/sha256:…`, whole or from a byte on.

use std::io::SeekFrom;

use bytes::Bytes;
use futures::{Stream, stream};
use meanet_store::{BlobError, Blobs, Digest};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use warp::http::{Response, StatusCode};
use warp::reply::{self, Reply};

use crate::protocol::ApiError;

const CHUNK: usize = 64 * 1024;

pub(super) async fn get(blobs: &Blobs, name: &str, range: Option<&str>) -> Result<reply::Response, ApiError> {
    let digest: Digest = name
        .parse()
        .map_err(|e: meanet_store::ParseDigestError| ApiError::malformed(e.to_string()))?;
    let blobs = blobs.clone();
    let opened = tokio::task::spawn_blocking(move || blobs.reader(&digest)).await;
    let (file, size) = match opened {
        Ok(Ok(opened)) => opened,
        Ok(Err(BlobError::Missing { .. })) => {
            return Err(ApiError::not_found(format!("no blob {digest} is in this store")));
        }
        Ok(Err(error)) => return Err(broken(&error)),
        Err(error) => return Err(broken(&error)),
    };
    let (start, end) = match range {
        None => (0, size),
        Some(range) => bounds(range, size).ok_or_else(|| {
            ApiError::new(
                StatusCode::RANGE_NOT_SATISFIABLE,
                format!(
                    "Range: {range:?} is not within the {size} bytes of the blob; ask for bytes=N- or bytes=N-M"
                ),
            )
        })?,
    };
    let mut file = File::from_std(file);
    if start > 0 {
        file.seek(SeekFrom::Start(start)).await.map_err(|e| broken(&e))?;
    }
    let mut response = Response::builder()
        .header("content-type", "application/octet-stream")
        .header("accept-ranges", "bytes")
        .header("content-length", end - start);
    if range.is_some() {
        response = response.status(StatusCode::PARTIAL_CONTENT).header(
            "content-range",
            format!("bytes {start}-{}/{size}", end.saturating_sub(1)),
        );
    }
    let (parts, ()) = response.body(()).map_err(|e| broken(&e))?.into_parts();
    let mut reply = reply::stream(chunks(file, end - start)).into_response();
    *reply.status_mut() = parts.status;
    reply.headers_mut().extend(parts.headers);
    Ok(reply)
}

fn broken(error: &dyn std::error::Error) -> ApiError {
    ApiError::internal(crate::report::words(error))
}

/// First byte and the one after the last of `bytes=N-` or `bytes=N-M`.
fn bounds(range: &str, size: u64) -> Option<(u64, u64)> {
    let (start, last) = range.trim().strip_prefix("bytes=")?.split_once('-')?;
    let start: u64 = start.trim().parse().ok()?;
    let end = match last.trim() {
        "" => size,
        last => last.parse::<u64>().ok()?.checked_add(1)?.min(size),
    };
    (start < end).then_some((start, end))
}

fn chunks(file: File, left: u64) -> impl Stream<Item = Result<Bytes, std::io::Error>> + Send {
    stream::try_unfold((file, left), |(mut file, left)| async move {
        if left == 0 {
            return Ok(None);
        }
        let mut chunk = vec![0; CHUNK.min(usize::try_from(left).unwrap_or(CHUNK))];
        file.read_exact(&mut chunk).await?;
        let left = left - chunk.len() as u64;
        Ok(Some((Bytes::from(chunk), (file, left))))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_stay_within_the_blob() {
        assert_eq!(bounds("bytes=0-", 10), Some((0, 10)));
        assert_eq!(bounds("bytes=4-6", 10), Some((4, 7)));
        assert_eq!(bounds("bytes=4-99", 10), Some((4, 10)));
        for range in [
            "bytes=10-",
            "bytes=-5",
            "bytes=6-4",
            "rows=0-",
            "bytes=x-",
            "bytes=0-18446744073709551615",
        ] {
            assert_eq!(bounds(range, 10), None, "{range}");
        }
    }
}
