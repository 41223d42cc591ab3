//! `dyag export-gguf`: a model, merged with an adapter or not, or an adapter alone, as a GGUF file.

mod modelfile;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::bail;
use clap::ValueEnum;
use dyag_model::export::{GgufModel, GgufType, Written, export_adapter, export_gguf};
use dyag_model::files::write_bytes_atomically;
use serde_json::{Value, json};

use crate::exported::{Exported, gguf_tokenizer, refuse_existing, size};
use crate::language::say;
use crate::output_file;
use crate::progress::Progress;
use crate::terminal;

/// Arguments as typed.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The model: a Hugging Face folder or a GGUF file; when absent, the one that the adapter's manifest names
    #[arg(value_name = "MODEL", required_unless_present = "adapter")]
    model: Option<String>,

    /// Folder of an adapter that is merged into the model on the way
    #[arg(long, value_name = "DIR")]
    adapter: Option<PathBuf>,

    /// Type of the matrices; some get more bits, as llama.cpp's mixtures have it
    #[arg(long = "type", value_enum, value_name = "TYPE", ignore_case = true, required_unless_present = "adapter_only")]
    kind: Option<TypeChoice>,

    /// Write the adapter alone, for llama.cpp to lay over the base
    #[arg(long, requires = "adapter", conflicts_with_all = ["kind", "modelfile"])]
    adapter_only: bool,

    /// The file to write
    #[arg(long, value_name = "FILE.gguf")]
    output: PathBuf,

    /// Also write an Ollama Modelfile: where the model is, its template in Go's syntax, its stop words
    #[arg(long, value_name = "FILE")]
    modelfile: Option<PathBuf>,

    /// Print what was written as JSON
    #[arg(long)]
    json: bool,
}

/// Types as typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[allow(non_camel_case_types, reason = "as llama.cpp names them")]
#[value(rename_all = "verbatim")]
enum TypeChoice {
    F32,
    F16,
    BF16,
    Q8_0,
    Q6_K,
    Q5_K_M,
    Q4_K_M,
    Q4_0,
}

impl From<TypeChoice> for GgufType {
    fn from(choice: TypeChoice) -> Self {
        match choice {
            TypeChoice::F32 => Self::F32,
            TypeChoice::F16 => Self::F16,
            TypeChoice::BF16 => Self::Bf16,
            TypeChoice::Q8_0 => Self::Q8_0,
            TypeChoice::Q6_K => Self::Q6K,
            TypeChoice::Q5_K_M => Self::Q5KM,
            TypeChoice::Q4_K_M => Self::Q4KM,
            TypeChoice::Q4_0 => Self::Q4_0,
        }
    }
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { model, adapter, kind, adapter_only, output, modelfile, json } = args;
    for file in [Some(&output), modelfile.as_ref()].into_iter().flatten() {
        output_file::check(file, "the export", &[])?;
        refuse_existing(file)?;
    }
    let exported = Exported::open(model, adapter.as_deref())?;
    let name = exported.files.model().source.name.clone();
    let (written, what) = match kind {
        None if adapter_only => {
            let Some(adapter) = &exported.adapter else { bail!("--adapter-only: expected --adapter DIR") };
            let (config, weights) = (exported.files.config(), exported.files.weights());
            (export_adapter(&output, &name, config, weights, adapter)?, "adapter")
        }
        None => bail!("expected --type TYPE"),
        Some(kind) => {
            // Before the work of minutes: a template may have no other form.
            let text = modelfile.as_ref().map(|_| modelfile::text(&exported, &output)).transpose()?;
            let written = write_model(&exported, &name, &output, kind.into())?;
            if let Some((path, text)) = modelfile.as_ref().zip(text) {
                write_bytes_atomically(path, text.as_bytes())?;
            }
            (written, GgufType::from(kind).name())
        }
    };
    report(&written, what, &output, modelfile.as_deref(), json)?;
    Ok(ExitCode::SUCCESS)
}

fn write_model(exported: &Exported, name: &str, output: &Path, kind: GgufType) -> anyhow::Result<Written> {
    let tokenizer = gguf_tokenizer(&exported.files)?;
    let (config, weights) = (exported.files.config(), exported.files.weights());
    let model = GgufModel { name, config, weights, adapter: exported.adapter.as_ref(), tokenizer: &tokenizer };
    let mut progress: Option<(Progress, u64)> = None;
    let written = export_gguf(output, &model, kind, &mut |done, all| {
        let (bar, told) = progress.get_or_insert_with(|| (Progress::new((all >> 20) as usize, say!("MiB", "Mio")), 0));
        bar.done(((done >> 20) - *told) as usize);
        bar.tell();
        *told = done >> 20;
    });
    if let Some((bar, _)) = progress {
        bar.end();
    }
    Ok(written?)
}

fn report(written: &Written, what: &str, output: &Path, modelfile: Option<&Path>, json: bool) -> anyhow::Result<()> {
    let Written { formats, n_merged, n_bytes } = written;
    if json {
        let formats: Vec<Value> =
            formats.iter().map(|(name, tensors, bytes)| json!({"format": name, "tensors": tensors, "bytes": bytes})).collect();
        return terminal::print_json(&json!({
            "output": output.display().to_string(),
            "modelfile": modelfile.map(|path| path.display().to_string()),
            "type": what,
            "merged_matrices": n_merged,
            "bytes": n_bytes,
            "formats": formats,
        }));
    }
    let list: Vec<String> =
        formats.iter().map(|(name, tensors, bytes)| say!("{tensors} in {name} ({})", "{tensors} en {name} ({})", size(*bytes))).collect();
    let what = if what == "adapter" { say!("adapter", "adaptateur") } else { what.to_owned() };
    terminal::print_line(say!(
        "{}: {what}, {}, tensors: {}",
        "{} : {what}, {}, tenseurs : {}",
        output.display(),
        size(*n_bytes),
        list.join(", ")
    ))?;
    if *n_merged > 0 {
        terminal::print_line(say!(
            "{n_merged} matrices have the adapter's share in them",
            "{n_merged} matrices contiennent la part de l'adaptateur"
        ))?;
    }
    match modelfile {
        Some(path) => terminal::print_line(say!(
            "{}: for `ollama create NAME -f {}`",
            "{} : pour « ollama create NOM -f {} »",
            path.display(),
            path.display()
        )),
        None => Ok(()),
    }
}
