//! What a command writes must be none of the files that it reads, and no file twice.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf, absolute};

use crate::sidecar::Sidecar;

/// An output that is also an input, or another output, of the same command.
#[derive(Debug, thiserror::Error)]
#[error("{option} would overwrite {file}, which {whose}")]
pub struct Overwrite {
    option: &'static str,
    /// In backticks; where it was spelled in two ways, both.
    file: String,
    whose: String,
}

impl Overwrite {
    fn new(option: &'static str, path: &Path, known_as: &Path, whose: String) -> Self {
        let mut file = format!("`{}`", known_as.display());
        if path != known_as {
            file.push_str(&format!(" (as `{}`)", path.display()));
        }
        Self {
            option,
            file,
            whose,
        }
    }
}

/// Refuses `outputs`, each with its option, of which one is an input or another output, however it is spelled or linked.
/// The sidecars of all of them count too, whether they are there or not.
///
/// # Errors
/// The first such output.
pub fn refuse_overwrite<'a>(
    outputs: &[(&'static str, PathBuf)],
    inputs: impl IntoIterator<Item = &'a Path>,
) -> Result<(), Overwrite> {
    let mut files = BTreeMap::new();
    let mut places: BTreeMap<PathBuf, (&str, PathBuf)> = BTreeMap::new();
    for (option, output) in outputs {
        let both = [output.clone(), Sidecar::path_for(output)];
        // Among outputs the names decide: a file that appears replaces a name, not what else is linked to it.
        for path in &both {
            if let Some((other, known_as)) = places.get(&place(path)) {
                let whose = format!("{other} writes");
                return Err(Overwrite::new(option, path, known_as, whose));
            }
        }
        for path in both {
            files
                .entry(Identity::of(&path))
                .or_insert((*option, path.clone()));
            places.insert(place(&path), (*option, path));
        }
    }
    for input in inputs {
        for known_as in [input.to_owned(), Sidecar::path_for(input)] {
            if let Some((option, path)) = files.get(&Identity::of(&known_as)) {
                let whose = "this command reads".to_owned();
                return Err(Overwrite::new(option, path, &known_as, whose));
            }
        }
    }
    Ok(())
}

/// Which file a path means.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Identity {
    /// One that is there, by device and inode.
    There(u64, u64),
    /// One that is not there yet, by its place.
    Missing(PathBuf),
}

impl Identity {
    fn of(path: &Path) -> Self {
        let place = place(path);
        match std::fs::metadata(&place) {
            Ok(file) => Self::There(file.dev(), file.ino()),
            Err(_) => Self::Missing(place),
        }
    }
}

/// The name of a file in its folder without links; the file itself may be a link.
fn place(path: &Path) -> PathBuf {
    // Without a working directory there are no relative paths to be told apart.
    let whole = absolute(path).unwrap_or_else(|_| path.to_owned());
    match (whole.parent(), whole.file_name()) {
        (Some(folder), Some(name)) => without_links(folder).join(name),
        _ => without_links(&whole),
    }
}

/// An absolute path without links and `..`; folders that are not there will be made, and are then no links.
fn without_links(folder: &Path) -> PathBuf {
    if let Ok(real) = std::fs::canonicalize(folder) {
        return real;
    }
    let Some(parent) = folder.parent() else {
        return folder.to_owned();
    };
    let mut real = without_links(parent);
    match folder.components().next_back() {
        Some(Component::ParentDir) => {
            real.pop();
        }
        Some(last) => real.push(last),
        None => {}
    }
    std::fs::canonicalize(&real).unwrap_or(real)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_file_is_known_however_it_is_spelled_or_linked() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir(at("d")).unwrap();
        std::fs::write(at("d/in"), "").unwrap();
        std::fs::hard_link(at("d/in"), at("hard")).unwrap();
        symlink("d/in", at("soft")).unwrap();
        symlink("d", at("folder")).unwrap();
        symlink("nowhere", at("dangling")).unwrap();
        for (output, file) in [
            ("d/in", "d/in"),
            ("./d/../d/in", "d/in"),
            ("hard", "d/in"),
            ("soft", "d/in"),
            ("folder/in", "d/in"),
            ("new/../d/in", "d/in"),
            ("new/../folder/in", "d/in"),
            // The sidecar that is not there.
            ("folder/in.stats.json", "d/in.stats.json"),
            ("new/../folder/in.stats.json", "d/in.stats.json"),
        ] {
            let error = refuse_overwrite(&[("--out", at(output))], [at("d/in").as_path()]);
            let said = error.expect_err(output).to_string();
            let file = format!("--out would overwrite `{}`", at(file).display());
            assert!(said.starts_with(&file), "{said}");
            assert!(said.ends_with(", which this command reads"), "{said}");
        }
        // An output's sidecar is written too.
        let stats = at("d/out.stats.json");
        refuse_overwrite(&[("--out", at("d/out"))], [stats.as_path()]).unwrap_err();
        for output in ["d/out", "in", "new/in", "dangling", "d/in.json", "hard2"] {
            refuse_overwrite(&[("--out", at(output))], [at("d/in").as_path()]).unwrap();
        }
    }

    #[test]
    fn no_output_is_written_twice() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let check = |summary: &str| {
            let outputs = [("--out", at("m")), ("--summary", at(summary))];
            refuse_overwrite(&outputs, [])
        };
        for summary in ["m", "new/../m", "m.stats.json"] {
            let said = check(summary).expect_err(summary).to_string();
            assert!(said.starts_with("--summary would overwrite `"), "{said}");
            assert!(said.ends_with(", which --out writes"), "{said}");
        }
        check("s").unwrap();
        // Equal outputs of an earlier run that were made one file.
        std::fs::write(at("m"), "").unwrap();
        std::fs::hard_link(at("m"), at("s")).unwrap();
        check("s").unwrap();
    }
}
