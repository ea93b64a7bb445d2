#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Sectors of a lower device go bad and are mended while it is read (dm-dust). Reads of what is
# stored there must fail with an I/O error meanwhile, all others return the right bytes.
#
# timeout: 120
# only: debug
. /overlaybd/tests/vm/lib.sh

has_target dust || lacks "device-mapper target dust: sectors cannot be made bad"

# Blocks of 64 KiB: the first one is stored in sectors 1 to more than 8.
mkimage zfile "$CASE_TMP/zf" --bytes 4194304 --block-size 65536
loop_of "$CASE_TMP/zf"
dm_create under "0 $(sectors_of "$loop") dust $loop 0 512" -r
dm_create z "0 8192 zfile_target /dev/mapper/under $(stat -c %s "$CASE_TMP/zf")" -r
dmsetup message under 0 addbadblock 3
expect_ok blkcheck sweep /dev/mapper/z "$CASE_TMP/zf.content" --unit 65536
dmsetup message under 0 enable
expect_ok blkcheck sweep /dev/mapper/z "$CASE_TMP/zf.content" --unit 65536 --bad 0+65536
random_reads /dev/mapper/z "$CASE_TMP/zf.content" 50 --bad 0+65536 --seed 1 --threads 2
dmsetup message under 0 removebadblock 3
expect_ok blkcheck sweep /dev/mapper/z "$CASE_TMP/zf.content" --unit 65536
