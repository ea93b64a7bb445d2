#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Devices that can be written, from one image as a template: 100 at once (50 on the debugging
# kernel) on one set of layer devices. Each is written and read back; they are closed in any order;
# the written data is there when a store is opened again, and the image never changes. A full store
# fails the writes to its own device alone, the status reports it, and it can be given more room.
#
# timeout: 600
# only: stock
. /overlaybd/tests/vm/lib.sh
. /overlaybd/tests/vm/tool.sh

# The debugging kernel takes five times as long for each.
case $(uname -r) in
*-overlaybd-debug) count=50 ;;
*) count=100 ;;
esac
layers_of lsmt/fs0_lz4_4k.zlsmt,lsmt/fs1_lz4_4k.zlsmt
stores=$CASE_TMP/stores
mkdir "$stores"

free() {
	awk '/^MemAvailable:/ { print $2 }' /proc/meminfo
}

memory=$(free)
read -r begin _ </proc/uptime
n=0
while [ $n -lt $count ]; do
	# shellcheck disable=SC2086
	overlaybdsetup open vm$n $layers --writable "$stores/$n:1M" >/dev/null ||
		fail "open of vm$n"
	n=$((n + 1))
done
read -r end _ </proc/uptime
taken=$((memory - $(free)))
expect_eq "devices of layers" "$(dmsetup ls | grep -c '^overlaybd-layer-')" 2
expect_eq "devices of the image" "$(dmsetup ls | grep -c '^overlaybd-origin-')" 1
expect_eq "devices in all" "$(overlaybdsetup list | wc -l)" $count

# number_of NAME: prints the sector with the number.
number_of() {
	dd if="/dev/mapper/$1" bs=512 skip=7 count=1 2>/dev/null
}

# Each device holds its own number in a sector, and else the image.
n=0
while [ $n -lt $count ]; do
	printf 'this is %-504d' $n | dd of=/dev/mapper/vm$n bs=512 seek=7 conv=notrunc 2>/dev/null
	n=$((n + 1))
done
sync
n=0
while [ $n -lt $count ]; do
	expect_eq "vm$n" "$(number_of vm$n)" "$(printf 'this is %-504d' $n)"
	n=$((n + 7))
done
# shellcheck disable=SC2086
open_image image $layers
holds /dev/mapper/image "$want" "$CASE_TMP/$want"
close_image image

# The store of one device has room for 64 KiB and becomes full. The others are not affected.
# shellcheck disable=SC2086
open_image full $layers --writable "$stores/full:64K"
expect_eio dd if=/dev/zero of=/dev/mapper/full bs=4k count=100 conv=fsync
expect_eio dd if=/dev/zero of=/dev/mapper/full bs=4k count=1 seek=2000 conv=fsync
expect_ok dd if=/dev/mapper/full of=/dev/null bs=4k
expect_eq "state" "$(value_of state status full)" '"full"'
expect_eq "state of a neighbour" "$(value_of state status vm3)" '"ok"'
expect_eq "vm3" "$(number_of vm3)" "$(printf 'this is %-504d' 3)"
close_image full
# The data written before is kept, and with more room writes succeed again.
# shellcheck disable=SC2086
open_image full $layers --writable "$stores/full:1M"
expect_eq "state with more room" "$(value_of state status full)" '"ok"'
expect_ok dd if=/dev/zero of=/dev/mapper/full bs=4k count=100 conv=fsync
expect_ok cmp -n 409600 /dev/mapper/full /dev/zero
close_image full

# A store that another device uses.
# shellcheck disable=SC2086
refuses 5 "is the exception store of vm5 already" open again $layers --writable "$stores/5"
[ "$(value_of used_bytes status vm5)" -ge 4096 ] || fail "status says vm5 has nothing written"

# Close those of odd numbers first, then the others, the last one first.
n=1
while [ $n -lt $count ]; do
	overlaybdsetup close vm$n || fail "close of vm$n"
	n=$((n + 2))
done
n=$((count - 2))
while [ $n -ge 0 ]; do
	overlaybdsetup close vm$n || fail "close of vm$n"
	n=$((n - 2))
done
nothing_left "$count devices"

# The written data is still there. A store belongs to its image.
layers_of lsmt/fs0_lz4_4k.zlsmt,lsmt/fs1_lz4_4k.zlsmt,lsmt/fs2_lz4_4k.zlsmt,lsmt/fs3_lz4_4k.zlsmt
# shellcheck disable=SC2086
refuses 1 "belongs to another image" open vm5 $layers --writable "$stores/5"
layers_of lsmt/fs0_lz4_4k.zlsmt,lsmt/fs1_lz4_4k.zlsmt
# shellcheck disable=SC2086
open_image vm5 $layers --writable "$stores/5"
expect_eq "vm5 again" "$(number_of vm5)" "$(printf 'this is %-504d' 5)"
mkdir "$CASE_TMP/mnt"
close_image vm5
# shellcheck disable=SC2086
open_image vm6 $layers --writable "$stores/6" --mount "$CASE_TMP/mnt"
echo written >"$CASE_TMP/mnt/new"
close_image vm6
# shellcheck disable=SC2086
open_image vm6 $layers --writable "$stores/6" --mount "$CASE_TMP/mnt"
expect_eq "file" "$(cat "$CASE_TMP/mnt/new")" written
close_image vm6
nothing_left
seconds=$(echo "$begin $end" | awk '{ printf "%.1f", $2 - $1 }')
report "$count devices in $seconds s, $((taken / count)) KiB each"
