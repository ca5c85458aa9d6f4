//! A line of text before the first frame, found among what others may have written before it.
//!
//! What starts a program on another host runs the user's shell first, whose files may print something. A line with a mark says where that
//! ends, and who speaks.

use super::ChannelError;

/// Looks for a line that begins with a mark.
#[derive(Debug)]
pub(super) struct Opening {
    mark: &'static str,
    /// All that has come so far.
    text: Vec<u8>,
    line: Option<String>,
}

impl Opening {
    pub(super) const fn new(mark: &'static str) -> Self {
        Self {
            mark,
            text: Vec::new(),
            line: None,
        }
    }

    /// What stands after the mark, once it has come.
    pub(super) fn line(&self) -> Option<&str> {
        self.line.as_deref()
    }

    /// What came before the line with the mark.
    pub(super) fn noise(&self) -> String {
        String::from_utf8_lossy(&self.text).trim().to_owned()
    }

    /// Adds what has arrived. Once the line is there whole: what comes after it.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<Option<Vec<u8>>, ChannelError> {
        self.text.extend_from_slice(bytes);
        let mut at = 0;
        while let Some(length) = self.text[at..].iter().position(|&byte| byte == b'\n') {
            let line = &self.text[at..at + length];
            if let Some(rest) = line.strip_prefix(self.mark.as_bytes()) {
                self.line = Some(String::from_utf8_lossy(rest).into_owned());
                let frames = self.text.split_off(at + length + 1);
                self.text.truncate(at);
                return Ok(Some(frames));
            }
            at += length + 1;
        }
        if self.text.len() > MOST {
            return Err(ChannelError::NoOpening);
        }
        Ok(None)
    }
}

/// More than any shell greets its user with.
const MOST: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_found_wherever_the_bytes_are_cut() {
        let stream = b"Welcome!\nsay ourself\nour line 7\nframes\nour line 8\n";
        for cut in 0..stream.len() {
            let mut opening = Opening::new("our line ");
            let (first, second) = stream.split_at(cut);
            let mut after = opening.push(first).unwrap();
            match &mut after {
                Some(after) => after.extend_from_slice(second),
                None => after = opening.push(second).unwrap(),
            }
            assert_eq!(after.unwrap(), b"frames\nour line 8\n");
            assert_eq!(opening.line(), Some("7"));
            assert_eq!(opening.noise(), "Welcome!\nsay ourself");
        }
    }

    #[test]
    fn who_says_much_and_never_the_mark_is_not_ours() {
        let mut opening = Opening::new("our line ");
        assert!(matches!(opening.push(&vec![b'x'; MOST]), Ok(None)));
        assert!(matches!(
            opening.push(b"\nour"),
            Err(ChannelError::NoOpening)
        ));
    }
}
