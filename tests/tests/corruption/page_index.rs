//! The page index of a library, by which a range of rows skips pages. No checksum of Parquet covers it.

use crate::{Damage, ended_well, flips, tables, transform};
use halocline_tests::random::Random;
use halocline_tests::{library, np_68k, scratch};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;

/// The library with several pages of every column, as bytes, and the range of rows read of it.
struct Bench {
    dir: tempfile::TempDir,
    library: PathBuf,
    good: Vec<u8>,
    /// Where the footer begins; the index lies before it.
    footer: usize,
    want: BTreeMap<PathBuf, Vec<u8>>,
}

impl Bench {
    fn new() -> Self {
        let dir = scratch();
        let library = library(dir.path(), &np_68k(1, 68_000));
        let good = fs_err::read(&library).unwrap();
        // The footer's length stands before the last magic.
        let tail: [u8; 4] = good[good.len() - 8..good.len() - 4].try_into().unwrap();
        let footer = good.len() - 8 - u32::from_le_bytes(tail) as usize;
        let mut bench = Self {
            dir,
            library,
            good,
            footer,
            want: BTreeMap::new(),
        };
        bench.want = bench.made_of(&bench.good, "undamaged").unwrap();
        bench
    }

    /// The tables made of a range of rows in the middle, unless the library is refused.
    fn made_of(&self, bytes: &[u8], what: &str) -> Option<BTreeMap<PathBuf, Vec<u8>>> {
        fs_err::write(&self.library, bytes).unwrap();
        let out = self.dir.path().join("out");
        let mut tool = transform(&self.library, &out);
        let output = tool
            .args(["class", "source", "licence", "--rows", "45000..45020"])
            .output()
            .unwrap();
        ended_well(&output, what).then(|| tables(&out))
    }

    /// Whether the damage was noticed; where it was not, the tables must be the same.
    fn refuses(&self, damage: Damage) -> bool {
        match self.made_of(&damage.apply(&self.good), &damage.to_string()) {
            None => true,
            Some(got) => {
                assert!(
                    got == self.want,
                    "{damage}: taken, and the tables are others"
                );
                false
            }
        }
    }
}

/// Where in the file the numbers of a page stand, each a varint.
struct Page {
    offset: Range<usize>,
    size: Range<usize>,
    first_row: Range<usize>,
}

/// The pages of an offset index that begins at `at`, in Thrift's compact form: field 1 is a list of structs of offset
/// (i64), compressed size (i32) and first row (i64), all zigzag varints. `None` where no such thing stands: of one page
/// alone, or not side by side from row 0 on.
fn offset_index(bytes: &[u8], mut at: usize) -> Option<Vec<Page>> {
    const LIST: u8 = 0x19;
    const I32: u8 = 0x15;
    const I64: u8 = 0x16;
    fn byte(bytes: &[u8], at: &mut usize) -> Option<u8> {
        *at += 1;
        bytes.get(*at - 1).copied()
    }
    fn varint(bytes: &[u8], at: &mut usize) -> Option<(u64, Range<usize>)> {
        let (start, mut value) = (*at, 0_u64);
        for shift in (0..63).step_by(7) {
            let next = byte(bytes, at)?;
            value |= u64::from(next & 0x7f) << shift;
            if next < 0x80 {
                return Some((value, start..*at));
            }
        }
        None
    }
    if byte(bytes, &mut at)? != LIST {
        return None;
    }
    let head = byte(bytes, &mut at)?;
    let pages = match (head & 0x0f, head >> 4) {
        (0x0c, 15) => varint(bytes, &mut at)?.0,
        (0x0c, short) => u64::from(short),
        _ => return None,
    };
    let mut found = Vec::new();
    let mut expected: Option<(u64, u64)> = None;
    for _ in 0..pages {
        let mut field = |kind: u8| {
            (byte(bytes, &mut at)? == kind)
                .then(|| varint(bytes, &mut at))
                .flatten()
        };
        let ((offset, offset_at), (size, size_at), (row, row_at)) =
            (field(I64)?, field(I32)?, field(I64)?);
        // (zigzag: twice the number)
        let fits = match expected {
            None => row == 0,
            Some((end, before)) => offset == end && row > before,
        };
        if byte(bytes, &mut at)? != 0 || !fits {
            return None;
        }
        expected = Some((offset + size, row));
        found.push(Page {
            offset: offset_at,
            size: size_at,
            first_row: row_at,
        });
    }
    (found.len() > 1).then_some(found)
}

#[test]
fn what_the_index_says_of_a_page_cannot_be_changed() {
    let bench = Bench::new();
    let places = bench.footer.saturating_sub(100_000)..bench.footer;
    let pages: Vec<Page> = places
        .filter_map(|at| offset_index(&bench.good[..bench.footer], at))
        .flatten()
        .collect();
    // (SMILES alone has a dozen)
    assert!(pages.len() > 12, "{} pages were found", pages.len());
    let mut random = Random::seeded("numbers of the page index");
    for n in 0..usize::try_from(flips()).unwrap() {
        let page = &pages[random.below(pages.len())];
        let number = [&page.first_row, &page.offset, &page.size][n % 3];
        let damage = Damage::Flip {
            byte: number.start + random.below(number.len()),
            // The number changes, and not its length.
            bit: random.below(7),
        };
        assert!(bench.refuses(damage), "{damage}: taken");
    }
}

#[test]
fn transform_of_a_range_takes_damage_to_the_page_index() {
    let bench = Bench::new();
    let mut random = Random::seeded("page index");
    let (mut refused, mut same) = (0, 0);
    for _ in 0..flips() / 2 {
        let damage = Damage::flip(&mut random, bench.footer - 600..bench.footer);
        if bench.refuses(damage) {
            refused += 1;
        } else {
            same += 1;
        }
    }
    eprintln!("page index: {refused} refused, {same} made the same tables");
    assert!(refused > 0);
}
