//! Whose turn it is on a database that one server at a time may use.

/// As far as this server has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    Ours,
    /// Another server has the database. What this one knows of it may be wrong by now.
    Lost,
    /// It is ours again, for the n-th time, and what this server knew of it before may still be in use.
    Back(u64),
}

impl Turn {
    pub fn is_ours(self) -> bool {
        self == Self::Ours
    }

    pub(super) fn lose(&mut self) -> bool {
        std::mem::replace(self, Self::Lost) != Self::Lost
    }

    pub(super) fn come_back(&mut self) {
        static TIMES: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        *self = Self::Back(TIMES.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
    }

    /// All was read anew that had to be, unless the turn was lost once more meanwhile.
    pub(super) fn settle(&mut self, read: Self) -> bool {
        let is_settled = *self == read && !self.is_ours();
        if is_settled {
            *self = Self::Ours;
        }
        is_settled
    }
}
