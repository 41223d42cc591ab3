//! How often a difference is called where there is none, and where there is one of 25 points: 79 questions in ten unequal documents.

use super::clustered::{Clusters, MeanDifference};
use super::distributions::t_quantile;
use super::random::Random;

/// 79 questions about ten documents.
const SIZES: [usize; 10] = [3, 4, 5, 6, 7, 8, 8, 9, 12, 17];

/// A world in which two ways are right with given chances. What makes an answer right is a sum of normal variables: how hard the question
/// is (shared by both ways), how well each way knows the document (`document_deviation`), and chance. Documents thus differ in how far
/// one way is ahead, which is what makes the questions about one document resemble each other.
struct World {
    first: f64,
    second: f64,
    document_deviation: f64,
}

fn normal(random: &mut Random) -> f64 {
    let uniform = |random: &mut Random| (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
    let radius = (-2.0 * (1.0 - uniform(random)).ln()).sqrt();
    radius * (std::f64::consts::TAU * uniform(random)).cos()
}

impl World {
    fn differences(&self, sizes: &[usize], random: &mut Random) -> Vec<f64> {
        let total = (2.0 + self.document_deviation * self.document_deviation).sqrt();
        // A t variable with so many degrees of freedom is normal.
        let limit = |chance: f64| t_quantile(chance, 1e6) * total;
        let (first, second) = (limit(self.first), limit(self.second));
        let mut differences = Vec::with_capacity(sizes.iter().sum());
        for size in sizes {
            let knows = [normal(random), normal(random)].map(|z| z * self.document_deviation);
            for _ in 0..*size {
                let hard = normal(random);
                let right = |limit: f64, knows: f64, random: &mut Random| f64::from(u8::from(hard + knows + normal(random) < limit));
                differences.push(right(second, knows[1], random) - right(first, knows[0], random));
            }
        }
        differences
    }

    /// The share of `n_runs` sets of documents with so many questions each in which the two are called different, in percent.
    fn called_percent(&self, sizes: &[usize], n_runs: usize, seed: u64) -> f64 {
        let clusters = Clusters::new(sizes.iter().enumerate().flat_map(|(document, size)| std::iter::repeat_n(document, *size)));
        let mut random = Random::new(seed);
        let is_called = |_: &usize| MeanDifference::new(&self.differences(sizes, &mut random), &clusters, 0.95).p_value < 0.05;
        100.0 * (0..n_runs).filter(is_called).count() as f64 / n_runs as f64
    }
}

#[test]
fn documents_few_and_unequal_do_not_make_differences() {
    let none = World { first: 0.6, second: 0.6, document_deviation: 0.3 }.called_percent(&SIZES, 2_000, 11);
    let some = World { first: 0.5, second: 0.75, document_deviation: 0.3 }.called_percent(&SIZES, 2_000, 12);
    assert!(none <= 5.7, "{none} % called different where nothing differs");
    assert!(some >= 80.0, "{some} % called different where 25 points do");
}

#[test]
#[ignore = "takes longer; prints a table with --nocapture"]
#[allow(clippy::print_stdout, reason = "the table is what it is for")]
fn ten_thousand_sets_each() {
    for (first, second) in [(0.6, 0.6), (0.9, 0.9), (0.5, 0.75), (0.6, 0.85)] {
        for document_deviation in [0.0, 0.3, 0.6, 1.0] {
            let called = World { first, second, document_deviation }.called_percent(&SIZES, 10_000, 13);
            println!("{first} against {second}, documents {document_deviation}: {called:.2} % called different");
            assert!(first != second || called <= 5.7, "{called} % where nothing differs");
            assert!(first == second || document_deviation > 0.3 || called >= 80.0, "{called} % where 25 points differ");
        }
    }
}

#[test]
#[ignore = "takes longer; prints a table with --nocapture"]
#[allow(clippy::print_stdout, reason = "the table is what it is for")]
fn other_numbers_of_documents_make_no_differences_either() {
    let alone = [1; 79];
    let shapes: [&[usize]; 8] =
        [&[5, 8], &[4, 6, 9], &[3, 5, 8, 12], &[4, 4, 6, 9, 20], &[60, 2, 2, 2, 2], &[1, 1, 1, 1, 1, 20], &[2; 10], &alone];
    for sizes in shapes {
        for (right, document_deviation) in [(0.6, 0.3), (0.9, 0.3), (0.6, 1.0)] {
            let called = World { first: right, second: right, document_deviation }.called_percent(sizes, 10_000, 14);
            assert!(called <= 6.5, "{called} % with {sizes:?}");
            println!(
                "{} documents of up to {} questions, both {right}, documents {document_deviation}: {called:.2} %",
                sizes.len(),
                sizes.iter().max().unwrap_or(&0)
            );
        }
    }
}
