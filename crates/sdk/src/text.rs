//! Cutting text to what a service takes.

/// Splits text into parts of at most `limit` characters, at paragraph ends, else line ends, else words, else anywhere.
/// Nothing but the white space at a cut is lost; a code fence that is cut is closed and opened again.
pub fn split(text: &str, limit: usize) -> Vec<String> {
    assert!(limit >= 16, "a limit under 16 characters leaves no room for text");
    let mut parts = Vec::new();
    let mut rest = text.trim_end().to_owned();
    while rest.chars().count() > limit {
        let window = byte_of(&rest, limit);
        let cut = ["\n\n", "\n", " "]
            .iter()
            .filter_map(|gap| rest[..window].rfind(gap))
            .find(|&at| at > window / 4)
            .unwrap_or(window);
        let (head, tail) = rest.split_at(cut);
        let mut head = head.trim_end().to_owned();
        let mut tail = tail.trim_start_matches('\n').to_owned();
        if let Some(fence) = open_fence(&head) {
            if head.chars().count() + 4 > limit {
                let shorter = byte_of(&rest, limit - 4);
                let at = rest[..shorter].rfind('\n').filter(|&at| at > shorter / 4).unwrap_or(shorter);
                head = rest[..at].trim_end().to_owned();
                tail = rest[at..].trim_start_matches('\n').to_owned();
            }
            // Reopening must not eat the progress made, or a tiny limit would never end.
            if fence.len() + 8 < limit / 2 && open_fence(&head).is_some() {
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
    if text.chars().count() <= limit {
        return text.to_owned();
    }
    format!("{}…", &text[..byte_of(text, limit.saturating_sub(1))])
}

fn byte_of(text: &str, characters: usize) -> usize {
    text.char_indices().nth(characters).map_or(text.len(), |(at, _)| at)
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
