//! The disk's own speed, printed beside every durable figure.

use super::report::Row;
use super::stats::Times;
use anyhow::Result;
use std::io::Write;
use std::time::Instant;

/// fdatasync of 4 KiB appends, where the benches keep their data.
pub fn fsync() -> Result<Row> {
    let path = std::env::temp_dir().join(format!("towpath-fsync-{}", std::process::id()));
    let mut file = std::fs::File::create(&path)?;
    let block = [7u8; 4096];
    let mut times = Vec::new();
    for _ in 0..500 {
        file.write_all(&block)?;
        let begin = Instant::now();
        file.sync_data()?;
        times.push(begin.elapsed());
    }
    drop(file);
    std::fs::remove_file(path)?;
    let times = Times::new(times);
    Ok(Row::fact(
        "the disk: fdatasync of 4 KiB, p50 / p99",
        format!("{:.2} / {:.2} ms", times.ms(0.5), times.ms(0.99)),
    ))
}

/// fdatasync per second with one writer, the yardstick of durable writes.
pub fn rate() -> Result<f64> {
    let path = std::env::temp_dir().join(format!("towpath-rate-{}", std::process::id()));
    let mut file = std::fs::File::create(&path)?;
    let block = [7u8; 4096];
    let begin = Instant::now();
    for _ in 0..300 {
        file.write_all(&block)?;
        file.sync_data()?;
    }
    let rate = 300.0 / begin.elapsed().as_secs_f64();
    drop(file);
    std::fs::remove_file(path)?;
    Ok(rate)
}
