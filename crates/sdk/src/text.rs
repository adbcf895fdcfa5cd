//! Cutting text to what a service takes.

/// What a service counts when it says how long a text may be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Unit {
    #[default]
    Characters,
    /// Of UTF-8.
    Bytes,
    /// As JavaScript counts: an emoji is two.
    Utf16,
}

impl Unit {
    /// How long a text is.
    pub fn length(self, text: &str) -> usize {
        match self {
            Self::Characters => text.chars().count(),
            Self::Bytes => text.len(),
            Self::Utf16 => text.encode_utf16().count(),
        }
    }

    /// How many characters surely fit into so many of them.
    pub fn characters(self, limit: usize) -> usize {
        match self {
            Self::Characters => limit,
            Self::Bytes => limit / 4,
            Self::Utf16 => limit / 2,
        }
    }

    /// Bytes of the longest beginning that has at most so many of them.
    fn within(self, text: &str, most: usize) -> usize {
        let mut left = most;
        for (at, character) in text.char_indices() {
            let size = match self {
                Self::Characters => 1,
                Self::Bytes => character.len_utf8(),
                Self::Utf16 => character.len_utf16(),
            };
            match left.checked_sub(size) {
                Some(rest) => left = rest,
                None => return at,
            }
        }
        text.len()
    }
}

/// Splits text into parts of at most `limit` characters, at paragraph ends, else line ends, else words, else anywhere.
/// Nothing but the white space at a cut is lost; a code fence that is cut is closed and opened again.
pub fn split(text: &str, limit: usize) -> Vec<String> {
    split_by(text, limit, Unit::Characters)
}

/// The same for a service that counts something else.
pub fn split_by(text: &str, limit: usize, unit: Unit) -> Vec<String> {
    assert!(limit >= 16, "a limit under 16 characters leaves no room for text");
    let mut parts = Vec::new();
    let mut rest = text.trim_end().to_owned();
    while unit.length(&rest) > limit {
        let window = unit.within(&rest, limit);
        let cut = ["\n\n", "\n", " "]
            .iter()
            .filter_map(|gap| rest[..window].rfind(gap))
            .find(|&at| at > window / 4)
            .unwrap_or(window);
        let (head, tail) = rest.split_at(cut);
        let mut head = head.trim_end().to_owned();
        let mut tail = tail.trim_start_matches('\n').to_owned();
        if let Some(fence) = open_fence(&head) {
            if unit.length(&head) + 4 > limit {
                let shorter = unit.within(&rest, limit - 4);
                let at = rest[..shorter].rfind('\n').filter(|&at| at > shorter / 4).unwrap_or(shorter);
                head = rest[..at].trim_end().to_owned();
                tail = rest[at..].trim_start_matches('\n').to_owned();
            }
            // Reopening must not eat the progress made, or a tiny limit would never end.
            if unit.length(&fence) + 8 < limit / 2 && open_fence(&head).is_some() {
                head.push_str("\n```");
                tail = format!("{fence}\n{tail}");
            }
        }
        parts.push(head);
        rest = tail;
    }
    parts.push(rest);
    parts
}

/// Cuts text to `limit` characters and says so.
pub fn cut(text: &str, limit: usize) -> String {
    cut_by(text, limit, Unit::Characters)
}

/// The same for a service that counts something else.
pub fn cut_by(text: &str, limit: usize, unit: Unit) -> String {
    if unit.length(text) <= limit {
        return text.to_owned();
    }
    let sign = "…";
    format!("{}{sign}", &text[..unit.within(text, limit.saturating_sub(unit.length(sign)))])
}

/// The line that opened a code fence which is still open at the end.
fn open_fence(text: &str) -> Option<String> {
    let mut open = None;
    for line in text.lines().filter(|line| line.trim_start().starts_with("```")) {
        open = if open.is_none() { Some(line.trim().to_owned()) } else { None };
    }
    open
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_text_is_one_part() {
        assert_eq!(split("hello", 100), ["hello"]);
        assert_eq!(split("", 100), [""]);
    }

    #[test]
    fn every_part_fits_and_no_word_is_lost() {
        let text = "one two three\n\nfour five six seven\neight nine ten ".repeat(40);
        for limit in [16, 33, 100, 999] {
            let parts = split(&text, limit);
            assert!(parts.iter().all(|part| part.chars().count() <= limit), "{limit}");
            let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
            assert_eq!(parts.iter().flat_map(|part| words(part)).collect::<Vec<_>>(), words(&text), "{limit}");
        }
    }

    #[test]
    fn what_a_service_counts_is_what_is_counted() {
        let text = "ünï cödé 🎉 ".repeat(60);
        for unit in [Unit::Characters, Unit::Bytes, Unit::Utf16] {
            for limit in [16, 33, 100] {
                let parts = split_by(&text, limit, unit);
                assert!(parts.iter().all(|part| unit.length(part) <= limit), "{unit:?} {limit}");
                assert_eq!(
                    parts.join(" ").split_whitespace().collect::<Vec<_>>(),
                    text.split_whitespace().collect::<Vec<_>>()
                );
                let cut = cut_by(&text, limit, unit);
                assert!(unit.length(&cut) <= limit && cut.ends_with('…'), "{cut}");
            }
        }
        assert_eq!([Unit::Characters, Unit::Bytes, Unit::Utf16].map(|unit| unit.length("é🎉")), [2, 6, 3]);
        assert_eq!(split_by(&"🎉".repeat(20), 17, Unit::Bytes).concat(), "🎉".repeat(20), "never inside a character");
    }

    #[test]
    fn text_without_a_gap_is_cut_between_characters() {
        let parts = split(&"ü".repeat(50), 20);
        assert_eq!(parts.concat(), "ü".repeat(50));
        assert_eq!(parts.len(), 3);
    }

    #[test]
    fn a_cut_code_block_is_closed_and_opened_again() {
        let code = format!("```rust\n{}```\n", "let x = 1;\n".repeat(30));
        let parts = split(&code, 120);
        assert!(parts.len() > 2);
        for part in &parts {
            assert!(part.starts_with("```rust") && part.ends_with("```"), "{part}");
            assert!(part.chars().count() <= 120);
        }
    }
}
