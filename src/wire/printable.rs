//! What others say, for a terminal.

/// The text without what would steer a terminal, lines aside.
pub fn printable(text: &str) -> String {
    text.chars().filter(|letter| *letter == '\n' || !letter.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_not_steered() {
        let text = "\u{1b}]0;title\u{7}red \u{1b}[31m\u{9b}2J\r\u{202e}é\nnext";
        assert_eq!(printable(text), "]0;titlered [31m2J\u{202e}é\nnext");
    }
}
