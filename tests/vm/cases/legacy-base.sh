#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The base layer that OverlayBD has shipped since 2021, with garbage in its reserved fields: 517 MiB
# as a ZFile, 64 GiB as a layer. It is too large for the repository; without it the case is skipped.
#
# timeout: 400
# only: stock
. /overlaybd/tests/vm/lib.sh

image=legacy/ext4_64
about zfiles $image || skip "$image is not in the set of images: only the full one has it"
zfile_of z $image
expect_eq "sha256 of the ZFile" "$(blkcheck hash "$dev")" "$of_content_sha256"

note "as a layer: an ext4 of 64 GiB"
dm_create s "0 134217728 lsmt_target $dev $dev_bytes" -r
mount_ro /dev/mapper/s "$CASE_TMP/mnt" -t ext4
expect_eq "files" "$(ls "$CASE_TMP/mnt")" "lost+found"
unmount "$CASE_TMP/mnt"
