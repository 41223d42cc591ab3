//! Why results cannot be compared.

/// Results that cannot be compared.
#[derive(Debug, thiserror::Error)]
pub enum ComparisonError {
    /// One or none.
    #[error("expected the results of two ways of answering or more, found {n}")]
    TooFew {
        /// How many there are.
        n: usize,
    },
    /// Two of one name.
    #[error("two files of results are called \"{name}\": expected a name of its own for each")]
    SameName {
        /// The name.
        name: String,
    },
    /// A file that holds nothing.
    #[error("{name}: expected rows in `results`, or figures in `metrics`, found neither: nothing was evaluated")]
    Empty {
        /// Whose results they are.
        name: String,
    },
    /// A number that is none, in results that no file can have held.
    #[error("{name}: {key}: expected a finite number, found one that is not")]
    NotFinite {
        /// Whose results they are.
        name: String,
        /// The key.
        key: String,
    },
    /// An option out of its range.
    #[error("{name}: expected a share between 0 and 1, found {value}")]
    Share {
        /// What it is.
        name: &'static str,
        /// Its value.
        value: f64,
    },
    /// Files about different questions.
    #[error(
        "the files are about different questions: {n_compared} of {n_questions} are in all of them, so {:.1} % are not, and at most {:.1} % may be missing: {examples}; \
         compare evaluations of one set, or allow a larger share to compare the questions that they have in common",
        100.0 * share, 100.0 * max_mismatch
    )]
    Mismatch {
        /// Questions that every file has.
        n_compared: usize,
        /// Questions of the longest file.
        n_questions: usize,
        /// The share that is not compared.
        share: f64,
        /// The share allowed.
        max_mismatch: f64,
        /// Some of them.
        examples: String,
    },
    /// Not one question in common.
    #[error("the files have no question in common, by id or by text: {examples}")]
    NothingShared {
        /// Some questions.
        examples: String,
    },
    /// A metric that was asked for and is not there.
    #[error("{metric}: expected a metric that the rows of two files have, found {found}")]
    UnknownMetric {
        /// The metric.
        metric: String,
        /// The metrics of each file.
        found: String,
    },
    /// A judge that cannot be asked any further.
    #[error("the judge: {0}")]
    Judge(dyag_text::language_model::ModelFailure),
    /// A judge that was not asked any further.
    #[error(
        "interrupted after {done} of {n} questions; with --llm-cache or --output the judge's words so far are kept, and the same command goes on from there"
    )]
    JudgeStopped {
        /// Questions done.
        done: usize,
        /// All of them.
        n: usize,
    },
}
