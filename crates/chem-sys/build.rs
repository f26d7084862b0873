//! Finds RDKit (conda through `CONDA_PREFIX`, else the system's), compiles the C++ kernel against it, and says which one it found.
//!
//! `RDKIT_ROOT` overrides both: a prefix that holds `include/rdkit` and `lib`.

use std::env;
use std::path::{Path, PathBuf};

/// RDKit libraries the kernel calls directly; the rest come in through them.
const LIBRARIES: [&str; 5] = [
    "RDKitChemReactions",
    "RDKitSmilesParse",
    "RDKitSubstructMatch",
    "RDKitGraphMol",
    "RDKitRDGeneral",
];

const HINT: &str = "halocline needs RDKit's C++ headers and libraries (2022.09 or newer). Install one of:\n  \
     Debian/Ubuntu: apt-get install librdkit-dev libboost-dev\n  \
     conda-forge:   conda install -c conda-forge librdkit-dev libboost-devel (and activate the environment)\n  \
     elsewhere:     set RDKIT_ROOT to a prefix that holds include/rdkit and lib";

struct Found {
    origin: String,
    include: PathBuf,
    lib: Option<PathBuf>,
}

fn main() {
    for name in ["RDKIT_ROOT", "CONDA_PREFIX"] {
        println!("cargo::rerun-if-env-changed={name}");
    }
    let sources = [
        "src/compile_edit.cc",
        "src/edit.cc",
        "src/expand.cc",
        "src/flat.cc",
        "src/flat_rank.cc",
        "src/flat_symmetry.cc",
        "src/flat_write.cc",
        "src/kernel.cc",
        "src/lane.cc",
        "src/light_parse.cc",
        "src/log.cc",
        "src/routes.cc",
        "src/rule.cc",
        "src/sites.cc",
        "src/state.cc",
    ];
    for file in sources.iter().chain(&[
        "src/flat.h",
        "src/internal.h",
        "src/kernel.h",
        "src/lane.h",
        "src/row_note.h",
        "src/state.h",
        "src/trycatch.h",
    ]) {
        println!("cargo::rerun-if-changed={file}");
    }

    let found = match find() {
        Ok(found) => found,
        Err(searched) => {
            println!("cargo::error=no RDKit found (looked in {searched})");
            for line in HINT.lines() {
                println!("cargo::error={line}");
            }
            return;
        }
    };
    println!(
        "cargo::rerun-if-changed={}",
        found.include.join("RDGeneral/versions.h").display()
    );

    let mut build = cxx_build::bridge("src/lib.rs");
    build
        .files(sources)
        .std("c++20")
        .opt_level(2)
        // RDKit 2025.03 and newer need C++20 in their headers; 2022.09 to 2026.03 compile with it (checked 2026-11).
        // System includes: RDKit and boost headers are not ours to warn about.
        .flag("-isystem")
        .flag(found.include.to_string_lossy().as_ref());
    if found.lib.is_some()
        && let Some(parent) = found.include.parent()
    {
        build
            .flag("-isystem")
            .flag(parent.to_string_lossy().as_ref());
    }
    build
        .warnings(true)
        .extra_warnings(true)
        .flag("-Wno-unused-parameter");
    build.compile("halocline_chem");

    if let Some(lib) = &found.lib {
        println!("cargo::rustc-link-search=native={}", lib.display());
        println!("cargo::metadata=rpath={}", lib.display());
    }
    for library in LIBRARIES {
        println!("cargo::rustc-link-lib=dylib={library}");
    }
    println!("cargo::rustc-env=HALOCLINE_RDKIT_ORIGIN={}", found.origin);
}

/// The first prefix with RDKit's headers, or the list of places that were searched.
fn find() -> Result<Found, String> {
    let mut searched = Vec::new();
    let mut prefixes: Vec<(&str, PathBuf)> = Vec::new();
    for name in ["RDKIT_ROOT", "CONDA_PREFIX"] {
        if let Some(value) = env::var_os(name) {
            prefixes.push((name, PathBuf::from(value)));
        }
    }
    for (name, prefix) in prefixes {
        let include = prefix.join("include/rdkit");
        searched.push(format!("{} ({name})", include.display()));
        if has_headers(&include) {
            let lib = prefix.join("lib");
            return Ok(Found {
                origin: format!("{name}={}", prefix.display()),
                include,
                lib: Some(lib),
            });
        }
    }
    for include in ["/usr/include/rdkit", "/usr/local/include/rdkit"] {
        searched.push(include.to_owned());
        if has_headers(Path::new(include)) {
            return Ok(Found {
                origin: include.to_owned(),
                include: PathBuf::from(include),
                lib: None,
            });
        }
    }
    Err(searched.join(", "))
}

fn has_headers(include: &Path) -> bool {
    include
        .join("GraphMol/ChemReactions/ReactionRunner.h")
        .is_file()
}
