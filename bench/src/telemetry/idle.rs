//! What telemetry costs where nothing happens: the same server with it and without.

use crate::peer::resident;
use crate::report::Row;
use crate::scaled;
use crate::server::{Server, cpu_share};
use crate::stats::median;
use anyhow::Result;
use std::time::Duration;

const OFF: &str = "[telemetry]\nenabled = false\n";
const ON: &str = "[telemetry]\notlp-grpc-port = 0\notlp-http-port = 0\n";

pub fn bench(repeats: usize) -> Result<Vec<Row>> {
    let small = scaled(1000) < 50;
    let (wait, over) = if small { (10, 10) } else { (40, 50) };
    let (mut memory, mut share): ([Vec<f64>; 2], [Vec<f64>; 2]) = Default::default();
    for _ in 0..repeats.min(if small { 1 } else { 2 }) {
        for (side, settings) in [OFF, ON].into_iter().enumerate() {
            let server = Server::start_with("idle", settings)?;
            std::thread::sleep(Duration::from_secs(wait));
            share[side].push(cpu_share(server.pid, Duration::from_secs(over)));
            memory[side].push(resident(server.pid) as f64 / 1e6);
        }
    }
    let ([off, on], [off_share, on_share]) = (memory.map(median), share.map(median));
    Ok(vec![
        Row::new(
            "telemetry at rest, resident memory",
            format!("{:.0} MB ({on:.0} with it, {off:.0} without)", on - off),
            "",
            "≤ 60 MB",
            on - off <= 60.0,
        ),
        Row::new(
            "… CPU, of a core",
            format!(
                "{:.2} % ({on_share:.2} with it, {off_share:.2} without)",
                on_share - off_share
            ),
            "",
            "< 0.5 %",
            on_share - off_share < 0.5,
        ),
    ])
}
