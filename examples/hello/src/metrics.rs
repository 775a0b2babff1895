//! Counters and a histogram in Prometheus' text format.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Mutex;
use std::time::Duration;

const BOUNDS: [f64; 9] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];

#[derive(Default)]
struct Latency {
    buckets: [u64; BOUNDS.len()],
    count: u64,
    sum: f64,
}

/// What has been served so far.
#[derive(Default)]
pub struct Metrics {
    requests: Mutex<BTreeMap<(String, String, u16), u64>>,
    latency: Mutex<BTreeMap<(String, String), Latency>>,
}

impl Metrics {
    /// Counts one request; `endpoint` is the route, never the raw path.
    pub fn record(&self, method: &str, endpoint: &str, status: u16, took: Duration) {
        let key = (method.to_string(), endpoint.to_string());
        if let Ok(mut requests) = self.requests.lock() {
            *requests.entry((key.0.clone(), key.1.clone(), status)).or_default() += 1;
        }
        if let Ok(mut latencies) = self.latency.lock() {
            let latency = latencies.entry(key).or_default();
            let seconds = took.as_secs_f64();
            latency.count += 1;
            latency.sum += seconds;
            for (bucket, bound) in latency.buckets.iter_mut().zip(BOUNDS) {
                *bucket += u64::from(seconds <= bound);
            }
        }
    }

    /// The exposition.
    pub fn render(&self) -> String {
        let mut out = String::from("# TYPE app_requests_total counter\n");
        for ((method, endpoint, status), count) in self.requests.lock().iter().flat_map(|r| r.iter()) {
            let _ = writeln!(
                out,
                "app_requests_total{{method=\"{method}\",endpoint=\"{endpoint}\",status=\"{status}\"}} {count}"
            );
        }
        out.push_str("# TYPE app_request_latency_seconds histogram\n");
        for ((method, endpoint), latency) in self.latency.lock().iter().flat_map(|l| l.iter()) {
            let labels = format!("method=\"{method}\",endpoint=\"{endpoint}\"");
            let name = "app_request_latency_seconds";
            for (count, bound) in latency.buckets.iter().zip(BOUNDS) {
                let _ = writeln!(out, "{name}_bucket{{{labels},le=\"{bound}\"}} {count}");
            }
            let _ = writeln!(out, "{name}_bucket{{{labels},le=\"+Inf\"}} {}", latency.count);
            let _ = writeln!(out, "{name}_sum{{{labels}}} {}", latency.sum);
            let _ = writeln!(out, "{name}_count{{{labels}}} {}", latency.count);
        }
        out.push_str(&process());
        out
    }
}

fn process() -> String {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statm.split(' ').nth(1).and_then(|p| p.parse().ok()).unwrap_or(0);
    let files = std::fs::read_dir("/proc/self/fd").map(|d| d.count()).unwrap_or(0);
    format!(
        "# TYPE process_resident_memory_bytes gauge\nprocess_resident_memory_bytes {}\n\
         # TYPE process_open_fds gauge\nprocess_open_fds {files}\n",
        pages * 4096
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cumulative() {
        let metrics = Metrics::default();
        metrics.record("GET", "/", 200, Duration::from_millis(7));
        metrics.record("GET", "/", 200, Duration::from_millis(70));
        let text = metrics.render();
        assert!(text.contains("app_requests_total{method=\"GET\",endpoint=\"/\",status=\"200\"} 2"));
        assert!(text.contains("le=\"0.005\"} 0"));
        assert!(text.contains("le=\"0.01\"} 1"));
        assert!(text.contains("le=\"0.1\"} 2"));
    }
}
