//! Taking secrets out of a text while it comes: what may still become one is held back.

use super::Redactor;

/// A text in pieces, of which only that is passed on in which no secret can be any more.
#[derive(Default)]
pub struct Tail {
    held: String,
}

impl Tail {
    /// What of the text so far can be shown.
    pub fn push(&mut self, redactor: &Redactor, piece: &str) -> String {
        self.held.push_str(piece);
        if let std::borrow::Cow::Owned(masked) = redactor.text(&self.held) {
            self.held = masked;
        }
        let rest = self.held.split_off(redactor.unfinished(&self.held));
        std::mem::replace(&mut self.held, rest)
    }

    /// The rest: nothing comes after it.
    pub fn finish(&mut self, redactor: &Redactor) -> String {
        let rest = std::mem::take(&mut self.held);
        redactor.text(&rest).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tercel_store::MASK;

    const SECRET: &str = "s3cret-väl/ue+1234";

    #[test]
    fn what_cannot_become_a_secret_is_shown_at_once() {
        let redactor = Redactor::new([SECRET.to_owned()]);
        let mut tail = Tail::default();
        assert_eq!(tail.push(&redactor, "Plain words "), "Plain words ");
        assert_eq!(tail.push(&redactor, "and s3cr"), "and ");
        assert_eq!(tail.push(&redactor, "ets"), "s3crets".strip_suffix('s').unwrap());
        assert_eq!(tail.finish(&redactor), "s");
    }

    proptest! {
        #[test]
        fn pieces_show_what_the_whole_shows(before in "[a-z s3]{0,12}", after in "[a-z s3]{0,12}", cuts in prop::collection::vec(0_usize..60, 0..6)) {
            let redactor = Redactor::new([SECRET.to_owned()]);
            let whole = format!("{before}{SECRET}{after}");
            let mut cuts: Vec<usize> = cuts.into_iter().map(|at| whole.floor_char_boundary(at.min(whole.len()))).collect();
            cuts.extend([0, whole.len()]);
            cuts.sort_unstable();
            let mut tail = Tail::default();
            let mut seen: String = cuts.windows(2).map(|pair| tail.push(&redactor, &whole[pair[0]..pair[1]])).collect();
            seen.push_str(&tail.finish(&redactor));
            prop_assert_eq!(seen, format!("{before}{MASK}{after}"));
        }
    }
}
