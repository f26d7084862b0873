//! Makes shards for measurements and memory tests: `make_shards DIR ROWS FILES DUPLICATE_PERCENT
//! [KEY_CHARS]`. Keys look like SMILES and are about KEY_CHARS long (90); beside them an int32, an
//! int64, a dictionary and a float64 column. A duplicate repeats a key from anywhere before it; at
//! 100 % all rows have the same key. Rows depend on the arguments alone.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, DictionaryArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
};
use arrow::datatypes::{DataType, Field, Int32Type, Schema};
use halocline_table::{Kind, Meta, TableWriter, WriterOptions};

const BATCH: u64 = 8192;
const RULES: [&str; 4] = [
    "OH__TO__OMe",
    "OH__TO__NH2",
    "NH2__TO__F",
    "COOH__TO__COOMe",
];

/// splitmix64.
fn mix(n: u64) -> u64 {
    let mut z = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A text made of pieces of SMILES, different for every `n`.
fn key(n: u64, chars: usize, out: &mut String) {
    const PIECES: [&str; 16] = [
        "C",
        "c1ccc(O)cc1",
        "C(=O)O",
        "[C@@H](N)",
        "OC",
        "c1c(O)cc2c(c1)",
        "CC(C)",
        "N",
        "(F)",
        "Br",
        "C=C",
        "[C@H](O)",
        "O",
        "c1cnc2ccccc12",
        "CCN",
        "(Cl)",
    ];
    out.clear();
    let mut random = mix(n);
    while out.len() + 12 < chars {
        out.push_str(PIECES[(random & 15) as usize]);
        random = if random < 16 {
            mix(n ^ out.len() as u64)
        } else {
            random >> 4
        };
    }
    // The number itself, so that no two are equal by accident.
    let _ = write!(out, "C{n:x}");
}

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [dir, rows, files, percent, ..] = args.as_slice() else {
        anyhow::bail!("make_shards DIR ROWS FILES DUPLICATE_PERCENT [KEY_CHARS]");
    };
    let (rows, files, percent): (u64, u64, u64) = (rows.parse()?, files.parse()?, percent.parse()?);
    let chars: usize = args.get(4).map_or(Ok(90), |text| text.parse())?;
    let dir = PathBuf::from(dir);
    fs_err::create_dir_all(&dir)?;
    let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let schema = Arc::new(Schema::new(vec![
        Field::new("smiles", DataType::Utf8, false),
        Field::new("xf_site_index", DataType::Int32, false),
        Field::new("source_row", DataType::Int64, false),
        Field::new("xf_rule_id", dictionary, false),
        Field::new("mw", DataType::Float64, true),
    ]));
    let mut text = String::new();
    for file in 0..files {
        let (start, end) = (rows * file / files, rows * (file + 1) / files);
        let path = dir.join(format!("shard-{file:05}.parquet"));
        let options = WriterOptions {
            row_group_bytes: halocline_table::SHARD_ROW_GROUP_BYTES,
        };
        let mut writer = TableWriter::create(path, &schema, &Meta::new(Kind::Product), options)?;
        for first in (start..end).step_by(BATCH as usize) {
            let range = first..(first + BATCH).min(end);
            let keys: StringArray = range
                .clone()
                .map(|row| {
                    let again = row > 0 && mix(row ^ 0xdead) % 100 < percent;
                    let number = match (again, percent) {
                        (true, 100..) => 0,
                        (true, _) => mix(row) % row,
                        (false, _) => row,
                    };
                    key(number, chars, &mut text);
                    Some(text.clone())
                })
                .collect();
            let rule: DictionaryArray<Int32Type> = range
                .clone()
                .map(|row| RULES[(row / 1000 % 4) as usize])
                .collect();
            let columns: Vec<ArrayRef> = vec![
                Arc::new(keys),
                Arc::new(Int32Array::from_iter_values(
                    range.clone().map(|r| (r % 7) as i32),
                )),
                Arc::new(Int64Array::from_iter_values(
                    range.clone().map(|r| (r / 3) as i64),
                )),
                Arc::new(rule),
                Arc::new(Float64Array::from_iter_values(
                    range.map(|r| 180.0 + (mix(r) % 5_000_000) as f64 / 1e4),
                )),
            ];
            writer.write(&RecordBatch::try_new(Arc::clone(&schema), columns)?)?;
        }
        writer.finish()?;
    }
    Ok(())
}
