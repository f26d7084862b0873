//! The start of a budget, in a process of its own: other tests' memory would move the answer.

use halocline_budget::{Budget, BudgetError, MemoryLimit};

#[test]
fn too_little_is_refused_with_the_least_that_works() {
    let least = 40 << 20;
    let limit = MemoryLimit::new(32 << 20).unwrap();
    let error = Budget::start(limit, least).unwrap_err();
    let BudgetError::TooLittle { least: works, .. } = error;
    assert!(error.to_string().contains(&works.to_string()), "{error}");
    let budget = Budget::start(MemoryLimit::new(works.0).unwrap(), least).unwrap();
    assert!(budget.pool().limit() >= least);
}
