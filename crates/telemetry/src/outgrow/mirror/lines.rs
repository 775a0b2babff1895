//! Lines: told by the store, sent by Loki's push.

use std::sync::Arc;

use async_trait::async_trait;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use towpath_query::promql::Labels;
use towpath_signals::logs::{LineTap, Stream};

use super::drain::{Deliver, Delivered, judged};
use super::target::{Target, room, unpacked};
use crate::outgrow::wire::put::Put;
use crate::wire::proto::{Broken, Reader};

/// A record is closed at about this many bytes.
const RECORD: usize = 1 << 20;

/// Is told of lines.
pub(super) struct Tap {
    targets: Vec<Arc<Target>>,
}

impl Tap {
    pub(super) fn new(targets: Vec<Arc<Target>>) -> Self {
        Self { targets }
    }
}

impl LineTap for Tap {
    fn room(&self) -> Result<(), String> {
        room(&self.targets)
    }

    fn taken(&self, stream: &Stream) {
        for target in &self.targets {
            let labels = labels(target, &stream.labels);
            let (mut entries, mut items) = (Put::default(), 0);
            for line in &stream.lines {
                entries.message(2, &entry(line.at, &line.text, &line.metadata));
                items += 1;
                if entries.len() >= RECORD || items >= target.settings.batch {
                    put(target, &labels, &entries, items);
                    entries.clear();
                    items = 0;
                }
            }
            if items > 0 {
                put(target, &labels, &entries, items);
            }
        }
    }
}

fn put(target: &Target, labels: &str, entries: &Put, items: u32) {
    let mut stream = Put::default();
    stream.text(1, labels);
    stream.fields(entries.bytes());
    let mut message = Put::default();
    message.message(1, &stream);
    target.put(message.bytes(), items);
}

fn labels(target: &Target, own: &Labels) -> String {
    let more = &target.settings.external_labels;
    if more.is_empty() {
        return own.to_string();
    }
    let given = more
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    // Of labels given twice the last one counts.
    given.chain(own.iter()).collect::<Labels>().to_string()
}

fn entry(at: i64, text: &str, metadata: &[(String, String)]) -> Put {
    let mut time = Put::default();
    time.int(1, at.div_euclid(1_000_000_000));
    time.int(2, at.rem_euclid(1_000_000_000));
    let mut out = Put::default();
    out.message(1, &time);
    out.text(2, text);
    for (name, value) in metadata {
        let mut label = Put::default();
        label.text(1, name);
        label.text(2, value);
        out.message(3, &label);
    }
    out
}

/// The newest time of some messages, in milliseconds.
fn highest(message: &[u8]) -> Result<i64, Broken> {
    let mut newest = 0;
    let mut reader = Reader::new(message);
    while let Some(field) = reader.next()? {
        let mut stream = field.message()?;
        while let Some(field) = stream.next()? {
            if field.number != 2 {
                continue;
            }
            let mut entry = field.message()?;
            while let Some(field) = entry.next()? {
                if field.number == 1 {
                    let mut time = field.message()?;
                    while let Some(field) = time.next()? {
                        if field.number == 1 {
                            newest = newest.max(field.int()?.saturating_mul(1000));
                        }
                    }
                }
            }
        }
    }
    Ok(newest)
}

/// Sends lines.
pub(super) struct Sender {
    target: Arc<Target>,
}

impl Sender {
    pub(super) fn new(target: &Arc<Target>) -> Self {
        Self {
            target: Arc::clone(target),
        }
    }
}

#[async_trait]
impl Deliver for Sender {
    async fn deliver(&self, records: &[Vec<u8>], _: u64) -> Delivered {
        let plain = unpacked(records);
        let highest = highest(&plain).unwrap_or(0);
        let body = match snap::raw::Encoder::new().compress_vec(&plain) {
            Ok(body) => body,
            Err(error) => {
                let why = error.to_string();
                return Delivered::Refused { why, sent: 0 };
            }
        };
        let bytes = body.len() as u64;
        let mut headers = HeaderMap::new();
        let content = HeaderValue::from_static("application/x-protobuf");
        headers.insert(CONTENT_TYPE, content);
        match judged(self.target.remote.post(headers, body).await) {
            Ok(_) => Delivered::Taken {
                failed: 0,
                bytes,
                highest,
            },
            Err(other) => other,
        }
    }
}
