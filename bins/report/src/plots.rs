//! The page's plots as inline SVG. Colours come from the page's style sheet by class name.

use std::fmt::Write as _;

use crate::html::escape;
use crate::model::{Report, Run};
use crate::text::{duration, grouped, percent, size};

const WIDTH: f64 = 1100.0;
const LABEL: f64 = 330.0;
const ROW: f64 = 24.0;

/// Room for the figures behind the bars.
const FIGURES: f64 = 190.0;

struct Bar {
    label: String,
    /// Parts from left to right: class name and value.
    parts: Vec<(&'static str, f64)>,
    figures: String,
    title: String,
}

/// Horizontal bars on one linear scale.
fn bars(bars: &[Bar], about: &str) -> String {
    let most = bars
        .iter()
        .map(|bar| bar.parts.iter().map(|p| p.1).sum())
        .fold(0.0, f64::max);
    let scale = if most > 0.0 {
        (WIDTH - LABEL - FIGURES) / most
    } else {
        0.0
    };
    let height = ROW * bars.len() as f64;
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{}\">",
        escape(about)
    );
    for (n, bar) in bars.iter().enumerate() {
        let y = ROW * n as f64;
        let middle = y + ROW / 2.0;
        let _ = write!(
            svg,
            "<g><title>{}</title><text class=\"label\" x=\"{}\" y=\"{middle}\">{}</text>",
            escape(&bar.title),
            LABEL - 8.0,
            escape(&bar.label)
        );
        let mut x = LABEL;
        for (class, value) in &bar.parts {
            let width = value * scale;
            let _ = write!(
                svg,
                "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{:.1}\"/>",
                y + 3.0,
                ROW - 6.0
            );
            x += width;
        }
        let _ = write!(
            svg,
            "<text class=\"figures\" x=\"{:.1}\" y=\"{middle}\">{}</text></g>",
            x + 6.0,
            escape(&bar.figures)
        );
    }
    svg.push_str("</svg>");
    svg
}

/// Unique and duplicate products per library.
pub(crate) fn products(report: &Report) -> String {
    let mut libraries: Vec<(String, u64, u64)> = Vec::new();
    for job in &report.jobs {
        let name = format!("{} {}X", job.class, job.depth);
        let duplicates = job.total_products.saturating_sub(job.unique_products);
        match libraries.iter_mut().find(|entry| entry.0 == name) {
            Some(entry) => {
                entry.1 += job.unique_products;
                entry.2 += duplicates;
            }
            None => libraries.push((name, job.unique_products, duplicates)),
        }
    }
    let rows: Vec<Bar> = libraries
        .into_iter()
        .map(|(label, unique, duplicates)| {
            let total = unique + duplicates;
            let share = if total == 0 {
                0.0
            } else {
                unique as f64 / total as f64
            };
            Bar {
                figures: format!("{} ({})", grouped(unique), percent(share)),
                title: format!(
                    "{label}: {} unique, {} duplicates",
                    grouped(unique),
                    grouped(duplicates)
                ),
                label,
                parts: vec![("unique", unique as f64), ("duplicate", duplicates as f64)],
            }
        })
        .collect();
    bars(&rows, "unique and duplicate products per library")
}

/// The slowest processes.
pub(crate) fn slowest(runs: &[Run]) -> String {
    let rows: Vec<Bar> = runs
        .iter()
        .map(|run| Bar {
            label: shortened(&run.id),
            parts: vec![("time", run.wall_seconds)],
            figures: run.peak_rss_bytes.map_or_else(
                || duration(run.wall_seconds),
                |peak| format!("{}, {}", duration(run.wall_seconds), size(peak)),
            ),
            title: run.cpu_seconds.map_or_else(
                || format!("{}: {} wall", run.id, duration(run.wall_seconds)),
                |cpu| {
                    let wall = duration(run.wall_seconds);
                    format!("{}: {wall} wall, {} CPU", run.id, duration(cpu))
                },
            ),
        })
        .collect();
    bars(&rows, "wall time of the slowest jobs")
}

/// A label that fits its column, cut at the front, where the ids are alike.
fn shortened(id: &str) -> String {
    const MOST: usize = 44;
    let length = id.chars().count();
    if length <= MOST {
        return id.to_owned();
    }
    let tail: String = id.chars().skip(length - MOST + 1).collect();
    format!("…{tail}")
}

/// Peak memory of every process as a share of its limit, one line of dots per step.
pub(crate) fn memory(runs: &[Run]) -> String {
    let mut steps: Vec<&str> = Vec::new();
    for run in runs {
        if run.peak_rss_bytes.is_some() && !steps.contains(&run.step.as_str()) {
            steps.push(&run.step);
        }
    }
    let scale = (WIDTH - LABEL - FIGURES) / 1.1;
    let x = |share: f64| LABEL + share.min(1.1) * scale;
    let height = ROW * steps.len() as f64 + ROW;
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"peak memory as a share of the limit\">"
    );
    for tick in [0.0, 0.25, 0.5, 0.75, 1.0] {
        let class = if tick == 1.0 { "limit" } else { "grid" };
        let _ = write!(
            svg,
            "<line class=\"{class}\" x1=\"{0:.1}\" x2=\"{0:.1}\" y1=\"0\" y2=\"{1}\"/>\
             <text class=\"tick\" x=\"{0:.1}\" y=\"{2}\">{3} %</text>",
            x(tick),
            height - ROW,
            height - ROW / 2.0,
            tick * 100.0
        );
    }
    for (n, step) in steps.iter().enumerate() {
        let y = ROW * n as f64 + ROW / 2.0;
        let _ = write!(
            svg,
            "<text class=\"label\" x=\"{}\" y=\"{y}\">{}</text>",
            LABEL - 8.0,
            escape(step)
        );
        let mut most = 0.0_f64;
        for run in runs.iter().filter(|run| run.step == *step) {
            let Some(peak) = run.peak_rss_bytes else {
                continue;
            };
            let share = peak as f64 / run.memory_limit_bytes as f64;
            most = most.max(share);
            let class = if share > 1.0 { "over" } else { "dot" };
            let _ = write!(
                svg,
                "<circle class=\"{class}\" cx=\"{:.1}\" cy=\"{y}\" r=\"4\"><title>{}: {} of {}</title></circle>",
                x(share),
                escape(&run.id),
                size(peak),
                size(run.memory_limit_bytes)
            );
        }
        let _ = write!(
            svg,
            "<text class=\"figures\" x=\"{:.1}\" y=\"{y}\">at most {} of the limit</text>",
            x(1.1) + 6.0,
            percent(most)
        );
    }
    svg.push_str("</svg>");
    svg
}
