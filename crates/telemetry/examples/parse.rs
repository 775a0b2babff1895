//! How fast bodies of scrapes and requests of remote write are read:
//! `cargo run --release -p towpath-telemetry --example parse`.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::time::Instant;

use towpath_telemetry::wire::{Format, Parser, Wishes};

fn body(open: bool) -> String {
    let mut out = String::new();
    for family in 0..200 {
        let name = format!("container_cpu_usage_{family}_seconds");
        out += &format!("# HELP {name} Cumulative cpu time consumed.\n# TYPE {name} counter\n");
        for series in 0..100 {
            out += &format!(
                "{name}_total{{namespace=\"prod-{}\",pod=\"api-7f9c6d5b4-{series:05}\",\
                 container=\"server\",cpu=\"total\"}} {}.{series}\n",
                series % 7,
                family * 1000 + series
            );
        }
    }
    if open {
        out += "# EOF\n";
    }
    out
}

fn main() {
    for (name, format) in [("text", Format::Text), ("openmetrics", Format::OpenMetrics)] {
        let body = body(format == Format::OpenMetrics);
        let rounds = 30;
        let begin = Instant::now();
        let (mut series, mut sum) = (0u64, 0.0);
        for _ in 0..rounds {
            let mut parser = Parser::new(body.as_bytes(), format, Wishes::default());
            while parser.next().unwrap().is_some() {
                series += 1;
                sum += parser.point().value;
            }
        }
        let seconds = begin.elapsed().as_secs_f64();
        println!(
            "{name}: {:.0} MB/s, {:.1} M entries/s ({sum})",
            body.len() as f64 * f64::from(rounds) / seconds / 1e6,
            series as f64 / seconds / 1e6
        );
    }
}
