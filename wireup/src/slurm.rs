//! The steps of Slurm: what `srun` tells each process that it starts.
//!
//! `srun` numbers its processes but does not say how they may reach each other, so it takes the launcher's part only
//! together with a rendezvous. `SLURM_STEP_NUM_TASKS` and `SLURM_STEP_NODELIST` are set by `srun` alone; a batch script
//! finds `SLURM_PROCID=0` and `SLURM_NTASKS=64` too, and it would wait for 63 ranks that nobody starts.

use crate::hostlist::{HostListError, expand_nodes};

/// One process of a step of Slurm.
///
/// # Examples
/// ```
/// use phalanx_wireup::SlurmStep;
///
/// let environment = |name: &str| match name {
///     "SLURM_PROCID" => Some("5".to_owned()),
///     "SLURM_NTASKS" => Some("8".to_owned()),
///     "SLURM_LOCALID" => Some("1".to_owned()),
///     "SLURM_STEP_NODELIST" => Some("node[01-04]".to_owned()),
///     _ => None,
/// };
/// let step = SlurmStep::detect(environment).expect("srun started this process");
/// assert_eq!((step.rank(), step.size(), step.local_rank()), (5, 8, Some(1)));
/// assert_eq!(step.nodes()?, ["node01", "node02", "node03", "node04"]);
///
/// let batch_script = |name: &str| match name {
///     "SLURM_PROCID" => Some("0".to_owned()),
///     "SLURM_NTASKS" => Some("8".to_owned()),
///     _ => None,
/// };
/// assert_eq!(SlurmStep::detect(batch_script), None);
/// # Ok::<(), phalanx_wireup::hostlist::HostListError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlurmStep {
    rank: usize,
    size: usize,
    local_rank: Option<usize>,
    node_list: Option<String>,
}

impl SlurmStep {
    /// Looks for a step in the environment `env`; `None` where `srun` did not start this process, or where its numbers
    /// do not fit together.
    #[must_use]
    pub fn detect(env: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let number = |variable: &str| env(variable)?.trim().parse::<usize>().ok();
        let node_list = env("SLURM_STEP_NODELIST").filter(|list| !list.is_empty());
        let total = || {
            node_list.as_ref()?;
            number("SLURM_NTASKS")
        };
        let rank = number("SLURM_PROCID")?;
        let size = number("SLURM_STEP_NUM_TASKS")
            .or_else(total)
            .filter(|&size| rank < size)?;
        Some(Self {
            rank,
            size,
            local_rank: number("SLURM_LOCALID"),
            node_list,
        })
    }

    /// The number of this process in the step.
    #[must_use]
    pub const fn rank(&self) -> usize {
        self.rank
    }

    /// The processes of the step.
    #[must_use]
    pub const fn size(&self) -> usize {
        self.size
    }

    /// The number of this process among those of its node, where Slurm tells it.
    #[must_use]
    pub const fn local_rank(&self) -> Option<usize> {
        self.local_rank
    }

    /// The names of the nodes of the step, in Slurm's order; none where Slurm does not tell.
    ///
    /// # Errors
    /// When the list of nodes cannot be understood.
    pub fn nodes(&self) -> Result<Vec<String>, HostListError> {
        self.node_list
            .as_deref()
            .map_or_else(|| Ok(Vec::new()), expand_nodes)
    }
}
