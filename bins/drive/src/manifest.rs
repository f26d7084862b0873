//! The manifest of a batch of shards, as far as resume and estimates need it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use halocline_cli::sidecar::Sidecar;
use halocline_plan::fingerprint::of_file;
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
    xxh3_128: String,
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

    /// The tables it lists are there, with their sizes, and with their bytes if `checksums` are to be compared. `released`
    /// is asked about one that is gone.
    pub(crate) fn check(
        &self,
        checksums: bool,
        mut released: impl FnMut(&str) -> bool,
    ) -> anyhow::Result<()> {
        for shard in &self.content.shards {
            for (name, table) in &shard.tables {
                let name = file_name(name);
                let file = self.folder.join(&shard.dir).join(&name);
                match std::fs::metadata(&file) {
                    Ok(meta) if meta.len() == table.bytes => {
                        if checksums && let Some(damage) = damage(&file, table) {
                            bail!("{damage}");
                        }
                    }
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

    /// Removes the tables that are damaged, so that the batch makes their shards again: it leaves alone what has the size.
    ///
    /// # Errors
    /// One that cannot be removed.
    pub(crate) fn remove_damaged(&self) -> anyhow::Result<()> {
        for shard in &self.content.shards {
            for (name, table) in &shard.tables {
                let file = self.folder.join(&shard.dir).join(file_name(name));
                if file.exists()
                    && let Some(damage) = damage(&file, table)
                {
                    tracing::warn!("{damage}; it is made again");
                    fs_err::remove_file(&file)?;
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

/// What is wrong with the bytes of a table, or with what its sidecar says of them.
fn damage(file: &Path, table: &Table) -> Option<String> {
    match of_file(file) {
        Ok(print) if print == table.xxh3_128 => {}
        Ok(_) => {
            return Some(format!(
                "`{}` has other bytes than its manifest says",
                file.display()
            ));
        }
        Err(error) => return Some(format!("`{}` cannot be read: {error}", file.display())),
    }
    let sidecar = Sidecar::path_for(file);
    if !sidecar.exists() {
        return None;
    }
    let said = Sidecar::read(&sidecar).ok().and_then(|s| s.output);
    let agrees = said.is_some_and(|output| output.xxh3_128 == table.xxh3_128);
    (!agrees).then(|| format!("`{}` is damaged", sidecar.display()))
}

/// The file of a table, as halo-transform-shard writes it: also behind a rule's name that ends in `.parquet`.
fn file_name(table: &str) -> String {
    format!("{table}.parquet")
}
