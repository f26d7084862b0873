//! The manifest of a batch of shards, as far as resume and estimates need it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use halocline_cli::sidecar::Sidecar;
use serde::Deserialize;

/// A batch's manifest and where its shards lie.
pub(crate) struct Manifest {
    folder: PathBuf,
    content: Content,
}

#[derive(Deserialize)]
struct Content {
    shards: Vec<Shard>,
}

#[derive(Deserialize)]
struct Shard {
    dir: String,
    tables: BTreeMap<String, Table>,
}

#[derive(Deserialize)]
struct Table {
    rows: u64,
    bytes: u64,
}

impl Manifest {
    pub(crate) fn read(manifest: &str) -> anyhow::Result<Self> {
        let path = Path::new(manifest);
        let content = serde_json::from_slice(&fs_err::read(path)?)
            .with_context(|| format!("`{manifest}` is no manifest"))?;
        Ok(Self {
            folder: path.parent().unwrap_or(Path::new("")).to_owned(),
            content,
        })
    }

    /// File name and rows of every table of every shard.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (String, u64)> {
        let tables = self.content.shards.iter().flat_map(|s| &s.tables);
        tables.map(|(name, table)| (file_name(name), table.rows))
    }

    /// The tables it lists are there, with their sizes. `released` is asked about one that is gone.
    pub(crate) fn check(&self, mut released: impl FnMut(&str) -> bool) -> anyhow::Result<()> {
        for shard in &self.content.shards {
            for (name, table) in &shard.tables {
                let name = file_name(name);
                let file = self.folder.join(&shard.dir).join(&name);
                match std::fs::metadata(&file) {
                    Ok(meta) if meta.len() == table.bytes => {}
                    Ok(meta) => bail!(
                        "`{}` has {} bytes, its manifest says {}",
                        file.display(),
                        meta.len(),
                        table.bytes
                    ),
                    Err(_) if released(&name) => {}
                    Err(_) => bail!("`{}` is gone", file.display()),
                }
            }
        }
        Ok(())
    }

    /// The shards were made by the tools that the plan was made for, as their sidecars say.
    pub(crate) fn check_versions(&self, tool: &str, rdkit: Option<&String>) -> anyhow::Result<()> {
        for shard in &self.content.shards {
            let path = self.folder.join(&shard.dir).join("shard.stats.json");
            if !path.exists() {
                continue;
            }
            let sidecar = Sidecar::read(&path)?;
            if sidecar.tool_version != tool {
                bail!(
                    "`{}` is of {} {}, this is {tool}",
                    path.display(),
                    sidecar.tool,
                    sidecar.tool_version
                );
            }
            if let (Some(made), Some(planned)) = (&sidecar.rdkit_version, rdkit)
                && made != planned
            {
                bail!(
                    "`{}` is of RDKit {made}, the plan was made for {planned}",
                    path.display()
                );
            }
        }
        Ok(())
    }
}

/// The file of a table, as halo-transform-shard writes it: also behind a rule's name that ends in `.parquet`.
fn file_name(table: &str) -> String {
    format!("{table}.parquet")
}
