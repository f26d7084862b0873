//! What a file says about itself in Parquet's key-value metadata.

use std::collections::BTreeMap;
use std::path::Path;

use parquet::file::metadata::KeyValue;

use crate::TableError;

const PREFIX: &str = "halocline.";

/// What a table is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Parents: any columns, one of them SMILES.
    Library,
    /// Products, see [`crate::product_schema`].
    Product,
    /// Rows that were turned away, see [`crate::rejects_schema`].
    Rejects,
}

impl Kind {
    /// As written to the file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Library => "library",
            Self::Product => "product",
            Self::Rejects => "rejects",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Library, Self::Product, Self::Rejects]
            .into_iter()
            .find(|k| k.as_str() == text)
    }
}

/// The `halocline.*` keys of a file. Two shards of one job have equal `Meta`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// What the table is for.
    pub kind: Kind,
    /// Version of the schema of that kind.
    pub schema_version: String,
    /// Version of halocline that wrote it.
    pub tool_version: String,
    /// Name of the rule whose products these are.
    pub rule: Option<String>,
    /// Digest of everything in the rule that decides its products.
    pub rule_fingerprint: Option<String>,
    /// RDKit that made the SMILES.
    pub rdkit_version: Option<String>,
    /// Further keys, without the prefix. A key equal to one of the above is refused by the writer.
    pub extra: BTreeMap<String, String>,
}

const FIXED: [&str; 6] = [
    "kind",
    "schema_version",
    "tool_version",
    "rule",
    "rule_fingerprint",
    "rdkit_version",
];

impl Meta {
    /// A `Meta` of this version of halocline, with no rule.
    #[must_use]
    pub fn new(kind: Kind) -> Self {
        Self {
            kind,
            schema_version: crate::PRODUCT_SCHEMA_VERSION.to_owned(),
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
            rule: None,
            rule_fingerprint: None,
            rdkit_version: None,
            extra: BTreeMap::new(),
        }
    }

    /// In a fixed order, so that equal `Meta` are equal bytes.
    pub(crate) fn to_key_values(&self) -> Result<Vec<KeyValue>, TableError> {
        if let Some(key) = self.extra.keys().find(|k| FIXED.contains(&k.as_str())) {
            return Err(TableError::Schema(format!(
                "`{key}` is not an extra metadata key"
            )));
        }
        let fixed = [
            Some(self.kind.as_str()),
            Some(&self.schema_version),
            Some(&self.tool_version),
            self.rule.as_deref(),
            self.rule_fingerprint.as_deref(),
            self.rdkit_version.as_deref(),
        ];
        let fixed = FIXED
            .iter()
            .zip(fixed)
            .filter_map(|(k, v)| v.map(|v| (*k, v)));
        let extra = self.extra.iter().map(|(k, v)| (k.as_str(), v.as_str()));
        Ok(fixed
            .chain(extra)
            .map(|(k, v)| KeyValue::new(format!("{PREFIX}{k}"), v.to_owned()))
            .collect())
    }

    /// `None` for a file that is not ours (no `halocline.kind`).
    pub(crate) fn from_key_values(
        path: &Path,
        pairs: Option<&Vec<KeyValue>>,
    ) -> Result<Option<Self>, TableError> {
        let mut map: BTreeMap<String, String> = pairs
            .into_iter()
            .flatten()
            .filter_map(|pair| {
                let key = pair.key.strip_prefix(PREFIX)?;
                Some((key.to_owned(), pair.value.clone().unwrap_or_default()))
            })
            .collect();
        let Some(kind) = map.remove("kind") else {
            return Ok(None);
        };
        let wrong = |detail: String| TableError::Meta {
            path: path.to_owned(),
            detail,
        };
        let kind = Kind::parse(&kind).ok_or_else(|| {
            wrong(format!(
                "metadata `halocline.kind` is `{kind}`, not library, product or rejects"
            ))
        })?;
        let mut required = |key: &str| {
            map.remove(key)
                .ok_or_else(|| wrong(format!("metadata `{PREFIX}{key}` is missing")))
        };
        let schema_version = required("schema_version")?;
        let tool_version = required("tool_version")?;
        Ok(Some(Self {
            kind,
            schema_version,
            tool_version,
            rule: map.remove("rule"),
            rule_fingerprint: map.remove("rule_fingerprint"),
            rdkit_version: map.remove("rdkit_version"),
            extra: map,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let mut meta = Meta::new(Kind::Product);
        meta.rule = Some("R".into());
        meta.extra.insert("class".into(), "polyphenol".into());
        let pairs = meta.to_key_values().unwrap();
        assert_eq!(
            Meta::from_key_values(Path::new("x"), Some(&pairs)).unwrap(),
            Some(meta)
        );
        assert_eq!(Meta::from_key_values(Path::new("x"), None).unwrap(), None);
    }

    #[test]
    fn an_extra_key_cannot_hide_a_fixed_one() {
        let mut meta = Meta::new(Kind::Product);
        meta.extra.insert("rule".into(), "x".into());
        assert!(meta.to_key_values().is_err());
    }

    #[test]
    fn a_strange_kind_is_an_error() {
        let pairs = vec![KeyValue::new("halocline.kind".into(), "soup".to_owned())];
        let error = Meta::from_key_values(Path::new("f"), Some(&pairs)).unwrap_err();
        assert!(error.to_string().contains("soup"), "{error}");
    }
}
