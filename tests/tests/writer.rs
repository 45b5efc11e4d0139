//! The writer on a log in memory, with faults, a clock moved by hand and counted ids: nothing here waits for time to pass.

#[path = "writer/answering.rs"]
mod answering;
#[path = "writer/authorising.rs"]
mod authorising;
#[path = "writer/failing.rs"]
mod failing;
#[path = "writer/holding.rs"]
mod holding;
#[path = "writer/lagging.rs"]
mod lagging;
#[path = "writer/ordering.rs"]
mod ordering;
#[path = "writer/owning.rs"]
mod owning;
#[path = "writer/recovering.rs"]
mod recovering;
#[path = "writer/refusing.rs"]
mod refusing;
#[path = "writer/retrying.rs"]
mod retrying;
#[path = "writer/stand.rs"]
mod stand;
#[path = "writer/traced.rs"]
mod traced;
#[path = "writer/watching.rs"]
mod watching;
