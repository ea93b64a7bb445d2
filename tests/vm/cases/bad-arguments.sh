#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# A table that is wrong in itself is refused with a message that names the check, and an errno that
# fits. A refused table must not keep its lower devices open.
#
# timeout: 300
# only: debug
. /overlaybd/tests/vm/lib.sh

image=neg/z00_ok_trailer.zf
layer=neg/l00_ok.lsmt
about malformed $image
bytes=$of_bytes
about malformed $layer
layer_bytes=$of_bytes
layer_sectors=$((of_content_bytes / 512))

# The count of openers of these lower devices shows whether a refused table keeps them open.
loop_of "$IMAGES/$image"
dm_create zf "0 $(sectors_of "$loop") linear $loop 0" -r
loop_of "$IMAGES/$layer"
dm_create layer "0 $(sectors_of "$loop") linear $loop 0" -r
zf=/dev/mapper/zf
layer=/dev/mapper/layer
device_bytes=$(bytes_of $zf)

for target in zfile_target lsmt_target; do
	note $target
	refused "Invalid argument count" EINVAL "0 8 $target"
	refused "Invalid argument count" EINVAL "0 8 $target $zf"
	refused "Invalid argument count" EINVAL "0 8 $target $zf $bytes $layer" \
		"$target: 3 arguments instead of"
	for number in 0 -1 x 1k 0x1000 1.5 18446744073709551616; do
		refused "Invalid length in bytes" EINVAL "0 8 $target $zf $number" \
			"$target: the length of $zf must be a positive number of bytes"
	done
	for number in $((device_bytes + 1)) 9223372036854775807 18446744073709551615; do
		refused "Device is shorter than the given length" EINVAL "0 8 $target $zf $number" \
			"has $device_bytes bytes, the table says $number"
	done
	for device in /dev/mapper/missing missing; do
		refused "Device lookup failed" ENOENT "0 8 $target $device 4096" \
			"$target: cannot open $device"
	done
	refused "Device lookup failed" ENXIO "0 8 $target 259:12345 4096"
	refused "Device lookup failed" ENOTBLK "0 8 $target $MODULE 4096"
done

note zfile_target
refused "Invalid argument count" EINVAL "0 8 zfile_target $zf $bytes $zf $bytes"
refused "Table is longer than the image" EINVAL "0 130 zfile_target $zf $bytes" \
	"the table has 130 sectors, the image 129"
refused "ZFile trailer: wrong magic" EINVAL "0 8 zfile_target $zf $((bytes - 1))"
refused "ZFile: too short for header and trailer" EINVAL "0 8 zfile_target $zf 1"

note lsmt_target
refused "Table is longer than the image" EINVAL \
	"0 $((layer_sectors + 1)) lsmt_target $layer $layer_bytes"
refused "LSMT header: wrong magic" EINVAL "0 8 lsmt_target $layer $layer_bytes $zf $device_bytes"
refused "LSMT: too short for header and trailer" EINVAL \
	"0 8 lsmt_target $layer $layer_bytes $layer 1"
pairs=
n=0
while [ $n -lt 256 ]; do
	pairs="$pairs $layer $layer_bytes"
	n=$((n + 1))
done
refused "Too many layers" EINVAL "0 8 lsmt_target$pairs" "256 layers, there may be 255"

# Right tables are still loaded, and the lower devices are not open.
dm_create z "0 129 zfile_target $zf $bytes" -r
dm_create s "0 $layer_sectors lsmt_target $layer $layer_bytes" -r
dm_remove s
dm_remove z
expect_eq "openers left" "$(dmsetup info -c --noheadings -o open zf layer | tr -d '\n ')" 00
