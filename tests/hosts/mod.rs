//! Jobs on several hosts, which are network namespaces of this machine. They need root, `iproute2` and `util-linux`; where these are
//! missing the tests fail.

mod apart;
mod exchange;
mod failures;
mod forwarder;
mod frames;
mod job;
mod leftovers;
mod loss;
mod measure;
mod network;
mod refusals;

pub(crate) use job::Job;
pub(crate) use network::{Family, Network};
