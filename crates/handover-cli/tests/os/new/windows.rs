//! On Windows, the C programs are compiled with the tests, and the other languages are tested on Linux.

use handover_tests::Test;

pub(crate) const TESTS: &[Test] = &[];
