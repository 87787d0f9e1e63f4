//! From the start to the last reply: reloads, shutdown, and what is served when the configuration or an upstream is at
//! fault.

mod last_good;
mod loops;
mod reloads;
mod shutdown;
