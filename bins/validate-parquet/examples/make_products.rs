//! Makes a valid product table with its sidecar for memory tests: `make_products DIR ROWS`. SMILES are distinct, about 90
//! characters, three rows per parent; `DIR/molecules.tsv` holds the same SMILES as text. Rows depend on the arguments
//! alone.

use std::fmt::Write as _;
use std::io::{BufWriter, Write as _};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use arrow::array::{ArrayRef, Int32Array, Int64Array, ListArray, RecordBatch, StringArray};
use arrow::buffer::OffsetBuffer;
use arrow::compute::cast;
use halocline_cli::sidecar::{Output, Sidecar};
use halocline_table::schema::{dictionary, site_atom_field};
use halocline_table::{Kind, Meta, TableWriter, WriterOptions, product_schema};

const BATCH: u64 = 8192;

/// A chain whose branches spell `n` in base 4, so that no two are equal.
fn smiles(n: u64, out: &mut String) {
    out.clear();
    out.push_str("COc1cc(O)c2c(c1)oc(cc2=O)");
    for digit in 0..16 {
        out.push_str(["C", "N", "C(F)", "C(O)"][(n >> (2 * digit) & 3) as usize]);
    }
    let _ = write!(out, "C(=O)OCc1ccccc1");
}

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let usage = "usage: make_products DIR ROWS";
    let dir = PathBuf::from(args.next().context(usage)?);
    let rows: u64 = args.next().context(usage)?.parse()?;
    fs_err::create_dir_all(&dir)?;
    let schema = product_schema(&[])?;
    let mut meta = Meta::new(Kind::Product);
    meta.rule = Some("R1".to_owned());
    let path = dir.join("products.parquet");
    let mut writer = TableWriter::create(&path, &schema, &meta, WriterOptions::default())?;
    let mut text = BufWriter::new(fs_err::File::create(dir.join("molecules.tsv"))?);
    writeln!(text, "id\tsmiles")?;
    let mut line = String::new();
    let mut start = 0;
    while start < rows {
        let here = start..(start + BATCH).min(rows);
        let mut keys = Vec::new();
        for n in here.clone() {
            smiles(n, &mut line);
            writeln!(text, "M{n}\t{line}")?;
            keys.push(line.clone());
        }
        let count = keys.len();
        let constant = |value: &str| cast(&StringArray::from(vec![value; count]), &dictionary());
        let sites = || here.clone().map(|n| (n % 3) as i32);
        let atoms = ListArray::try_new(
            site_atom_field(),
            OffsetBuffer::from_lengths(vec![1; count]),
            Arc::new(Int32Array::from_iter_values(sites())),
            None,
        )?;
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(keys)),
            Arc::new(StringArray::from(vec!["COc1cc(O)c2c(c1)occc2=O"; count])),
            Arc::new(Int64Array::from_iter_values(
                here.clone().map(|n| (n / 3) as i64),
            )),
            constant("R1")?,
            constant("a rule")?,
            constant("family")?,
            Arc::new(Int32Array::from_iter_values(sites())),
            Arc::new(atoms),
        ];
        writer.write(&RecordBatch::try_new(Arc::clone(&schema), columns)?)?;
        start = here.end;
    }
    text.flush()?;
    let published = writer.finish()?;
    let sidecar = Sidecar {
        rows_in: rows,
        rows_done: rows,
        rows_out: rows,
        output: Some(Output {
            path: "products.parquet".to_owned(),
            rows: published.rows,
            bytes: published.bytes,
            xxh3_128: published.xxh3_128,
        }),
        ..Sidecar::new("make_products")
    };
    sidecar.write(&Sidecar::path_for(&path))?;
    Ok(())
}
