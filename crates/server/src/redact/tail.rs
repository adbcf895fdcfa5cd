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
        let Some(forms) = &redactor.forms else { return std::mem::take(&mut self.held) };
        let growing = &self.held;
        let beginning = |form: &String| {
            let ends = form.char_indices().map(|(at, _)| at).filter(|at| (1..=growing.len()).contains(at));
            ends.rev().find(|at| growing.ends_with(&form[..*at])).unwrap_or(0)
        };
        let mut settled = growing.len() - redactor.words.iter().map(beginning).max().unwrap_or(0);
        let crossing = forms.find_iter(growing.as_str()).find(|found| found.start() < settled && settled < found.end());
        settled = crossing.map_or(settled, |found| found.start());
        let rest = self.held.split_off(settled);
        redactor.text(&std::mem::replace(&mut self.held, rest)).into_owned()
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

    #[test]
    fn a_secret_in_pieces_is_masked_however_it_is_cut() {
        let redactor = Redactor::new(["s3cret/+value".into(), "s3cret/+value-longer".into()]);
        let said = "say s3cret/+value, s3cret/+value-longer or s3cret! S3cret/+valus3cret/+value-";
        let whole = redactor.text(said).into_owned();
        for size in 1..said.len() {
            let (mut tail, mut shown) = (Tail::default(), String::new());
            for piece in said.as_bytes().chunks(size) {
                shown.push_str(&tail.push(&redactor, std::str::from_utf8(piece).unwrap()));
                assert!(whole.starts_with(&shown), "{shown}");
            }
            shown.push_str(&tail.finish(&redactor));
            assert_eq!(shown, whole, "in pieces of {size}");
        }
        assert_eq!(Tail::default().push(&redactor, "nothing secret at all. "), "nothing secret at all. ");
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
