//! Training: from tokenised examples to a LoRA adapter, with checkpoints that resume to the same bits.
//!
//! The way through it: [`packing`] lays examples end to end, [`step`] turns packs into summed gradients, [`optimizer`] applies them,
//! [`run`] repeats that under a [`schedule`], writing [`log`] lines and [`checkpoint`]s, and leaves an adapter with its [`manifest`].
//! [`plan`] says beforehand what it will take.
#![forbid(unsafe_code)]

pub mod checkpoint;
pub mod config;
pub mod error;
pub mod event;
mod finish;
pub mod folder;
pub mod log;
pub mod manifest;
pub mod memory;
pub mod noise;
pub mod optimizer;
pub mod order;
pub mod packing;
pub mod plan;
pub mod run;
pub mod schedule;
pub mod step;
mod tensors;

pub use config::TrainConfig;
pub use error::TrainError;
pub use event::Event;
pub use run::{Companion, Outcome, Speed, TrainInputs, train};
