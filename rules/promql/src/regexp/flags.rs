//! What `(?ims-U)` turns on and off.

/// Flags of Go's syntax. By default all are off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Flags(u8);

impl Flags {
    pub(super) const IGNORES_CASE: Flags = Flags(1);
    pub(super) const MULTI_LINE: Flags = Flags(2);
    pub(super) const DOT_MATCHES_LINE_BREAK: Flags = Flags(4);
    pub(super) const SWAPS_GREED: Flags = Flags(8);

    /// The flag of a letter.
    pub(super) fn of(letter: char) -> Option<Flags> {
        LETTERS.iter().find(|(_, known)| *known == letter).map(|(flag, _)| *flag)
    }

    pub(super) fn has(self, flag: Flags) -> bool {
        self.0 & flag.0 != 0
    }

    pub(super) fn with(self, flag: Flags, on: bool) -> Flags {
        Flags(if on { self.0 | flag.0 } else { self.0 & !flag.0 })
    }

    /// What the regex crate is told: greed is written at each repetition.
    pub(super) fn written(self) -> Flags {
        self.with(Flags::SWAPS_GREED, false)
    }

    /// The letters that lead from one state to another: `i-s`.
    pub(super) fn change(from: Flags, to: Flags) -> String {
        let letters = |on: bool| -> String {
            LETTERS
                .iter()
                .filter(|(flag, _)| from.has(*flag) != on && to.has(*flag) == on)
                .map(|(_, letter)| *letter)
                .collect()
        };
        let (on, off) = (letters(true), letters(false));
        if off.is_empty() { on } else { format!("{on}-{off}") }
    }
}

const LETTERS: [(Flags, char); 4] = [
    (Flags::IGNORES_CASE, 'i'),
    (Flags::MULTI_LINE, 'm'),
    (Flags::DOT_MATCHES_LINE_BREAK, 's'),
    (Flags::SWAPS_GREED, 'U'),
];
