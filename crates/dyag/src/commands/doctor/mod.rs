//! `dyag doctor`: what this machine is, what dyag can do on it and how fast, and what stands in its way.

mod machine;
mod models;
mod show;
mod speed;

use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;

use crate::language::say;
use crate::terminal;
use machine::{Disk, Gpu, Memory, Processor};
use models::{CacheFacts, HubFacts, TokenFacts, Trainable};
use speed::Speed;

/// Arguments as typed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit status: 0 all is well (there may be notes), 1 something keeps dyag from working here, 2 an error.")]
pub(crate) struct Args {
    /// Leave out the measurement of ten seconds, and with it the estimates of speed
    #[arg(long)]
    no_measure: bool,

    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// All that was found.
#[derive(Debug, Serialize)]
struct Report {
    version: &'static str,
    /// Whether nothing keeps dyag from working here.
    ok: bool,
    processor: Processor,
    memory: Memory,
    disks: Vec<Disk>,
    gpu: Gpu,
    /// None where the settings of the environment are not understood.
    cache: Option<CacheFacts>,
    hub: Option<HubFacts>,
    token: Option<TokenFacts>,
    trainable: Vec<Trainable>,
    /// None where it was not measured.
    speed: Option<Speed>,
    problems: Vec<Finding>,
    notes: Vec<Finding>,
}

/// Something to know or to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Finding {
    /// What is so.
    what: String,
    /// What to do about it.
    advice: String,
}

/// What was found on the way.
#[derive(Debug, Default)]
struct Findings {
    problems: Vec<Finding>,
    notes: Vec<Finding>,
}

impl Findings {
    /// Something that keeps dyag from working here.
    fn problem(&mut self, what: String, advice: String) {
        self.problems.push(Finding { what, advice });
    }

    /// Something to know.
    fn note(&mut self, what: String, advice: String) {
        self.notes.push(Finding { what, advice });
    }
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { no_measure, json } = args;
    let mut found = Findings::default();
    let processor = Processor::look()?;
    let memory = Memory::look();
    let gpu = Gpu::look(Path::new("/"));
    let models = models::look(&mut found);
    let mut disks = vec![Disk::look("working folder", &std::env::current_dir()?, &mut found)];
    if let Some(cache) = &models.cache {
        disks.push(Disk::look("models", Path::new(&cache.path), &mut found));
    }
    let trainable = models::trainable(&models.entries, memory.available_bytes, &mut found);
    let speed = if no_measure {
        None
    } else {
        terminal::note(say!("measuring the machine for ten seconds", "mesure de la machine pendant dix secondes"));
        Some(Speed::measure(&trainable)?)
    };
    let Findings { problems, notes } = found;
    let ok = problems.is_empty();
    let report = Report {
        version: env!("CARGO_PKG_VERSION"),
        ok,
        processor,
        memory,
        disks,
        gpu,
        cache: models.cache,
        hub: models.hub,
        token: models.token,
        trainable,
        speed,
        problems,
        notes,
    };
    if json {
        terminal::print_json(&report)?;
    } else {
        terminal::print(&show::text(&report))?;
    }
    Ok(if ok { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
