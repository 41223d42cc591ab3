//! The lexical index of a generation: tantivy, one segment, passage `i` of the file is its document `i`.

use std::path::{Path, PathBuf};

use dyag_text::chunk::Chunk;
use rayon::prelude::*;
use tantivy::collector::TopDocs;
use tantivy::index::SegmentId;
use tantivy::indexer::NoMergePolicy;
use tantivy::postings::Postings as _;
use tantivy::query::{BooleanQuery, BoostQuery, ConstScoreQuery, FuzzyTermQuery, Occur, Query, TermQuery, TermSetQuery};
use tantivy::schema::{self, FAST, IndexRecordOption, Schema, TextFieldIndexing, TextOptions};
use tantivy::tokenizer::{PreTokenizedString, Token};
use tantivy::{DocId, DocSet as _, Index, IndexWriter, ReloadPolicy, Searcher, TERMINATED, TantivyDocument, Term};

use crate::analysis::{Analyzer, Field, Language, QueryTerm, Terms};
use crate::bm25::{self, Totals};
use crate::error::RetrievalError;
use crate::filter::{Comparison, Filter, properties};
use crate::indexing::{TIES, rounded};
use crate::similar;
use crate::store::LexicalQuery;

/// Field of what filters look at: `KEY`, a separator, the value.
const PROPERTY: &str = "property";
/// Between key and value. No key that a condition can name holds it.
const SEPARATOR: char = '\u{1f}';
/// Field of the passage's place in the file.
const ORDINAL: &str = "ordinal";
/// Passages of a commit, and so of a segment before all become one.
pub(super) const COMMIT: usize = 100_000;
/// Memory of the writer, in bytes.
const WRITER_BYTES: usize = 1 << 30;
/// By what share scores may differ that are the same sum in another order, or the same to the digits that are given.
const NEAR: f32 = 1e-3;
/// Longest value that can be filtered by, in bytes.
const LONGEST_PROPERTY: usize = 1_000;

struct Fields {
    terms: [schema::Field; 3],
    property: schema::Field,
    ordinal: schema::Field,
}

fn schema() -> (Schema, Fields) {
    let mut builder = Schema::builder();
    let indexed = |option: IndexRecordOption, norms: bool| {
        let indexing = TextFieldIndexing::default().set_tokenizer("raw").set_index_option(option).set_fieldnorms(norms);
        TextOptions::default().set_indexing_options(indexing)
    };
    let terms = Field::ALL.map(|field| builder.add_text_field(field.name(), indexed(IndexRecordOption::WithFreqs, true)));
    let property = builder.add_text_field(PROPERTY, indexed(IndexRecordOption::Basic, false));
    let ordinal = builder.add_u64_field(ORDINAL, FAST);
    (builder.build(), Fields { terms, property, ordinal })
}

fn failure(path: &Path) -> impl Fn(tantivy::TantivyError) -> RetrievalError + '_ {
    |error| RetrievalError::Lexical { path: path.to_owned(), problem: error.to_string() }
}

/// Writes the index of `chunks` to the new folder `path`, `commit` of them at a time; `each` hears how many are done, and may stop it.
pub(super) fn write(
    path: &Path,
    commit: usize,
    analyzer: &Analyzer,
    chunks: &[Chunk],
    of_chunk: &[Option<Language>],
    fallback: Language,
    each: &mut dyn FnMut(usize) -> Result<(), RetrievalError>,
) -> Result<(), RetrievalError> {
    std::fs::create_dir_all(path).map_err(|error| RetrievalError::write(path, error))?;
    let (schema, fields) = schema();
    let failed = failure(path);
    let index = Index::create_in_dir(path, schema).map_err(&failed)?;
    let mut writer: IndexWriter = index.writer_with_num_threads(1, WRITER_BYTES).map_err(&failed)?;
    writer.set_merge_policy(Box::new(NoMergePolicy));
    let mut done = 0;
    for (part, languages) in chunks.chunks(commit).zip(of_chunk.chunks(commit)) {
        for (block, languages) in part.chunks(4_096).zip(languages.chunks(4_096)) {
            let documents: Vec<TantivyDocument> = (block, languages)
                .into_par_iter()
                .enumerate()
                .map(|(place, (chunk, language))| document(&fields, done + place, chunk, analyzer, language.unwrap_or(fallback)))
                .collect();
            for document in documents {
                writer.add_document(document).map_err(&failed)?;
            }
            done += block.len();
            each(done)?;
        }
        writer.commit().map_err(&failed)?;
    }
    let segments = segments_in_order(&index).map_err(&failed)?;
    if segments.len() > 1 {
        writer.merge(&segments).wait().map_err(&failed)?;
        writer.garbage_collect_files().wait().map_err(&failed)?;
    }
    writer.wait_merging_threads().map_err(&failed)?;
    sync_folder(path)
}

/// Everything in a folder reaches the disk.
fn sync_folder(path: &Path) -> Result<(), RetrievalError> {
    for entry in std::fs::read_dir(path).map_err(|error| RetrievalError::read(path, error))? {
        let file = entry.map_err(|error| RetrievalError::read(path, error))?.path();
        super::files::sync(&file)?;
    }
    super::files::sync(path)
}

/// Segments by the place of their first passage: the order in which merging lays them end to end.
fn segments_in_order(index: &Index) -> tantivy::Result<Vec<SegmentId>> {
    let reader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()?;
    let searcher = reader.searcher();
    let mut segments = Vec::new();
    for segment in searcher.segment_readers() {
        let first = segment.fast_fields().u64(ORDINAL)?.min_value();
        segments.push((first, segment.segment_id()));
    }
    segments.sort_unstable();
    Ok(segments.into_iter().map(|(_, id)| id).collect())
}

fn document(fields: &Fields, ordinal: usize, chunk: &Chunk, analyzer: &Analyzer, language: Language) -> TantivyDocument {
    let terms: Terms = analyzer.passage(&chunk.title, &chunk.content, language);
    let mut document = TantivyDocument::default();
    for field in Field::ALL {
        let tokens = terms.of(field).iter().enumerate();
        let tokens =
            tokens.map(|(position, text)| Token { position, text: text.clone(), position_length: 1, ..Token::default() }).collect();
        document.add_pre_tokenized_text(fields.terms[field as usize], PreTokenizedString { text: String::new(), tokens });
    }
    for (key, value) in properties(chunk) {
        if key.len() + value.len() < LONGEST_PROPERTY && !key.contains(SEPARATOR) {
            document.add_text(fields.property, format!("{key}{SEPARATOR}{value}"));
        }
    }
    document.add_u64(fields.ordinal, ordinal as u64);
    document
}

/// An index that is open.
pub(super) struct Lexical {
    path: PathBuf,
    searcher: Searcher,
    fields: Fields,
    totals: Totals,
    /// [`Totals::norms`].
    norms: Vec<f32>,
}

impl Lexical {
    /// Opens the index of `n` passages in `path`.
    pub(super) fn open(path: &Path, n: usize) -> Result<Self, RetrievalError> {
        let failed = failure(path);
        let (expected, fields) = schema();
        let index = Index::open_in_dir(path).map_err(&failed)?;
        if index.schema() != expected {
            return Err(RetrievalError::damaged(path, "this version's fields", "others"));
        }
        let reader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into().map_err(&failed)?;
        let searcher = reader.searcher();
        let segments = searcher.segment_readers();
        if segments.len() != 1 || segments[0].max_doc() as usize != n || segments[0].num_docs() as usize != n {
            return Err(RetrievalError::damaged(
                path,
                format!("one segment of {n} passages"),
                format!("{} of {}", segments.len(), searcher.num_docs()),
            ));
        }
        let ordinals = segments[0].fast_fields().u64(ORDINAL).map_err(&failed)?;
        let in_order = [0, n / 2, n - 1].iter().all(|doc| ordinals.first(*doc as DocId) == Some(*doc as u64));
        if !in_order {
            return Err(RetrievalError::damaged(path, "passages in the order of their file", "another order"));
        }
        let mut totals = Totals { passages: n as u64, ..Totals::default() };
        for field in Field::ALL {
            let inverted = segments[0].inverted_index(fields.terms[field as usize]).map_err(&failed)?;
            totals.terms[field as usize] = inverted.total_num_tokens();
        }
        let norms = totals.norms();
        Ok(Self { path: path.to_owned(), searcher, fields, totals, norms })
    }

    fn failed(&self, error: impl std::fmt::Display) -> RetrievalError {
        RetrievalError::Lexical { path: self.path.clone(), problem: error.to_string() }
    }

    fn term(&self, field: Field, text: &str) -> Term {
        Term::from_field_text(self.fields.terms[field as usize], text)
    }

    /// Places and scores of the best `k`.
    pub(super) fn search(
        &self,
        LexicalQuery { terms }: &LexicalQuery,
        k: usize,
        filter: &Filter,
    ) -> Result<Vec<(usize, f32)>, RetrievalError> {
        if terms.is_empty() || k == 0 {
            return Ok(Vec::new());
        }
        let wanted = terms.iter().map(|QueryTerm { field, text, weight }| {
            let query = TermQuery::new(self.term(*field, text), IndexRecordOption::WithFreqs);
            (Occur::Should, Box::new(BoostQuery::new(Box::new(query), *weight)) as Box<dyn Query>)
        });
        let mut query: Box<dyn Query> = Box::new(BooleanQuery::new(wanted.collect()));
        if !filter.is_empty() {
            let mut all = vec![(Occur::Must, query)];
            for condition in &filter.conditions {
                let accepted = TermSetQuery::new(self.accepted(condition)?);
                let accepted: Box<dyn Query> = Box::new(ConstScoreQuery::new(Box::new(accepted), 0.0));
                all.push((if condition.comparison == Comparison::NoneOf { Occur::MustNot } else { Occur::Must }, accepted));
            }
            query = Box::new(BooleanQuery::new(all));
        }
        // A sum in single precision depends on the order of its terms, which a filter changes. So all that come near the last that is given are looked at, and their sums made anew.
        let all = self.searcher.num_docs() as usize;
        let mut limit = k.saturating_add(TIES).min(all);
        let found: Vec<DocId> = loop {
            let top = self.searcher.search(&query, &TopDocs::with_limit(limit).order_by_score()).map_err(|error| self.failed(error))?;
            let is_open = top.len() > k && top.last().is_some_and(|(last, _)| *last >= top[k - 1].0 * (1.0 - NEAR));
            if !is_open || top.len() < limit || limit == all {
                break top.into_iter().map(|(_, address)| address.doc_id).collect();
            }
            limit = limit.saturating_mul(4).min(all);
        };
        let mut top = self.scores(terms, found)?;
        top.sort_by(|(a, x), (b, y)| y.total_cmp(x).then(a.cmp(b)));
        top.truncate(k);
        Ok(top)
    }

    /// BM25 of some passages, summed in double precision and in the order of the terms: the same whatever else is asked for.
    fn scores(&self, terms: &[QueryTerm], mut docs: Vec<DocId>) -> Result<Vec<(usize, f32)>, RetrievalError> {
        docs.sort_unstable();
        let mut sums = vec![0.0f64; docs.len()];
        let segment = &self.searcher.segment_readers()[0];
        for QueryTerm { field, text, weight } in terms {
            let in_index = self.fields.terms[*field as usize];
            let inverted = segment.inverted_index(in_index).map_err(|error| self.failed(error))?;
            let term = self.term(*field, text);
            let Some(info) = inverted.get_term_info(&term).map_err(|error| self.failed(error))? else { continue };
            let mut postings =
                inverted.read_postings_from_terminfo(&info, IndexRecordOption::WithFreqs).map_err(|error| self.failed(error))?;
            let lengths = segment.get_fieldnorms_reader(in_index).map_err(|error| self.failed(error))?;
            let weight = self.totals.weight(u64::from(info.doc_freq), *weight);
            for (doc, sum) in docs.iter().zip(&mut sums) {
                if postings.doc() < *doc && postings.seek(*doc) == TERMINATED {
                    break;
                }
                if postings.doc() == *doc {
                    let norm = self.norms[*field as usize * 256 + usize::from(lengths.fieldnorm_id(*doc))];
                    *sum += f64::from(weight * bm25::saturation(postings.term_freq(), norm));
                }
            }
        }
        Ok(docs.into_iter().zip(sums).map(|(doc, sum)| (doc as usize, rounded(sum as f32))).collect())
    }

    /// The terms of properties that a condition accepts (or, for [`Comparison::NoneOf`], refuses).
    fn accepted(&self, condition: &crate::filter::Condition) -> Result<Vec<Term>, RetrievalError> {
        let prefix = format!("{}{SEPARATOR}", condition.key);
        let term = |value: &str| Term::from_field_text(self.fields.property, &format!("{prefix}{value}"));
        if matches!(condition.comparison, Comparison::OneOf | Comparison::NoneOf) {
            return Ok(condition.values.iter().map(|value| term(value)).collect());
        }
        let index = self.searcher.segment_readers()[0].inverted_index(self.fields.property).map_err(|error| self.failed(error))?;
        let end = format!("{}{}", condition.key, char::from(SEPARATOR as u8 + 1));
        let mut values =
            index.terms().range().ge(prefix.as_bytes()).lt(end.as_bytes()).into_stream().map_err(|error| self.failed(error))?;
        let mut accepted = Vec::new();
        while values.advance() {
            let value = std::str::from_utf8(values.key()).ok().and_then(|text| text.strip_prefix(&prefix));
            accepted.extend(value.filter(|value| condition.accepts(value)).map(&term));
        }
        Ok(accepted)
    }

    /// For each passage, whether it passes the filter; none where all do.
    pub(super) fn passing(&self, filter: &Filter) -> Result<Option<Vec<bool>>, RetrievalError> {
        if filter.is_empty() {
            return Ok(None);
        }
        let segment = &self.searcher.segment_readers()[0];
        let index = segment.inverted_index(self.fields.property).map_err(|error| self.failed(error))?;
        let mut passing = vec![true; segment.max_doc() as usize];
        for condition in &filter.conditions {
            let mut has = vec![false; passing.len()];
            for term in self.accepted(condition)? {
                let postings = index.read_postings(&term, IndexRecordOption::Basic).map_err(|error| self.failed(error))?;
                let Some(mut postings) = postings else { continue };
                while postings.doc() != TERMINATED {
                    has[postings.doc() as usize] = true;
                    postings.advance();
                }
            }
            let wanted = condition.comparison != Comparison::NoneOf;
            passing.iter_mut().zip(&has).for_each(|(passes, has)| *passes &= *has == wanted);
        }
        Ok(Some(passing))
    }

    /// In how many passages a term stands.
    pub(super) fn document_frequency(&self, term: &QueryTerm) -> Result<u64, RetrievalError> {
        self.searcher.doc_freq(&self.term(term.field, &term.text)).map_err(|error| self.failed(error))
    }

    /// Words of the index that `word` may mean, by the rule of [`similar`](crate::similar).
    pub(super) fn similar_words(&self, word: &str) -> Result<Vec<String>, RetrievalError> {
        let field = self.fields.terms[Field::Word as usize];
        let index = self.searcher.segment_readers()[0].inverted_index(field).map_err(|error| self.failed(error))?;
        for distance in 1..=similar::furthest(word) {
            let query = FuzzyTermQuery::new(Term::from_field_text(field, word), distance, true);
            let automaton = query.automaton().map_err(|error| self.failed(error))?;
            let mut stream = index.terms().search(automaton).into_stream().map_err(|error| self.failed(error))?;
            let mut found = Vec::new();
            while stream.advance() {
                let Ok(text) = std::str::from_utf8(stream.key()) else { continue };
                if similar::may_mean(text, word) {
                    found.push((u64::from(stream.value().doc_freq), text.to_owned()));
                }
            }
            if !found.is_empty() {
                return Ok(similar::likeliest(found));
            }
        }
        Ok(Vec::new())
    }
}
