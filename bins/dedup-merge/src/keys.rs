//! The identity of a row: the 128-bit xxh3 of its key.
//!
//! A single text column is hashed as its bytes, so that the low half of the hash is what the
//! estimators in the sidecars count. Any other key is hashed as arrow's row encoding of its
//! columns, which is injective and knows null.

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{DataType, Schema};
use arrow::row::{RowConverter, SortField};
use xxhash_rust::xxh3::{xxh3_128, xxh3_128_with_seed};

use crate::MergeError;

/// Keeps hashes of null, text and row encodings apart.
const NULL_SEED: u64 = 1;
const ROWS_SEED: u64 = 2;

/// Hashes the key columns of batches of one schema.
#[derive(Clone, Debug)]
pub(crate) struct KeyHasher {
    /// Places of the key columns in the batches.
    columns: Vec<usize>,
    types: Vec<DataType>,
}

impl KeyHasher {
    /// For batches of `schema`, which must have every key column once.
    pub(crate) fn new(schema: &Schema, keys: &[String]) -> Result<Self, MergeError> {
        let mut columns = Vec::new();
        let mut types = Vec::new();
        for key in keys {
            let (index, field) = schema.column_with_name(key).ok_or_else(|| {
                let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
                MergeError::Usage(format!(
                    "--keys: no column `{key}`; the shards have {}",
                    names.join(", ")
                ))
            })?;
            columns.push(index);
            types.push(field.data_type().clone());
        }
        Ok(Self { columns, types })
    }

    /// Whether hashes are those of plain text, comparable with other tools' estimators.
    pub(crate) fn is_text(&self) -> bool {
        matches!(
            self.types.as_slice(),
            [DataType::Utf8 | DataType::LargeUtf8]
        )
    }

    /// One hash per row.
    pub(crate) fn hash(&self, batch: &RecordBatch) -> Result<Vec<u128>, MergeError> {
        let mut hashes = Vec::with_capacity(batch.num_rows());
        match (self.columns.as_slice(), self.types.as_slice()) {
            ([column], [DataType::Utf8]) => {
                for text in batch.column(*column).as_string::<i32>() {
                    hashes.push(hash_text(text));
                }
            }
            ([column], [DataType::LargeUtf8]) => {
                for text in batch.column(*column).as_string::<i64>() {
                    hashes.push(hash_text(text));
                }
            }
            _ => {
                let fields = self.types.iter().cloned().map(SortField::new).collect();
                let converter = RowConverter::new(fields)?;
                let columns: Vec<_> = self
                    .columns
                    .iter()
                    .map(|c| batch.column(*c).clone())
                    .collect();
                for row in &converter.convert_columns(&columns)? {
                    hashes.push(xxh3_128_with_seed(row.as_ref(), ROWS_SEED));
                }
            }
        }
        Ok(hashes)
    }
}

fn hash_text(text: Option<&str>) -> u128 {
    text.map_or_else(
        || xxh3_128_with_seed(b"", NULL_SEED),
        |text| xxh3_128(text.as_bytes()),
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, DictionaryArray, Int64Array, StringArray};
    use arrow::datatypes::Int32Type;

    use super::*;

    fn batch() -> RecordBatch {
        let text = StringArray::from(vec![Some("CCO"), Some(""), None, Some("CCO")]);
        let k = Int64Array::from(vec![Some(1), Some(1), None, Some(2)]);
        let d: DictionaryArray<Int32Type> = [Some("a"), Some("b"), None, Some("a")]
            .into_iter()
            .collect();
        let columns: [(&str, ArrayRef, bool); 3] = [
            ("smiles", Arc::new(text), true),
            ("k", Arc::new(k), true),
            ("d", Arc::new(d), true),
        ];
        RecordBatch::try_from_iter_with_nullable(columns).unwrap()
    }

    fn hash(keys: &[&str]) -> Vec<u128> {
        let batch = batch();
        let keys: Vec<String> = keys.iter().map(|k| (*k).to_owned()).collect();
        KeyHasher::new(&batch.schema(), &keys)
            .unwrap()
            .hash(&batch)
            .unwrap()
    }

    #[test]
    fn text_is_hashed_as_its_bytes_and_null_is_not_empty() {
        let h = hash(&["smiles"]);
        assert_eq!(h[0], xxh3_128(b"CCO"));
        assert_eq!(h[0], h[3]);
        assert_ne!(h[1], h[2]);
    }

    #[test]
    fn other_types_and_pairs_of_columns_are_keys_too() {
        let k = hash(&["k"]);
        assert!(k[0] == k[1] && k[0] != k[2] && k[0] != k[3]);
        let d = hash(&["d"]);
        assert!(d[0] == d[3] && d[0] != d[1] && d[2] != d[1]);
        let pair = hash(&["smiles", "k"]);
        assert_ne!(pair[0], pair[3]);
    }

    #[test]
    fn a_missing_column_is_named_with_those_there_are() {
        let error = KeyHasher::new(&batch().schema(), &["inchi".into()])
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("`inchi`") && error.contains("smiles, k, d"),
            "{error}"
        );
    }
}
