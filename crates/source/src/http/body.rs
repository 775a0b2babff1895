//! Request bodies as bounded streams, unpacked where the client packed them.

use axum::body::{Body, BodyDataStream};
use bytes::Bytes;
use flate2::write::GzDecoder;
use futures::StreamExt;
use http::{HeaderMap, header};
use std::collections::VecDeque;
use std::io::{self, Write};

// Input handed to the decoder at a time: bounds what one piece can grow to (about 8 MiB).
const PIECE: usize = 8 << 10;

/// A request body, read chunk by chunk.
pub(crate) struct Upload {
    stream: BodyDataStream,
    decoder: Option<GzDecoder<Vec<u8>>>,
    waiting: VecDeque<Bytes>,
    left: u64,
    ended: bool,
}

impl Upload {
    /// At most `limit_bytes` after unpacking. `None` where the encoding is unknown.
    pub(crate) fn new(body: Body, headers: &HeaderMap, limit_bytes: u64) -> Option<Self> {
        let encoding = headers
            .get(header::CONTENT_ENCODING)
            .map(|value| value.as_bytes());
        let decoder = match encoding {
            None | Some(b"" | b"identity") => None,
            Some(b"gzip" | b"x-gzip") => Some(GzDecoder::new(Vec::new())),
            Some(_) => return None,
        };
        let stream = body.into_data_stream();
        Some(Self {
            stream,
            decoder,
            waiting: VecDeque::new(),
            left: limit_bytes,
            ended: false,
        })
    }

    /// The next chunk; `None` at the end.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            if let Some(piece) = self.waiting.pop_front() {
                let chunk = match &mut self.decoder {
                    None => piece,
                    Some(decoder) => {
                        decoder.write_all(&piece)?;
                        Bytes::from(std::mem::take(decoder.get_mut()))
                    }
                };
                if chunk.is_empty() {
                    continue;
                }
                self.left = self.left.checked_sub(chunk.len() as u64).ok_or_else(|| {
                    io::Error::new(io::ErrorKind::FileTooLarge, "request body is too large")
                })?;
                return Ok(Some(chunk));
            }
            if self.ended {
                return Ok(None);
            }
            match self.stream.next().await {
                Some(chunk) => {
                    let mut chunk = chunk.map_err(io::Error::other)?;
                    if self.decoder.is_some() {
                        while chunk.len() > PIECE {
                            self.waiting.push_back(chunk.split_to(PIECE));
                        }
                    }
                    self.waiting.push_back(chunk);
                }
                None => {
                    self.ended = true;
                    if let Some(mut decoder) = self.decoder.take() {
                        decoder.try_finish()?;
                        self.waiting
                            .push_back(Bytes::from(std::mem::take(decoder.get_mut())));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn unpacked(bytes: Vec<u8>, encoding: &'static str, limit: u64) -> io::Result<usize> {
        let mut headers = HeaderMap::new();
        headers.insert(
            header::CONTENT_ENCODING,
            http::HeaderValue::from_static(encoding),
        );
        let mut upload = Upload::new(Body::from(bytes), &headers, limit).expect("known encoding");
        let mut total = 0;
        while let Some(chunk) = upload.next().await? {
            assert!(chunk.len() < 16 << 20, "one piece grew to {}", chunk.len());
            total += chunk.len();
        }
        Ok(total)
    }

    #[tokio::test]
    async fn bombs_stop_at_the_limit() {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        for _ in 0..64 {
            encoder.write_all(&vec![0; 1 << 20]).expect("pack");
        }
        let bomb = encoder.finish().expect("pack");
        assert_eq!(
            unpacked(bomb.clone(), "gzip", 64 << 20)
                .await
                .expect("within"),
            64 << 20
        );
        assert!(unpacked(bomb.clone(), "gzip", 1 << 20).await.is_err());
        assert!(
            unpacked(bomb[..bomb.len() / 2].to_vec(), "gzip", 64 << 20)
                .await
                .is_err(),
            "cut short"
        );
        assert!(
            unpacked(b"no gzip at all".to_vec(), "gzip", 1000)
                .await
                .is_err()
        );
        assert_eq!(
            unpacked(vec![1; 100_000], "identity", 1 << 20)
                .await
                .expect("plain"),
            100_000
        );
    }
}
