//! Tables of molecules as text.

use crate::{MIB, OME, refused, split, transform};
use flate2::write::GzEncoder;
use halocline_tests::memory::run_capped;
use halocline_tests::{json, root, scratch, table};
use std::io::Write;

#[test]
fn lines_of_a_gigabyte() {
    let dir = scratch();
    let out = dir.path().join("out");
    // Zeros that take no space on disk; also inside a quoted field, and after a good row.
    for (name, head, bytes) in [
        ("line.csv", "smiles\nC\n", 1 << 30),
        ("quoted.csv", "smiles\nC\n\"", 128 << 20),
        ("line.tsv", "smiles\nC\n", 128 << 20),
        ("line.smi", "C\n", 128 << 20),
    ] {
        let input = dir.path().join(name);
        let mut file = fs_err::File::create(&input).unwrap();
        file.write_all(head.as_bytes()).unwrap();
        file.set_len(bytes).unwrap();
        let ran = split(&input, &out, &[]);
        if name == "quoted.csv" {
            refused(
                &ran,
                &[
                    "quoted.csv",
                    "line 3",
                    "not closed before the end of the file",
                ],
            );
            fs_err::remove_file(&input).unwrap();
            continue;
        }
        ran.assert_within();
        let rejected = table(&out.join("rejects.parquet"));
        assert_eq!(
            rejected["data"]["line"],
            serde_json::json!([if name == "line.smi" { 2 } else { 3 }])
        );
        assert!(
            rejected["data"]["reason"][0]
                .as_str()
                .unwrap()
                .contains("longer than 1 MiB"),
            "{rejected}"
        );
        assert_eq!(table(&out.join("library.parquet"))["rows"], 1);
        fs_err::remove_dir_all(&out).unwrap();
        fs_err::remove_file(&input).unwrap();
    }
    // As the header, it names no columns.
    let input = dir.path().join("header.csv");
    fs_err::File::create(&input)
        .unwrap()
        .set_len(1 << 30)
        .unwrap();
    refused(
        &split(&input, &out, &[]),
        &["header.csv", "line 1", "longer than 1 MiB"],
    );
}

#[test]
fn compressed_bombs() {
    let dir = scratch();
    let out = dir.path().join("out");
    // 1 GiB of one line in 64 members of 16 MiB: 1 MB on disk.
    let zeros = vec![b'C'; 16 << 20];
    let mut gz = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(&zeros).unwrap();
    let member = gz.finish().unwrap();
    let mut head = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    head.write_all(b"smiles\nC\n").unwrap();
    let head = head.finish().unwrap();
    let frame = zstd::encode_all(&zeros[..], 1).unwrap();
    let zhead = zstd::encode_all(&b"smiles\nC\n"[..], 1).unwrap();
    for (name, head, member) in [
        ("bomb.tsv.gz", head, member),
        ("bomb.csv.zst", zhead, frame),
    ] {
        let input = dir.path().join(name);
        fs_err::write(&input, [head, member.repeat(64)].concat()).unwrap();
        let ran = split(&input, &out, &[]);
        ran.assert_within();
        assert_eq!(json(&out.join("library.parquet.stats.json"))["rows_out"], 1);
        let sidecar = json(&out.join("rejects.parquet.stats.json"));
        assert_eq!(sidecar["rows_rejected"]["too_long"], 1, "{sidecar}");
        fs_err::remove_dir_all(&out).unwrap();
        // Cut off in the middle, it is an error that names the line.
        let bytes = fs_err::read(&input).unwrap();
        fs_err::write(&input, &bytes[..bytes.len() - 100]).unwrap();
        refused(&split(&input, &out, &[]), &[name, "line 3"]);
    }
    // A zstd frame that asks for a window of 2 GiB.
    let mut large = zstd::Encoder::new(Vec::new(), 1).unwrap();
    large.long_distance_matching(true).unwrap();
    large.window_log(31).unwrap();
    large.write_all(b"smiles\nC\n").unwrap();
    let input = dir.path().join("window.tsv.zst");
    fs_err::write(&input, large.finish().unwrap()).unwrap();
    refused(&split(&input, &out, &[]), &["window.tsv.zst", "window"]);
}

#[test]
fn text_that_is_not_quite_a_table() {
    let dir = scratch();
    let out = dir.path().join("out");
    // Text, rows, rejected by reason.
    let taken: [(&str, &[u8], u64, serde_json::Value); 5] = [
        (
            "nul.tsv",
            b"id\tsmiles\na\tC\0C\nb\tCC\n",
            2,
            serde_json::json!({}),
        ),
        (
            "latin.tsv",
            b"id\tsmiles\na\tC\xe9\nb\tCC\n",
            1,
            serde_json::json!({"not_utf8": 1}),
        ),
        (
            "crlf.tsv",
            b"id\tsmiles\r\na\tC\r\nb\tCC\r\n",
            2,
            serde_json::json!({}),
        ),
        (
            "bom.csv",
            b"\xef\xbb\xbfsmiles,id\nC,a\n",
            1,
            serde_json::json!({}),
        ),
        (
            "short.tsv",
            b"id\tsmiles\na\nb\tC\nc\tC\tx\nd\t \n",
            1,
            serde_json::json!({"column_count": 2, "empty_smiles": 1}),
        ),
    ];
    for (name, text, rows, rejected) in taken {
        let input = dir.path().join(name);
        fs_err::write(&input, text).unwrap();
        split(&input, &out, &[]).assert_within();
        let sidecar = json(&out.join("rejects.parquet.stats.json"));
        assert_eq!(sidecar["rows_rejected"], rejected, "{name}");
        assert_eq!(sidecar["rows_out"], rows, "{name}: {sidecar}");
        // Whatever came through, the next program takes it: a NUL is a molecule that does not parse.
        let mut tool = transform(
            &out.join("library.parquet"),
            &root().join("configs/transforms.yaml"),
            &dir.path().join("shard"),
        );
        run_capped(tool.args(["--rule", OME]), 128 * MIB).assert_within();
        let shard = json(&dir.path().join("shard/shard.stats.json"));
        assert_eq!(shard["rows_in"], rows);
        assert_eq!(
            shard["rows_rejected"].as_object().unwrap().len(),
            usize::from(name == "nul.tsv"),
            "{shard}"
        );
        fs_err::remove_dir_all(&out).unwrap();
    }
    let refusals: [(&str, &[u8], &[&str]); 7] = [
        (
            "twice.tsv",
            b"smiles\tsmiles\nC\tC\n",
            &["twice.tsv", "line 1", "more than once"],
        ),
        (
            "unnamed.tsv",
            b"smiles\t\nC\tC\n",
            &["unnamed.tsv", "line 1", "no name"],
        ),
        (
            "none.tsv",
            b"id\tname\na\tb\n",
            &["none.tsv", "line 1", "smiles"],
        ),
        (
            "latin-header.csv",
            b"smiles,caf\xe9\nC,x\n",
            &["latin-header.csv", "line 1", "UTF-8"],
        ),
        ("empty.csv", b"", &["empty.csv", "empty"]),
        ("blank.csv", b"\n\n\n", &["blank.csv", "no header"]),
        ("liar.parquet", b"smiles\nC\n", &["liar.parquet", "PAR1"]),
    ];
    for (name, text, words) in refusals {
        let input = dir.path().join(name);
        fs_err::write(&input, text).unwrap();
        refused(&split(&input, &out, &[]), words);
    }
    assert!(!out.join("plan.json").exists());
}
