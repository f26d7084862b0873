//! One shard from open files to published tables.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use anyhow::{Context, anyhow};
use arrow::array::Array;
use arrow::datatypes::Field;
use halocline_budget::{Budget, ByteSize, MemoryLimit, Reservation, slack};
use halocline_cascade::{Cascade, CascadeError};
use halocline_chem::{Kernel, rdkit_version};
use halocline_cli::Progress;
use halocline_cli::sidecar::{Sidecar, StageTimer};
use halocline_rules::Layout;
use halocline_table::{Kind, Meta, Published, TableWriter};
use xxhash_rust::xxh3::Xxh3;

use crate::args::{Config, Input};
use crate::collect::{Collector, Cut, Encoded, Stage, fixed_bytes};
use crate::gate::Gate;
use crate::outgrown::{Outgrown, Rest};
use crate::parents::{BATCH_BYTES, ParentSource, READ_BYTES, read_options};
use crate::react::{Group, Job, Tables, react};
use crate::stats::{add_counts, add_kernel_stages, report};
use crate::tables::{Dictionaries, Labels, Table, create, create_rejects, output};

/// Table of a library (halogens): all rules together.
pub(crate) const LIBRARY_TABLE: &str = "products";
/// Sidecar of the shard as a whole; written last, it marks the shard complete.
pub(crate) const SHARD_SIDECAR: &str = "shard.stats.json";

/// What one thread takes beside the items it works on: RDKit's heap for one molecule and its products, a kernel's
/// buffers, the encoder of one row group.
const THREAD_BYTES: u64 = 7 << 20;
/// Working memory of encoding one row group of a shard table.
const ENCODE_BYTES: u64 = 3 << 20;
/// Share of the memory limit, as one part in so many, that the in-shard set of keys may take.
const SEEN_PART: u64 = 12;
/// And never more than these bytes: 3.7 million keys, beyond what a shard of a minute holds on two cores. Every page of
/// the set is touched early on, whatever the number of rows.
const SEEN_MOST_BYTES: u64 = 72 << 20;

/// Bytes for the in-shard set: a function of the limit alone, so that tables do not depend on threads.
fn seen_bytes(limit: MemoryLimit) -> u64 {
    (limit.bytes() / SEEN_PART).min(SEEN_MOST_BYTES)
}

/// What the reader holds beside the batches it gives: the largest pages of the columns, and their decompressors.
fn page_bytes(config: &Config) -> anyhow::Result<u64> {
    let Some(input) = &config.input else {
        return Ok(0);
    };
    let options = read_options(config, input, 0..input.reader.rows());
    Ok(input.reader.reserve_bytes(&options)?)
}

/// With several steps and a table per rule, every rule is its own expansion.
fn rules_apart(config: &Config) -> bool {
    config.layout == Layout::PerRule && config.depth > 1
}

/// A kernel for each group of rules that are expanded together.
pub(crate) fn kernels(config: &Config) -> anyhow::Result<Vec<Kernel>> {
    let together = if rules_apart(config) {
        1
    } else {
        config.reactions.len()
    };
    let groups = config.reactions.chunks(together);
    let made = groups.map(|reactions| Kernel::new(reactions, &config.chemistry));
    Ok(made.collect::<Result<_, _>>()?)
}

fn num_tables(config: &Config) -> usize {
    match config.layout {
        Layout::Library => 1,
        Layout::PerRule => config.reactions.len(),
    }
}

/// Pool bytes without which a shard cannot run on one thread under `limit`.
///
/// # Errors
/// A column that is not there.
pub(crate) fn least_pool_bytes(config: &Config, limit: MemoryLimit) -> anyhow::Result<u64> {
    Ok(fixed_bytes(num_tables(config), seen_bytes(limit))
        + page_bytes(config)?
        + footers_bytes(limit)
        + THREAD_BYTES
        + ENCODE_BYTES
        + 2 * READ_BYTES
        + 2 * BATCH_BYTES)
}

/// Set aside for the footers of the tables, which grow with the rows, by 0.2 bytes for each product: at 128 MiB for some
/// 10 million of them. A shard with more takes more of the pool.
fn footers_bytes(limit: MemoryLimit) -> u64 {
    limit.bytes() / 64
}

/// What a finished shard says of itself in the manifest.
pub(crate) struct Done {
    pub rows_in: u64,
    pub tables: BTreeMap<String, Published>,
    pub kernels: Vec<Kernel>,
}

/// Digest of everything that decides the rows of a shard's tables, and of the engine, which must not: two runs compare them.
pub(crate) fn key(config: &Config, rows: &Range<u64>) -> String {
    let mut hash = Xxh3::new();
    let mut add = |text: &str| {
        hash.update(&(text.len() as u64).to_le_bytes());
        hash.update(text.as_bytes());
    };
    add(env!("CARGO_PKG_VERSION"));
    add(&rdkit_version());
    if let Some(input) = &config.input {
        add(&input.fingerprint);
        add(&input.smiles_column);
    }
    add(&format!(
        "{}..{} depth {}",
        rows.start, rows.end, config.depth
    ));
    add(&format!(
        "{} {} {:?} {:?}",
        config.chemistry.max_products,
        config.chemistry.max_smiles_bytes,
        config.chemistry.row_timeout,
        config.chemistry.engine
    ));
    config.reactions.iter().for_each(|r| add(&r.fingerprint));
    config.keep.iter().for_each(|k| add(k));
    format!("{:032x}", hash.digest128())
}

/// Fingerprint of the rule (or rules) of a table, with what else decides its products.
fn rule_fingerprint(config: &Config, reactions: Range<usize>) -> String {
    let mut hash = Xxh3::new();
    for reaction in &config.reactions[reactions] {
        hash.update(reaction.fingerprint.as_bytes());
    }
    hash.update(
        format!(
            "depth {} most {} rdkit {}",
            config.depth,
            config.chemistry.max_products,
            rdkit_version()
        )
        .as_bytes(),
    );
    format!("{:032x}", hash.digest128())
}

/// The table names, each with the reactions whose products it holds.
fn table_plan(config: &Config) -> Vec<(String, Range<usize>)> {
    match config.layout {
        Layout::Library => vec![(LIBRARY_TABLE.to_owned(), 0..config.reactions.len())],
        Layout::PerRule => config
            .reactions
            .iter()
            .enumerate()
            .map(|(i, r)| (r.id.clone(), i..i + 1))
            .collect(),
    }
}

/// Names of all tables of a shard, the rejects included.
pub(crate) fn table_names(config: &Config) -> Vec<String> {
    let mut names: Vec<String> = table_plan(config)
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    names.push("rejects".to_owned());
    names
}

/// Runs rows `rows` of the library into `dir`, starting with `kernels` (compiled for all reactions).
///
/// # Errors
/// I/O, a damaged library, a limit that is too small for what a parent needs.
pub(crate) fn run(
    config: &Config,
    budget: &Budget,
    rows: Range<u64>,
    dir: &Path,
    kernels: Vec<Kernel>,
) -> anyhow::Result<Done> {
    let input = config.input.as_ref().context("no library is open")?;
    let times = StageTimer::start();
    let cpu_before = cpu_seconds(budget, &times);
    fs_err::create_dir_all(dir)?;
    // A shard that is done again is not complete until it is done again.
    remove_if_there(&dir.join(SHARD_SIDECAR))?;

    let plan = table_plan(config);
    let keep = kept_fields(config, input)?;
    let mut writers = Vec::new();
    let mut tables = Vec::new();
    for (name, reactions) in &plan {
        let mut meta = Meta::new(Kind::Product);
        meta.rule = Some(match config.layout {
            Layout::PerRule => name.clone(),
            Layout::Library => rules_name(config),
        });
        meta.rule_fingerprint = Some(rule_fingerprint(config, reactions.clone()));
        meta.rdkit_version = Some(rdkit_version());
        let (writer, schema) = create(dir, name, &keep, &meta)?;
        tables.push(Table::new(schema, tables.len()));
        writers.push(writer);
    }
    writers.push(create_rejects(dir, &rdkit_version())?);

    let apart = rules_apart(config);
    let labels = Labels::new(&config.reactions, config.depth, !apart);
    let dictionaries = Dictionaries::new(&labels);
    let ids: Vec<String> = config.reactions.iter().map(|r| r.id.clone()).collect();
    let state = fixed_bytes(tables.len(), seen_bytes(config.limit));
    let mut pages_held = budget.pool().claim("pages of the library");
    pages_held.try_grow(page_bytes(config)?)?;
    let mut footers = Footers::new(budget, footers_bytes(config.limit))?;
    let threads = affordable_threads(config, budget, state);
    let mut threads_held = budget.pool().claim("threads and RDKit");
    threads_held.try_grow(THREAD_BYTES * threads as u64)?;
    let free = budget.pool().available();
    let room = free.saturating_sub(state + ENCODE_BYTES + 2 * READ_BYTES);
    let share = (room / 2).max(BATCH_BYTES);
    // What one thread would have, whatever the number of threads: half of what is set aside for the others stays theirs.
    let set_aside = THREAD_BYTES * (threads as u64 - 1);
    let alone = ((room + set_aside) / 2).max(BATCH_BYTES);
    let groups: Vec<Group> = if apart {
        (0..config.reactions.len())
            .map(|r| Group::new(r, Vec::new(), Tables::One(r)))
            .collect()
    } else {
        let tables = match config.layout {
            Layout::PerRule => Tables::PerReaction,
            Layout::Library => Tables::One(0),
        };
        vec![Group::new(0, kernels, tables)]
    };
    let make = |group: usize| -> anyhow::Result<Kernel> {
        let reactions = if apart {
            &config.reactions[group..=group]
        } else {
            &config.reactions[..]
        };
        Ok(Kernel::new(reactions, &config.chemistry)?)
    };
    let label_of = |path: &[u16], first: usize| labels.index(path, first);
    let gate = Gate::default();

    let mut source = ParentSource::new(config, input, rows.clone(), share)?;
    let job = Job {
        groups,
        num_tables: plan.len(),
        num_reactions: ids.len(),
        depth: config.depth,
        label_of: &label_of,
        make: &make,
        quarantine: &config.quarantine,
        gate: &gate,
        share,
        alone,
    };
    let progress = Progress::rows(Some(rows.end - rows.start), "transform");
    let mut collector = Collector::new(
        tables,
        &dictionaries,
        &ids,
        seen_bytes(config.limit),
        &times,
        &progress,
    );
    let schemas: Vec<_> = writers.iter().map(|w| w.writer_schema().clone()).collect();

    let ran = Cascade::new(budget.pool())
        .threads(threads)
        .source("read", 2 * READ_BYTES, 4 * READ_BYTES, || {
            let _guard = times.time("read");
            source.next()
        })
        .map(
            "react",
            room / 2,
            |parents| parents.estimate_bytes,
            |parents| {
                let _guard = times.time("react");
                let first = parents.first_row;
                let rows = parents.smiles.len();
                react(parents, &job)
                    .with_context(|| format!("rows {first}..{}", first + rows as u64))
            },
        )
        .accumulate(
            "deduplicate",
            u64::MAX,
            halocline_cascade::After::Keep,
            Stage(&mut collector),
        )
        .map(
            "encode",
            room / 4,
            |_| ENCODE_BYTES,
            |Cut { table, rows }| {
                let _working = gate.enter();
                let _guard = times.time("encode");
                let group = rows
                    .encode(&schemas[table])
                    .context("cannot encode a row group")?;
                Ok(Encoded { table, group })
            },
        )
        .sink("write", |Encoded { table, group }| {
            let _guard = times.time("write");
            budget.observe();
            writers[table].append(group)?;
            footers.hold(&writers)
        })
        .run();
    if let Err(error) = ran {
        let error = match error {
            CascadeError::Stage(error) => error,
            other => anyhow!(other),
        };
        let error = match error.downcast::<Outgrown>() {
            Ok(outgrown) => {
                let rest = rows.start + collector.rows_in..rows.end;
                drop((collector, job));
                let rest = Rest::look(config, rest, outgrown.row)?;
                let enough = |bytes| limit_for(config, free + set_aside, plan.len(), bytes);
                outgrown.say(config, &rest, enough)
            }
            Err(error) => error,
        };
        return Err(error.context(format!("`{}`", input.path.display())));
    }

    let Collector {
        tables,
        rejects,
        counts,
        profile,
        rows_in,
        seen,
        ..
    } = collector;
    progress.finish();
    drop((threads_held, pages_held, seen));
    assert!(
        rows_in == rows.end - rows.start,
        "rows {}..{} were asked for, {rows_in} went through",
        rows.start,
        rows.end
    );

    let mut published = Vec::new();
    for writer in writers {
        footers.seal(&writer)?;
        published.push(finish(writer, &times)?);
    }
    let mut base = Sidecar::new("halo-transform-shard");
    base.close(budget, &times);
    base.cpu_seconds -= cpu_before;
    base.peak_rss_bytes += config.outside_bytes;
    add_kernel_stages(&mut base, &profile, threads);
    base.rdkit_version = Some(rdkit_version());
    base.input_fingerprint = Some(input.fingerprint.clone());
    base.rows_in = rows_in;
    base.rows_rejected = rejects.whole.clone();
    base.rows_done = rows_in - rejects.whole.values().sum::<u64>();
    base.extra
        .insert("source_file".to_owned(), input.path.display().to_string());
    base.extra
        .insert("rows".to_owned(), format!("{}..{}", rows.start, rows.end));
    base.extra
        .insert("library_rows".to_owned(), input.reader.rows().to_string());
    base.extra.insert("key".to_owned(), key(config, &rows));
    if let Some(class) = &config.class {
        base.extra.insert("class".to_owned(), class.clone());
    }
    base.counts.insert("threads".to_owned(), threads as u64);
    base.counts
        .insert("parsed_light".to_owned(), profile.light_parsed);
    base.counts
        .insert("products_edited".to_owned(), profile.edited);
    base.counts
        .insert("products_alike".to_owned(), profile.shared);

    let mut done = Done {
        rows_in,
        tables: BTreeMap::new(),
        kernels: job
            .groups
            .into_iter()
            .flat_map(Group::into_kernels)
            .collect(),
    };
    if apart {
        done.kernels.clear();
    }
    for ((table, (name, reactions)), file) in tables.iter().zip(&plan).zip(&published) {
        let mut sidecar = base.clone();
        sidecar.rows_out = table.rows_out;
        sidecar.duplicates = table.duplicates;
        sidecar.distinct_estimate = Some(table.distinct.estimate());
        sidecar.hll = Some(table.distinct.clone());
        sidecar.rule_fingerprint = Some(rule_fingerprint(config, reactions.clone()));
        sidecar.output = Some(output(name, file));
        add_counts(
            &mut sidecar,
            &counts[reactions.clone()],
            &ids[reactions.clone()],
        );
        sidecar.write(&Sidecar::path_for(&dir.join(format!("{name}.parquet"))))?;
        done.tables.insert(name.clone(), file.clone());
    }
    let all = rule_fingerprint(config, 0..config.reactions.len());
    if let Some(file) = published.last() {
        let mut sidecar = base.clone();
        sidecar.rows_out = rejects.rows_out;
        sidecar.output = Some(output("rejects", file));
        sidecar.write(&Sidecar::path_for(&dir.join("rejects.parquet")))?;
        done.tables.insert("rejects".to_owned(), file.clone());
    }
    base.rule_fingerprint = Some(all);
    base.rows_out = tables.iter().map(|t| t.rows_out).sum();
    base.duplicates = tables.iter().map(|t| t.duplicates).sum();
    add_counts(&mut base, &counts, &ids);
    base.write(&dir.join(SHARD_SIDECAR))?;
    report(config, &base);
    Ok(done)
}

/// Memory for the footers of the tables being written.
struct Footers(Reservation);

impl Footers {
    fn new(budget: &Budget, bytes: u64) -> anyhow::Result<Self> {
        let mut held = budget.pool().claim("footers of the tables");
        held.try_grow(bytes)?;
        Ok(Self(held))
    }

    /// Takes more where the footers have outgrown what they have.
    fn hold(&mut self, writers: &[TableWriter]) -> anyhow::Result<()> {
        self.cover(writers.iter().map(TableWriter::memory_bytes).sum())
    }

    /// As much as writing this footer takes beside those that wait.
    fn seal(&mut self, writer: &TableWriter) -> anyhow::Result<()> {
        self.cover(writer.memory_bytes() + writer.seal_bytes())
    }

    fn cover(&mut self, bytes: u64) -> anyhow::Result<()> {
        let more = bytes.saturating_sub(self.0.bytes());
        self.0.try_grow(more).context(
            "the footers of the tables outgrow the memory limit
hint: cut the library into more shards, or raise `--memory-limit`",
        )
    }
}

fn finish(writer: TableWriter, times: &StageTimer) -> anyhow::Result<Published> {
    let _guard = times.time("write");
    Ok(writer.finish()?)
}

/// Threads the budget carries beside the state of the tables and two batches in flight for each.
fn affordable_threads(config: &Config, budget: &Budget, state: u64) -> usize {
    let fixed = state + ENCODE_BYTES + 2 * READ_BYTES;
    let room = budget.pool().available().saturating_sub(fixed);
    let most = (room / (THREAD_BYTES + 2 * BATCH_BYTES)).max(1) as usize;
    if most < config.threads {
        tracing::warn!(
            "--memory-limit {} carries {most} of the {} threads asked for",
            config.limit,
            config.threads
        );
    }
    most.min(config.threads)
}

/// A limit under which one parent may take `wanted` bytes, where `free` bytes of the pool are left of the present one when
/// one thread has its own. A fifth is added, as `wanted` is an estimate.
fn limit_for(config: &Config, free: u64, tables: usize, wanted: u64) -> ByteSize {
    const STEP: u64 = 16 << 20;
    let now = config.limit;
    let mut limit = now;
    while let Some(next) = MemoryLimit::new((limit.bytes() / STEP + 1) * STEP) {
        limit = next;
        let more = limit.bytes() - now.bytes() - (slack(limit) - slack(now));
        let more = more - (footers_bytes(limit) - footers_bytes(now));
        let state = fixed_bytes(tables, seen_bytes(limit));
        let taken = state + ENCODE_BYTES + 2 * READ_BYTES;
        if (free + more).saturating_sub(taken) / 2 >= wanted.saturating_add(wanted / 5) {
            break;
        }
    }
    ByteSize(limit.bytes())
}

fn kept_fields(config: &Config, input: &Input) -> anyhow::Result<Vec<Field>> {
    config
        .keep
        .iter()
        .map(|name| Ok(input.reader.column(name)?.1.clone()))
        .collect()
}

fn rules_name(config: &Config) -> String {
    config.rules_path.file_stem().map_or_else(
        || "library".to_owned(),
        |s| s.to_string_lossy().into_owned(),
    )
}

fn cpu_seconds(budget: &Budget, times: &StageTimer) -> f64 {
    let mut scratch = Sidecar::new("");
    scratch.close(budget, times);
    scratch.cpu_seconds
}

fn remove_if_there(path: &Path) -> anyhow::Result<()> {
    match fs_err::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}
