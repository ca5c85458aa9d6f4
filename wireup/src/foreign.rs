//! Launchers of other message-passing systems, recognised by the variables that they set.
//!
//! Only variables that a launcher sets for *each process it starts* count. Slurm shows why: a batch script finds
//! `SLURM_NTASKS=64` and `SLURM_PROCID=0` in its environment although `srun` started nothing, and a program run
//! directly from that script is rightly a world of one. `SLURM_STEP_NUM_TASKS` is set by `srun` alone.

use std::fmt;

/// A launcher that started this process and that Phalanx does not understand.
///
/// # Examples
/// ```
/// use phalanx_wireup::ForeignLauncher;
///
/// let environment = |name: &str| match name {
///     "OMPI_COMM_WORLD_RANK" => Some("2".to_owned()),
///     "OMPI_COMM_WORLD_SIZE" => Some("4".to_owned()),
///     _ => None,
/// };
/// let launcher = ForeignLauncher::detect(environment).expect("mpirun is recognised");
/// assert_eq!((launcher.rank(), launcher.size()), (2, Some(4)));
/// assert!(!launcher.must_speak(), "rank 0 speaks for all");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignLauncher {
    name: &'static str,
    rank: usize,
    size: Option<usize>,
    hint: &'static str,
}

impl ForeignLauncher {
    /// Looks for a foreign launcher of more than one process in the environment `env`.
    ///
    /// A foreign launcher that started a single process is not reported: a world of one is then what the user meant.
    pub fn detect(env: impl Fn(&str) -> Option<String>) -> Option<Self> {
        KNOWN.iter().find_map(|known| known.detect(&env))
    }

    /// The launcher's name, as its users call it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The number that the foreign launcher gave to this process.
    #[must_use]
    pub const fn rank(&self) -> usize {
        self.rank
    }

    /// How many processes the foreign launcher started; `None` where it does not say.
    #[must_use]
    pub const fn size(&self) -> Option<usize> {
        self.size
    }

    /// What to do instead, a clause without a full stop.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        self.hint
    }

    /// Whether this process is the one of all that must print [`message`](Self::message).
    #[must_use]
    pub const fn must_speak(&self) -> bool {
        self.rank == 0
    }

    /// The whole story in one line, to be printed once per job.
    #[must_use]
    pub fn message(&self) -> String {
        let started = match self.size {
            Some(size) => format!("{size} processes"),
            None => "this process".to_owned(),
        };
        format!(
            "{} started {started}, but Phalanx cannot join ranks that it started: {} (to run each process as a world \
             of one, set PHALANX_RANK=0 and PHALANX_SIZE=1)",
            self.name, self.hint
        )
    }
}

/// The whole message where this process must speak, a pointer to rank 0 elsewhere.
impl fmt::Display for ForeignLauncher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.must_speak() {
            f.write_str(&self.message())
        } else {
            write!(f, "started by {}, see the message of its rank 0", self.name)
        }
    }
}

struct Known {
    name: &'static str,
    rank: &'static str,
    /// `None`: the launcher does not tell, so any process it started counts as one of many.
    size: Option<&'static str>,
    hint: &'static str,
}

impl Known {
    fn detect(&self, env: &impl Fn(&str) -> Option<String>) -> Option<ForeignLauncher> {
        let number = |variable: &str| env(variable)?.trim().parse::<usize>().ok();
        let rank = number(self.rank)?;
        let size = match self.size {
            Some(variable) => Some(number(variable).filter(|&size| size > 1)?),
            None => None,
        };
        Some(ForeignLauncher {
            name: self.name,
            rank,
            size,
            hint: self.hint,
        })
    }
}

/// From the most specific to the least: `mpirun` inside Slurm sets its own variables beside those of Slurm, and PMIx
/// is used by several of the others.
const KNOWN: &[Known] = &[
    Known {
        name: "Open MPI's mpirun",
        rank: "OMPI_COMM_WORLD_RANK",
        size: Some("OMPI_COMM_WORLD_SIZE"),
        hint: INSTEAD_OF_MPIRUN,
    },
    Known {
        name: "MVAPICH's mpirun",
        rank: "MV2_COMM_WORLD_RANK",
        size: Some("MV2_COMM_WORLD_SIZE"),
        hint: INSTEAD_OF_MPIRUN,
    },
    Known {
        name: "an MPICH-style launcher (PMI)",
        rank: "PMI_RANK",
        size: Some("PMI_SIZE"),
        hint: INSTEAD_OF_MPIRUN,
    },
    Known {
        name: "Flux",
        rank: "FLUX_TASK_RANK",
        size: Some("FLUX_JOB_SIZE"),
        hint: INSIDE_THE_ALLOCATION,
    },
    Known {
        name: "IBM's jsrun",
        rank: "JSM_NAMESPACE_RANK",
        size: Some("JSM_NAMESPACE_SIZE"),
        hint: INSIDE_THE_ALLOCATION,
    },
    Known {
        name: "Slurm's srun",
        rank: "SLURM_PROCID",
        size: Some("SLURM_STEP_NUM_TASKS"),
        hint: INSIDE_THE_ALLOCATION,
    },
    Known {
        name: "a PMIx launcher",
        rank: "PMIX_RANK",
        size: None,
        hint: INSTEAD_OF_MPIRUN,
    },
];

const INSTEAD_OF_MPIRUN: &str = "start it with `phalanx run -n N -- PROGRAM` instead";
const INSIDE_THE_ALLOCATION: &str =
    "start one `phalanx run -n N -- PROGRAM` inside the allocation instead";

#[cfg(test)]
mod tests {
    use super::*;

    fn detect(variables: &[(&str, &str)]) -> Option<ForeignLauncher> {
        ForeignLauncher::detect(|name| {
            let found = variables.iter().find(|(key, _)| *key == name)?;
            Some(found.1.to_owned())
        })
    }

    #[test]
    fn every_known_launcher_is_recognised_by_its_variables() {
        for known in KNOWN {
            let mut variables = vec![(known.rank, "3")];
            variables.extend(known.size.map(|size| (size, "8")));
            let launcher = detect(&variables).unwrap();
            assert_eq!((launcher.name(), launcher.rank()), (known.name, 3));
            assert_eq!(launcher.size(), known.size.map(|_| 8));
        }
    }

    #[test]
    fn a_launcher_of_a_single_process_is_none() {
        assert_eq!(detect(&[("PMI_RANK", "0"), ("PMI_SIZE", "1")]), None);
    }

    #[test]
    fn a_batch_script_of_slurm_is_not_a_launcher() {
        assert_eq!(
            detect(&[("SLURM_PROCID", "0"), ("SLURM_NTASKS", "64")]),
            None
        );
    }

    #[test]
    fn mpirun_inside_slurm_is_mpirun() {
        let launcher = detect(&[
            ("SLURM_PROCID", "0"),
            ("SLURM_STEP_NUM_TASKS", "2"),
            ("OMPI_COMM_WORLD_RANK", "1"),
            ("OMPI_COMM_WORLD_SIZE", "2"),
        ]);
        assert_eq!(launcher.unwrap().name(), "Open MPI's mpirun");
    }

    #[test]
    fn variables_that_are_no_numbers_are_not_a_launcher() {
        assert_eq!(detect(&[("PMI_RANK", "zero"), ("PMI_SIZE", "4")]), None);
    }

    #[test]
    fn one_of_all_speaks_and_the_others_point_to_it() {
        let told: Vec<String> = ["0", "1", "2"]
            .map(|rank| {
                detect(&[("PMI_RANK", rank), ("PMI_SIZE", "3")])
                    .unwrap()
                    .to_string()
            })
            .into();
        assert!(
            told[0].contains("phalanx run -n N") && told[0].contains("3 processes"),
            "{told:?}"
        );
        assert!(
            told[1..]
                .iter()
                .all(|text| text.ends_with("see the message of its rank 0")),
            "{told:?}"
        );
    }
}
