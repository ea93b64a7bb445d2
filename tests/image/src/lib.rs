// SPDX-License-Identifier: GPL-2.0

//! OverlayBD images on the host: writers of ZFiles, layers and tar wrappers of every kind, readers
//! of files that use `overlaybd_format`, a naive oracle, and the reference images with their
//! content. For tests only: no code here is fast or part of the kernel module.
//!
//! ```
//! use overlaybd_image::{LayerWriter, ReadAt, Stack, Wrapper, ZfileWriter};
//!
//! let base = LayerWriter::new(1 << 20).data(0, &[b'a'; 4096]).write();
//! let top = LayerWriter::new(1 << 20).data(2, &[b'b'; 512]).zeros(4, 2).write();
//! let top = Wrapper::Pax.wrap(&ZfileWriter::new().block_size(512).write(&top));
//!
//! let stack = Stack::open([base, top]).unwrap();
//! assert_eq!(stack.len(), 1 << 20);
//! let mut sectors = [0; 3 * 512];
//! stack.read_at(1024, &mut sectors).unwrap();
//! assert_eq!((sectors[0], sectors[512], sectors[1024]), (b'b', b'a', 0));
//! ```

#![forbid(unsafe_code)]
#![deny(missing_docs, missing_debug_implementations, unreachable_pub)]

mod blob;
mod codec;
#[cfg(feature = "corpus")]
mod corpus;
mod crc;
mod error;
pub mod generate;
mod layer_writer;
pub mod oracle;
mod read_at;
mod stack;
mod wrapper;
mod zfile_reader;
mod zfile_writer;

pub use blob::Blob;
pub use codec::Zstd;
#[cfg(feature = "corpus")]
pub use corpus::{sha256, Corpus, Damage, LayerRow, Manifest, Range, StackRow, Verdict, ZfileRow};
pub use crc::crc32c;
pub use error::Error;
pub use layer_writer::{LayerWriter, Padding};
pub use read_at::{ReadAt, Slice};
pub use stack::{load_layer, map_of, Stack};
pub use wrapper::{Payload, Wrapper};
pub use zfile_reader::ZfileReader;
pub use zfile_writer::{fix_digest, ZfileWriter};
