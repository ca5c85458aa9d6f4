//! Lines for whoever runs the job, of what is no error of any call: that somebody was turned away.

use std::io::Write;
use std::sync::atomic::{AtomicU32, Ordering};

/// Says `line` on standard error, as long as there are not too many of them: a flood of strangers shall not become one of lines.
pub(crate) fn notice(line: &str) {
    static SAID: AtomicU32 = AtomicU32::new(0);
    // A count and nothing else, so Relaxed.
    let said = SAID.fetch_add(1, Ordering::Relaxed);
    let text = match said {
        0..MOST => format!("phalanx: {line}\n"),
        MOST => "phalanx: more of this kind is not shown\n".to_owned(),
        _ => return,
    };
    // One write, so that lines of several ranks do not mix. Where nobody reads there is nobody to tell.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// Lines that one process says.
const MOST: u32 = 16;
