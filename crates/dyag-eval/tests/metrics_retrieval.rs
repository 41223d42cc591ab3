//! Scores of ranked lists beside those of trec_eval's own code (`tools/reference/make_retrieval_references.py`), also by way of files.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use dyag_eval::metrics::{Hit, Judgements, RankMetric, Ranking};
use dyag_eval::retrieval::run_file::{Qrels, Run, read_qrels, read_run, write_qrels, write_run};
use serde_json::Value;

#[derive(Debug, serde::Deserialize)]
struct Case {
    run: BTreeMap<String, f64>,
    judged: Judgements,
    expected: BTreeMap<String, f64>,
}

fn cases() -> Vec<Case> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/metrics/retrieval.json");
    let value: Value = serde_json::from_reader(File::open(path).expect("the fixture")).expect("JSON");
    serde_json::from_value(value).expect("cases")
}

fn check(hits: &[Hit], judged: &Judgements, expected: &BTreeMap<String, f64>) {
    let ranking = Ranking::of_hits(hits).expect("a ranking");
    let cut = [1, 3, 5, 10].into_iter();
    let metrics = cut.flat_map(|k| [RankMetric::Recall(k), RankMetric::Precision(k), RankMetric::Success(k), RankMetric::Ndcg(k)]);
    let metrics: Vec<RankMetric> = metrics.chain([RankMetric::ReciprocalRank, RankMetric::AveragePrecision]).collect();
    assert_eq!(metrics.len(), expected.len());
    for metric in metrics {
        let (found, wanted) = (metric.of(&ranking, judged), expected[&metric.name()]);
        assert!((found - wanted).abs() <= 1e-12, "{}: {found} against {wanted}: {hits:?} {judged:?}", metric.name());
    }
}

#[test]
fn every_score_is_that_of_trec_eval() {
    let cases = cases();
    assert!(cases.len() >= 60);
    // The references tell something: ties, hits, misses, in-betweens.
    let values = || cases.iter().flat_map(|case| case.expected.values());
    assert!(
        values().any(|value| *value == 0.0)
            && values().any(|value| *value == 1.0)
            && values().filter(|v| **v > 0.0 && **v < 1.0).count() > 200
    );
    for Case { run, judged, expected } in &cases {
        let hits: Vec<Hit> = run.iter().map(|(id, score)| Hit { id: id.clone(), score: *score }).collect();
        check(&hits, judged, expected);
    }
}

#[test]
fn files_lead_to_the_same_scores() {
    let cases = cases();
    let name = |number: usize| format!("q{number}");
    let hits = |case: &Case| case.run.iter().map(|(id, score)| Hit { id: id.clone(), score: *score }).collect();
    let run: Run = cases.iter().enumerate().map(|(number, case)| (name(number), hits(case))).collect();
    let qrels: Qrels = cases.iter().enumerate().map(|(number, case)| (name(number), case.judged.clone())).collect();
    let folder = tempfile::tempdir().expect("a folder");
    let (run_path, qrels_path) = (folder.path().join("a.run"), folder.path().join("a.qrels"));
    write_run(&run, "dyag", &mut File::create(&run_path).expect("a file")).expect("a run");
    write_qrels(&qrels, &mut File::create(&qrels_path).expect("a file")).expect("judgements");
    let (run, qrels) = (read_run(&run_path).expect("a run"), read_qrels(&qrels_path).expect("judgements"));
    for (number, case) in cases.iter().enumerate() {
        check(&run[&name(number)], &qrels[&name(number)], &case.expected);
    }
}
