//! The report as text: the table of jobs, and the totals a person sees at the end of a run.

use std::fmt::Write as _;
use std::path::Path;

use crate::model::{Report, Status};

/// `1,234,567`.
pub(crate) fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `12.3 MiB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 {
        format!("{bytes} B")
    } else {
        format!("{value:.1} {}", UNITS[unit])
    }
}

/// `0.42 s`, `12.3 s`, `4 min 05 s`, `2 h 07 min`.
pub(crate) fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..10 => format!("{seconds:.2} s"),
        10..60 => format!("{seconds:.1} s"),
        60..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
    }
}

/// `62.5 %`.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// One line per transform job; tab separated, one header line.
pub(crate) fn jobs_tsv(report: &Report) -> String {
    let mut tsv = String::from(
        "job\tclass\tdepth\trule\tstatus\ttotal_input\ttotal_processed\ttotal_products\tunique_products\t\
         products_failed\tunique_share\telapsed_seconds\tbytes\tpeak_rss_bytes\tmemory_limit_bytes\tspill_bytes\tproducts\tproblem\n",
    );
    for job in &report.jobs {
        let share = job
            .unique_share
            .map_or_else(String::new, |share| format!("{share:.6}"));
        let problem = job
            .problem
            .as_deref()
            .unwrap_or_default()
            .replace(['\t', '\n', '\r'], " ");
        let _ = writeln!(
            tsv,
            "{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{share}\t{:.3}\t{}\t{}\t{}\t{}\t{}\t{problem}",
            job.name,
            job.class,
            job.depth,
            job.rule,
            job.status.name(),
            job.total_input,
            job.total_processed,
            job.total_products,
            job.unique_products,
            job.products_failed,
            job.elapsed_seconds,
            job.bytes,
            job.peak_rss_bytes,
            job.memory_limit_bytes,
            job.spill_bytes,
            job.products,
        );
    }
    tsv
}

/// A few lines: what was made, what is wrong, where the page is.
pub(crate) fn totals(report: &Report, page: &Path) -> String {
    let totals = &report.totals;
    let mut text = format!(
        "{} of {} jobs complete and valid\n{} parents in {} -> {} products, {} unique ({}), {}\n",
        totals.valid,
        totals.jobs,
        grouped(totals.parents),
        match totals.libraries {
            1 => "1 library".to_owned(),
            n => format!("{n} libraries"),
        },
        grouped(totals.total_products),
        grouped(totals.unique_products),
        if totals.total_products == 0 {
            "no share".to_owned()
        } else {
            percent(totals.unique_products as f64 / totals.total_products as f64)
        },
        size(totals.bytes),
    );
    if totals.products_failed > 0 {
        let _ = writeln!(text, "{} products failed", grouped(totals.products_failed));
    }
    for job in report
        .jobs
        .iter()
        .filter(|job| job.status != Status::Valid)
        .take(10)
    {
        let problem = job.problem.as_deref().unwrap_or("no reason is known");
        let _ = writeln!(text, "{} {}: {problem}", job.status.name(), job.name);
    }
    let bad = totals.invalid + totals.missing;
    if bad > 10 {
        let _ = writeln!(text, "... and {} more", bad - 10);
    }
    for note in &report.notes {
        let _ = writeln!(text, "note: {note}");
    }
    let _ = writeln!(text, "report: {}", page.display());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_000), "1,000");
        assert_eq!(grouped(757_000_123), "757,000,123");
        assert_eq!(size(1023), "1023 B");
        assert_eq!(size(1 << 20), "1.0 MiB");
        assert_eq!(duration(0.42), "0.42 s");
        assert_eq!(duration(245.0), "4 min 05 s");
        assert_eq!(duration(7620.0), "2 h 07 min");
    }
}
