//! Words of a text, the same for both engines: folded, so that case and accents do not matter.

use std::{collections::BTreeMap, fmt::Write, ops::Range};
use unicode_normalization::UnicodeNormalization;

/// PostgreSQL takes no longer ones.
const LONGEST: usize = 1024;
/// Bytes of all words of one text that PostgreSQL takes, with some to spare.
const MOST: usize = 900_000;
/// Words in a snippet.
const SNIPPET: usize = 24;

/// The words of a text, folded, with their places in it.
pub(crate) fn words(text: &str) -> impl Iterator<Item = (String, Range<usize>)> + '_ {
    let mut rest = text.char_indices().peekable();
    std::iter::from_fn(move || {
        while rest.next_if(|(_, c)| !is_part(*c)).is_some() {}
        let (start, _) = *rest.peek()?;
        let mut end = start;
        while let Some((at, c)) = rest.next_if(|(_, c)| is_part(*c)) {
            end = at + c.len_utf8();
        }
        Some((fold(&text[start..end]), start..end))
    })
}

fn is_part(c: char) -> bool {
    c.is_alphanumeric() || is_accent(c)
}

fn is_accent(c: char) -> bool {
    ('\u{300}'..='\u{36f}').contains(&c)
}

fn fold(word: &str) -> String {
    let mut folded = String::with_capacity(word.len());
    for c in word.nfd().filter(|c| !is_accent(*c)).flat_map(char::to_lowercase) {
        if folded.len() + c.len_utf8() > LONGEST {
            break;
        }
        folded.push(c);
    }
    folded
}

/// A `tsvector` as text: words with their positions, those of the title with more weight.
pub(crate) fn vector(title: &str, content: &str) -> String {
    let mut places: BTreeMap<String, Vec<(usize, char)>> = BTreeMap::new();
    let mut size = 0;
    let all = words(title).map(|(word, _)| (word, 'A')).chain(words(content).map(|(word, _)| (word, 'D')));
    for (n, (word, weight)) in all.filter(|(word, _)| !word.is_empty()).enumerate() {
        size += match places.get(&word) {
            Some(_) => 2,
            None => word.len() + 8,
        };
        if size > MOST {
            break;
        }
        places.entry(word).or_default().push((n + 1, weight));
    }
    let mut text = String::new();
    for (word, places) in places {
        let _ = write!(text, "'{word}'");
        // More it does not keep, and positions end there.
        for (i, (place, weight)) in places.into_iter().take(255).enumerate() {
            let _ = write!(text, "{}{}{weight}", if i == 0 { ':' } else { ',' }, place.min(16_383));
        }
        text.push(' ');
    }
    text
}

/// The part of a document with most of the words in it.
pub(crate) fn snippet(title: &str, content: &str, wanted: &[String]) -> String {
    let found = |text| words(text).any(|(word, _)| wanted.contains(&word));
    let text = if found(content) || !found(title) { content } else { title };
    let all: Vec<(bool, Range<usize>)> = words(text).map(|(word, place)| (wanted.contains(&word), place)).collect();
    let mut hits = all.iter().take(SNIPPET).filter(|(hit, _)| *hit).count();
    let (mut best, mut start) = (hits, 0);
    for first in 1..=all.len().saturating_sub(SNIPPET) {
        hits += usize::from(all[first + SNIPPET - 1].0);
        hits -= usize::from(all[first - 1].0);
        if hits > best {
            (best, start) = (hits, first);
        }
    }
    if start > 0 {
        // What was found reads better with some words before it.
        let lead = all[start..].iter().take(SNIPPET).rev().take_while(|(hit, _)| !hit).count();
        start = (start + (SNIPPET / 2).saturating_sub(lead)).min(all.len() - SNIPPET);
    }
    let end = (start + SNIPPET).min(all.len());
    if all.is_empty() {
        return text.chars().take(200).collect();
    }
    let from = if start == 0 { 0 } else { all[start].1.start };
    let to = if end == all.len() { text.len() } else { all[end - 1].1.end };
    format!("{}{}{}", if from > 0 { "…" } else { "" }, &text[from..to], if to < text.len() { "…" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folded(text: &str) -> Vec<String> {
        words(text).map(|(word, _)| word).collect()
    }

    #[test]
    fn words_are_folded_and_nothing_else_is_left() {
        assert_eq!(folded("PÁINT, e\u{301}t ça: don't;🦀x-2"), ["paint", "et", "ca", "don", "t", "x", "2"]);
        assert_eq!(folded("ÅNGSTRÖM Straße"), ["angstrom", "straße"]);
        assert!(folded(" \0'\"\\ ").is_empty());
        assert!(fold(&"é".repeat(3000)).len() <= LONGEST);
    }

    #[test]
    fn a_vector_has_every_word_once_with_its_places() {
        assert_eq!(vector("Paint it", "it's a paint"), "'a':5D 'it':2A,3D 'paint':1A,6D 's':4D ");
        let long: String = (0..200_000).map(|n| format!("word{n} ")).collect();
        assert!(vector("", &long).len() < 2_000_000);
    }

    #[test]
    fn a_snippet_is_the_part_with_most_of_the_words() {
        let wanted = ["wall".to_owned(), "paint".into()];
        assert_eq!(snippet("Walls", "how to paint a wall.", &wanted), "how to paint a wall.");
        assert_eq!(snippet("A wall", "nothing", &wanted), "A wall");
        let text = format!("{}paint the wall{}", "before ".repeat(60), " after".repeat(60));
        let shown = snippet("", &text, &wanted);
        assert!(shown.starts_with("…before") && shown.ends_with("after…"), "{shown}");
        assert!(shown.contains("before paint the wall after"), "{shown}");
        assert_eq!(words(&shown).count(), SNIPPET);
    }
}
