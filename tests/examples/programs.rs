//! The examples, to be called.

#[path = "../../examples/heat.rs"]
pub(super) mod heat;
#[path = "../../examples/hello.rs"]
pub(super) mod hello;
#[path = "../../examples/loan.rs"]
pub(super) mod loan;
#[path = "../../examples/ping_pong.rs"]
pub(super) mod ping_pong;
#[path = "../../examples/ring.rs"]
pub(super) mod ring;
#[path = "../../examples/typed.rs"]
pub(super) mod typed;
#[path = "../../examples/word_count.rs"]
pub(super) mod word_count;
#[path = "../../examples/workers.rs"]
pub(super) mod workers;
