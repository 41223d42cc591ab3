//! `dyag merge-lora`: an adapter and its base as one model, in a Hugging Face folder.

mod companions;
mod compare;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use clap::ValueEnum;
use dyag_model::export::{FolderOptions, Written, export_weights};
use dyag_model::weights::Dtype;
use dyag_train::folder::NewFolder;
use serde_json::json;

use crate::exported::{Exported, refuse_existing, size};
use crate::language::say;
use crate::progress::Progress;
use crate::terminal;
use compare::Comparison;

/// Arguments as typed.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder of the adapter, as `dyag finetune` (`OUT/final`) or PEFT wrote it
    #[arg(value_name = "ADAPTER")]
    adapter: PathBuf,

    /// Base model: a folder or a GGUF file, which is widened; when absent, the one that the adapter's manifest names
    #[arg(long, value_name = "PATH")]
    base_model: Option<String>,

    /// Folder to write
    #[arg(long, value_name = "DIR")]
    output: PathBuf,

    /// Type of the merged weights: sums are made in higher precision and rounded at the end
    #[arg(long, value_enum, value_name = "TYPE", default_value_t = DtypeChoice::Bf16)]
    dtype: DtypeChoice,

    /// Most bytes of one file of weights, such as 500MB or 5GB
    #[arg(long, value_name = "SIZE", default_value = "5GB", value_parser = parse_size)]
    shard_size: u64,

    /// Compare the merged model with base and adapter on this text: mean KL divergence, both perplexities
    #[arg(long, value_name = "FILE")]
    text: Option<PathBuf>,

    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Types as typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum DtypeChoice {
    Bf16,
    F16,
    F32,
}

impl From<DtypeChoice> for Dtype {
    fn from(choice: DtypeChoice) -> Self {
        match choice {
            DtypeChoice::Bf16 => Self::Bf16,
            DtypeChoice::F16 => Self::F16,
            DtypeChoice::F32 => Self::F32,
        }
    }
}

/// A size with a unit of 1000 bytes to its powers.
fn parse_size(text: &str) -> Result<u64, String> {
    let upper = text.trim().to_uppercase();
    let units = [("KB", 1_000), ("MB", 1_000_000), ("GB", 1_000_000_000), ("TB", 1_000_000_000_000), ("", 1)];
    let (digits, unit) =
        units.into_iter().find_map(|(name, unit)| Some((upper.strip_suffix(name)?.trim_end().to_owned(), unit))).expect("the last fits");
    let bytes = digits.parse::<u64>().ok().and_then(|n| n.checked_mul(unit)).filter(|bytes| *bytes > 0);
    bytes.ok_or_else(|| "expected a whole number above 0 with KB, MB, GB or TB".to_owned())
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { adapter, base_model, output, dtype, shard_size, text, json } = args;
    refuse_existing(&output)?;
    let text = text.map(|path| compare::read(&path)).transpose()?;
    let exported = Exported::open(base_model, Some(&adapter))?;
    let Some(pairs) = &exported.adapter else { bail!("expected an adapter") };
    let options = FolderOptions { dtype: dtype.into(), shard_bytes: shard_size };
    let folder = NewFolder::create(&output)?;
    companions::write(&folder, &exported.files, options.dtype)?;
    let written = {
        let (config, weights) = (exported.files.config(), exported.files.weights());
        let mut progress: Option<(Progress, u64)> = None;
        let written = export_weights(folder.path(), config, weights, Some(pairs), options, &mut |done, all| {
            let (bar, told) = progress.get_or_insert_with(|| (Progress::new((all >> 20) as usize, say!("MiB", "Mio")), 0));
            bar.done(((done >> 20) - *told) as usize);
            bar.tell();
            *told = done >> 20;
        });
        if let Some((bar, _)) = progress {
            bar.end();
        }
        written?
    };
    let comparison = text.map(|text| compare::run(&exported, pairs, folder.path(), &text)).transpose()?;
    folder.publish()?;
    report(&written, comparison.as_ref(), &output, json)?;
    Ok(ExitCode::SUCCESS)
}

fn report(written: &Written, comparison: Option<&Comparison>, output: &std::path::Path, json: bool) -> anyhow::Result<()> {
    let Written { formats, n_merged, n_bytes } = written;
    let dtype = formats.first().map_or("", |row| row.0);
    if json {
        return terminal::print_json(&json!({
            "output": output.display().to_string(),
            "dtype": dtype,
            "merged_matrices": n_merged,
            "bytes": n_bytes,
            "comparison": comparison,
        }));
    }
    terminal::print_line(say!(
        "{}: {}, {dtype}, {n_merged} matrices merged",
        "{} : {}, {dtype}, {n_merged} matrices fondues",
        output.display(),
        size(*n_bytes)
    ))?;
    let Some(Comparison { tokens, mean_kl_nats, largest_kl_nats, perplexity_unmerged, perplexity_merged, same_likeliest }) = comparison
    else {
        return Ok(());
    };
    terminal::print_line(say!(
        "over {tokens} tokens: mean KL divergence {mean_kl_nats:.3e} nats (largest {largest_kl_nats:.3e}), \
         perplexity {perplexity_unmerged:.4} with the adapter beside its base, {perplexity_merged:.4} merged; \
         the same token likeliest in {:.2} % of places",
        "sur {tokens} jetons : divergence KL moyenne {mean_kl_nats:.3e} nats (maximum {largest_kl_nats:.3e}), \
         perplexité {perplexity_unmerged:.4} avec l'adaptateur à côté de sa base, {perplexity_merged:.4} une fois fondu ; \
         le même jeton est le plus probable dans {:.2} % des positions",
        100.0 * same_likeliest
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!(["5GB", "500 mb", "12", "1kb"].map(parse_size), [Ok(5_000_000_000), Ok(500_000_000), Ok(12), Ok(1000)]);
        for wrong in ["", "GB", "-1GB", "1.5GB", "0", "99999999999TB"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }
}
