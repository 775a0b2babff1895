//! The built-in controllers and the scheduler against the embedded API, in one process and
//! without a node agent: a stand-in for one makes bound pods ready and removes deleted ones.

mod bounds;
mod cluster;
mod jobs;
mod kept;
mod life;
mod placement;
mod rollout;
mod services;
mod storage;
