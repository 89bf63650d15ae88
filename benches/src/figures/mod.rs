//! Each figure beside its floor.
pub mod cold;
pub mod hot;
pub mod import;
pub mod sequential;
