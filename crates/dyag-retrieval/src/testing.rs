//! What tests of several stores share: passages, an encoder without weights, and a comparison of any store with the local one.

use std::cell::Cell;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use dyag_kernels::Precision;
use dyag_kernels::cpu_device::{CpuDevice, CpuOptions};
use dyag_text::chunk::Chunk;
use dyag_text::language_model::ModelFailure;
use dyag_text::{Embedder, TextRole};
use serde_json::json;

use crate::filter::Filter;
use crate::indexing::{IndexOptions, IndexReport};
use crate::local::LocalStore;
use crate::remote::RemotePlace;
use crate::retriever::{Ranking, Retriever, SearchOptions};
use crate::store::Store;

/// An encoder of a bag of words: each word a direction of its own, drawn from its letters. It counts the passages it was given.
pub(crate) struct Words {
    pub(crate) dimension: usize,
    pub(crate) signature: String,
    pub(crate) asked: Cell<usize>,
    /// A text that contains this gets a vector of zeros.
    pub(crate) zero_at: Option<&'static str>,
}

impl Words {
    pub(crate) fn new() -> Self {
        Self { dimension: 32, signature: "words".into(), asked: Cell::new(0), zero_at: None }
    }
}

impl Embedder for Words {
    fn name(&self) -> String {
        "words".into()
    }

    fn signature(&self) -> String {
        self.signature.clone()
    }

    fn dimension(&self) -> usize {
        self.dimension
    }

    fn embed(&self, texts: &[&str], role: TextRole) -> Result<Vec<Vec<f32>>, ModelFailure> {
        if role == TextRole::Document {
            self.asked.set(self.asked.get() + texts.len());
        }
        let vector = |text: &&str| {
            let mut vector = vec![0f32; self.dimension];
            if self.zero_at.is_some_and(|part| text.contains(part)) {
                return vector;
            }
            for word in text.split_whitespace() {
                let mut state = word.bytes().fold(17u64, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
                for value in &mut vector {
                    state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                    *value += (state >> 40) as f32 / (1 << 23) as f32 - 1.0;
                }
            }
            vector
        };
        Ok(texts.iter().map(vector).collect())
    }
}

pub(crate) fn chunk(id: &str, title: &str, content: &str) -> Chunk {
    let metadata = json!({ "length": content.len(), "name": title });
    let serde_json::Value::Object(metadata) = metadata else { unreachable!() };
    Chunk {
        id: id.into(),
        source_id: id.chars().take(1).collect(),
        title: title.into(),
        content: content.into(),
        metadata,
        chunk_type: "main".into(),
    }
}

pub(crate) fn some_chunks() -> Vec<Chunk> {
    vec![
        chunk("b1", "GIDAF", "Le statut de GIDAF est En production depuis 2021."),
        chunk("a1", "6Tzen", "Le contact de 6Tzen est tzen@exemple.fr, version v2.4.1."),
        chunk("a2", "6Tzen", "Les démarches des transports routiers sont dématérialisées."),
        chunk("c1", "OASIS", "Gestion des déchets et des éco-activités."),
    ]
}

pub(crate) fn device() -> Arc<CpuDevice> {
    Arc::new(
        CpuDevice::new(CpuOptions { precision: Precision::F32, threads: Some(2), level: None, int8_activations: false }).expect("threads"),
    )
}

/// Makes a collection of a server hold these passages.
pub(crate) fn index_at(
    place: &RemotePlace,
    name: &str,
    chunks: Vec<Chunk>,
    embedder: Option<&dyn Embedder>,
    options: &IndexOptions,
) -> IndexReport {
    let options = IndexOptions { created_at: "2026-01-01T00:00:00Z".into(), ..options.clone() };
    place.index(name, chunks, embedder, &options, &mut |_| ControlFlow::Continue(())).expect("indexed")
}

fn index_here(root: &Path, name: &str, chunks: Vec<Chunk>, embedder: Option<&dyn Embedder>, options: &IndexOptions) -> IndexReport {
    let options = IndexOptions { created_at: "2026-01-01T00:00:00Z".into(), ..options.clone() };
    crate::local::index(root, name, chunks, embedder, &options, &mut |_| ControlFlow::Continue(())).expect("indexed")
}

/// Passages of few words, so that scores are near each other and often equal.
fn many_chunks(n: usize, seed: u64) -> Vec<Chunk> {
    let words = [
        "lune",
        "soleil",
        "mer",
        "terre",
        "gidaf",
        "statut",
        "contact",
        "v2.4.1",
        "SI-0042",
        "réseau",
        "production",
        "2021",
        "carte",
        "zone",
    ];
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut draw = move |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) as usize) % below
    };
    (0..n)
        .map(|place| {
            let text: Vec<&str> = (0..1 + draw(25)).map(|_| words[draw(words.len())]).collect();
            let mut chunk = chunk(&format!("{}{place:03}", ["a", "B", "é", "_"][draw(4)]), words[draw(5)], &format!("{} le la les des", text.join(" ")));
            let metadata = json!({ "rang": place, "nom": words[draw(4)], "liste": [draw(3), "x"], "vide": null, "texte long": "é".repeat(draw(1500)), "part": f64::from(place as u32) / 8.0, "k'\"y": true });
            let serde_json::Value::Object(metadata) = metadata else { unreachable!() };
            chunk.metadata = metadata;
            chunk
        })
        .collect()
}

/// Takes a server's collection and a local one through the same states, and compares everything that can be asked of them.
pub(crate) fn same_as_local(place: &RemotePlace, name: &str) {
    let root = tempfile::tempdir().expect("a folder");
    let embedder = Words::new();
    let first = many_chunks(150, 3);
    let mut second = first[20..].to_vec();
    second[7].content.push_str(" une terre nouvelle");
    second[9].metadata.insert("rang".into(), json!(-5));
    let more = vec![chunk("zz-new", "lune", "un passage de plus sur la lune"), Chunk { id: "zz-copy".into(), ..first[30].clone() }];
    let add = IndexOptions { add: true, ..IndexOptions::default() };
    let rebuild = IndexOptions { rebuild: true, ..IndexOptions::default() };
    let english = (0..200).map(|n| chunk(&format!("en{n}"), "report", "this is the status of the network and of the sea")).collect();
    let plain = IndexOptions::default();
    let states: Vec<(Vec<Chunk>, bool, &IndexOptions)> = vec![
        (first.clone(), true, &plain),
        (first.clone(), true, &plain),
        (second, true, &plain),
        (more, true, &add),
        (english, true, &add),
        (first.clone(), true, &rebuild),
        (first.clone(), false, &plain),
        (first, true, &plain),
    ];
    for (step, (chunks, has_vectors, options)) in states.into_iter().enumerate() {
        let embedder = has_vectors.then_some(&embedder as &dyn Embedder);
        let (here, there) =
            (index_here(root.path(), name, chunks.clone(), embedder, options), index_at(place, name, chunks, embedder, options));
        // A folder may count generations that a server does not.
        let there = IndexReport {
            description: crate::Description { generation: here.description.generation, ..there.description.clone() },
            ..there
        };
        assert_eq!(here, there, "step {step}");
        let local: Box<dyn Store> = Box::new(LocalStore::open(root.path(), name, device()).expect("a store"));
        let remote = place.open(name).expect("a store");
        remote.verify().expect("as written");
        assert_eq!(local.all_chunks().expect("chunks"), remote.all_chunks().expect("chunks"), "step {step}");
        compare(&*local, &*remote, embedder, step);
    }
    assert_eq!(place.collections().expect("names"), [name]);
}

/// Compares answers.
fn compare(local: &dyn Store, remote: &dyn Store, embedder: Option<&dyn Embedder>, step: usize) {
    let filters: [&[&str]; 14] = [
        &[],
        &["nom=lune|mer"],
        &["nom!=lune"],
        &["rang<40"],
        &["rang>=10", "rang<=60", "nom!=mer"],
        &["part>2.5"],
        &["liste=1"],
        &["liste!=x"],
        &["vide!=1"],
        &["vide=null"],
        &["k'\"y=true"],
        &["source_id=é|_", "chunk_type=main"],
        &["nom<3"],
        &["absent=1"],
    ];
    let questions = [
        "lune et mer",
        "le statut de GIDAF",
        "contact v2.4.1",
        "SI-0042 production 2021",
        "gidaff et statutt",
        "status of the network",
        "zzz",
        "réseau",
        "le",
    ];
    let (here, there) =
        (Retriever::new(local, embedder, None).expect("a search"), Retriever::new(remote, embedder, None).expect("a search"));
    let rankings: &[Ranking] = if embedder.is_some() { &[Ranking::Lexical, Ranking::Vector, Ranking::Fused] } else { &[Ranking::Lexical] };
    for conditions in filters {
        let filter = Filter::parse(conditions).expect("a filter");
        for question in questions {
            for ranking in rankings {
                for k in [1, 10] {
                    let options =
                        SearchOptions { k, ranking: *ranking, filter: filter.clone(), candidates: 40, ..SearchOptions::default() };
                    let (a, b) = (here.search(question, &options).expect("found"), there.search(question, &options).expect("found"));
                    let ids = |found: &crate::Found| found.hits.iter().map(|hit| hit.chunk.id.clone()).collect::<Vec<_>>();
                    assert_eq!(ids(&a), ids(&b), "step {step}, {question:?}, {ranking:?}, {conditions:?}");
                    for (x, y) in a.hits.iter().zip(&b.hits) {
                        assert!((x.score - y.score).abs() <= 1e-4 * x.score.abs(), "step {step}, {question:?}: {} {}", x.score, y.score);
                        assert_eq!(x.chunk, y.chunk);
                        assert!(filter.passes(&y.chunk), "{conditions:?}");
                    }
                    assert_eq!((&a.corrections, &a.confidence.unknown_words), (&b.corrections, &b.confidence.unknown_words));
                    assert_eq!(
                        (a.confidence.verdict, a.confidence.coverage, a.confidence.cosine),
                        (b.confidence.verdict, b.confidence.coverage, b.confidence.cosine)
                    );
                }
            }
        }
    }
    for word in ["lunes", "solei", "soliel", "statuts", "productoin", "gidaff", "2022", "abc", "inconnu"] {
        assert_eq!(local.similar_words(word).expect("words"), remote.similar_words(word).expect("words"), "{word}");
    }
    assert!(remote.chunks(&["absent"]).is_err());
    let n = local.description().n_chunks;
    let all = SearchOptions { k: 2 * n, ranking: Ranking::Lexical, candidates: 1, ..SearchOptions::default() };
    let whole = |search: &Retriever<'_>| {
        search.search("lune statut", &all).expect("found").hits.into_iter().map(|hit| hit.chunk.id).collect::<Vec<_>>()
    };
    assert_eq!(whole(&here), whole(&there), "step {step}");
}
