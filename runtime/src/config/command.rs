//! A command line as a setting: words, split as a shell would, and nothing else of a shell.

use std::fmt;
use std::str::FromStr;

/// A program and its first arguments.
///
/// Words stand apart by white space. Within single quotes everything is meant as it stands; within double quotes, and outside, a
/// backslash takes the meaning from what follows. Nothing is replaced: no variables, no patterns.
///
/// # Examples
/// ```
/// use phalanx_runtime::config::CommandLine;
///
/// let command: CommandLine = r#"ssh -F "my config""#.parse()?;
/// assert_eq!(command.words(), ["ssh", "-F", "my config"]);
/// assert_eq!(command.to_string(), "ssh -F 'my config'");
/// # Ok::<(), phalanx_runtime::config::NoCommand>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLine {
    words: Vec<String>,
}

/// A text that is no command line: it has no word, or a quote that is not closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no command line: write a program and its arguments, and close each quote")]
pub struct NoCommand;

impl CommandLine {
    /// The program and its arguments; at least one word.
    #[must_use]
    pub fn words(&self) -> &[String] {
        &self.words
    }
}

impl FromStr for CommandLine {
    type Err = NoCommand;

    fn from_str(text: &str) -> Result<Self, NoCommand> {
        let mut words = Vec::new();
        // `None` between words, for a word may be empty.
        let mut word: Option<String> = None;
        let mut quote = None;
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            match (quote, character) {
                (Some(open), _) if character == open => quote = None,
                (Some('\''), _) => word.get_or_insert_default().push(character),
                (_, '\\') => {
                    let escaped = characters.next().ok_or(NoCommand)?;
                    word.get_or_insert_default().push(escaped);
                }
                (None, '\'' | '"') => {
                    quote = Some(character);
                    word.get_or_insert_default();
                }
                (None, _) if character.is_whitespace() => words.extend(word.take()),
                _ => word.get_or_insert_default().push(character),
            }
        }
        words.extend(word);
        if quote.is_some() || words.first().is_none_or(String::is_empty) {
            return Err(NoCommand);
        }
        Ok(Self { words })
    }
}

/// In the form that is read again.
impl fmt::Display for CommandLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, word) in self.words.iter().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            let is_plain = |character: char| {
                !character.is_whitespace() && !matches!(character, '\'' | '"' | '\\')
            };
            if !word.is_empty() && word.chars().all(is_plain) {
                f.write_str(word)?;
            } else {
                write!(f, "'{}'", word.replace('\'', "'\\''"))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn words(text: &str) -> Option<Vec<String>> {
        text.parse().ok().map(|command: CommandLine| command.words)
    }

    #[test]
    fn words_are_those_of_a_shell() {
        for (text, expected) in [
            ("ssh", &["ssh"][..]),
            ("  ssh\t-v ", &["ssh", "-v"]),
            (r#"a "b c" 'd "e' f"g"'h'"#, &["a", "b c", "d \"e", "fgh"]),
            (
                r#"a "" '' b\ c "\"\\" '\'"#,
                &["a", "", "", "b c", "\"\\", "\\"],
            ),
        ] {
            assert_eq!(words(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_open_or_empty_is_no_command() {
        for text in ["", "  ", "''", "'' a", "ssh '", "ssh \"a", "ssh \\"] {
            assert_eq!(words(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_again(words in vec("[a '\"\\\\]{0,4}", 1..5)) {
            prop_assume!(!words[0].is_empty());
            let command = CommandLine { words };
            prop_assert_eq!(command.to_string().parse(), Ok(command));
        }
    }
}
