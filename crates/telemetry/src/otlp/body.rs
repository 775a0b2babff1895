//! Bodies: read within a bound, decompressed within a bound, and all of them together within one.

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use std::io::Read;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use towpath_stdx::bounded;

/// Largest request of an authenticated sender, compressed or not.
pub(super) const BODY_MAX_BYTES: usize = 32 << 20;
/// Largest request of a sender without a credential.
pub(super) const ANONYMOUS_MAX_BYTES: usize = 4 << 20;
/// All requests under way.
const UNDER_WAY_MAX_BYTES: usize = 128 << 20;
/// Memory that a zstd frame may ask for, as a power of two.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;
const UNIT: usize = 64 << 10;

/// Why a body is not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum BodyError {
    #[error("the request is larger than {0} bytes")]
    TooLarge(usize),
    #[error("too many bytes of requests are under way")]
    Busy,
    #[error("the encoding {0:?} is not known; gzip, zstd and identity are")]
    Encoding(String),
    #[error("read the request: {0}")]
    Broken(String),
}

/// Shares out the memory of requests under way.
#[derive(Clone)]
pub(super) struct Memory(Arc<Semaphore>);

impl Default for Memory {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(UNDER_WAY_MAX_BYTES / UNIT)))
    }
}

impl Memory {
    /// Room for so many bytes until the permit is dropped.
    pub(super) fn take(&self, bytes: usize) -> Result<OwnedSemaphorePermit, BodyError> {
        let units = u32::try_from(bytes.div_ceil(UNIT).max(1)).unwrap_or(u32::MAX);
        let permit = self.0.clone().try_acquire_many_owned(units);
        permit.map_err(|_| BodyError::Busy)
    }
}

/// Reads a body to its end.
pub(super) async fn read<B>(body: B, limit: usize) -> Result<Bytes, BodyError>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            Err(BodyError::TooLarge(limit))
        }
        Err(error) => Err(BodyError::Broken(error.to_string())),
    }
}

/// Undoes a content encoding.
pub(super) fn decompress(bytes: Bytes, encoding: &str, limit: usize) -> Result<Bytes, BodyError> {
    let all = |reader: &mut dyn Read| match bounded::read_all(reader, limit as u64) {
        Ok(plain) => Ok(Bytes::from(plain)),
        Err(e) if e.to_string().starts_with("more than") => Err(BodyError::TooLarge(limit)),
        Err(e) => Err(BodyError::Broken(e.to_string())),
    };
    match encoding.trim().to_ascii_lowercase().as_str() {
        "" | "identity" | "none" => Ok(bytes),
        "gzip" | "x-gzip" => all(&mut flate2::read::MultiGzDecoder::new(&bytes[..])),
        "zstd" => {
            let broken = |e: std::io::Error| BodyError::Broken(e.to_string());
            let mut decoder = zstd::stream::read::Decoder::new(&bytes[..]).map_err(broken)?;
            decoder
                .window_log_max(ZSTD_WINDOW_LOG_MAX)
                .map_err(broken)?;
            all(&mut decoder)
        }
        other => Err(BodyError::Encoding(other.chars().take(40).collect())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn encodings_are_undone_within_their_bound() {
        let zeros = vec![0u8; 1 << 20];
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&zeros).expect("write");
        let gzip = Bytes::from(gzip.finish().expect("finish"));
        let zstd = Bytes::from(zstd::encode_all(&zeros[..], 1).expect("encode"));
        for (bytes, name) in [(gzip, "gzip"), (zstd, "zstd")] {
            let plain = decompress(bytes.clone(), name, 1 << 20).expect("fits");
            assert_eq!(plain.len(), 1 << 20);
            let refused = decompress(bytes.clone(), name, (1 << 20) - 1);
            assert_eq!(refused, Err(BodyError::TooLarge((1 << 20) - 1)));
            assert!(matches!(
                decompress(bytes.slice(..bytes.len() / 2), name, 1 << 20),
                Err(BodyError::Broken(_))
            ));
        }
        assert!(matches!(
            decompress(Bytes::new(), "br", 1),
            Err(BodyError::Encoding(_))
        ));
    }

    #[test]
    fn memory_comes_back() {
        let memory = Memory::default();
        let held = memory.take(UNDER_WAY_MAX_BYTES).expect("all of it");
        assert!(matches!(memory.take(1), Err(BodyError::Busy)));
        drop(held);
        assert!(memory.take(1).is_ok());
    }
}
