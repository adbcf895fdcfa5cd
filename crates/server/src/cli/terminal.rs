//! Writing to the person at the terminal.

use std::io::{ErrorKind, IsTerminal, Write, stdout};

/// Writes text and a line end. A reader that has gone away (`| head`) has seen enough.
pub fn say(text: &str) -> std::io::Result<()> {
    match writeln!(stdout(), "{text}") {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// How text may be marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ink {
    Plain,
    Coloured,
}

impl Ink {
    /// Coloured on a terminal only.
    pub fn of_output() -> Self {
        if stdout().is_terminal() { Self::Coloured } else { Self::Plain }
    }

    pub fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    pub fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    pub fn good(self, text: &str) -> String {
        self.paint("32", text)
    }

    pub fn doubtful(self, text: &str) -> String {
        self.paint("33", text)
    }

    pub fn bad(self, text: &str) -> String {
        self.paint("31", text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        match self {
            Self::Plain => text.to_owned(),
            Self::Coloured => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
        }
    }
}

/// What a stranger wrote, without the control characters that would command the terminal. Line ends and tabs stay.
pub fn harmless(text: &str) -> String {
    text.chars().filter(|&c| !c.is_control() || c == '\n' || c == '\t').collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_outside_cannot_command_the_terminal() {
        assert_eq!(harmless("a\u{1b}[2Jb\r\nc\td\u{9b}e"), "a[2Jb\nc\tde");
    }

    #[test]
    fn only_a_terminal_gets_colours() {
        assert_eq!(Ink::Plain.bad("no"), "no");
        assert_eq!(Ink::Coloured.bad("no"), "\u{1b}[31mno\u{1b}[0m");
    }
}
