//! The two streams of a job's output, with their ends: the launcher's own, or memory.

use std::io;
use std::os::fd::AsFd;

use crate::job::Output;
use crate::output::Stream;
use crate::sink::{Funnel, Sink, is_same};

/// Standard output and standard error of `ranks` ranks.
pub(crate) fn streams(output: Output, ranks: usize) -> io::Result<(Stream, Stream)> {
    let limit = line_limit(ranks);
    let (stdout, stderr) = sinks(output, ranks)?;
    Ok((
        Stream::new(ranks, stdout, limit),
        Stream::new(ranks, stderr, limit),
    ))
}

/// For standard output and standard error.
fn sinks(output: Output, ranks: usize) -> io::Result<(Sink, Sink)> {
    let memory = || Sink::Memory(vec![Vec::new(); ranks]);
    let tagged = match output {
        Output::Console { tagged } => tagged,
        Output::Capture => return Ok((memory(), memory())),
    };
    let (stdout, stderr) = (io::stdout(), io::stderr());
    let first = Funnel::new(stdout.as_fd().try_clone_to_owned()?, tagged);
    let second = if is_same(stdout.as_fd(), stderr.as_fd()) {
        first.beside()
    } else {
        Funnel::new(stderr.as_fd().try_clone_to_owned()?, tagged)
    };
    Ok((Sink::Descriptor(first), Sink::Descriptor(second)))
}

/// Beyond how many bytes the lines of each of `ranks` ranks may be cut.
fn line_limit(ranks: usize) -> usize {
    match ranks {
        // One rank has nobody to mix its lines with: a prompt without a newline shows at once.
        1 => 0,
        _ => (LINES_OF_ALL / ranks).clamp(LEAST_LINE, MOST_LINE),
    }
}

/// A line is kept until it is whole, so this bounds the memory for each stream of a job in which every rank writes without a newline.
const LINES_OF_ALL: usize = 16 << 20;
const MOST_LINE: usize = 1 << 20;
/// The usual capacity of a pipe, so no more than the kernel keeps for the rank.
const LEAST_LINE: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_whole_up_to_a_mebibyte_or_a_share_of_what_all_may_take() {
        let limits = [1, 2, 16, 32, 256, 10_000].map(line_limit);
        let expected = [
            0,
            MOST_LINE,
            MOST_LINE,
            MOST_LINE / 2,
            LEAST_LINE,
            LEAST_LINE,
        ];
        assert_eq!(limits, expected);
    }
}
