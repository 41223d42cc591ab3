//! The parts of a training set: which wording is learned, which is kept to look on during training, which to test with.
//!
//! By wording, every fact that is tested is taught in other words. By fact, what is tested is taught in no words at all. Both ways, one half of what is tested is of the one kind and one
//! of the other. Whichever way, documents take turns, so that a small set is spread over all of them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet};

use serde::Serialize;

use super::candidates::Unit;
use super::random::Random;
use super::training::Kind;
use super::wording::{fold, nearly_the_same};

/// A part of a training set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// What is learned.
    Train,
    /// What is looked on during training.
    Val,
    /// What the trained model is asked.
    Test,
}

impl Part {
    /// As it stands in names of files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Val => "val",
            Self::Test => "test",
        }
    }
}

/// What distinguishes the parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// Facts of `val` and `test` are in `train` in other words.
    Wording,
    /// Facts of `val` and `test` are not in `train`.
    Facts,
    /// Half of the facts of `val` and `test` are in `train` in other words, half are not in it.
    Both,
}

/// A unit, and which of its wordings.
pub(crate) type Pick = (usize, usize);

/// What was chosen, by part.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chosen {
    pub(crate) train: Vec<Pick>,
    pub(crate) val: Vec<Pick>,
    pub(crate) test: Vec<Pick>,
}

impl Chosen {
    pub(crate) fn len(&self) -> usize {
        self.train.len() + self.val.len() + self.test.len()
    }
}

/// How many items each part has.
#[derive(Clone, Copy)]
struct Sizes {
    train: usize,
    val: usize,
    test: usize,
}

/// 80, 10 and 10 per cent.
fn sizes(count: usize) -> Sizes {
    let tenth = (count + 5) / 10;
    Sizes { train: count - (2 * tenth).min(count), val: tenth.min(count), test: tenth.min(count.saturating_sub(tenth)) }
}

/// Shares of the kinds in `count` items: combined questions a fifth, unanswerable ones a tenth, facts the rest; facts make up for what there is not.
fn quotas(count: usize, units: &[Unit]) -> [(Kind, usize); 3] {
    let has = |kind| units.iter().any(|unit| unit.kind == kind);
    let combined = if has(Kind::Combined) { count / 5 } else { 0 };
    let unanswerable = if has(Kind::Unanswerable) { count / 10 } else { 0 };
    [(Kind::Fact, count - combined - unanswerable), (Kind::Combined, combined), (Kind::Unanswerable, unanswerable)]
}

/// Takes `count` items without dividing them. Where there are not so many, fewer, in the same shares of kinds: a tenth of what is asked for would be many questions without an answer among few facts.
pub(crate) fn choose_whole(units: &[Unit], count: usize, seed: u64) -> Chosen {
    let mut target = count;
    loop {
        let train = Turns::new(units, seed).take_kinds(target, &mut |_, _| true, &[]);
        if train.len() >= target || target < 10 {
            return Chosen { train, ..Chosen::default() };
        }
        target = train.len();
    }
}

/// Divides `count` items by `split`. Where there are not so many, fewer are divided in the same proportions.
pub(crate) fn choose_parts(units: &[Unit], count: usize, split: Split, seed: u64) -> Chosen {
    let choose = |count| match split {
        Split::Wording => by_wording(units, sizes(count), seed, &HashMap::new()),
        Split::Facts => by_fact(units, sizes(count), seed),
        Split::Both => both_ways(units, sizes(count), seed),
    };
    let mut target = count.min(units.iter().map(|unit| unit.wordings.len()).sum());
    loop {
        let chosen = choose(target);
        let Sizes { train, val, test } = sizes(target);
        let reached = [(chosen.train.len(), train), (chosen.val.len(), val), (chosen.test.len(), test)];
        let worst =
            reached.iter().filter(|(_, wanted)| *wanted > 0).map(|(found, wanted)| *found as f64 / *wanted as f64).fold(1.0_f64, f64::min);
        let smaller = ((target as f64 * worst) as usize).min(target.saturating_sub(1));
        if worst >= 1.0 || smaller < 10 {
            return chosen;
        }
        target = smaller;
    }
}

/// Documents taking turns to give their units: always the one that gave the fewest so far.
struct Turns<'a> {
    units: &'a [Unit],
    /// Documents in an order of chance.
    order: Vec<usize>,
    /// For each document and kind its picks, first wordings of all units first.
    queues: HashMap<(usize, Kind), Vec<Pick>>,
    taken: HashSet<Pick>,
    given: HashMap<usize, usize>,
}

impl<'a> Turns<'a> {
    fn new(units: &'a [Unit], seed: u64) -> Self {
        let mut order: Vec<usize> = units.iter().map(|unit| unit.document).collect::<BTreeSet<_>>().into_iter().collect();
        Random::new(seed, "documents").shuffle(&mut order);
        let mut of_document: BTreeMap<(usize, Kind), Vec<usize>> = BTreeMap::new();
        for (index, unit) in units.iter().enumerate() {
            of_document.entry((unit.document, unit.kind)).or_default().push(index);
        }
        let mut queues = HashMap::new();
        for ((document, kind), mut members) in of_document {
            Random::new(seed, &format!("units {document} {kind:?}")).shuffle(&mut members);
            let rounds = members.iter().map(|unit| units[*unit].wordings.len()).max().unwrap_or(0);
            let picks = (0..rounds)
                .flat_map(|round| members.iter().filter(move |unit| round < units[**unit].wordings.len()).map(move |unit| (*unit, round)));
            queues.insert((document, kind), picks.collect());
        }
        Self { units, order, queues, taken: HashSet::new(), given: HashMap::new() }
    }

    /// The same, documents having given so many already.
    fn after(mut self, given: &HashMap<usize, usize>) -> Self {
        self.given.clone_from(given);
        self
    }

    /// Marks a pick as used.
    fn mark(&mut self, pick: Pick) {
        self.taken.insert(pick);
        *self.given.entry(self.units[pick.0].document).or_default() += 1;
    }

    /// Up to `count` picks of a kind that `may` allows (it is given the unit and the wording).
    fn take(&mut self, kind: Kind, count: usize, may: &mut dyn FnMut(usize, usize) -> bool) -> Vec<Pick> {
        let given = |turns: &Self, document: usize| turns.given.get(&document).copied().unwrap_or(0);
        let mut waiting: BinaryHeap<Reverse<(usize, usize)>> =
            self.order.iter().enumerate().map(|(place, document)| Reverse((given(self, *document), place))).collect();
        let mut places: HashMap<usize, usize> = HashMap::new();
        let mut picks = Vec::new();
        while picks.len() < count {
            let Some(Reverse((_, turn))) = waiting.pop() else { break };
            let document = self.order[turn];
            let Some(queue) = self.queues.get(&(document, kind)) else { continue };
            let place = places.entry(document).or_default();
            let Some(found) = (*place..queue.len()).find(|at| !self.taken.contains(&queue[*at]) && may(queue[*at].0, queue[*at].1)) else {
                continue;
            };
            *place = found + 1;
            let pick = queue[found];
            self.mark(pick);
            picks.push(pick);
            waiting.push(Reverse((given(self, document), turn)));
        }
        picks
    }

    /// Up to `count` picks of all kinds in their shares, those of `already` counted in; facts fill what other kinds cannot, and others what facts cannot.
    fn take_kinds(&mut self, count: usize, may: &mut dyn FnMut(usize, usize) -> bool, already: &[Pick]) -> Vec<Pick> {
        let mut picks = Vec::new();
        let quotas = quotas(count, self.units);
        for (kind, quota) in quotas.into_iter().rev() {
            let there = already.iter().filter(|(unit, _)| self.units[*unit].kind == kind).count();
            let room = count.saturating_sub(already.len() + picks.len());
            let wanted = if kind == Kind::Fact { room } else { quota.saturating_sub(there).min(room) };
            picks.extend(self.take(kind, wanted, may));
        }
        // A few more combined questions where facts ran out; not more unanswerable ones, which teach nothing but to give up.
        let room = count.saturating_sub(already.len() + picks.len());
        let spare = if quotas[1].1 > 0 { self.take(Kind::Combined, room, may) } else { Vec::new() };
        picks.extend(spare);
        picks
    }
}

/// Questions of a part that no other part may come near to, by document.
#[derive(Default)]
struct Reserved {
    picks: HashMap<usize, Vec<Pick>>,
}

impl Reserved {
    fn add(&mut self, units: &[Unit], picks: &[Pick]) {
        for pick in picks {
            self.picks.entry(units[pick.0].document).or_default().push(*pick);
        }
    }

    /// Whether a question is nearly a reserved one that shares a field with it.
    fn resemble(&self, units: &[Unit], unit: usize, wording: usize) -> bool {
        let question = &units[unit].wordings[wording];
        let shares = |other: usize| units[unit].fields.iter().any(|field| units[other].fields.contains(field));
        let near = |(other, place): &Pick| shares(*other) && nearly_the_same(&units[*other].wordings[*place], question);
        self.picks.get(&units[unit].document).is_some_and(|picks| picks.iter().any(near))
    }
}

/// Facts asked in other words than they are taught in.
///
/// `given` says how many units documents gave already: the others come first.
fn by_wording(units: &[Unit], sizes: Sizes, seed: u64, given: &HashMap<usize, usize>) -> Chosen {
    let mut not_tested = HashSet::new();
    loop {
        let before = not_tested.len();
        let chosen = by_wording_without(units, sizes, Turns::new(units, seed).after(given), &mut not_tested);
        if not_tested.len() == before {
            return chosen;
        }
    }
}

/// The same where some units are not tested. Those found to be untestable, because all their other wordings resemble one that is tested, are added to them.
fn by_wording_without(units: &[Unit], sizes: Sizes, mut turns: Turns<'_>, not_tested: &mut HashSet<usize>) -> Chosen {
    let Sizes { train: n_train, val: n_val, test: n_test } = sizes;
    let mut used: HashMap<usize, usize> = HashMap::new();
    let mut chosen = Chosen::default();
    let mut reserved = Reserved::default();
    for (part, size) in [(&mut chosen.test, n_test), (&mut chosen.val, n_val)] {
        // Of each unit at least one wording is left to teach it; units that are not tested yet come first.
        for most in 0..3 {
            let wanted = size - part.len();
            let mut may = |unit: usize, wording: usize| {
                let times = used.entry(unit).or_default();
                let is_free = *times <= most && units[unit].wordings.len() > *times + 1 && !not_tested.contains(&unit);
                let free = is_free && !reserved.resemble(units, unit, wording);
                *times += usize::from(free);
                free
            };
            let picks = turns.take_kinds(wanted, &mut may, &[]);
            part.extend(picks);
        }
        reserved.add(units, part);
    }
    // First what teaches the tested facts. A test that cannot be taught is no test of this kind.
    let mut taught: HashMap<usize, Option<Pick>> = HashMap::new();
    for (unit, _) in chosen.test.iter().chain(&chosen.val) {
        taught.entry(*unit).or_insert_with(|| {
            let pick = (0..units[*unit].wordings.len())
                .map(|wording| (*unit, wording))
                .find(|pick| !turns.taken.contains(pick) && !reserved.resemble(units, pick.0, pick.1));
            match pick {
                Some(pick) => turns.mark(pick),
                None => {
                    not_tested.insert(*unit);
                }
            }
            pick
        });
    }
    for part in [&mut chosen.test, &mut chosen.val] {
        part.retain(|(unit, _)| taught[unit].is_some());
    }
    let mut must: Vec<Pick> = taught.into_values().flatten().collect();
    must.sort_unstable();
    must.truncate(n_train.max(chosen.test.len() + chosen.val.len()));
    let rest = turns.take_kinds(n_train, &mut |unit, wording| !reserved.resemble(units, unit, wording), &must);
    chosen.train = must;
    chosen.train.extend(rest);
    chosen
}

/// Facts that are not taught.
fn by_fact(units: &[Unit], sizes: Sizes, seed: u64) -> Chosen {
    let KeptOut { mut chosen, mut turns, may_be_taught } = kept_out(units, sizes, seed);
    chosen.train = turns.take_kinds(sizes.train, &mut |unit, _| may_be_taught[unit], &[]);
    chosen
}

/// Half of what is tested is taught in no words, the other half in other words.
fn both_ways(units: &[Unit], sizes: Sizes, seed: u64) -> Chosen {
    let halves = Sizes { train: 0, val: sizes.val / 2, test: sizes.test / 2 };
    let KeptOut { mut chosen, turns: _, may_be_taught } = kept_out(units, halves, seed);
    // Documents that were not tested yet come first: those of `val` before those of `test`.
    let mut given = HashMap::new();
    for (picks, weight) in [(&chosen.test, 2), (&chosen.val, 1)] {
        for (unit, _) in picks {
            *given.entry(units[*unit].document).or_default() += weight;
        }
    }
    let (places, others): (Vec<usize>, Vec<Unit>) =
        units.iter().enumerate().filter(|(unit, _)| may_be_taught[*unit]).map(|(place, unit)| (place, unit.clone())).unzip();
    let rest = Sizes { val: sizes.val - chosen.val.len(), test: sizes.test - chosen.test.len(), ..sizes };
    let Chosen { train, val, test } = by_wording(&others, rest, seed, &given);
    let in_all = |picks: Vec<Pick>| picks.into_iter().map(|(unit, wording)| (places[unit], wording)).collect::<Vec<_>>();
    chosen.train = in_all(train);
    chosen.val.extend(in_all(val));
    chosen.test.extend(in_all(test));
    chosen
}

/// What was chosen to be tested and not taught.
struct KeptOut<'a> {
    /// Without a part to learn.
    chosen: Chosen,
    turns: Turns<'a>,
    /// For each unit, whether it tells nothing of what was kept out.
    may_be_taught: Vec<bool>,
}

/// Chooses `val` and `test` of facts that are then kept out.
fn kept_out(units: &[Unit], sizes: Sizes, seed: u64) -> KeptOut<'_> {
    let groups = fact_groups(units);
    let mut free: HashMap<usize, usize> = HashMap::new();
    for unit in units.iter().filter(|unit| unit.kind == Kind::Fact) {
        *free.entry(unit.document).or_default() += 1;
    }
    let total = free.clone();
    let mut turns = Turns::new(units, seed);
    let mut kept_out: HashMap<usize, usize> = HashMap::new();
    let mut chosen = Chosen::default();
    for (number, (part, size)) in [(&mut chosen.test, sizes.test), (&mut chosen.val, sizes.val)].into_iter().enumerate() {
        for again in [false, true] {
            let wanted = size - part.len();
            let mut may = |unit: usize, _| {
                let unit_groups = &groups[unit];
                let owner = unit_groups.iter().find_map(|group| kept_out.get(group).copied());
                match owner {
                    Some(owner) => again && owner == number && unit_groups.iter().all(|group| kept_out.get(group) == Some(&number)),
                    None if again || units[unit].kind == Kind::Combined => false,
                    None => {
                        // A document keeps at least half of its facts to be taught.
                        let left = free.entry(units[unit].document).or_default();
                        if units[unit].kind == Kind::Fact {
                            if *left < 2 || 2 * (*left - 1) < total[&units[unit].document] {
                                return false;
                            }
                            *left -= 1;
                        }
                        kept_out.extend(unit_groups.iter().map(|group| (*group, number)));
                        true
                    }
                }
            };
            let picks = turns.take_kinds(wanted, &mut may, &[]);
            part.extend(picks);
        }
    }
    let told = Told::new(units, &chosen);
    let is_free = |unit: usize| groups[unit].iter().all(|group| !kept_out.contains_key(group)) && !told.tells(&units[unit]);
    let may_be_taught = (0..units.len()).map(is_free).collect();
    KeptOut { chosen, turns, may_be_taught }
}

/// For each unit the facts it speaks of: facts of one document with the same answer are one, for one would teach the other.
fn fact_groups(units: &[Unit]) -> Vec<Vec<usize>> {
    let mut of_answer: HashMap<(usize, String), usize> = HashMap::new();
    let mut of_field: HashMap<(usize, String), usize> = HashMap::new();
    for unit in units.iter().filter(|unit| unit.kind == Kind::Fact) {
        let next = of_answer.len();
        let group = *of_answer.entry((unit.document, fold(&unit.answer))).or_insert(next);
        of_field.insert((unit.document, unit.fields[0].clone()), group);
    }
    let mut next = of_answer.len();
    let mut group_of = |unit: &Unit, field: &String| {
        *of_field.entry((unit.document, field.clone())).or_insert_with(|| {
            next += 1;
            next
        })
    };
    units.iter().map(|unit| unit.fields.iter().map(|field| group_of(unit, field)).collect()).collect()
}

/// Answers that are kept out of training, so that no other answer of the same document tells them. Answers that several documents share tell nothing of one.
struct Told {
    kept: HashMap<usize, Vec<String>>,
}

impl Told {
    fn new(units: &[Unit], chosen: &Chosen) -> Self {
        let mut documents: HashMap<String, BTreeSet<usize>> = HashMap::new();
        for unit in units {
            documents.entry(fold(&unit.answer)).or_default().insert(unit.document);
        }
        let mut kept: HashMap<usize, Vec<String>> = HashMap::new();
        for (unit, _) in chosen.test.iter().chain(&chosen.val) {
            let answer = fold(&units[*unit].answer);
            if units[*unit].kind == Kind::Fact && answer.len() > 3 && documents[&answer].len() == 1 {
                kept.entry(units[*unit].document).or_default().push(format!(" {answer} "));
            }
        }
        Self { kept }
    }

    fn tells(&self, unit: &Unit) -> bool {
        let answer = || format!(" {} ", fold(&unit.answer));
        self.kept.get(&unit.document).is_some_and(|kept| kept.iter().any(|text| answer().contains(text)))
    }
}
