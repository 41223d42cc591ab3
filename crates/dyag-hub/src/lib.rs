//! Models by name: which ones are known, where they lie on this machine, and how they get here.
//!
//! - [`Registry`]: short names and what is known about the models behind them.
//! - [`HubName`]: a name on the model hub, `organisation/name`, perhaps with `@revision` and `:file.gguf`.
//! - [`Cache`]: the hub's own cache folder, shared with every other program that uses its layout.
//! - [`pull`]: fetches what a model needs into that cache: resumable, in parallel, every byte checked against its hash.
//!
//! Nothing here prints: a [`pull`] tells a listener what it does. What a server says is hostile until checked: names of files, sizes,
//! redirects, hashes.
#![forbid(unsafe_code)]

mod api;
mod cache;
mod disk;
mod download;
mod error;
mod event;
mod files;
mod http;
mod name;
mod pull;
mod reach;
mod registry;
mod settings;
mod token;

pub use cache::{Cache, CachedFile, CachedModel, CachedRevision, Found, Removed};
pub use disk::free_bytes;
pub use error::HubError;
pub use event::{Event, Listener};
pub use http::Pace;
pub use name::{HubName, NameError, RepoId};
pub use pull::{About, Pulled, about, pull};
pub use reach::{Reached, reach};
pub use registry::{Advice, BatchAdvice, EMBEDDED_MODEL, Entry, Registry, RegistryError, Source, batch_advice};
pub use settings::{HubSettings, SettingsError, TransferSettings, Variables, cache_folder, config_folder};
pub use token::Token;
