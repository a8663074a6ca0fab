//! Pipeline files: YAML in, typed and validated settings out. Nothing outside is touched but the environment and the
//! files that `${file:…}` names.

pub mod mistakes;
pub mod pipeline;

pub use pipeline::Pipeline;
