//! Integration tests.

mod sandbox_salesmanago;
