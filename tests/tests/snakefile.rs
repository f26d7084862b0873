//! The workflow's own Python (`workflow/scripts`), with the interpreter of the workflow.

use halocline_tests::{bin_dir, root, run, workflow_bin_dir};
use std::process::Command;

#[test]
fn helper_functions_of_the_workflow() {
    let mut unittest = Command::new(workflow_bin_dir().join("python"));
    unittest
        .args(["-B", "-m", "unittest", "discover", "-s", "workflow/scripts"])
        .current_dir(root());
    let output = run(unittest.env("HALOCLINE_BIN", bin_dir()));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("\nOK"), "{said}");
    assert!(!said.contains("Ran 0 tests"), "{said}");
}
