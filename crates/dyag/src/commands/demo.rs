//! `dyag demo`: the whole way, from documents to a comparison of four ways of answering, on a catalogue of invented applications or on documents of one's own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context as _, bail};
use dyag_model::files::write_bytes_atomically;

use crate::embedded;
use crate::language::{Language, say};
use crate::settings::NO_FILES;
use crate::terminal;

/// The catalogues that the program holds (tools/catalogue/make_catalogue.py, ten applications, seeds 201 to 203).
const CATALOGUES: [&str; 3] = [
    include_str!("../../assets/demo/catalogue-1.md"),
    include_str!("../../assets/demo/catalogue-2.md"),
    include_str!("../../assets/demo/catalogue-3.md"),
];
/// Says that a folder is a demonstration's, and may be made again.
const MARKER: &str = "dyag-demo.txt";

/// Arguments as typed.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The model that learns and answers: a folder, a GGUF file, or a name that `dyag models` knows
    #[arg(long, value_name = "PATH", default_value = embedded::NAME)]
    base_model: String,

    /// Which of three catalogues of invented applications
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=3))]
    catalogue: u8,

    /// Documents of your own in place of a catalogue: files, or folders of them, as `dyag chunk` takes
    #[arg(long, value_name = "PATH", num_args = 1.., conflicts_with = "catalogue")]
    documents: Vec<PathBuf>,

    /// Folder for everything that is made
    #[arg(long, value_name = "DIR", default_value = "dyag-demo")]
    output: PathBuf,

    /// Questions and answers that are made of the documents; a tenth of them is kept for the evaluation [default: 800 for dyag-tiny, 400 for another model]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(20..))]
    count: Option<u32>,

    /// Passes over the training set [default: 11 of dyag-tiny, 5 of another model]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    epochs: Option<u32>,

    /// Passages that are shown to the model [default: 1 to dyag-tiny, 2 to another model]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=20))]
    n_chunks: Option<u16>,

    /// Longest passage that is shown, in characters
    #[arg(long, value_name = "N", default_value_t = 800, value_parser = clap::value_parser!(u32).range(50..))]
    max_passage_chars: u32,

    /// Threads to compute with; all processors when absent
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
}

/// How much a model is taught, and how.
struct Teaching {
    /// Questions and answers.
    count: u32,
    epochs: u32,
    learning_rate: &'static str,
    /// Passages of a prompt.
    n_chunks: u16,
}

/// A model that learned language from much text.
const OF_A_MODEL: Teaching = Teaching { count: 400, epochs: 5, learning_rate: "5e-4", n_chunks: 2 };
/// The small model that the program holds: it needs to be told more often, and in more words, and is quickly told.
const OF_THE_SMALL_ONE: Teaching = Teaching { count: 800, epochs: 11, learning_rate: "3e-3", n_chunks: 1 };

/// A command of this program, and what it is for.
struct Step {
    title: String,
    arguments: Vec<String>,
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let output = args.output.clone();
    apart(&args.documents, &output)?;
    prepare(&output)?;
    let documents = if args.documents.is_empty() {
        let catalogue = output.join("catalogue.md");
        write_bytes_atomically(&catalogue, CATALOGUES[usize::from(args.catalogue) - 1].as_bytes())?;
        terminal::print_line(say!(
            "The documents: {}, a catalogue of ten applications that do not exist.",
            "Les documents : {}, un catalogue de dix applications qui n'existent pas.",
            catalogue.display()
        ))?;
        vec![catalogue]
    } else {
        if args.base_model == embedded::NAME {
            terminal::note(say!(
                "note: {} was made for short entries like those of the built-in catalogues and knows little language; for documents of your own name a real model (--base-model qwen2.5:0.5b; dyag models list)",
                "note : {} est fait pour des entrées courtes comme celles des catalogues fournis et connaît peu la langue ; pour vos propres documents, nommer un vrai modèle (--base-model qwen2.5:0.5b ; « dyag models list »)",
                embedded::NAME
            ));
        }
        args.documents.clone()
    };
    let steps = steps(&args, &documents);
    let start = Instant::now();
    for (number, Step { title, arguments }) in steps.iter().enumerate() {
        terminal::print_line(format!("\n{}/{}  {title}\n$ dyag {}", number + 1, steps.len(), shown(arguments)))?;
        run_step(arguments)?;
        if arguments[0] == "generate-training" && !asks_something(&output) {
            bail!(
                "the demonstration ends here: too few facts were found in the documents to test anything; expected labelled lines, tables and headings, in several documents or entries (docs/datasets.md says what is looked for)"
            );
        }
    }
    let seconds = start.elapsed().as_secs();
    terminal::print_line(say!(
        "\nAll of this took {} min {:02} s. The report, to be opened in a browser: {}\nAsk it yourself:\n$ dyag ask --mode hybrid --model {} --store {} --collection demo",
        "\nTout cela a pris {} min {:02} s. Le rapport, à ouvrir dans un navigateur : {}\nPour poser vos propres questions :\n$ dyag ask --mode hybrid --model {} --store {} --collection demo",
        seconds / 60,
        seconds % 60,
        output.join("comparison/comparison.html").display(),
        quoted(&output.join("adapter/final").display().to_string()),
        quoted(&output.join("index").display().to_string()),
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// Refuses documents that are not there, and those that lie in the folder that is emptied, or have it among them.
fn apart(documents: &[PathBuf], output: &Path) -> anyhow::Result<()> {
    let whole = |path: &Path| std::path::absolute(path).map(|path| fs::canonicalize(&path).unwrap_or(path));
    let made = whole(output).with_context(|| format!("--output {}", output.display()))?;
    for path in documents {
        let found = fs::canonicalize(path).with_context(|| format!("--documents {}: expected a file or a folder", path.display()))?;
        if found.starts_with(&made) || made.starts_with(&found) {
            bail!(
                "--output {}: expected a folder apart from --documents {}, since it is emptied first; name another",
                output.display(),
                path.display()
            );
        }
    }
    Ok(())
}

/// The folder, empty: what an earlier demonstration left is removed, anything else is not touched.
fn prepare(output: &Path) -> anyhow::Result<()> {
    let is_empty = match fs::read_dir(output) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => true,
        Err(error) => return Err(error).with_context(|| format!("cannot read --output {}", output.display())),
    };
    if !is_empty {
        if !output.join(MARKER).is_file() {
            bail!(
                "--output {}: expected an empty folder or one that a demonstration left, found other files; name another folder",
                output.display()
            );
        }
        fs::remove_dir_all(output).with_context(|| format!("cannot remove the demonstration before, {}", output.display()))?;
    }
    fs::create_dir_all(output).with_context(|| format!("cannot make the folder {}", output.display()))?;
    write_bytes_atomically(&output.join(MARKER), b"Made by `dyag demo`, which removes this folder when it runs again.\n")?;
    Ok(())
}

/// The way, command by command.
fn steps(args: &Args, documents: &[PathBuf]) -> Vec<Step> {
    let Args { base_model, catalogue: _, documents: _, output, count, epochs, n_chunks, max_passage_chars, threads } = args;
    let path = |name: &str| output.join(name).display().to_string();
    let words = |words: &[&str]| -> Vec<String> { words.iter().map(|word| (*word).to_owned()).collect() };
    let teaching = if base_model == embedded::NAME { OF_THE_SMALL_ONE } else { OF_A_MODEL };
    let (count, epochs) = (count.unwrap_or(teaching.count).to_string(), epochs.unwrap_or(teaching.epochs).to_string());
    let (n_chunks, max_passage_chars) = (n_chunks.unwrap_or(teaching.n_chunks).to_string(), max_passage_chars.to_string());
    let threads: Vec<String> = threads.map(|n| vec!["--threads".to_owned(), n.to_string()]).unwrap_or_default();
    let index = path("index");
    let search = ["--store", &index, "--collection", "demo", "--n-chunks", &n_chunks, "--max-passage-chars", &max_passage_chars];
    let adapter = path("adapter/final");
    let test = path("questions_test.jsonl");
    let answers = ["--max-tokens", "64", "--no-perplexity", "--temperature", "0"];
    let (base, tuned) = (["--base-model", base_model.as_str()], ["--model", adapter.as_str()]);
    let arm = |name: &str, model: &[&str], with_passages: bool| {
        let command = if with_passages { "evaluate-rag" } else { "evaluate-finetuned" };
        let file = path(&format!("{name}.json"));
        let mut arguments = words(&[command, &test]);
        arguments.extend(words(model));
        if with_passages {
            arguments.extend(words(&search));
        }
        arguments.extend(words(&answers));
        arguments.extend(words(&["--output", &file]));
        arguments.extend(threads.clone());
        arguments
    };
    let result = |name: &str| format!("{name}={}", path(&format!("{name}.json")));
    let (questions, learned, chunks) = (path("questions.jsonl"), path("questions_train.jsonl"), path("chunks.jsonl"));
    let with_threads = |mut arguments: Vec<String>| {
        arguments.extend(threads.clone());
        arguments
    };
    vec![
        Step {
            title: say!("Cut the documents into passages", "Découper les documents en passages"),
            arguments: [
                words(&["chunk"]),
                documents.iter().map(|path| path.display().to_string()).collect(),
                words(&["--output", &chunks]),
            ]
            .concat(),
        },
        Step {
            title: say!(
                "Make questions and answers of them; what is kept for the test is asked in other words",
                "En tirer des questions et des réponses ; ce qui est gardé pour l'épreuve est demandé en d'autres mots"
            ),
            arguments: words(&[
                "generate-training",
                &chunks,
                "--output",
                &questions,
                "--method",
                "augmented",
                "--count",
                &count,
                "--split",
                "--max-answer-chars",
                "160",
            ]),
        },
        Step {
            title: say!("Make the passages searchable, by their words", "Indexer les passages, par leurs mots"),
            arguments: words(&["index-rag", &chunks, "--store", &index, "--collection", "demo", "--embedding-model", "none"]),
        },
        Step {
            title: say!("Fine-tune the model on the examples", "Affiner le modèle sur les exemples"),
            arguments: with_threads(words(&[
                "finetune",
                "--base-model",
                base_model,
                "--dataset",
                &learned,
                "--output",
                &path("adapter"),
                "--epochs",
                &epochs,
                "--accumulation",
                "1",
                "--learning-rate",
                teaching.learning_rate,
                "--save-total-limit",
                "1",
            ])),
        },
        Step { title: say!("Ask the model as it was", "Interroger le modèle tel quel"), arguments: arm("base", &base, false) },
        Step { title: say!("Ask it with passages (RAG)", "L'interroger avec des passages (RAG)"), arguments: arm("rag", &base, true) },
        Step { title: say!("Ask the fine-tuned model", "Interroger le modèle affiné"), arguments: arm("finetuned", &tuned, false) },
        Step {
            title: say!("Ask the fine-tuned model with passages (hybrid)", "Interroger le modèle affiné avec des passages (hybride)"),
            arguments: arm("hybrid", &tuned, true),
        },
        Step {
            title: say!("Compare", "Comparer"),
            arguments: words(&[
                "compare-models",
                "--results",
                &result("base"),
                "--results",
                &result("rag"),
                "--results",
                &result("finetuned"),
                "--results",
                &result("hybrid"),
                "--training-set",
                &format!("finetuned={learned}"),
                "--training-set",
                &format!("hybrid={learned}"),
                "--format",
                "all",
                "--output",
                &path("comparison"),
            ]),
        },
    ]
}

/// Whether there is a question to test with.
fn asks_something(output: &Path) -> bool {
    fs::metadata(output.join("questions_test.jsonl")).is_ok_and(|file| file.len() > 0)
}

/// Runs a command of this very program; what it prints goes where this prints.
fn run_step(arguments: &[String]) -> anyhow::Result<()> {
    let program = std::env::current_exe().context("cannot tell where this program is")?;
    let start = Instant::now();
    let language = match Language::spoken() {
        Language::English => "en",
        Language::French => "fr",
    };
    let mut command = Command::new(program);
    // The steps are what is shown, whatever the files of settings of whoever looks.
    command.args(arguments).args(["--lang", language]).env(NO_FILES.0, NO_FILES.1);
    if terminal::is_quiet() {
        command.arg("--quiet");
    }
    let status = command.status().with_context(|| format!("cannot start dyag {}", shown(arguments)))?;
    if !status.success() {
        bail!("the demonstration ends here: `dyag {}` ended with {status}; its message is above", shown(arguments));
    }
    terminal::note(format!("({:.1} s)", start.elapsed().as_secs_f64()));
    Ok(())
}

/// A command line as a shell takes it.
fn shown(arguments: &[String]) -> String {
    arguments.iter().map(|argument| quoted(argument)).collect::<Vec<_>>().join(" ")
}

fn quoted(argument: &str) -> String {
    let is_plain = !argument.is_empty() && argument.chars().all(|c| c.is_ascii_alphanumeric() || "-_./=:,@+".contains(c));
    if is_plain { argument.to_owned() } else { format!("'{}'", argument.replace('\'', r"'\''")) }
}
