//! Scores of answers against what was expected.
