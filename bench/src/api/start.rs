//! From the start of the programs to ready, with 50,000 objects in the store.

use super::load::fill;
use super::{PEER, Pair};
use crate::counted;
use crate::report::Row;
use crate::stats::median;
use anyhow::Result;

const OBJECTS: usize = 50_000;

pub fn bench(repeats: usize) -> Result<Vec<Row>> {
    let mut pair = Pair::start("objects")?;
    let objects = counted(OBJECTS);
    for (url, token) in pair.sides() {
        fill(&url, &token, objects)?;
    }
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..repeats.min(3) {
        pair.ours.towpath(&["down"])?;
        pair.ours.up()?;
        ours.push(pair.ours.ready_ms);
        theirs.push(pair.theirs.restart()?.as_secs_f64() * 1000.0);
    }
    let (ours, theirs) = (median(ours), median(theirs));
    let memory = pair.resident();
    Ok(vec![
        Row::new(
            format!("start with {objects} objects"),
            format!("{ours:.0} ms (**{:.2}×**, whole platform)", ours / theirs),
            format!("{theirs:.0} ms {PEER}"),
            "≤ 2,000 ms",
            ours <= 2000.0,
        ),
        Row::new(
            "… resident memory with the 50,000",
            format!("{:.0} MB (whole platform)", memory[0]),
            format!("{:.0} MB {PEER}", memory[1]),
            "",
            true,
        ),
    ])
}
