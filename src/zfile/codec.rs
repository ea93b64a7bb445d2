// SPDX-License-Identifier: GPL-2.0

//! The decompressors of a ZFile's blocks.

use crate::sys::zstd::{
    ContextGuard,
    ZstdContexts, //
};
use kernel::sync::Arc;
use overlaybd_format::zfile::{
    Decompress,
    Lz4, //
};

/// The algorithm of a ZFile, with the resources that it takes.
pub(super) enum Codec {
    Lz4,
    Zstd(Arc<ZstdContexts>),
}

impl Codec {
    /// The name in the status line.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Lz4 => "lz4",
            Self::Zstd(_) => "zstd",
        }
    }

    /// Whether [`decoder`](Self::decoder) may sleep until another read returns its workspace.
    pub(super) fn may_sleep(&self) -> bool {
        matches!(self, Self::Zstd(_))
    }

    /// Tries to acquire a workspace without sleeping. Returns whether `decoder` will not sleep with
    /// it.
    pub(super) fn try_acquire(&self, workspace: &mut Option<ContextGuard>) -> bool {
        match self {
            Self::Lz4 => true,
            Self::Zstd(contexts) => {
                *workspace = contexts.try_take();
                workspace.is_some()
            }
        }
    }

    /// A decoder, with `workspace` if there is one.
    pub(super) fn decoder(&self, workspace: Option<ContextGuard>) -> Decoder {
        match self {
            Self::Lz4 => Decoder::Lz4,
            Self::Zstd(contexts) => Decoder::Zstd(workspace.unwrap_or_else(|| contexts.take())),
        }
    }
}

/// A decoder for the blocks of one read.
pub(super) enum Decoder {
    Lz4,
    Zstd(ContextGuard),
}

impl Decompress for Decoder {
    #[inline]
    fn decompress(&mut self, compressed: &[u8], out: &mut [u8]) -> Option<usize> {
        match self {
            Self::Lz4 => Lz4.decompress(compressed, out),
            Self::Zstd(context) => context.decompress(compressed, out),
        }
    }
}
