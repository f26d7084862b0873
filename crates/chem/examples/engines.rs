//! Runs both engines over a table of SMILES (second column of a TSV on stdin) and prints where they differ, and how long
//! each took: `zcat data/np_68k.tsv.gz | cargo run --release --example engines -- configs/transforms.yaml polyphenol 1`. The
//! class may be `all`. Further arguments: `trusted` says that the input is canonical SMILES of the linked RDKit, `auto` runs
//! that engine alone, for a profiler. Ends with 1 where the engines differ.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    missing_docs,
    reason = "a tool for the terminal"
)]

use std::io::BufRead;
use std::process::ExitCode;
use std::time::Instant;

use halocline_chem::{Engine, Kernel, Options, SmilesBatch};
use halocline_rules::RuleFile;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let file = RuleFile::load(std::path::Path::new(&args[1])).unwrap();
    let depth: u32 = args[3].parse().unwrap();
    let reactions: Vec<_> = if args[2] == "all" {
        file.all()
    } else {
        file.for_class(&args[2], depth).unwrap()
    };
    let rows: Vec<String> = std::io::stdin()
        .lock()
        .lines()
        .skip(1)
        .map(|l| l.unwrap().split('\t').nth(1).unwrap().to_owned())
        .collect();
    let given = |name: &str| args[4..].iter().any(|a| a == name);
    let alone = given("auto");
    let mut kernels = [Engine::Full, Engine::Auto].map(|engine| {
        Kernel::new(
            &reactions,
            &Options {
                engine,
                trusted_input: given("trusted"),
                ..Options::default()
            },
        )
        .unwrap()
    });
    let mut seconds = [0.0; 2];
    let (mut products, mut edited, mut different) = (0, 0, 0);
    let mut stages = [[0_u64; 5]; 2];
    for chunk in rows.chunks(64) {
        let mut batch = SmilesBatch::new();
        chunk.iter().for_each(|s| batch.push(s));
        let mut seen: Vec<Vec<String>> = Vec::new();
        for (i, kernel) in kernels.iter_mut().enumerate().skip(usize::from(alone)) {
            let start = Instant::now();
            let results = kernel.run(&batch, depth).unwrap();
            seconds[i] += start.elapsed().as_secs_f64();
            let p = results.profile();
            for (sum, ns) in stages[i]
                .iter_mut()
                .zip([p.parse_ns, p.match_ns, p.edit_ns, p.full_ns, p.write_ns])
            {
                *sum += ns;
            }
            edited += p.edited;
            products += results.num_products();
            if alone {
                continue;
            }
            let mut lines: Vec<String> = results
                .products()
                .map(|p| {
                    format!(
                        "{} {:?} {} {} {:?}",
                        chunk[p.row as usize], p.path, p.site, p.smiles, p.atoms
                    )
                })
                .collect();
            lines.extend(
                results
                    .failures()
                    .map(|f| format!("{} {:?}", chunk[f.row as usize], f)),
            );
            lines.extend(results.counts().iter().map(|c| format!("{c:?}")));
            seen.push(lines);
        }
        if !alone && seen[0] != seen[1] {
            for (a, b) in seen[0].iter().zip(&seen[1]) {
                if a != b {
                    different += 1;
                    if different <= 10 {
                        println!("full {a}\nauto {b}\n");
                    }
                }
            }
            different += seen[0].len().abs_diff(seen[1].len());
        }
    }
    println!(
        "rows {} products {} edited {edited} different {different}",
        rows.len(),
        products / if alone { 1 } else { 2 }
    );
    println!("seconds full {:.2} auto {:.2}", seconds[0], seconds[1]);
    println!(
        "stages parse match edit full write: {:?}",
        stages.map(|s| s.map(|ns| ns / 1_000_000))
    );
    for (reaction, why) in reactions.iter().zip(kernels[1].explain()) {
        println!(
            "{}: {}",
            reaction.id,
            why.unwrap_or_else(|| "local".to_owned())
        );
    }
    if different == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
