//! From the start to the last reply: reloads, shutdown, and what is served when the configuration or an upstream is at
//! fault.

mod loops;
mod shutdown;
