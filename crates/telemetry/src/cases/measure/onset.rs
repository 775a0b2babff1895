//! Since when a curve is worse than it was. Points are times in milliseconds and values, in order.

/// A curve that got worse.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Onset {
    /// Since when.
    pub(super) at: i64,
    /// What was usual before; `None` where there was nothing before.
    pub(super) before: Option<f64>,
    /// What is usual since.
    pub(super) now: f64,
}

/// Points at the end that must be bad, so that one spike is none.
const LAST: usize = 3;
/// Points before that make a habit.
const HABIT: usize = 4;

fn median(points: &[(i64, f64)]) -> Option<f64> {
    let mut values: Vec<f64> = points.iter().map(|(_, value)| *value).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// Whether the end of a curve is at least `least`, and `factor` times what it was before. A curve
/// that was never better only counts where it began after `new`: what was always so is a habit.
pub(super) fn worse(
    points: &[(i64, f64)],
    least: f64,
    factor: f64,
    new: Option<i64>,
) -> Option<Onset> {
    let points: Vec<(i64, f64)> = points
        .iter()
        .copied()
        .filter(|(_, value)| value.is_finite())
        .collect();
    let last = points.get(points.len().checked_sub(LAST)?..)?;
    let now = median(last)?;
    if now < least {
        return None;
    }
    // Halfway between nothing and what is now tells bad from good.
    let bad = (now * 0.5).max(least * 0.5);
    let end = points.iter().rposition(|(_, value)| *value < bad);
    let begin = end.map_or(0, |place| place + 1);
    if points.len() - begin < LAST {
        return None;
    }
    let since = median(&points[begin..])?;
    let earlier = &points[..begin];
    if earlier.len() < HABIT {
        let fresh = new.is_some_and(|after| points[0].0 > after);
        return fresh.then(|| Onset {
            at: points[begin].0,
            before: median(earlier),
            now: since,
        });
    }
    let before = median(earlier)?;
    (since >= before * factor).then_some(Onset {
        at: points[begin].0,
        before: Some(before),
        now: since,
    })
}

/// Points before it can be told whether a curve only grows.
const LONG: usize = 12;

/// Whether a curve grows without an end: by at least `least` and a quarter, hardly ever falling,
/// and still growing.
pub(super) fn grows(points: &[(i64, f64)], least: f64) -> Option<Onset> {
    // A program takes what it needs at its start.
    let settled = points.get(points.len().min(3)..)?;
    if settled.len() < LONG {
        return None;
    }
    let third = settled.len() / 3;
    let first = median(&settled[..third])?;
    let middle = median(&settled[third..2 * third])?;
    let last = median(&settled[2 * third..])?;
    let rising = settled.windows(2).filter(|pair| pair[1].1 >= pair[0].1);
    let steady = rising.count() as f64 / (settled.len() - 1) as f64 >= 0.75;
    let growth = last - first;
    // What fills a cache grows ever slower.
    let goes_on = last - middle >= (middle - first) * 0.5;
    (growth >= least && growth >= first * 0.25 && steady && goes_on).then(|| Onset {
        at: settled[0].0,
        before: Some(first),
        now: last,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(values: &[f64]) -> Vec<(i64, f64)> {
        let times = (0_i64..).map(|step| step * 1_000);
        times.zip(values.iter().copied()).collect()
    }

    #[test]
    fn a_step_up_has_a_beginning() {
        let points = curve(&[0.0, 0.01, 0.0, 0.0, 0.01, 0.4, 0.5, 0.45, 0.5]);
        let onset = worse(&points, 0.05, 3.0, Some(-1)).expect("worse");
        assert_eq!(onset.at, 5_000);
        assert_eq!(onset.before, Some(0.0));
    }

    #[test]
    fn spikes_and_habits_are_none() {
        let spike = curve(&[0.0, 0.0, 0.0, 0.0, 0.9, 0.0, 0.0, 0.0]);
        assert_eq!(worse(&spike, 0.05, 3.0, Some(-1)), None);
        let habit = curve(&[0.4, 0.5, 0.4, 0.5, 0.45, 0.5, 0.4, 0.5]);
        assert_eq!(worse(&habit, 0.05, 2.0, Some(0)), None);
        assert_eq!(worse(&curve(&[f64::NAN; 9]), 0.05, 2.0, Some(-1)), None);
        assert_eq!(worse(&[], 0.05, 2.0, Some(-1)), None);
    }

    #[test]
    fn leaks_grow_and_caches_fill() {
        let leak: Vec<f64> = (0..40).map(|n| 50e6 + f64::from(n) * 2e6).collect();
        assert!(grows(&curve(&leak), 16e6).is_some());
        let cache: Vec<f64> = (0..40)
            .map(|n| 50e6 + 80e6 * (1.0 - (-f64::from(n) / 6.0).exp()))
            .collect();
        assert_eq!(grows(&curve(&cache), 16e6), None);
        let saw: Vec<f64> = (0..40).map(|n| 50e6 + f64::from(n % 5) * 9e6).collect();
        assert_eq!(grows(&curve(&saw), 16e6), None);
    }
}
