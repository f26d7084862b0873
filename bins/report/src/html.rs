//! The page: one file, no network, no script needed to read it. A few lines of script sort the table of jobs.

use std::fmt::Write as _;

use crate::model::{Job, Report, Status};
use crate::plots;
use crate::text::{duration, grouped, percent, size};

/// Jobs in the plot of the slowest.
const SLOWEST: usize = 20;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// Text for element content and for quoted attributes.
pub(crate) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            _ => safe.push(c),
        }
    }
    safe
}

/// The whole page.
pub(crate) fn page(report: &Report) -> String {
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>halocline: {} products</title><style>{STYLE}</style></head><body><main>\n",
        grouped(report.totals.unique_products)
    );
    headline(report, &mut html);
    failures(report, &mut html);
    html.push_str(
        "<h2>Products by library</h2><p class=\"legend\"><i class=\"unique\"></i> unique \
                   <i class=\"duplicate\"></i> duplicates, dropped by the merge</p>",
    );
    html.push_str(&plots::products(report));
    matrix(report, &mut html);
    libraries(report, &mut html);
    slowest(report, &mut html);
    rejects(report, &mut html);
    jobs(report, &mut html);
    let _ = writeln!(
        html,
        "<footer>halocline {}, RDKit {}. Results in <code>{}</code>. The same figures as data: \
         <a href=\"transform_pipeline_report.json\">transform_pipeline_report.json</a>, \
         <a href=\"jobs.tsv\">jobs.tsv</a>.</footer></main><script>{SCRIPT}</script></body></html>",
        escape(&report.tool_version),
        escape(report.rdkit_version.as_deref().unwrap_or("unknown")),
        escape(&report.results),
    );
    html
}

fn headline(report: &Report, html: &mut String) {
    let totals = &report.totals;
    let complete = totals.valid == totals.jobs;
    let _ = write!(
        html,
        "<h1>Product libraries</h1><p class=\"state {}\">{} of {} jobs complete and valid</p><ul class=\"cards\">",
        if complete { "good" } else { "bad" },
        grouped(totals.valid),
        grouped(totals.jobs)
    );
    let share = match totals.total_products {
        0 => "none".to_owned(),
        all => percent(totals.unique_products as f64 / all as f64),
    };
    let cards = [
        (grouped(totals.unique_products), "unique products"),
        (
            grouped(totals.total_products),
            "products before deduplication",
        ),
        (share, "unique share"),
        (grouped(totals.parents), "parents"),
        (grouped(totals.products_failed), "products failed"),
        (grouped(totals.rejected), "rows rejected"),
        (size(totals.bytes), "of product tables"),
        (duration(totals.cpu_seconds), "CPU time"),
        (size(totals.peak_rss_bytes), "largest peak memory"),
    ];
    for (value, meaning) in cards {
        let _ = write!(html, "<li><b>{}</b>{meaning}</li>", escape(&value));
    }
    html.push_str("</ul>\n");
    for note in &report.notes {
        let _ = writeln!(html, "<p>Note: {}.</p>", escape(note));
    }
}

fn failures(report: &Report, html: &mut String) {
    let failed: Vec<&Job> = report
        .jobs
        .iter()
        .filter(|job| job.status != Status::Valid)
        .collect();
    html.push_str("<h2>Failures</h2>");
    if failed.is_empty() {
        html.push_str("<p>None: every job is complete and every table passed validation.</p>\n");
        return;
    }
    html.push_str(
        "<table class=\"words\"><thead><tr><th>Job</th><th>State</th><th>Reason</th></tr></thead><tbody>",
    );
    for job in failed {
        let _ = write!(
            html,
            "<tr><td>{}</td><td class=\"bad\">{}</td><td>{}</td></tr>",
            escape(&job.name),
            job.status.name(),
            escape(job.problem.as_deref().unwrap_or("no reason is known"))
        );
    }
    html.push_str("</tbody></table>\n");
}

/// Rules down, libraries across; in a cell the unique products and their share.
fn matrix(report: &Report, html: &mut String) {
    let mut columns: Vec<(&str, u32)> = Vec::new();
    let mut rules: Vec<&str> = Vec::new();
    for job in &report.jobs {
        if !columns.contains(&(&job.class, job.depth)) {
            columns.push((&job.class, job.depth));
        }
        if !rules.contains(&job.rule.as_str()) {
            rules.push(&job.rule);
        }
    }
    // Depth first, so that the classes of one depth stand beside each other.
    columns.sort_by_key(|column| column.1);
    html.push_str(
        "<h2>Class by rule</h2><p>Unique products, and below them their share of all products. \
         A dot: the rule is not in the scope of the class. The darker, the more products.</p>\
         <div class=\"wide\"><table class=\"matrix\"><thead><tr><th>Rule</th>",
    );
    for (class, depth) in &columns {
        let _ = write!(html, "<th>{}<br>{depth}X</th>", escape(class));
    }
    html.push_str("<th>All</th></tr></thead><tbody>");
    let most = report
        .jobs
        .iter()
        .map(|job| job.unique_products)
        .max()
        .unwrap_or(0)
        .max(1);
    for rule in rules {
        let _ = write!(html, "<tr><th>{}</th>", escape(rule));
        for (class, depth) in &columns {
            let job = report
                .jobs
                .iter()
                .find(|j| j.rule == rule && j.class == *class && j.depth == *depth);
            html.push_str(&cell(job, most));
        }
        let all: u64 = report
            .jobs
            .iter()
            .filter(|j| j.rule == rule)
            .map(|j| j.unique_products)
            .sum();
        let _ = write!(html, "<td class=\"sum\">{}</td></tr>", grouped(all));
    }
    html.push_str("</tbody></table></div>\n");
}

fn cell(job: Option<&Job>, most: u64) -> String {
    let Some(job) = job else {
        return "<td class=\"none\">·</td>".to_owned();
    };
    if job.status != Status::Valid {
        let problem = escape(job.problem.as_deref().unwrap_or_default());
        return format!(
            "<td class=\"bad\" title=\"{problem}\">{}</td>",
            job.status.name()
        );
    }
    // Counts span many orders of magnitude: the shade follows the logarithm.
    let shade = ((job.unique_products as f64 + 1.0).ln() / (most as f64 + 1.0).ln() * 45.0).round();
    let share = job.unique_share.map_or_else(String::new, |share| {
        format!("<small>{}</small>", percent(share))
    });
    format!(
        "<td style=\"--shade:{shade}%\" title=\"{} from {} products of {} parents\">{}{share}</td>",
        grouped(job.unique_products),
        grouped(job.total_products),
        grouped(job.total_input),
        grouped(job.unique_products)
    )
}

fn libraries(report: &Report, html: &mut String) {
    if report.libraries.is_empty() {
        return;
    }
    html.push_str(
        "<h2>Halogenated libraries</h2><table><thead><tr><th>Library</th><th>Natural products</th>\
         <th>Halogenated</th><th>Unique</th><th>Products failed</th><th>Size</th></tr></thead><tbody>",
    );
    for library in &report.libraries {
        if library.complete {
            let _ = write!(
                html,
                "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
                escape(&library.name),
                grouped(library.total_input),
                grouped(library.total_products),
                grouped(library.unique_products),
                grouped(library.products_failed),
                size(library.bytes)
            );
        } else {
            let _ = write!(
                html,
                "<tr><td>{}</td><td colspan=\"5\" class=\"bad\">missing</td></tr>",
                escape(&library.name)
            );
        }
    }
    html.push_str("</tbody></table>\n");
}

fn slowest(report: &Report, html: &mut String) {
    if report.runs.is_empty() {
        return;
    }
    html.push_str("<h2>Slowest jobs</h2><p>Wall time and peak memory of a job's processes.</p>");
    html.push_str(&plots::slowest(
        &report.runs[..report.runs.len().min(SLOWEST)],
    ));
    html.push_str("<h2>Memory</h2><p>Peak memory of each process against its own limit.</p>");
    html.push_str(&plots::memory(&report.runs));
}

fn rejects(report: &Report, html: &mut String) {
    html.push_str("<h2>Rejected rows</h2>");
    if report.totals.products_failed > 0 {
        html.push_str(
            "<p>Rows that a step read. Products that failed are counted with their jobs, below.</p>",
        );
    }
    if report.rejects.is_empty() {
        html.push_str("<p>None.</p>\n");
        return;
    }
    html.push_str(
        "<table class=\"words\"><thead><tr><th>Step</th><th>Reason</th><th>Rows</th></tr></thead><tbody>",
    );
    for (step, reasons) in &report.rejects {
        for (reason, rows) in reasons {
            let _ = write!(
                html,
                "<tr><td>{}</td><td>{}</td><td>{}</td></tr>",
                escape(step),
                escape(reason),
                grouped(*rows)
            );
        }
    }
    html.push_str("</tbody></table>\n");
}

fn jobs(report: &Report, html: &mut String) {
    html.push_str(
        "<h2>All jobs</h2><p>A click on a heading sorts.</p><div class=\"wide\"><table class=\"sortable\"><thead><tr>\
         <th>Class</th><th>Depth</th><th>Rule</th><th>State</th><th>Parents</th><th>Products</th><th>Unique</th>\
         <th>Share</th><th>Products failed</th><th>Size</th><th>Merge</th><th>Peak memory</th></tr></thead><tbody>",
    );
    for job in &report.jobs {
        let class = if job.status == Status::Valid {
            "good"
        } else {
            "bad"
        };
        let _ = write!(
            html,
            "<tr><td>{}</td><td>{}X</td><td>{}</td><td class=\"{class}\">{}</td>",
            escape(&job.class),
            job.depth,
            escape(&job.rule),
            job.status.name()
        );
        let share = job.unique_share;
        let cells = [
            (job.total_input as f64, grouped(job.total_input)),
            (job.total_products as f64, grouped(job.total_products)),
            (job.unique_products as f64, grouped(job.unique_products)),
            (
                share.unwrap_or(-1.0),
                share.map_or_else(String::new, percent),
            ),
            (job.products_failed as f64, grouped(job.products_failed)),
            (job.bytes as f64, size(job.bytes)),
            (job.elapsed_seconds, duration(job.elapsed_seconds)),
            (job.peak_rss_bytes as f64, size(job.peak_rss_bytes)),
        ];
        for (key, text) in cells {
            let _ = write!(html, "<td data-key=\"{key}\">{text}</td>");
        }
        html.push_str("</tr>");
    }
    html.push_str("</tbody></table></div>\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_be_markup_is_text() {
        assert_eq!(
            escape(r#"<a href="x">&'"#),
            "&lt;a href=&quot;x&quot;&gt;&amp;&#39;"
        );
    }
}
