//! On Windows, the C programs are compiled with the tests, and the other languages are tested on Linux.

use handover_tests::Test;

pub(crate) const TESTS: &[Test] = &[];

/// The remarks on the solution of the exercise on names.
pub(crate) const REMARKS_ON_NAMING: &[&str] = &[];
