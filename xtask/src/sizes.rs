//! Sizes as a compass: the largest source files, the binary, the UI.

use crate::step;
use anyhow::Result;

/// Prints them.
pub fn run() -> Result<()> {
    let files = step::output(step::program("git").args(["ls-files", "*.rs", "*.ts", "*.svelte"]))?;
    let mut sizes: Vec<(usize, &str)> = files
        .lines()
        .filter_map(|file| {
            std::fs::read_to_string(file)
                .ok()
                .map(|text| (text.lines().count(), file))
        })
        .collect();
    let total: usize = sizes.iter().map(|(lines, _)| lines).sum();
    sizes.sort_unstable_by(|a, b| b.cmp(a));
    println!("{} files, {total} lines; the largest:", sizes.len());
    for (lines, file) in sizes.iter().take(25) {
        println!("{lines:6}  {file}");
    }
    for program in ["target/debug/towpath", "target/release/towpath"] {
        if let Ok(meta) = std::fs::metadata(program) {
            println!("{:6} MiB  {program}", meta.len() >> 20);
        }
    }
    Ok(())
}
