//! The raw size of a row: what row groups and slices are cut by. A function of the values alone,
//! whatever layout holds them (a dictionary counts as the text it stands for, a view as its text).

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, GenericBinaryArray, GenericListArray,
    GenericStringArray, OffsetSizeTrait, RecordBatch,
};
use arrow::datatypes::DataType;

/// Bytes every variable-length value costs beside its contents (its offset).
const OFFSET_BYTES: u64 = 4;

/// Raw bytes of each row of `batch`.
#[must_use]
pub fn row_bytes(batch: &RecordBatch) -> Vec<u64> {
    let mut out = vec![0; batch.num_rows()];
    for column in batch.columns() {
        add(column.as_ref(), &mut out);
    }
    out
}

fn add(array: &dyn Array, out: &mut [u64]) {
    match array.data_type() {
        DataType::Null => {}
        DataType::Boolean => out.iter_mut().for_each(|o| *o += 1),
        DataType::Utf8 => add_string(array.as_string::<i32>(), out),
        DataType::LargeUtf8 => add_string(array.as_string::<i64>(), out),
        DataType::Binary => {
            let array: &BinaryArray = array.as_binary();
            add_binary(array, out);
        }
        DataType::LargeBinary => add_binary(array.as_binary::<i64>(), out),
        DataType::Utf8View => {
            let array = array.as_string_view();
            for (i, o) in out.iter_mut().enumerate() {
                *o += OFFSET_BYTES
                    + if array.is_null(i) {
                        0
                    } else {
                        array.value(i).len() as u64
                    };
            }
        }
        DataType::BinaryView => {
            let array = array.as_binary_view();
            for (i, o) in out.iter_mut().enumerate() {
                *o += OFFSET_BYTES
                    + if array.is_null(i) {
                        0
                    } else {
                        array.value(i).len() as u64
                    };
            }
        }
        DataType::Dictionary(_, _) => {
            let dictionary = array.as_any_dictionary();
            let values = rows_of(dictionary.values());
            // A null key costs what a null value costs; an empty dictionary has only null keys.
            let null = null_bytes(dictionary.values().data_type());
            let keys = if values.is_empty() {
                vec![0; out.len()]
            } else {
                dictionary.normalized_keys()
            };
            for (i, o) in out.iter_mut().enumerate() {
                *o += if array.is_null(i) {
                    null
                } else {
                    values[keys[i]]
                };
            }
        }
        DataType::List(_) => add_list(array.as_list::<i32>(), out),
        DataType::LargeList(_) => add_list(array.as_list::<i64>(), out),
        DataType::Map(_, _) => {
            let map = array.as_map();
            let entries: ArrayRef = std::sync::Arc::new(map.entries().clone());
            let sizes = prefix_sums(&entries);
            add_ranges(map.offsets(), &sizes, array, out);
        }
        DataType::FixedSizeList(_, n) => {
            let list = array.as_fixed_size_list();
            let n = usize::try_from(*n).unwrap_or(0);
            let sizes = prefix_sums(list.values());
            for (i, o) in out.iter_mut().enumerate() {
                *o += OFFSET_BYTES
                    + if array.is_null(i) {
                        0
                    } else {
                        sizes[(i + 1) * n] - sizes[i * n]
                    };
            }
        }
        DataType::Struct(_) => {
            for column in array.as_struct().columns() {
                add(column.as_ref(), out);
            }
        }
        other => {
            let width = fixed_width(other);
            out.iter_mut().for_each(|o| *o += width);
        }
    }
}

fn fixed_width(data_type: &DataType) -> u64 {
    match data_type {
        DataType::FixedSizeBinary(n) => u64::try_from(*n).unwrap_or(0),
        other => other.primitive_width().map_or(16, |w| w as u64),
    }
}

fn null_bytes(data_type: &DataType) -> u64 {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => OFFSET_BYTES,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => OFFSET_BYTES,
        other => fixed_width(other),
    }
}

fn rows_of(array: &ArrayRef) -> Vec<u64> {
    let mut sizes = vec![0; array.len()];
    add(array.as_ref(), &mut sizes);
    sizes
}

fn prefix_sums(array: &ArrayRef) -> Vec<u64> {
    let mut total = 0;
    let mut sums = Vec::with_capacity(array.len() + 1);
    sums.push(0);
    for size in rows_of(array) {
        total += size;
        sums.push(total);
    }
    sums
}

fn add_ranges<O: OffsetSizeTrait>(
    offsets: &[O],
    sizes: &[u64],
    array: &dyn Array,
    out: &mut [u64],
) {
    for (i, o) in out.iter_mut().enumerate() {
        *o += OFFSET_BYTES;
        if array.is_valid(i) {
            *o += sizes[offsets[i + 1].as_usize()] - sizes[offsets[i].as_usize()];
        }
    }
}

fn add_list<O: OffsetSizeTrait>(list: &GenericListArray<O>, out: &mut [u64]) {
    let sizes = prefix_sums(list.values());
    add_ranges(list.offsets(), &sizes, list, out);
}

fn add_string<O: OffsetSizeTrait>(array: &GenericStringArray<O>, out: &mut [u64]) {
    add_var(array.offsets(), array, out);
}

fn add_binary<O: OffsetSizeTrait>(array: &GenericBinaryArray<O>, out: &mut [u64]) {
    add_var(array.offsets(), array, out);
}

fn add_var<O: OffsetSizeTrait>(offsets: &[O], array: &dyn Array, out: &mut [u64]) {
    for (o, pair) in out.iter_mut().zip(offsets.windows(2)) {
        *o += OFFSET_BYTES + (pair[1].as_usize() - pair[0].as_usize()) as u64;
    }
    if array.null_count() > 0 {
        // Bytes under a null are nobody's value.
        for (i, o) in out.iter_mut().enumerate() {
            if array.is_null(i) {
                *o -= (offsets[i + 1].as_usize() - offsets[i].as_usize()) as u64;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{DictionaryArray, Int64Array, ListArray, StringArray, StringViewArray};
    use arrow::datatypes::Int32Type;

    use super::*;

    fn of(array: ArrayRef) -> Vec<u64> {
        row_bytes(&RecordBatch::try_from_iter([("x", array)]).unwrap())
    }

    #[test]
    fn layouts_agree() {
        let text = [Some("abc"), None, Some("")];
        let plain = of(Arc::new(StringArray::from(text.to_vec())));
        assert_eq!(plain, [7, 4, 4]);
        assert_eq!(of(Arc::new(StringViewArray::from(text.to_vec()))), plain);
        let dictionary: DictionaryArray<Int32Type> = text.into_iter().collect();
        assert_eq!(of(Arc::new(dictionary)), plain);
    }

    #[test]
    fn slices_count_only_their_rows() {
        let list = ListArray::from_iter_primitive::<Int32Type, _, _>([
            Some(vec![Some(1), Some(2)]),
            None,
            Some(vec![Some(3)]),
        ]);
        assert_eq!(of(Arc::new(list.clone())), [12, 4, 8]);
        assert_eq!(of(Arc::new(list.slice(1, 2))), [4, 8]);
        assert_eq!(of(Arc::new(Int64Array::from(vec![Some(1), None]))), [8, 8]);
    }
}
