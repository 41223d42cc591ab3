//! Pages of made-up results.
