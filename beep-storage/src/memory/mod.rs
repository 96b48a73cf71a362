//! Every store in memory: the oracle that the others are compared with. Nothing survives the process.

mod bites;
mod blobs;
mod directory;
mod ephemeral;
mod search;
mod sessions;

pub use bites::MemoryBites;
pub use blobs::MemoryBlobs;
pub use directory::MemoryDirectory;
pub use ephemeral::MemoryEphemeral;
pub use search::MemorySearch;
