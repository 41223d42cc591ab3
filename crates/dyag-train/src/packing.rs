//! Lays examples end to end for the decoder, without padding, computing what they begin with in common once.

use std::collections::BTreeMap;
use std::ops::Range;

use dyag_kernels::device::AttentionSpan;
use dyag_model::decoder::{Pack, Target};
use dyag_text::Example;

/// One example as training sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sequence {
    ids: Vec<u32>,
    trained: Vec<bool>,
    n_rows: usize,
}

impl Sequence {
    /// An example of `ids`; `trained[i]` says that token `i` is learned (from those before it, so the first never is).
    ///
    /// # Panics
    /// If the two lengths differ.
    pub fn new(ids: Vec<u32>, trained: Vec<bool>) -> Self {
        assert_eq!(ids.len(), trained.len(), "a mark for each token");
        let n_rows = trained.iter().rposition(|t| *t).unwrap_or(0);
        Self { ids, trained, n_rows }
    }

    /// Its tokens.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Tokens in all.
    pub fn n_tokens(&self) -> usize {
        self.ids.len()
    }

    /// Tokens that are learned.
    pub fn n_trained(&self) -> usize {
        self.trained.iter().skip(1).filter(|t| **t).count()
    }

    /// Tokens that must go through the decoder: those before the last learned one. Nothing learned depends on the others.
    pub fn n_rows(&self) -> usize {
        self.n_rows
    }

    fn computed(&self) -> &[u32] {
        &self.ids[..self.n_rows]
    }
}

impl From<&Example> for Sequence {
    fn from(example: &Example) -> Self {
        Self::new(example.ids.clone(), example.loss_mask.clone())
    }
}

/// How packs are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackOptions {
    /// Most tokens of a pack. An example that is longer gets a pack of its own.
    pub max_tokens: usize,
    /// Whether examples that begin with the same tokens share them.
    pub share_prefixes: bool,
    /// [`Pack::rope_length`] of every pack.
    pub rope_length: usize,
}

/// Shorter common beginnings are not worth a span of their own.
const MIN_SHARED_TOKENS: usize = 8;
/// Bounds the search for groups, which looks back this far.
const MAX_GROUP: usize = 256;

/// Packs `sequences`. The targets of all packs together are the learned tokens of all sequences, each seeing just what comes before it in its
/// own sequence; those with the same past and the same token are one target with their number as weight.
pub fn pack(sequences: &[&Sequence], options: PackOptions) -> Vec<Pack> {
    let PackOptions { max_tokens, share_prefixes, rope_length } = options;
    let min_shared = if share_prefixes { MIN_SHARED_TOKENS } else { usize::MAX };
    let mut packs = pack_sharing(sequences, max_tokens, min_shared);
    packs.iter_mut().for_each(|pack| pack.rope_length = rope_length);
    packs
}

/// Members that share their first `prefix` tokens.
#[derive(Debug)]
struct Group<'a> {
    prefix: usize,
    members: Vec<&'a Sequence>,
}

fn pack_sharing(sequences: &[&Sequence], max_tokens: usize, min_shared: usize) -> Vec<Pack> {
    let mut usable: Vec<&Sequence> = sequences.iter().copied().filter(|s| s.n_rows > 0).collect();
    if min_shared < usize::MAX {
        // Neighbours in this order are those with the longest common beginnings.
        usable.sort_by(|a, b| a.computed().cmp(b.computed()));
    }
    assign(&group(&usable, min_shared), max_tokens).iter().map(|members| build(&group(members, min_shared))).collect()
}

/// Divides neighbours into groups so that the fewest tokens are computed.
fn group<'a>(sequences: &[&'a Sequence], min_shared: usize) -> Vec<Group<'a>> {
    let common: Vec<usize> = sequences.windows(2).map(|pair| shared_prefix(pair[0], pair[1])).collect();
    // best[end]: fewest tokens for the first `end` sequences, and where the last group begins and how much it shares.
    let mut best = vec![(0_usize, 0_usize, 0_usize)];
    for end in 1..=sequences.len() {
        let mut rows = sequences[end - 1].n_rows;
        let mut choice = (best[end - 1].0 + rows, end - 1, 0);
        let mut prefix = usize::MAX;
        for start in (end.saturating_sub(MAX_GROUP)..end - 1).rev() {
            prefix = prefix.min(common[start]);
            if prefix < min_shared {
                break;
            }
            rows += sequences[start].n_rows;
            let total = best[start].0 + rows - prefix * (end - start - 1);
            if total < choice.0 {
                choice = (total, start, prefix);
            }
        }
        best.push(choice);
    }
    let mut groups = Vec::new();
    let mut end = sequences.len();
    while end > 0 {
        let (_, start, prefix) = best[end];
        groups.push(Group { prefix, members: sequences[start..end].to_vec() });
        end = start;
    }
    groups.reverse();
    groups
}

/// Tokens that both begin with, leaving each at least one of its own.
fn shared_prefix(a: &Sequence, b: &Sequence) -> usize {
    let longest = a.n_rows.min(b.n_rows).saturating_sub(1);
    a.ids[..longest].iter().zip(&b.ids[..longest]).take_while(|(x, y)| x == y).count()
}

/// Fills packs in order. A group that does not fit is continued in the next pack, where its prefix is computed again.
fn assign<'a>(groups: &[Group<'a>], max_tokens: usize) -> Vec<Vec<&'a Sequence>> {
    let mut packs: Vec<Vec<&Sequence>> = Vec::new();
    let mut used = 0;
    for Group { prefix, members } in groups {
        let mut opened = false;
        for member in members {
            let own = member.n_rows - prefix;
            let more = if opened { own } else { prefix + own };
            match packs.last_mut() {
                Some(pack) if used + more <= max_tokens => {
                    pack.push(member);
                    used += more;
                }
                _ => {
                    packs.push(vec![member]);
                    used = prefix + own;
                }
            }
            opened = true;
        }
    }
    packs
}

fn build(groups: &[Group<'_>]) -> Pack {
    let mut pack = Pack::default();
    for Group { prefix, members } in groups {
        let shared = if *prefix > 0 { push_prefix(&mut pack, members, *prefix) } else { 0..0 };
        for member in members {
            push_own(&mut pack, member, shared.clone());
        }
    }
    pack
}

/// Adds the shared rows of `members`. Token `i` counts once for each member that learns it; the row of the last predicts each member's next.
fn push_prefix(pack: &mut Pack, members: &[&Sequence], prefix: usize) -> Range<usize> {
    let rows = push_rows(pack, members[0], 0..prefix);
    pack.spans.push(AttentionSpan { queries: rows.clone(), prefix: 0..0, own: rows.clone() });
    for i in 1..=prefix {
        let mut weights: BTreeMap<u32, f32> = BTreeMap::new();
        for member in members.iter().filter(|m| m.trained[i]) {
            *weights.entry(member.ids[i]).or_default() += 1.0;
        }
        pack.targets.extend(weights.into_iter().map(|(id, weight)| Target { row: rows.start + i - 1, id, weight }));
    }
    rows
}

/// Adds the rows of `sequence` that follow `shared`, and what they predict.
fn push_own(pack: &mut Pack, sequence: &Sequence, shared: Range<usize>) {
    let from = shared.len();
    let rows = push_rows(pack, sequence, from..sequence.n_rows);
    pack.spans.push(AttentionSpan { queries: rows.clone(), prefix: shared, own: rows.clone() });
    for (row, i) in rows.zip(from + 1..) {
        if sequence.trained[i] {
            pack.targets.push(Target { row, id: sequence.ids[i], weight: 1.0 });
        }
    }
}

fn push_rows(pack: &mut Pack, sequence: &Sequence, tokens: Range<usize>) -> Range<usize> {
    let start = pack.ids.len();
    pack.ids.extend_from_slice(&sequence.ids[tokens.clone()]);
    pack.positions.extend(tokens.map(|i| u32::try_from(i).expect("a sequence has fewer than 2^32 tokens")));
    start..pack.ids.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Every term of the loss as (all tokens it is predicted from, the token), with its weight.
    type Terms = BTreeMap<(Vec<u32>, u32), f64>;

    fn terms_of_sequences(sequences: &[Sequence]) -> Terms {
        let mut terms = Terms::new();
        for sequence in sequences {
            for i in (1..sequence.ids.len()).filter(|i| sequence.trained[*i]) {
                *terms.entry((sequence.ids[..i].to_vec(), sequence.ids[i])).or_default() += 1.0;
            }
        }
        terms
    }

    fn terms_of_packs(packs: &[Pack]) -> Terms {
        let mut terms = Terms::new();
        for pack in packs {
            let mut past_of_row: Vec<Option<Vec<u32>>> = vec![None; pack.ids.len()];
            for span in &pack.spans {
                assert_eq!(span.queries, span.own);
                for row in span.own.clone() {
                    let rows: Vec<usize> = span.prefix.clone().chain(span.own.start..=row).collect();
                    let positions: Vec<u32> = rows.iter().map(|r| pack.positions[*r]).collect();
                    assert_eq!(positions, (0..rows.len() as u32).collect::<Vec<_>>(), "positions run on");
                    let past = rows.iter().map(|r| pack.ids[*r]).collect();
                    assert!(past_of_row[row].replace(past).is_none(), "row {row} is a query twice");
                }
            }
            for target in &pack.targets {
                let past = past_of_row[target.row].clone().expect("every row is a query");
                *terms.entry((past, target.id)).or_default() += f64::from(target.weight);
            }
            assert!(past_of_row.iter().all(Option::is_some), "every row is a query");
        }
        terms
    }

    fn n_rows(packs: &[Pack]) -> usize {
        packs.iter().map(|p| p.ids.len()).sum()
    }

    prop_compose! {
        fn sequence()(tokens in proptest::collection::vec((0_u32..3, prop::bool::weighted(0.6)), 1..14)) -> Sequence {
            let (ids, trained) = tokens.into_iter().unzip();
            Sequence::new(ids, trained)
        }
    }

    proptest! {
        #[test]
        fn packs_hold_every_term_of_the_loss_once(
            sequences in proptest::collection::vec(sequence(), 0..12), max_tokens in 1_usize..60, min_shared in prop_oneof![1_usize..4, Just(usize::MAX)],
        ) {
            let references: Vec<&Sequence> = sequences.iter().collect();
            let packs = pack_sharing(&references, max_tokens, min_shared);
            prop_assert_eq!(terms_of_packs(&packs), terms_of_sequences(&sequences));
            for pack in &packs {
                let longest = pack.spans.iter().map(|s| s.prefix.len() + s.own.len()).max().unwrap_or(0);
                prop_assert!(pack.ids.len() <= max_tokens.max(longest), "{} tokens of at most {}", pack.ids.len(), max_tokens);
                prop_assert!(!pack.targets.is_empty());
            }
            prop_assert_eq!(&packs, &pack_sharing(&references, max_tokens, min_shared));
            prop_assert!(n_rows(&packs) <= sequences.iter().map(Sequence::n_rows).sum());
        }

        #[test]
        fn sharing_does_not_depend_on_the_order_of_the_examples(mut sequences in proptest::collection::vec(sequence(), 0..12)) {
            let one_way = pack_sharing(&sequences.iter().collect::<Vec<_>>(), 40, 1);
            sequences.reverse();
            prop_assert_eq!(terms_of_packs(&one_way), terms_of_packs(&pack_sharing(&sequences.iter().collect::<Vec<_>>(), 40, 1)));
        }
    }

    fn with_prefix(prefix: Range<u32>, own: &[u32], loss_on_all: bool) -> Sequence {
        let ids: Vec<u32> = prefix.clone().chain(own.iter().copied()).collect();
        let trained = (0..ids.len()).map(|i| loss_on_all || i > prefix.len()).collect();
        Sequence::new(ids, trained)
    }

    #[test]
    fn a_system_prompt_is_computed_once_a_pack() {
        let sequences: Vec<Sequence> = (0..10).map(|i| with_prefix(100..150, &[i, 1, 2, 3], false)).collect();
        let references: Vec<&Sequence> = sequences.iter().collect();
        let options = PackOptions { max_tokens: 1000, share_prefixes: true, rope_length: 0 };
        // The last token of each is only predicted, so 3 of its 4 own tokens are computed.
        assert_eq!(n_rows(&pack(&references, options)), 50 + 10 * 3);
        assert_eq!(n_rows(&pack(&references, PackOptions { share_prefixes: false, ..options })), 10 * 53);
        let packs = pack(&references, PackOptions { max_tokens: 65, ..options });
        assert_eq!((packs.len(), n_rows(&packs)), (2, 2 * 50 + 10 * 3));
    }

    #[test]
    fn two_kinds_of_beginning_make_two_groups() {
        let sequences: Vec<Sequence> =
            (0..10).map(|i| with_prefix(if i % 2 == 0 { 100..150 } else { 200..240 }, &[i, 1, 2, 3], false)).collect();
        let packs = pack(&sequences.iter().collect::<Vec<_>>(), PackOptions { max_tokens: 1000, share_prefixes: true, rope_length: 0 });
        assert_eq!(n_rows(&packs), 50 + 40 + 10 * 3);
    }

    #[test]
    fn when_every_token_is_learned_shared_ones_count_for_each_example() {
        let sequences = [with_prefix(0..10, &[50, 51], true), with_prefix(0..10, &[60, 61], true), with_prefix(0..10, &[50, 52], true)];
        let packs = pack_sharing(&sequences.iter().collect::<Vec<_>>(), 100, 8);
        assert_eq!(packs.len(), 1);
        let of_row = |row: usize| packs[0].targets.iter().filter(|t| t.row == row).map(|t| (t.id, t.weight)).collect::<Vec<_>>();
        assert_eq!(of_row(0), [(1, 3.0)]);
        let total: f32 = packs[0].targets.iter().map(|t| t.weight).sum();
        assert_eq!(total, 3.0 * 11.0);
        assert_eq!(terms_of_packs(&packs), terms_of_sequences(&sequences));
    }

    #[test]
    fn an_example_longer_than_a_pack_has_its_own() {
        let sequences: Vec<Sequence> = [5, 30, 5].iter().map(|n| Sequence::new(vec![1; *n], vec![true; *n])).collect();
        let packs = pack(&sequences.iter().collect::<Vec<_>>(), PackOptions { max_tokens: 10, share_prefixes: false, rope_length: 0 });
        assert_eq!(packs.iter().map(|p| p.ids.len()).collect::<Vec<_>>(), [4, 29, 4]);
    }

    #[test]
    fn examples_without_anything_to_learn_are_left_out() {
        let nothing = Sequence::new(vec![1, 2, 3], vec![true, false, false]);
        assert_eq!((nothing.n_trained(), nothing.n_rows()), (0, 0));
        assert!(pack(&[&nothing], PackOptions { max_tokens: 10, share_prefixes: true, rope_length: 0 }).is_empty());
    }
}
