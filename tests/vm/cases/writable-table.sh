#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# A table that is not read-only may name a lower device again, for another target that writes to it.
# The reference of our target to that device must stay valid, whichever line comes first.
#
# timeout: 120
# only: debug
. /overlaybd/tests/vm/lib.sh

image=neg/z00_ok_trailer.zf
layer=neg/l00_ok.lsmt
dd if="$IMAGES/$image" of=/dev/ram0 bs=1M conv=fsync status=none
dd if="$IMAGES/$layer" of=/dev/ram1 bs=1M conv=fsync status=none
about malformed $image
zfile_bytes=$of_bytes
zfile_sha256=$of_content_sha256
about malformed $layer
layer_bytes=$of_bytes

# mixed FIRST SECOND SHA256: creates a device of these lines, asks for its status, reads, reloads
# and removes it.
mixed() {
	dm_create mixed "$1
$2"
	dmsetup table mixed >/dev/null
	dmsetup status mixed >/dev/null
	expect_eq "sha256 of the first 64 KiB" "$(sha256_of /dev/mapper/mixed 65536)" "$3"
	dmsetup reload mixed --table "$1
$2"
	dmsetup resume mixed
	expect_eq "sha256 of the first 64 KiB" "$(sha256_of /dev/mapper/mixed 65536)" "$3"
	dm_remove mixed
}

dm_create alone "0 129 zfile_target /dev/ram0 $zfile_bytes" -r
holds /dev/mapper/alone "$zfile_sha256"
zfile_start=$(sha256_of /dev/mapper/alone 65536)
dm_remove alone
dm_create alone "0 128 lsmt_target /dev/ram1 $layer_bytes" -r
layer_start=$(sha256_of /dev/mapper/alone 65536)
dm_remove alone

note "zfile_target, then linear"
mixed "0 128 zfile_target /dev/ram0 $zfile_bytes" "128 8 linear /dev/ram0 0" "$zfile_start"
note "lsmt_target, then linear"
mixed "0 128 lsmt_target /dev/ram1 $layer_bytes" "128 8 linear /dev/ram1 0" "$layer_start"
note "linear first"
dm_create mixed "0 8 linear /dev/ram0 0
8 128 zfile_target /dev/ram0 $zfile_bytes"
dm_remove mixed
