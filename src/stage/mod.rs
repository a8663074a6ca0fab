//! The stages: extract, transform, load, archive. Each drives `source`, `store`, `sql` or `target` and can be killed at
//! any instant; the next run continues.
