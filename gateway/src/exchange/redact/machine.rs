//! Finds patterns: one automaton that steps byte by byte, and a vectorised search that says "nothing here" fast.

use aho_corasick::automaton::{Automaton, StateID};
use aho_corasick::nfa::contiguous::NFA;
use aho_corasick::{Anchored, MatchKind, packed};

use super::Cover;
use super::encodings::Pattern;

/// Finds all occurrences of patterns, overlapping ones too, and says how many bytes at an end may be the start of one.
///
/// It holds the patterns in forms that cannot be zeroed; it is dropped with the credential that it is made from.
pub(super) struct Machine {
    nfa: NFA,
    start: StateID,
    /// Absent where the processor has no vector instructions for it, or for very many patterns.
    fast: Option<packed::Searcher>,
    /// For each pattern, what its bytes are replaced with.
    masks: Vec<u8>,
    /// For each state, sorted, how long the longest end of what led to it is that is a proper prefix of a pattern.
    /// States without such an end are absent.
    holds: Vec<(StateID, usize)>,
    longest: usize,
}

impl std::fmt::Debug for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Machine(…)")
    }
}

impl Machine {
    pub(super) fn new<'a>(patterns: impl Iterator<Item = &'a Pattern>) -> Self {
        let mut patterns: Vec<_> = patterns.collect();
        patterns.sort_by_key(|pattern| pattern.bytes.len());
        let bytes = || patterns.iter().map(|pattern| pattern.bytes.expose());
        let nfa = NFA::builder()
            .match_kind(MatchKind::Standard)
            .prefilter(false)
            .build(bytes())
            .expect("a few megabytes of patterns at most, for 2^31 states");
        let start = nfa
            .start_state(Anchored::No)
            .expect("an automaton is built for unanchored searches");
        let mut machine = Self {
            fast: packed::Searcher::new(bytes()),
            masks: patterns.iter().map(|pattern| pattern.mask).collect(),
            holds: Vec::new(),
            longest: nfa.max_pattern_len(),
            nfa,
            start,
        };
        machine.find_holds(&patterns);
        machine
    }

    /// Following a pattern from the start leads through the states of its prefixes.
    fn find_holds(&mut self, patterns: &[&Pattern]) {
        let mut holds = std::collections::HashMap::new();
        for pattern in patterns {
            let mut state = self.start;
            for (i, &byte) in pattern.bytes.expose().iter().enumerate() {
                state = self.nfa.next_state(Anchored::No, state, byte);
                if i + 1 < pattern.bytes.len() {
                    holds.insert(state, i + 1);
                }
            }
        }
        // A whole pattern that starts no longer one: what counts is the longest end of it. That end is shorter, and
        // patterns are sorted by length, so if it is a whole pattern itself it has its answer.
        for pattern in patterns {
            let bytes = pattern.bytes.expose();
            let whole = self.walk(bytes);
            if !holds.contains_key(&whole) {
                let end = self.walk(bytes.get(1..).unwrap_or_default());
                if let Some(&hold) = holds.get(&end) {
                    holds.insert(whole, hold);
                }
            }
        }
        self.holds = holds.into_iter().collect();
        self.holds.sort_unstable();
    }

    fn walk(&self, bytes: &[u8]) -> StateID {
        bytes.iter().fold(self.start, |state, &byte| {
            self.nfa.next_state(Anchored::No, state, byte)
        })
    }

    /// Whether some pattern occurs.
    pub(super) fn finds(&self, bytes: &[u8]) -> bool {
        match &self.fast {
            Some(fast) => fast.find(bytes).is_some(),
            None => {
                let mut state = self.start;
                bytes.iter().any(|&byte| {
                    state = self.nfa.next_state(Anchored::No, state, byte);
                    self.nfa.is_match(state)
                })
            }
        }
    }

    /// How many bytes at the end are a proper prefix of some pattern, at most.
    pub(super) fn hold(&self, bytes: &[u8]) -> usize {
        // A longer end than that is no proper prefix of anything.
        let from = (bytes.len() + 1).saturating_sub(self.longest);
        let state = self.walk(bytes.get(from..).unwrap_or_default());
        self.holds
            .binary_search_by_key(&state, |&(state, _)| state)
            .ok()
            .and_then(|at| self.holds.get(at))
            .map_or(0, |&(_, hold)| hold)
    }

    /// Masks all occurrences in place.
    pub(super) fn scan(&self, cover: &mut Cover<'_>) {
        let mut state = self.start;
        let mut end = 0;
        while let Some(&byte) = cover.bytes.get(end) {
            state = self.nfa.next_state(Anchored::No, state, byte);
            end += 1;
            if !self.nfa.is_match(state) {
                continue;
            }
            for i in 0..self.nfa.match_len(state) {
                let pattern = self.nfa.match_pattern(state, i);
                let start = end.saturating_sub(self.nfa.pattern_len(pattern));
                let mask = self.masks.get(pattern.as_usize()).copied();
                cover.mask(start..end, mask.unwrap_or(b'*'));
            }
        }
    }
}
