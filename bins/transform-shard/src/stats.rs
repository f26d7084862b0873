//! What a sidecar of this tool says beyond what every tool's says: sites, products, the kernel's own clock.

use halocline_chem::Counts;
use halocline_cli::sidecar::{Sidecar, StageSeconds};

use crate::args::Config;

/// Logs what the shard came to.
pub(crate) fn report(config: &Config, base: &Sidecar) {
    tracing::info!(
        "{} parents, {} rejected, {} products, {} duplicates in the shard, {:.1} s",
        base.rows_in,
        base.rows_in - base.rows_done,
        base.rows_out,
        base.duplicates,
        base.wall_seconds
    );
    if config.profile {
        for (stage, seconds) in &base.stages {
            tracing::info!(
                "{stage}: {:.3} s CPU, {:.3} s wall",
                seconds.cpu_seconds,
                seconds.wall_seconds
            );
        }
    }
}

/// Sums over the table's rules, and with several rules also each rule's own, as `sites_matched:{rule}`.
pub(crate) fn add_counts(sidecar: &mut Sidecar, counts: &[Counts], ids: &[String]) {
    let mut sum = Counts::default();
    let mut put = |name: &str, rule: Option<&str>, value: u64| {
        let key = rule.map_or_else(|| name.to_owned(), |rule| format!("{name}:{rule}"));
        sidecar.counts.insert(key, value);
    };
    let mut put_all = |c: &Counts, rule: Option<&str>| {
        put("sites_matched", rule, c.matched);
        put("sites_masked", rule, c.masked);
        put("sites_capped", rule, c.capped);
        put("products_made", rule, c.products);
        put("products_failed", rule, c.failed);
    };
    for (c, id) in counts.iter().zip(ids) {
        sum.add(c);
        if counts.len() > 1 {
            put_all(c, Some(id));
        }
    }
    put_all(&sum, None);
}

/// The kernel's own clock, as stages within `react`, and the time threads had nothing to do. The kernel reads the wall clock
/// only, because a product takes a few microseconds; the CPU time of `react` is shared out in proportion. `react.rows` is
/// what is left of it: tables of the products, their keys, and the loops around.
pub(crate) fn add_kernel_stages(
    sidecar: &mut Sidecar,
    profile: &halocline_chem::Profile,
    threads: usize,
) {
    let busy: f64 = sidecar.stages.values().map(|s| s.wall_seconds).sum();
    let react = sidecar.stages.get("react").copied().unwrap_or_default();
    let cpu_share = if react.wall_seconds > 0.0 {
        react.cpu_seconds / react.wall_seconds
    } else {
        0.0
    };
    let in_kernel = [
        profile.parse_ns,
        profile.match_ns,
        profile.edit_ns,
        profile.full_ns,
        profile.write_ns,
    ];
    let rest = (react.wall_seconds * 1e9) as u64;
    let rest = rest.saturating_sub(in_kernel.iter().sum());
    for (name, ns) in [
        ("react.parse", profile.parse_ns),
        ("react.match", profile.match_ns),
        ("react.edit", profile.edit_ns),
        ("react.full_route", profile.full_ns),
        ("react.canonicalise", profile.write_ns),
        ("react.rows", rest),
    ] {
        let seconds = ns as f64 / 1e9;
        sidecar.stages.insert(
            name.to_owned(),
            StageSeconds {
                cpu_seconds: seconds * cpu_share,
                wall_seconds: seconds,
            },
        );
    }
    let wait = (sidecar.wall_seconds * threads as f64 - busy).max(0.0);
    sidecar.stages.insert(
        "wait".to_owned(),
        StageSeconds {
            cpu_seconds: 0.0,
            wall_seconds: wait,
        },
    );
}
