//! Text that came and is not decided yet. Who looks at it remembers how far, so that no byte is looked at again and again.

#[derive(Default)]
pub struct Pending {
    text: String,
    /// What of it is gone.
    taken: usize,
    /// How many bytes were looked at.
    #[cfg(test)]
    pub looked: std::cell::Cell<usize>,
}

impl Pending {
    pub fn push(&mut self, piece: &str) {
        self.text.push_str(piece);
    }

    pub fn rest(&self) -> &str {
        &self.text[self.taken..]
    }

    pub fn len(&self) -> usize {
        self.text.len() - self.taken
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes so many bytes from the front.
    pub fn cut(&mut self, end: usize) -> String {
        let cut = self.rest()[..end].to_owned();
        self.look(end);
        self.taken += end;
        // What is left moves when it is the smaller half: no byte moves often.
        if self.taken * 2 >= self.text.len() {
            self.look(self.len());
            self.text.drain(..self.taken);
            self.taken = 0;
        }
        cut
    }

    /// Where such characters end, of which it is known that they go on up to `from`.
    pub fn skip(&self, from: usize, is_such: impl Fn(char) -> bool) -> usize {
        let rest = &self.rest()[from..];
        let end = rest.find(|c| !is_such(c)).unwrap_or(rest.len());
        self.look(end);
        from + end
    }

    pub fn find(&self, from: usize, wanted: &str) -> Option<usize> {
        let found = self.rest()[from..].find(wanted);
        self.look(found.unwrap_or(self.len() - from));
        found.map(|at| from + at)
    }

    /// From where on `wanted` may stand that was not found so far.
    pub fn may_begin(&self, wanted: &str) -> usize {
        self.rest().floor_char_boundary(self.len().saturating_sub(wanted.len() - 1))
    }

    #[cfg(test)]
    pub fn look(&self, bytes: usize) {
        self.looked.set(self.looked.get() + bytes);
    }

    #[cfg(not(test))]
    pub fn look(&self, _: usize) {}
}
