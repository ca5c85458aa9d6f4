//! What to start: programs, and for each rank which of them and where it runs.
//!
//! Pure: a plan is made from arguments and the list of allowed processors, and starting it is another module's work.

use std::ffi::{OsStr, OsString};

/// A program with its arguments, and variables added to the launcher's environment.
///
/// # Examples
/// ```
/// use phalanx_launch::Program;
///
/// let program = Program::new("./solver").argument("--steps").argument("100").variable("RUST_LOG", "info");
/// assert_eq!(program.path(), "./solver");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    path: OsString,
    arguments: Vec<OsString>,
    variables: Vec<(OsString, OsString)>,
}

impl Program {
    /// The program `path`, looked up in `PATH` where it contains no slash.
    #[must_use]
    pub fn new(path: impl Into<OsString>) -> Self {
        Self {
            path: path.into(),
            arguments: Vec::new(),
            variables: Vec::new(),
        }
    }

    /// Adds one argument.
    #[must_use]
    pub fn argument(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Adds several arguments.
    #[must_use]
    pub fn arguments<I>(mut self, arguments: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<OsString>,
    {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Sets an environment variable of the ranks that run this program.
    #[must_use]
    pub fn variable(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// The path as it was given.
    #[must_use]
    pub fn path(&self) -> &OsStr {
        &self.path
    }

    pub(crate) fn all_arguments(&self) -> &[OsString] {
        &self.arguments
    }

    pub(crate) fn all_variables(&self) -> &[(OsString, OsString)] {
        &self.variables
    }
}

/// Which program each rank runs, and on which processor.
///
/// # Examples
/// ```
/// use phalanx_launch::{Plan, Program};
///
/// let plan = Plan::new(1, Program::new("./head"))?.and(3, Program::new("./worker"))?;
/// assert_eq!(plan.size(), 4);
/// assert_eq!(plan.program(2).path(), "./worker");
/// # Ok::<(), phalanx_launch::PlanError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    programs: Vec<Program>,
    ranks: Vec<Placement>,
    is_bound_by_host: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Placement {
    program: usize,
    processor: Option<usize>,
}

impl Plan {
    /// `count` ranks of `program`.
    ///
    /// # Errors
    /// If `count` is zero or more than [`MAX_RANKS`].
    pub fn new(count: usize, program: Program) -> Result<Self, PlanError> {
        let empty = Self {
            programs: Vec::new(),
            ranks: Vec::new(),
            is_bound_by_host: false,
        };
        empty.and(count, program)
    }

    /// The same plan with `count` more ranks, of another program, after the others.
    ///
    /// # Errors
    /// If `count` is zero or the ranks become more than [`MAX_RANKS`].
    pub fn and(mut self, count: usize, program: Program) -> Result<Self, PlanError> {
        if count == 0 {
            return Err(PlanError::NoRanks {
                program: program.path,
            });
        }
        let ranks = self.ranks.len().saturating_add(count);
        if ranks > MAX_RANKS {
            return Err(PlanError::TooManyRanks { ranks });
        }
        let placement = Placement {
            program: self.programs.len(),
            processor: None,
        };
        self.ranks.resize(ranks, placement);
        self.programs.push(program);
        Ok(self)
    }

    /// Pins rank k to the k-th of `processors`, beginning again where there are more ranks than processors.
    ///
    /// # Panics
    /// If `processors` is empty.
    #[must_use]
    pub fn bound_to(mut self, processors: &[usize]) -> Self {
        assert!(!processors.is_empty(), "a process may always run somewhere");
        for (placement, &processor) in self.ranks.iter_mut().zip(processors.iter().cycle()) {
            placement.processor = Some(processor);
        }
        self
    }

    /// Pins each rank of a host to an allowed processor of that host, beginning again where there are more ranks than processors.
    #[must_use]
    pub const fn bound_by_host(mut self) -> Self {
        self.is_bound_by_host = true;
        self
    }

    pub(crate) const fn is_bound_by_host(&self) -> bool {
        self.is_bound_by_host
    }

    pub(crate) fn programs(&self) -> &[Program] {
        &self.programs
    }

    /// How many ranks, one after the other, run which program.
    pub(crate) fn runs(&self) -> Vec<(u32, u32)> {
        let runs = self
            .ranks
            .chunk_by(|before, after| before.program == after.program);
        let number = |count: usize| u32::try_from(count).expect("plans have fewer ranks");
        runs.map(|run| (number(run.len()), number(run[0].program)))
            .collect()
    }

    /// The number of ranks, at least one.
    #[must_use]
    pub const fn size(&self) -> usize {
        self.ranks.len()
    }

    /// The program of rank `rank`.
    ///
    /// # Panics
    /// If there is no such rank.
    #[must_use]
    pub fn program(&self, rank: usize) -> &Program {
        &self.programs[self.ranks[rank].program]
    }

    /// The only processor that rank `rank` runs on; `None` where it is not bound.
    ///
    /// # Panics
    /// If there is no such rank.
    #[must_use]
    pub fn processor(&self, rank: usize) -> Option<usize> {
        self.ranks[rank].processor
    }
}

/// Why there is no such plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// A program was given no rank.
    #[error("no rank for {}: give it at least one with -n", program.display())]
    NoRanks {
        /// The program.
        program: OsString,
    },
    /// More ranks than [`MAX_RANKS`].
    #[error("{ranks} ranks are more than {MAX_RANKS}: lower -n")]
    TooManyRanks {
        /// The ranks asked for.
        ranks: usize,
    },
}

/// A bound against typing mistakes, far beyond what one host can start; the kernel's limits of processes and
/// descriptors come first. Frames name ranks by 32 bits.
pub const MAX_RANKS: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_numbered_through_the_programs() {
        let plan = Plan::new(2, Program::new("a")).unwrap();
        let plan = plan.and(3, Program::new("b")).unwrap();
        let paths: Vec<_> = (0..plan.size())
            .map(|rank| plan.program(rank).path())
            .collect();
        assert_eq!(paths, ["a", "a", "b", "b", "b"]);
    }

    #[test]
    fn no_ranks_and_too_many_are_errors() {
        let none = Plan::new(0, Program::new("a")).unwrap_err();
        assert_eq!(
            none,
            PlanError::NoRanks {
                program: "a".into()
            }
        );
        let plan = Plan::new(MAX_RANKS, Program::new("a")).unwrap();
        let ranks = MAX_RANKS + 1;
        assert_eq!(
            plan.and(1, Program::new("b")),
            Err(PlanError::TooManyRanks { ranks })
        );
        let absurd = Plan::new(1, Program::new("a")).unwrap();
        let error = absurd.and(usize::MAX, Program::new("b"));
        assert_eq!(error, Err(PlanError::TooManyRanks { ranks: usize::MAX }));
    }

    #[test]
    fn more_ranks_than_processors_begin_again() {
        let plan = Plan::new(5, Program::new("a")).unwrap();
        assert_eq!(plan.processor(4), None);
        let plan = plan.bound_to(&[2, 7]);
        let bound: Vec<_> = (0..5).map(|rank| plan.processor(rank).unwrap()).collect();
        assert_eq!(bound, [2, 7, 2, 7, 2]);
    }
}
