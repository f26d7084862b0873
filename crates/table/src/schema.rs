//! The columns of each kind of table, and where the SMILES of a user's table are.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};

use crate::TableError;

/// Version of the product, rejects and library schemas.
pub const PRODUCT_SCHEMA_VERSION: &str = "1";

/// Canonical isomeric SMILES of the product; its identity.
pub const SMILES: &str = "smiles";
/// The parent's SMILES as read.
pub const SOURCE_SMILES: &str = "source_smiles";
/// The parent's row in the input library, from 0.
pub const SOURCE_ROW: &str = "source_row";
/// Name of the rule.
pub const XF_RULE_ID: &str = "xf_rule_id";
/// The rule's label.
pub const XF_LABEL: &str = "xf_label";
/// The rule's family.
pub const XF_FAMILY: &str = "xf_family";
/// Index of the site among the parent's matches.
pub const XF_SITE_INDEX: &str = "xf_site_index";
/// Matched atom indices in the parent, in query order.
pub const XF_SITE_ATOMS: &str = "xf_site_atoms";

/// The product table's own columns, in order; columns kept from the input follow.
pub const PRODUCT_COLUMNS: [&str; 8] = [
    SMILES,
    SOURCE_SMILES,
    SOURCE_ROW,
    XF_RULE_ID,
    XF_LABEL,
    XF_FAMILY,
    XF_SITE_INDEX,
    XF_SITE_ATOMS,
];

/// `dictionary<int32, utf8>`: text that repeats.
#[must_use]
pub fn dictionary() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
}

/// The item of `xf_site_atoms`.
#[must_use]
pub fn site_atom_field() -> FieldRef {
    Arc::new(Field::new("item", DataType::Int32, false))
}

/// The product schema with the columns of `keep` behind it, typed as in the input.
///
/// # Errors
/// [`TableError::Schema`] when a kept column has the name of a product column or comes twice.
pub fn product_schema(keep: &[Field]) -> Result<SchemaRef, TableError> {
    let mut fields = vec![
        Field::new(SMILES, DataType::Utf8, false),
        Field::new(SOURCE_SMILES, DataType::Utf8, false),
        Field::new(SOURCE_ROW, DataType::Int64, false),
        Field::new(XF_RULE_ID, dictionary(), false),
        Field::new(XF_LABEL, dictionary(), false),
        Field::new(XF_FAMILY, dictionary(), false),
        Field::new(XF_SITE_INDEX, DataType::Int32, false),
        Field::new(XF_SITE_ATOMS, DataType::List(site_atom_field()), false),
    ];
    for field in keep {
        if fields.iter().any(|f| f.name() == field.name()) {
            let what = if PRODUCT_COLUMNS.contains(&field.name().as_str()) {
                "the product table has a column of that name"
            } else {
                "it is named twice"
            };
            return Err(TableError::Schema(format!(
                "column `{}` cannot be kept: {what}",
                field.name()
            )));
        }
        fields.push(bare_field(field));
    }
    Ok(Arc::new(Schema::new(fields)))
}

/// Rows turned away by a step: `row` of its input, `rule` null when it was the whole molecule.
#[must_use]
pub fn rejects_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("row", DataType::Int64, false),
        Field::new("smiles", DataType::Utf8, true),
        Field::new("rule", dictionary(), true),
        Field::new("stage", dictionary(), false),
        Field::new("site_index", DataType::Int32, true),
        Field::new("reason", DataType::Utf8, false),
    ]))
}

/// Lines of a text input turned away by `halo-split`; `text` is at most their first 1,000 bytes.
#[must_use]
pub fn text_rejects_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("line", DataType::Int64, false),
        Field::new("reason", DataType::Utf8, false),
        Field::new("text", DataType::Utf8, false),
    ]))
}

/// A schema without the metadata of schema and fields: their order is that of a hash map, which
/// would make the bytes of a file random.
#[must_use]
pub fn bare_schema(schema: &Schema) -> SchemaRef {
    Arc::new(Schema::new(
        schema
            .fields()
            .iter()
            .map(|f| bare_field(f))
            .collect::<Vec<_>>(),
    ))
}

fn bare_field(field: &Field) -> Field {
    let bare_ref = |f: &FieldRef| Arc::new(bare_field(f));
    let data_type = match field.data_type() {
        DataType::List(f) => DataType::List(bare_ref(f)),
        DataType::LargeList(f) => DataType::LargeList(bare_ref(f)),
        DataType::FixedSizeList(f, n) => DataType::FixedSizeList(bare_ref(f), *n),
        DataType::Map(f, sorted) => DataType::Map(bare_ref(f), *sorted),
        DataType::Struct(fields) => {
            DataType::Struct(fields.iter().map(bare_ref).collect::<Fields>())
        }
        other => other.clone(),
    };
    field
        .clone()
        .with_data_type(data_type)
        .with_metadata(HashMap::new())
}

/// Is this a type SMILES can be read from?
#[must_use]
pub fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, value) => is_text(value),
        _ => false,
    }
}

/// Finds the SMILES column among `names`: `asked` exactly, else `smiles`, `canonical_smiles`,
/// `SMILES`, else the only column equal to `smiles` or `canonical_smiles` when case is ignored.
///
/// # Errors
/// [`TableError::Schema`] naming the columns there are.
pub fn find_smiles_column(names: &[&str], asked: Option<&str>) -> Result<usize, TableError> {
    let exactly = |name: &str| -> Result<Option<usize>, TableError> {
        let mut found = names
            .iter()
            .enumerate()
            .filter(|(_, n)| **n == name)
            .map(|(i, _)| i);
        let first = found.next();
        if found.next().is_some() {
            return Err(TableError::Schema(format!(
                "column `{name}` is there more than once"
            )));
        }
        Ok(first)
    };
    let listed = || {
        names
            .iter()
            .map(|n| format!("`{n}`"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    if let Some(asked) = asked {
        return exactly(asked)?.ok_or_else(|| {
            TableError::Schema(format!("no column `{asked}`; the columns are {}", listed()))
        });
    }
    for name in ["smiles", "canonical_smiles", "SMILES"] {
        if let Some(index) = exactly(name)? {
            return Ok(index);
        }
    }
    let mut close = names.iter().enumerate().filter(|(_, n)| {
        n.eq_ignore_ascii_case("smiles") || n.eq_ignore_ascii_case("canonical_smiles")
    });
    match (close.next(), close.next()) {
        (Some((index, _)), None) => Ok(index),
        (Some((_, a)), Some((_, b))) => Err(TableError::Schema(format!(
            "both `{a}` and `{b}` could be the SMILES column\nhint: name one with `--smiles-column`"
        ))),
        _ => Err(TableError::Schema(format!(
            "no SMILES column (`smiles`, `canonical_smiles` or `SMILES`) among {}\nhint: name it with `--smiles-column`",
            listed()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_smiles() {
        assert_eq!(find_smiles_column(&["id", "smiles"], None).unwrap(), 1);
        assert_eq!(
            find_smiles_column(&["SMILES", "canonical_smiles"], None).unwrap(),
            1
        );
        assert_eq!(find_smiles_column(&["id", "Smiles"], None).unwrap(), 1);
        assert_eq!(find_smiles_column(&["smiles", "x"], Some("x")).unwrap(), 1);
        let error = find_smiles_column(&["id", "k"], None)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("`id`, `k`") && error.contains("--smiles-column"),
            "{error}"
        );
        assert!(find_smiles_column(&["Smiles", "sMILES"], None).is_err());
        assert!(find_smiles_column(&["smiles", "smiles"], None).is_err());
        assert!(find_smiles_column(&["smiles"], Some("Smiles")).is_err());
    }

    #[test]
    fn keep_columns_may_not_collide() {
        let k = Field::new("k", DataType::Int32, true);
        assert_eq!(
            product_schema(std::slice::from_ref(&k))
                .unwrap()
                .fields()
                .len(),
            9
        );
        assert!(product_schema(&[k.clone(), k]).is_err());
        assert!(product_schema(&[Field::new(SMILES, DataType::Utf8, true)]).is_err());
    }
}
