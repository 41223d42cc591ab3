//! The results of an evaluation: one schema for every way of answering.
