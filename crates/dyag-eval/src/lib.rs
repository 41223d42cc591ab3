//! Evidence: how good answers are, and whether one way of answering is better than another.
//!
//! [`metrics`] score answers against what was expected, each with a signature that says how; [`results`] is the file that every evaluation writes and
//! every comparison reads; [`statistics`] says what a difference between two ways is worth; [`comparison`] puts two or more files side by side;
//! [`retrieval`] judges what a search found; [`benchmark`] is about standard tasks.
#![forbid(unsafe_code)]

pub mod benchmark;
pub mod comparison;
pub mod metrics;
pub mod results;
pub mod retrieval;
pub mod statistics;
