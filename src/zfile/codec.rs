// SPDX-License-Identifier: GPL-2.0

//! The decompressors of a ZFile's blocks.

use crate::{
    io::pending::Wait,
    sys::zstd::{
        ContextGuard,
        ZstdContexts, //
    },
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

    /// Whether a [`decoder`](Self::decoder) may have to be waited for.
    pub(super) fn may_wait(&self) -> bool {
        matches!(self, Self::Zstd(_))
    }

    /// A decoder for the blocks of one read. With [`Wait::Yes`] it may sleep until another read
    /// returns its decoder, with [`Wait::No`] there may be none.
    pub(super) fn decoder(&self, wait: Wait) -> Option<Decoder<'_>> {
        match (self, wait) {
            (Self::Lz4, _) => Some(Decoder::Lz4),
            (Self::Zstd(contexts), Wait::No) => contexts.try_take().map(Decoder::Zstd),
            (Self::Zstd(contexts), Wait::Yes) => Some(Decoder::Zstd(contexts.take())),
        }
    }
}

/// A decoder for the blocks of one read.
pub(crate) enum Decoder<'a> {
    Lz4,
    Zstd(ContextGuard<'a>),
}

impl Decompress for Decoder<'_> {
    #[inline]
    fn decompress(&mut self, compressed: &[u8], out: &mut [u8]) -> Option<usize> {
        match self {
            Self::Lz4 => Lz4.decompress(compressed, out),
            Self::Zstd(context) => context.decompress(compressed, out),
        }
    }
}
