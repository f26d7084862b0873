//! The products of one batch of parents, in columns made at their size: a batch costs the same few allocations whatever
//! the number of its products and of the tables they go to.

use std::ops::Range;

use halocline_chem::{Product, Results};
use xxhash_rust::xxh3::xxh3_128;

/// Products before deduplication, in the order they were made, and which of them go to which table.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    text: String,
    ends: Vec<u32>,
    /// xxh3-128 of each SMILES: its key.
    pub keys: Vec<u128>,
    /// Parent's place in the batch.
    pub parents: Vec<u32>,
    /// Index into [`crate::tables::Labels`].
    pub labels: Vec<u32>,
    pub sites: Vec<i32>,
    atoms: Vec<i32>,
    atom_ends: Vec<u32>,
    tables: Vec<u32>,
    /// Rows table after table, each in the order they were made, and where each table's end; see [`Rows::arrange`].
    order: Vec<u32>,
    order_ends: Vec<u32>,
}

impl Rows {
    pub(crate) fn smiles(&self, i: usize) -> &str {
        &self.text[span(&self.ends, i)]
    }

    pub(crate) fn atoms(&self, i: usize) -> &[i32] {
        &self.atoms[span(&self.atom_ends, i)]
    }

    /// The rows that go to `table`.
    pub(crate) fn of_table(&self, table: usize) -> impl Iterator<Item = usize> + '_ {
        self.order[span(&self.order_ends, table)]
            .iter()
            .map(|i| *i as usize)
    }

    /// Makes room for as many more rows.
    pub(crate) fn reserve(&mut self, results: &Results<'_>) {
        let more = results.num_products();
        self.text.reserve(results.text_bytes());
        self.ends.reserve(more);
        self.keys.reserve(more);
        self.parents.reserve(more);
        self.labels.reserve(more);
        self.sites.reserve(more);
        self.atoms.reserve(results.num_site_atoms());
        self.atom_ends.reserve(more);
        self.tables.reserve(more);
    }

    pub(crate) fn push(&mut self, product: &Product<'_>, label: u32, table: usize) {
        self.text.push_str(product.smiles);
        // A batch is bounded far below 4 GiB by `max_products` and its byte estimate; a longer one must not wrap.
        self.ends.push(place(self.text.len()));
        self.keys.push(xxh3_128(product.smiles.as_bytes()));
        self.parents.push(product.row);
        self.labels.push(label);
        self.sites.push(product.site);
        self.atoms.extend_from_slice(product.atoms);
        self.atom_ends.push(place(self.atoms.len()));
        self.tables.push(place(table));
    }

    /// Once all rows are there: puts them in the order of their `num_tables` tables.
    pub(crate) fn arrange(&mut self, num_tables: usize) {
        self.order_ends = vec![0; num_tables];
        for table in &self.tables {
            self.order_ends[*table as usize] += 1;
        }
        let mut end = 0;
        for slot in &mut self.order_ends {
            // Where the table's rows start; filling them moves it to where they end.
            let start = end;
            end += *slot;
            *slot = start;
        }
        self.order = vec![0; self.tables.len()];
        for (row, table) in self.tables.iter().enumerate() {
            let slot = &mut self.order_ends[*table as usize];
            self.order[*slot as usize] = row as u32;
            *slot += 1;
        }
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.text.capacity()
            + self.keys.capacity() * 16
            + [
                self.ends.capacity(),
                self.parents.capacity(),
                self.labels.capacity(),
                self.sites.capacity(),
                self.atoms.capacity(),
                self.atom_ends.capacity(),
                self.tables.capacity(),
                self.order.capacity(),
                self.order_ends.capacity(),
            ]
            .iter()
            .sum::<usize>()
                * 4
    }
}

fn place(len: usize) -> u32 {
    match u32::try_from(len) {
        Ok(place) => place,
        Err(_) => panic!("the products of one batch pass 4 GiB"),
    }
}

fn span(ends: &[u32], i: usize) -> Range<usize> {
    let start = if i == 0 { 0 } else { ends[i - 1] };
    start as usize..ends[i] as usize
}
