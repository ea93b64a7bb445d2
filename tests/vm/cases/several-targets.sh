#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Tables of several targets, and tables shorter than the image: a target counts sectors from its own
# beginning, wherever that is in the table.
#
# timeout: 300
# only: stock
. /overlaybd/tests/vm/lib.sh

zfile_of z0 lsmt/fs0_lz4_4k.zlsmt
layer=$dev
layer_bytes=$dev_bytes
zloop=$loop
about layers lsmt/fs0_lz4_4k.zlsmt
zbytes=$of_payload_bytes
zsectors=$((layer_bytes / 512))
blkcheck hash "$layer" --save "$CASE_TMP/z" >/dev/null
one=$(awk -F '\t' '$4 ~ /^lsmt\/fs0[^,]*$/ { print $1 / 512, $2; exit }' "$IMAGES/stacks.tsv")
sectors=${one% *}
dm_create s0 "0 $sectors lsmt_target $layer $layer_bytes" -r
holds /dev/mapper/s0 "${one#* }" "$CASE_TMP/s"

note "a ZFile, a hole, a stack, a part of the ZFile again, each at an odd sector"
short=777
a=$zsectors
b=$((a + 1001))
hole="$a 1001 error"
if [ "$(page_bytes)" -gt 4096 ]; then
	# No part of a page with a sector that cannot be read can be read: zeros fill it.
	a=$(((zsectors + 127) / 128 * 128))
	b=$((a + 128 + 873))
	hole="$zsectors $((a - zsectors)) zero
$a 128 error
$((a + 128)) 873 zero"
fi
c=$((b + sectors))
d=$((c + short))
dm_create many "0 $zsectors zfile_target $zloop $zbytes
$hole
$b $sectors lsmt_target $layer $layer_bytes
$c $short zfile_target $zloop $zbytes
$d 33 lsmt_target $layer $layer_bytes" -r
random_reads /dev/mapper/many "$CASE_TMP/z" 200 --seed 1
random_reads /dev/mapper/many "$CASE_TMP/s" 200 --seed 2 --device-offset $((b * 512))
random_reads /dev/mapper/many "$CASE_TMP/z" 100 --seed 3 --device-offset $((c * 512)) \
	--bytes $((short * 512))
random_reads /dev/mapper/many "$CASE_TMP/s" 40 --seed 4 --device-offset $((d * 512)) \
	--bytes $((33 * 512))
expect_eio dd if=/dev/mapper/many of=/dev/null bs=512 skip=$a count=1 iflag=direct

note "reads across borders"
{
	head -c $((short * 512)) "$CASE_TMP/z"
	head -c $((33 * 512)) "$CASE_TMP/s"
} >"$CASE_TMP/cd"
random_reads /dev/mapper/many "$CASE_TMP/cd" 100 --seed 5 --device-offset $((c * 512))
tail -c 65536 "$CASE_TMP/s" >"$CASE_TMP/bcd"
cat "$CASE_TMP/cd" >>"$CASE_TMP/bcd"
random_reads /dev/mapper/many "$CASE_TMP/bcd" 100 --seed 6 --device-offset $((c * 512 - 65536))

note "tables shorter than the image"
for len in 1 7 8 9 1000; do
	dm_create short "0 $len zfile_target $zloop $zbytes" -r
	expect_eq size "$(sectors_of /dev/mapper/short)" $len
	expect_ok cmp -n $((len * 512)) /dev/mapper/short "$CASE_TMP/z"
	dm_remove short
	dm_create short "0 $len lsmt_target $layer $layer_bytes" -r
	expect_eq size "$(sectors_of /dev/mapper/short)" $len
	expect_ok cmp -n $((len * 512)) /dev/mapper/short "$CASE_TMP/s"
	dm_remove short
done
refused "Table is longer than the image" EINVAL "0 8 error
8 $((zsectors + 1)) zfile_target $zloop $zbytes"
