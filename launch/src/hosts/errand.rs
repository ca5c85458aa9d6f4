//! What an agent is told to do, once, before anything else.

use std::ffi::OsString;

use phalanx_wireup::exchange::{RankSet, Who};
use serde::{Deserialize, Serialize};

use super::layout::Post;
use crate::exchange::JobNumber;
use crate::job::Job;
use crate::plan::{Plan, Program};

/// The job of an agent, and of the agents below it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Errand {
    /// Who is to do it.
    pub(crate) post: Post,
    /// Who sends it.
    pub(crate) parent: Who,
    pub(crate) common: Common,
}

/// What is the same for all hosts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Common {
    /// The number of the job, where its ranks need a wire-up.
    pub(crate) wireup: Option<JobNumber>,
    /// The ranks of the whole job: how many run which of the programs, in order.
    runs: Vec<(u32, u32)>,
    programs: Vec<ProgramText>,
    /// Variables of all ranks.
    pub(crate) variables: Vec<(OsString, OsString)>,
    /// Where the ranks start.
    pub(crate) directory: OsString,
    /// Whether each rank gets a processor of its own.
    is_bound: bool,
    pub(crate) arena_bytes: Option<u64>,
    /// Whether rank 0 has a standard input.
    pub(crate) input: bool,
    pub(crate) reach: Reach,
}

/// How one host starts an agent on another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reach {
    /// A command line, to which host and remote command are appended.
    pub(crate) agent: Vec<OsString>,
    /// The command `phalanx` of the other host: paths and names, of which the first counts that is there.
    pub(crate) candidates: Vec<OsString>,
}

/// Path, arguments, variables.
type ProgramText = (OsString, Vec<OsString>, Vec<(OsString, OsString)>);

impl Common {
    /// What all agents of `job` have to know, which start in `directory`.
    pub(crate) fn of(
        job: &Job,
        wireup: Option<JobNumber>,
        directory: OsString,
        variables: Vec<(OsString, OsString)>,
        reach: Reach,
    ) -> Self {
        let text = |program: &Program| {
            let path = program.path().to_owned();
            let arguments = program.all_arguments().to_vec();
            (path, arguments, program.all_variables().to_vec())
        };
        Self {
            wireup,
            runs: job.plan.runs(),
            programs: job.plan.programs().iter().map(text).collect(),
            variables,
            directory,
            is_bound: job.plan.is_bound_by_host(),
            arena_bytes: job.arena_bytes,
            input: job.input == crate::job::Input::Console,
            reach,
        }
    }

    /// The plan of the whole job; `None` if these are no programs and numbers of a plan.
    pub(crate) fn plan(&self) -> Option<Plan> {
        let mut plan: Option<Plan> = None;
        for &(count, program) in &self.runs {
            let (path, arguments, variables) = self.programs.get(program as usize)?;
            let mut program = Program::new(path).arguments(arguments);
            for (name, value) in self.variables.iter().chain(variables) {
                program = program.variable(name, value);
            }
            plan = match plan {
                None => Plan::new(count as usize, program),
                Some(plan) => plan.and(count as usize, program),
            }
            .ok();
            plan.as_ref()?;
        }
        plan.map(|plan| {
            if self.is_bound {
                plan.bound_by_host()
            } else {
                plan
            }
        })
    }
}

impl Errand {
    /// The errands of the agents below, from the one that does this.
    pub(crate) fn below(&self) -> Vec<Self> {
        let parent = Who::Agent(self.post.number);
        let below = self.post.below.iter();
        below
            .map(|post| Self {
                post: post.clone(),
                parent,
                common: self.common.clone(),
            })
            .collect()
    }

    /// The ranks of this host.
    pub(crate) const fn ranks(&self) -> &RankSet {
        &self.post.ranks
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hosts::frames::{decode, encode};
    use std::os::unix::ffi::OsStringExt;

    #[test]
    fn an_errand_survives_the_way_and_makes_the_same_plan() {
        let odd = OsString::from_vec(vec![b'a', 0xff, b'=']);
        let first = Program::new(&odd).argument("x y").variable("A", &odd);
        let plan = Plan::new(2, first.clone()).unwrap();
        let plan = plan.and(3, Program::new("second")).unwrap();
        let plan = plan.and(1, first).unwrap().bound_by_host();
        let reach = Reach {
            agent: vec!["ssh".into()],
            candidates: vec![odd.clone()],
        };
        let job = Job::new(plan.clone());
        let common = Common::of(&job, Some([7; 16]), odd, Vec::new(), reach);
        let errand = Errand {
            post: Post {
                number: 3,
                host: "b".to_owned(),
                ranks: (0..6).into(),
                below: Vec::new(),
            },
            parent: Who::Root,
            common,
        };
        let read: Errand = decode(&encode(&errand)).unwrap();
        assert_eq!(read, errand);
        assert_eq!(read.common.plan(), Some(plan));
    }
}
