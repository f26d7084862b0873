//! One molecule under the loupe: `--row N --explain` says in words what every rule does to it, `--dump-case N` writes it
//! down as a test case.
//!
//! Both ask the same kernel the tables come from; nothing is worked out a second way.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, ensure};
use arrow::array::Array;
use halocline_budget::publish;
use halocline_chem::{Counts, Engine, Kernel, Options, Profile, SmilesBatch};
use halocline_rules::Reaction;
use halocline_table::{ReadOptions, text_column};

use crate::args::{Config, Input};

/// What became of one site, or of a product at depth 2.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fate {
    Product(String),
    Failed { stage: &'static str, reason: String },
    Masked,
    Capped,
}

/// One run of some rules over the molecule.
#[derive(Default)]
struct Ran {
    /// By rule path and site; a reaction with several products has several per site.
    products: Vec<(Vec<u16>, i32, Vec<i32>, String)>,
    failed: Vec<(Option<u16>, Option<i32>, &'static str, String)>,
    counts: Vec<Counts>,
    profile: Profile,
}

fn ran(reactions: &[Reaction], options: &Options, smiles: &str, depth: u32) -> anyhow::Result<Ran> {
    let mut kernel = Kernel::new(reactions, options)?;
    let mut batch = SmilesBatch::new();
    batch.push(smiles);
    let results = kernel.run(&batch, depth)?;
    Ok(Ran {
        products: results
            .products()
            .map(|p| {
                (
                    p.path.to_vec(),
                    p.site,
                    p.atoms.to_vec(),
                    p.smiles.to_owned(),
                )
            })
            .collect(),
        failed: results
            .failures()
            .map(|f| (f.rule, f.site, f.stage.name(), f.reason.to_owned()))
            .collect(),
        counts: results.counts(),
        profile: results.profile(),
    })
}

/// The text of one row; `None` when it is null.
fn smiles_of(input: &Input, row: u64) -> anyhow::Result<Option<String>> {
    ensure!(
        row < input.reader.rows(),
        "row {row}: `{}` has {} rows, counted from 0",
        input.path.display(),
        input.reader.rows()
    );
    let options = ReadOptions {
        rows: Some(row..row + 1),
        columns: Some(vec![input.smiles_column.clone()]),
        ..ReadOptions::default()
    };
    for batch in input.reader.batches(options)? {
        let text = text_column(&batch?, &input.smiles_column)?;
        if !text.is_empty() {
            return Ok(text.is_valid(0).then(|| text.value(0).to_owned()));
        }
    }
    anyhow::bail!("`{}`: row {row} could not be read", input.path.display())
}

/// Writes what every rule finds in, and makes of, one row.
///
/// # Errors
/// A row that does not exist, a library that cannot be read, a kernel that fails as a whole.
pub(crate) fn explain(config: &Config, row: u64, out: &mut dyn Write) -> anyhow::Result<()> {
    let input = config.input.as_ref().context("no library is open")?;
    let smiles = smiles_of(input, row)?;
    let mut text = String::new();
    writeln!(text, "row {row} of {}", input.path.display())?;
    match &smiles {
        None => writeln!(text, "SMILES is null: rejected at stage parse")?,
        Some(smiles) => {
            writeln!(text, "{smiles}")?;
            let rejected = match config.quarantine.get(&row) {
                Some(known) => Some(format!("{}: {}", known.stage().name(), known.reason)),
                None => describe(config, smiles, &mut text)?,
            };
            if let Some(rejected) = rejected {
                writeln!(text, "rejected whole at stage {rejected}")?;
            }
        }
    }
    out.write_all(text.as_bytes())
        .context("cannot write to stdout")
}

/// Appends a paragraph per rule; stage and reason when the molecule is rejected as a whole.
fn describe(config: &Config, smiles: &str, text: &mut String) -> anyhow::Result<Option<String>> {
    let whole = ran(&config.reactions, &config.chemistry, smiles, config.depth)?;
    if let Some((_, _, stage, reason)) = whole.failed.iter().find(|f| f.0.is_none()) {
        return Ok(Some(format!("{stage}: {reason}")));
    }
    let parse = if whole.profile.light_parsed > 0 {
        "light parse (canonical SMILES of this RDKit)"
    } else if config.chemistry.trusted_input {
        "full parse (of canonical SMILES, those without stereo, charges, isotopes, several parts and rarer elements take the light one)"
    } else {
        "full parse (the table does not say that its SMILES are canonical ones of this RDKit)"
    };
    writeln!(text, "{parse}, {} products", whole.products.len())?;
    for reaction in &config.reactions {
        describe_rule(config, reaction, smiles, text)?;
    }
    if config.depth > 1 {
        writeln!(
            text,
            "\nafter {} steps, each distinct product once:",
            config.depth
        )?;
        for (path, site, atoms, product) in &whole.products {
            let ids: Vec<&str> = path
                .iter()
                .map(|r| config.reactions[usize::from(*r)].id.as_str())
                .collect();
            writeln!(
                text,
                "  {} {site}  atoms {atoms:?}  -> {product}",
                ids.join("+")
            )?;
        }
        for (rule, site, stage, reason) in &whole.failed {
            let id = rule.map_or("-", |r| config.reactions[usize::from(r)].id.as_str());
            writeln!(
                text,
                "  {id} {}  rejected at stage {stage}: {reason}",
                site.unwrap_or(-1)
            )?;
        }
    }
    Ok(None)
}

fn describe_rule(
    config: &Config,
    reaction: &Reaction,
    smiles: &str,
    text: &mut String,
) -> anyhow::Result<()> {
    let one = std::slice::from_ref(reaction);
    let kernel = Kernel::new(one, &config.chemistry)?;
    let lane = kernel.explain().pop().flatten();
    let as_is = ran(one, &config.chemistry, smiles, 1)?;
    let counts = as_is.counts.first().copied().unwrap_or_default();
    writeln!(text, "\n{}  {}", reaction.id, reaction.smirks)?;
    if counts.matched == 0 {
        writeln!(text, "  no site")?;
        return Ok(());
    }
    // The same rule with its mask and cap lifted one after the other: what it loses each time is masked, then capped.
    let uncapped = Reaction {
        max_sites: None,
        ..reaction.clone()
    };
    let unmasked = Reaction {
        exclude_sugar_like: false,
        ..uncapped.clone()
    };
    let full = Options {
        engine: Engine::Full,
        ..config.chemistry
    };
    let mut sites: BTreeMap<i32, (Vec<i32>, Vec<Fate>)> = BTreeMap::new();
    for (rule, fate) in [(&unmasked, Fate::Masked), (&uncapped, Fate::Capped)] {
        let every = ran(std::slice::from_ref(rule), &full, smiles, 1)?;
        for (_, site, atoms, _) in every.products {
            sites.insert(site, (atoms, vec![fate.clone()]));
        }
        for (_, site, _, _) in every.failed {
            if let Some(site) = site {
                sites.insert(site, (Vec::new(), vec![fate.clone()]));
            }
        }
    }
    let mut put = |site: i32, atoms: Vec<i32>, fate: Fate| {
        let entry = sites.entry(site).or_default();
        entry
            .1
            .retain(|f| !matches!(f, Fate::Masked | Fate::Capped));
        if !atoms.is_empty() {
            entry.0 = atoms;
        }
        entry.1.push(fate);
    };
    for (_, site, atoms, product) in as_is.products {
        put(site, atoms, Fate::Product(product));
    }
    for (_, site, stage, reason) in as_is.failed {
        put(
            site.unwrap_or(-1),
            Vec::new(),
            Fate::Failed { stage, reason },
        );
    }
    let edited = as_is.profile.edited;
    writeln!(
        text,
        "  {} sites, {} masked, {} capped, {} products ({edited} by local edit, {} by the full route), {} failed",
        counts.matched,
        counts.masked,
        counts.capped,
        counts.products,
        counts.products - edited,
        counts.failed
    )?;
    if let Some(why) = lane {
        writeln!(text, "  every site takes the full route: {why}")?;
    }
    for (site, (atoms, fates)) in sites {
        for fate in fates {
            let what = match fate {
                Fate::Product(product) => format!("-> {product}"),
                Fate::Failed { stage, reason } => format!("rejected at stage {stage}: {reason}"),
                Fate::Masked => "masked: in or on a sugar ring".to_owned(),
                Fate::Capped => format!(
                    "capped: past the first {} in canonical order",
                    reaction.max_sites.unwrap_or_default()
                ),
            };
            writeln!(text, "  site {site}  atoms {atoms:?}  {what}")?;
        }
    }
    Ok(())
}

/// Writes `parents.tsv`, `rules.yaml`, `command.txt` and `expected.tsv` into `dir`: a folder for `tests/cases`.
///
/// # Errors
/// As [`explain`]; a folder that cannot be written.
pub(crate) fn dump_case(config: &Config, row: u64, dir: &Path) -> anyhow::Result<()> {
    let input = config.input.as_ref().context("no library is open")?;
    let smiles = smiles_of(input, row)?
        .with_context(|| format!("row {row} is null: there is no molecule to make a case of"))?;
    ensure!(
        !smiles.contains(['\t', '\n', '\r']),
        "row {row} holds a tab or a line break and does not fit a case's table"
    );
    // First: where it cannot be had, nothing is left behind.
    let expected = match config.quarantine.get(&row) {
        Some(known) => format!(
            "{EXPECTED_HEADER}rejected\t-\t-\t{}\t{}\n",
            known.stage().name(),
            known.reason
        ),
        None => expected(config, &smiles)?,
    };
    fs_err::create_dir_all(dir)?;
    let write = |name: &str, text: &str| -> anyhow::Result<()> {
        publish::write_bytes(dir.join(name), text.as_bytes())?;
        Ok(())
    };
    write("parents.tsv", &format!("smiles\n{smiles}\n"))?;
    write("rules.yaml", &fs_err::read_to_string(&config.rules_path)?)?;
    let mut command = String::new();
    if let Some(class) = &config.class {
        writeln!(command, "--class\n{class}")?;
    }
    if !config.asked.is_empty() {
        writeln!(command, "--rule\n{}", config.asked.join("\n"))?;
    }
    writeln!(command, "--depth\n{}", config.depth)?;
    writeln!(command, "--max-products\n{}", config.chemistry.max_products)?;
    writeln!(
        command,
        "--max-smiles-bytes\n{}",
        config.chemistry.max_smiles_bytes
    )?;
    let timeout = config.chemistry.row_timeout;
    let timeout = timeout.map_or("none".to_owned(), |limit| limit.as_secs_f64().to_string());
    writeln!(command, "--row-timeout\n{timeout}")?;
    write("command.txt", &command)?;
    write("expected.tsv", &expected)?;
    tracing::info!("{} holds row {row} as a test case", dir.display());
    Ok(())
}

const EXPECTED_HEADER: &str = "what\trule\tsite\tatoms or stage\tsmiles or reason\n";

/// Products and rejects of a case, a line each: rule, site, atoms, SMILES; or rule, site, stage, reason behind `rejected`.
fn expected(config: &Config, smiles: &str) -> anyhow::Result<String> {
    // A case is a plain table, which is not known to be canonical: it is parsed in full.
    let options = Options {
        trusted_input: false,
        ..config.chemistry
    };
    let ran = ran(&config.reactions, &options, smiles, config.depth)?;
    if config.chemistry.trusted_input {
        let trusted = self::ran(&config.reactions, &config.chemistry, smiles, config.depth)?;
        if trusted.products != ran.products {
            tracing::warn!(
                "this row gives other products when its SMILES is trusted to be canonical, as a run over this table does: \
                 that is an error in this program or a damaged table; the case holds what the full parse gives"
            );
        }
    }
    let mut text = String::from(EXPECTED_HEADER);
    let id = |r: u16| config.reactions[usize::from(r)].id.as_str();
    let mut seen = std::collections::BTreeSet::new();
    for (path, site, atoms, product) in &ran.products {
        // As in the tables: with one table per rule each keeps its own first, else all rules share one.
        let table = match config.layout {
            halocline_rules::Layout::PerRule => path[0],
            halocline_rules::Layout::Library => 0,
        };
        if seen.insert((table, product)) {
            let ids: Vec<&str> = path.iter().map(|r| id(*r)).collect();
            let atoms: Vec<String> = atoms.iter().map(i32::to_string).collect();
            writeln!(
                text,
                "product\t{}\t{site}\t{}\t{product}",
                ids.join("+"),
                atoms.join(",")
            )?;
        }
    }
    for (rule, site, stage, reason) in &ran.failed {
        let site = site.map_or("-".to_owned(), |s| s.to_string());
        let reason = reason.replace(['\t', '\n'], " ");
        writeln!(
            text,
            "rejected\t{}\t{site}\t{stage}\t{reason}",
            rule.map_or("-", id)
        )?;
    }
    Ok(text)
}
