//! How well the kernel's clock keeps time. There is no file for it and no safe call, so who owns
//! the calls of the machine hands a reader in.

use super::files::Error;
use super::{Kind, NodeExporter, Sink};
use std::sync::Arc;
use towpath_kit::traits::ClockState;

/// Asks the kernel.
pub type ClockReader = Arc<dyn Fn() -> Option<ClockState> + Send + Sync>;

/// Bit of the status: frequencies and offsets are in billionths, not millionths.
const NANO: i32 = 0x2000;
/// What the call answers while the clock is not synchronised.
const ERROR: i32 = 5;

pub(super) fn collect(node: &NodeExporter, sink: &mut Sink) -> Result<(), Error> {
    let state = node.config.clock.as_ref().and_then(|read| read());
    let state = state.ok_or_else(|| Error::Call("no reader of the kernel's clock".into()))?;
    let unit = if state.status & NANO != 0 { 1e9 } else { 1e6 };
    // Parts per million with sixteen binary digits behind the point.
    let ppm = 65_536.0 * 1e6;
    let gauges = [
        (
            "estimated_error_seconds",
            "Estimated error in seconds.",
            state.estimated_error_us as f64 / 1e6,
        ),
        (
            "frequency_adjustment_ratio",
            "Local clock frequency adjustment.",
            1.0 + state.frequency as f64 / ppm,
        ),
        (
            "loop_time_constant",
            "Phase-locked loop time constant.",
            state.loop_constant as f64,
        ),
        (
            "maxerror_seconds",
            "Maximum error in seconds.",
            state.maximum_error_us as f64 / 1e6,
        ),
        (
            "offset_seconds",
            "Time offset in between local system and reference clock.",
            state.offset as f64 / unit,
        ),
        (
            "status",
            "Value of the status array bits.",
            f64::from(state.status),
        ),
        (
            "sync_status",
            "Is clock synchronized to a reliable server (1 = yes, 0 = no).",
            f64::from(u8::from(state.answer != ERROR)),
        ),
        (
            "tai_offset_seconds",
            "International Atomic Time (TAI) offset.",
            f64::from(state.tai_seconds),
        ),
        (
            "tick_seconds",
            "Seconds between clock ticks.",
            state.tick_us as f64 / 1e6,
        ),
    ];
    for (name, help, value) in gauges {
        sink.single(format!("node_timex_{name}"), Kind::Gauge, help, value);
    }
    Ok(())
}
