//! In what order rows stand.

use std::cmp::Ordering;

use arrow::row::{OwnedRow, Rows};

/// A column of the order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OrderColumn {
    pub(crate) name: String,
    /// Equal values stand together, in any order.
    pub(crate) grouped: bool,
}

pub(crate) fn parse_order(columns: &[String]) -> Vec<OrderColumn> {
    columns
        .iter()
        .map(|text| match text.strip_suffix('?') {
            Some(name) => OrderColumn {
                name: name.to_owned(),
                grouped: true,
            },
            None => OrderColumn {
                name: text.clone(),
                grouped: false,
            },
        })
        .collect()
}

/// Follows rows and says where they are out of order.
///
/// A grouped column may change to any value that was not there before under the same values of the
/// columns before it; those values are remembered, which is a handful of rules per parent.
#[derive(Debug)]
pub(crate) struct OrderCheck {
    columns: Vec<OrderColumn>,
    last: Vec<Option<OwnedRow>>,
    gone: Vec<Vec<OwnedRow>>,
}

/// Most values remembered for a grouped column; beyond, returning ones go unnoticed.
const MOST_GROUPS: usize = 10_000;

impl OrderCheck {
    pub(crate) fn new(columns: Vec<OrderColumn>) -> Self {
        let n = columns.len();
        Self {
            columns,
            last: vec![None; n],
            gone: vec![Vec::new(); n],
        }
    }

    /// Takes row `row` of the columns' values; the name of the column that is out of order, if any.
    pub(crate) fn follow(&mut self, values: &[Rows], row: usize) -> Option<&str> {
        let mut wrong = None;
        for (i, column) in self.columns.iter().enumerate() {
            let value = values[i].row(row);
            let order = match &self.last[i] {
                None => Ordering::Greater,
                Some(last) => value.cmp(&last.row()),
            };
            if order == Ordering::Equal {
                continue;
            }
            let bad = self.last[i].is_some()
                && if column.grouped {
                    self.gone[i].iter().any(|g| g.row() == value)
                } else {
                    order == Ordering::Less
                };
            if bad {
                wrong = Some(i);
            }
            let left = self.last[i].replace(value.owned());
            if column.grouped
                && let Some(left) = left
                && self.gone[i].len() < MOST_GROUPS
            {
                self.gone[i].push(left);
            }
            // What follows begins anew under the new value.
            let later = self
                .last
                .iter_mut()
                .zip(&mut self.gone)
                .zip(values)
                .skip(i + 1);
            for ((last, gone), values) in later {
                *last = Some(values.row(row).owned());
                gone.clear();
            }
            break;
        }
        wrong.map(|i| self.columns[i].name.as_str())
    }
}
