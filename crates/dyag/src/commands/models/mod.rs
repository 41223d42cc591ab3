//! `dyag models`: the models that have names: which there are, which lie here, fetching and removing them.

mod info;
mod list;

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;

use crate::download_progress::{DownloadProgress, size};
use crate::language::say;
use crate::model_name::{Models, hub_name};
use crate::terminal;

/// Arguments as typed.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Models lie in the cache of the model hub (HF_HUB_CACHE, else HF_HOME/hub, else ~/.cache/huggingface/hub), which other programs \
    share. HF_TOKEN or a saved login opens gated models; HF_ENDPOINT names another hub; HTTPS_PROXY, NO_PROXY and SSL_CERT_FILE are honoured; \
    HF_HUB_OFFLINE=1 forbids the network. Own short names stand in models.toml in DYAG_CONFIG_DIR, else ~/.config/dyag."
)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the models that have short names, and those that lie in the cache
    List(ListArgs),
    /// Fetch a model into the cache; an interrupted download goes on where it was
    Pull(PullArgs),
    /// Describe a model: size, licence, access, memory, where it lies
    Info(NameArgs),
    /// Remove a model from the cache
    Rm(NameArgs),
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    /// Print the list as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct PullArgs {
    /// Short name, or ORGANISATION/NAME with @REVISION (a branch, a tag or a commit) and :FILE.gguf where wanted
    name: String,

    /// Connections at a time
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=16))]
    connections: u8,

    /// Print what was fetched as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct NameArgs {
    /// Short name, or ORGANISATION/NAME with @REVISION and :FILE.gguf where wanted
    name: String,

    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { action } = args;
    let models = Models::open()?;
    match action {
        Action::List(ListArgs { json }) => list::run(&models, json)?,
        Action::Pull(args) => pull(models, args)?,
        Action::Info(NameArgs { name, json }) => info::run(&models, &name, json)?,
        Action::Rm(NameArgs { name, json }) => remove(&models, &name, json)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn pull(mut models: Models, args: PullArgs) -> anyhow::Result<()> {
    let PullArgs { name, connections, json } = args;
    let (hub, entry) = hub_name(&models, &name)?;
    models.settings.transfer.connections = usize::from(connections);
    let pulled = models.fetch(&name, &hub, entry.as_ref())?;
    if json {
        return terminal::print_json(&pulled);
    }
    let fetched = match pulled.fetched_bytes {
        0 => say!("was here already", "déjà ici"),
        bytes => say!("{} fetched", "{} téléchargés", size(bytes)),
    };
    terminal::print_line(say!(
        "{}: {} files, {}, {fetched}; commit {}",
        "{} : {} fichiers, {}, {fetched} ; commit {}",
        pulled.name,
        pulled.files.len(),
        size(pulled.bytes),
        pulled.commit
    ))?;
    terminal::print_line(pulled.path.display())
}

fn remove(models: &Models, name: &str, json: bool) -> anyhow::Result<()> {
    let (hub, entry) = hub_name(models, name)?;
    let progress = DownloadProgress::new();
    let removed = models.cache.remove(&hub, &|event| progress.show(event));
    progress.end();
    let removed = removed.map_err(|error| models.explain(error, name, entry.as_ref()))?;
    if json {
        return terminal::print_json(&json!({ "name": removed.name, "freed_bytes": removed.freed_bytes }));
    }
    terminal::print_line(say!("{} removed, {} freed", "{} supprimé, {} libérés", removed.name, size(removed.freed_bytes)))
}
