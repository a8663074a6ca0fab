//! Pipeline files: YAML in, typed and validated settings out. Nothing outside is touched but the environment.

pub mod pipeline;

pub use pipeline::Pipeline;
