//! A bounded memory of answers under two names, forgotten by both or by the first.

use std::collections::HashMap;
use std::hash::Hash;

/// Answers kept; a full one is emptied, which costs a question per answer and never a wrong answer.
const MOST: usize = 16_384;

#[derive(Debug)]
pub(super) struct Memo<A, B, V> {
    answers: HashMap<A, HashMap<B, V>>,
    count: usize,
}

impl<A, B, V> Default for Memo<A, B, V> {
    fn default() -> Self {
        Self { answers: HashMap::new(), count: 0 }
    }
}

impl<A: Eq + Hash + Clone, B: Eq + Hash, V> Memo<A, B, V> {
    pub(super) fn get(&self, first: &A, second: &B) -> Option<&V> {
        self.answers.get(first)?.get(second)
    }

    pub(super) fn keep(&mut self, first: &A, second: B, value: V) {
        if self.count >= MOST {
            *self = Self::default();
        }
        let before = self.answers.entry(first.clone()).or_default().insert(second, value);
        self.count += usize::from(before.is_none());
    }

    pub(super) fn forget(&mut self, first: &A, second: &B) {
        if let Some(answers) = self.answers.get_mut(first) {
            self.count -= usize::from(answers.remove(second).is_some());
            if answers.is_empty() {
                self.answers.remove(first);
            }
        }
    }

    pub(super) fn forget_all(&mut self, first: &A) {
        self.count -= self.answers.remove(first).map_or(0, |answers| answers.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_forgotten_is_not_counted_and_the_rest_stays() {
        let mut memo = Memo::default();
        for n in 0..10 {
            memo.keep(&(n % 2), n, n);
            memo.keep(&(n % 2), n, n);
        }
        assert_eq!(memo.count, 10);
        memo.forget(&0, &4);
        memo.forget(&0, &5);
        memo.forget(&7, &5);
        assert_eq!((memo.count, memo.get(&0, &4), memo.get(&0, &6)), (9, None, Some(&6)));
        memo.forget_all(&0);
        assert_eq!((memo.count, memo.get(&0, &6), memo.get(&1, &5)), (5, None, Some(&5)));
    }

    #[test]
    fn it_is_bounded() {
        let mut memo = Memo::default();
        (0..3 * MOST).for_each(|n| memo.keep(&n, (), ()));
        assert!(memo.count <= MOST && memo.answers.len() == memo.count);
        assert!(memo.get(&(3 * MOST - 1), &()).is_some());
    }
}
