//! What a difference between two ways of answering is worth.
