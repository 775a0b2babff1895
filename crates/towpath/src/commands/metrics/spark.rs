//! A line of values in one line of text.

const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// One character per value from the lowest to the highest; gaps stay blank. More values than
/// `width` are thinned by the mean of neighbours.
pub(super) fn line(values: &[Option<f64>], width: usize) -> String {
    let width = width.max(1);
    let thinned: Vec<Option<f64>> = if values.len() <= width {
        values.to_vec()
    } else {
        (0..width)
            .map(|at| {
                let (from, to) = (at * values.len() / width, (at + 1) * values.len() / width);
                let some: Vec<f64> = values[from..to].iter().flatten().copied().collect();
                (!some.is_empty()).then(|| some.iter().sum::<f64>() / some.len() as f64)
            })
            .collect()
    };
    let finite = thinned.iter().flatten().copied().filter(|v| v.is_finite());
    let (low, high) = finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
        (low.min(value), high.max(value))
    });
    let level = |value: f64| {
        if high > low {
            let share = (value - low) / (high - low) * 7.0;
            LEVELS[(share.round() as usize).min(7)]
        } else {
            LEVELS[3]
        }
    };
    thinned
        .iter()
        .map(|value| match value {
            Some(value) if value.is_finite() => level(*value),
            _ => ' ',
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::line;

    #[test]
    fn lows_and_highs_and_gaps() {
        assert_eq!(line(&[Some(0.0), None, Some(7.0)], 10), "▁ █");
        assert_eq!(line(&[Some(5.0), Some(5.0)], 10), "▄▄");
        let many: Vec<_> = (0..100).map(|v| Some(f64::from(v))).collect();
        assert_eq!(line(&many, 8), "▁▂▃▄▅▆▇█");
    }
}
