//! The types of text columns, and rows as typed batches.
//!
//! A column's type is a function of *all* its rows, never of the first ones: the file is read once
//! to find the types and once more to write. A type is chosen only when it loses nothing:
//! - int64: every value is an integer written the one way int64 prints it (no `+`, no leading
//!   zeros), so an identifier like `00123` stays text;
//! - float64: every value is a finite decimal number without leading zeros, and at least one is not
//!   an integer; integers among them are exact in float64, and so are the digits of the others (not
//!   their notation: `1.10` is the number 1.1);
//! - utf8: everything else, and columns without any value.
//!
//! An empty field is null. The SMILES column is utf8, not null.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Builder, Int64Builder, RecordBatch, StringBuilder};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use crate::TableError;
use crate::text::record::Fields;

/// What the values of a column seen so far allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Nothing,
    Int,
    /// Integers beyond 2^53: int64 still, never float64.
    BigInt,
    Float,
    Text,
}

/// The types of all columns, found row by row.
#[derive(Debug, Clone)]
pub struct ColumnTypes {
    seen: Vec<Seen>,
    smiles: usize,
}

impl ColumnTypes {
    /// For `columns` columns, of which `smiles` is text whatever it holds.
    #[must_use]
    pub fn new(columns: usize, smiles: usize) -> Self {
        Self {
            seen: vec![Seen::Nothing; columns],
            smiles,
        }
    }

    /// Takes a row into account.
    pub fn see(&mut self, fields: Fields<'_>) {
        for (index, seen) in self.seen.iter_mut().enumerate() {
            if *seen == Seen::Text || index == self.smiles {
                continue;
            }
            *seen = match (*seen, classify(fields.get(index))) {
                (seen, Seen::Nothing) => seen,
                (Seen::Nothing, new) => new,
                (Seen::Int, Seen::Int) => Seen::Int,
                (Seen::Int | Seen::BigInt, Seen::Int | Seen::BigInt) => Seen::BigInt,
                (Seen::Int | Seen::Float, Seen::Int | Seen::Float) => Seen::Float,
                _ => Seen::Text,
            };
        }
    }

    /// The schema of the library.
    ///
    /// # Panics
    /// When there are not as many names as columns.
    #[must_use]
    pub fn schema(&self, names: &[String]) -> SchemaRef {
        assert_eq!(names.len(), self.seen.len(), "one name per column");
        let fields: Vec<Field> = names
            .iter()
            .zip(&self.seen)
            .enumerate()
            .map(|(index, (name, seen))| {
                let data_type = match seen {
                    _ if index == self.smiles => DataType::Utf8,
                    Seen::Int | Seen::BigInt => DataType::Int64,
                    Seen::Float => DataType::Float64,
                    Seen::Nothing | Seen::Text => DataType::Utf8,
                };
                Field::new(name, data_type, index != self.smiles)
            })
            .collect();
        Arc::new(Schema::new(fields))
    }
}

fn classify(value: &str) -> Seen {
    if value.is_empty() {
        return Seen::Nothing;
    }
    let digits = value.strip_prefix('-').unwrap_or(value);
    let first_zero =
        digits.starts_with('0') && digits[1..].starts_with(|c: char| c.is_ascii_digit());
    if first_zero || !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return Seen::Text;
    }
    if digits.bytes().all(|b| b.is_ascii_digit()) {
        return match value.parse::<i64>() {
            // `-0` is not how int64 prints zero.
            Ok(0) if value != "0" => Seen::Text,
            Ok(number) if number.unsigned_abs() <= 1 << 53 => Seen::Int,
            Ok(_) => Seen::BigInt,
            Err(_) => Seen::Text,
        };
    }
    let plain = digits
        .bytes()
        .all(|b| matches!(b, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'));
    match value.parse::<f64>() {
        Ok(number)
            if plain
                && number.is_finite()
                && !digits.ends_with('.')
                && keeps_digits(digits, number) =>
        {
            Seen::Float
        }
        _ => Seen::Text,
    }
}

/// Has `number` all digits that were written? Up to 15 always; beyond, when they are those it is told apart by.
fn keeps_digits(written: &str, number: f64) -> bool {
    let significant = |text: &str| -> String {
        let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
        let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
        digits.trim_matches('0').to_owned()
    };
    // Below the smallest normal number digits are fewer.
    let small = number.abs() < f64::MIN_POSITIVE;
    (written.len() <= 16 && !small) || {
        let digits = significant(written);
        (digits.len() <= 15 && !small) || digits == significant(&format!("{number:e}"))
    }
}

enum Builder {
    Text(StringBuilder),
    Int(Int64Builder),
    Float(Float64Builder),
}

/// Collects rows of a schema made by [`ColumnTypes::schema`] into batches.
pub struct TypedRows {
    schema: SchemaRef,
    builders: Vec<Builder>,
    rows: usize,
    bytes: usize,
}

impl std::fmt::Debug for TypedRows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TypedRows")
            .field("rows", &self.rows)
            .finish_non_exhaustive()
    }
}

impl TypedRows {
    /// No rows yet.
    #[must_use]
    pub fn new(schema: SchemaRef) -> Self {
        let builders = schema
            .fields()
            .iter()
            .map(|field| match field.data_type() {
                DataType::Int64 => Builder::Int(Int64Builder::new()),
                DataType::Float64 => Builder::Float(Float64Builder::new()),
                _ => Builder::Text(StringBuilder::new()),
            })
            .collect();
        Self {
            schema,
            builders,
            rows: 0,
            bytes: 0,
        }
    }

    /// Adds a row.
    ///
    /// # Errors
    /// [`TableError::Schema`] when a value is not of its column's type: the file is not the one
    /// the types were found in.
    pub fn push(&mut self, fields: Fields<'_>) -> Result<(), TableError> {
        for (index, builder) in self.builders.iter_mut().enumerate() {
            let value = fields.get(index);
            let changed = || {
                let name = self.schema.field(index).name();
                TableError::Schema(format!(
                    "column `{name}` changed its type between two readings: the file is being written to"
                ))
            };
            let given = !value.is_empty();
            match builder {
                Builder::Text(b) => b.append_option(given.then_some(value)),
                Builder::Int(b) => {
                    let number = given.then(|| value.parse()).transpose();
                    b.append_option(number.map_err(|_| changed())?);
                }
                Builder::Float(b) => {
                    let number = given.then(|| value.parse()).transpose();
                    b.append_option(number.map_err(|_| changed())?);
                }
            }
            self.bytes += value.len() + 8;
        }
        self.rows += 1;
        Ok(())
    }

    /// Rows waiting.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Bytes of the rows waiting.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The rows as a batch, and none waiting.
    ///
    /// # Errors
    /// [`TableError::Arrow`] for a null SMILES, which [`crate::text::Record::Row`] never has.
    pub fn take(&mut self) -> Result<RecordBatch, TableError> {
        self.rows = 0;
        self.bytes = 0;
        let columns = self
            .builders
            .iter_mut()
            .map(|builder| -> ArrayRef {
                match builder {
                    Builder::Text(b) => Arc::new(b.finish()),
                    Builder::Int(b) => Arc::new(b.finish()),
                    Builder::Float(b) => Arc::new(b.finish()),
                }
            })
            .collect();
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_loses_nothing_is_a_number() {
        for (value, seen) in [
            ("", Seen::Nothing),
            ("0", Seen::Int),
            ("-12", Seen::Int),
            ("9007199254740993", Seen::BigInt),
            ("9223372036854775807", Seen::BigInt),
            ("9223372036854775808", Seen::Text),
            ("007", Seen::Text),
            ("+5", Seen::Text),
            ("-0", Seen::Text),
            ("-", Seen::Text),
            ("1.5", Seen::Float),
            ("-0.25", Seen::Float),
            ("1e-7", Seen::Float),
            ("1.", Seen::Text),
            (".5", Seen::Text),
            ("1e999", Seen::Text),
            ("nan", Seen::Text),
            ("inf", Seen::Text),
            ("1_000", Seen::Text),
            ("C", Seen::Text),
            ("1 ", Seen::Text),
        ] {
            assert_eq!(classify(value), seen, "{value:?}");
        }
    }
}
