#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# A thousand devices are made, read and removed, ZFiles and stacks, some of them with tables that are
# refused halfway; afterwards the kernel has as much memory as before.
#
# timeout: 600
. /overlaybd/tests/vm/lib.sh

image=neg/z00_ok_trailer.zf
layer=neg/l00_ok.lsmt
loop_of "$IMAGES/$image"
zfile="0 129 zfile_target $loop $(field malformed $image bytes)"
late="0 129 zfile_target $loop $(($(field malformed $image bytes) + 0))
129 1 zfile_target $loop 1024"
loop_of "$IMAGES/$layer"
layer_bytes=$(field malformed $layer bytes)
stack="0 65536 lsmt_target $loop $layer_bytes $loop $layer_bytes"
bad="0 65536 lsmt_target $loop $layer_bytes $loop $layer_bytes $loop 8192"

# Memory that is not there to be had, in KiB: what is free, what caches would give back.
used() {
	echo 3 >/proc/sys/vm/drop_caches
	sleep 1
	awk '/^MemTotal|^MemAvailable/ { v[$1] = $2 } END { print v["MemTotal:"] - v["MemAvailable:"] }' /proc/meminfo
}

# Pages of vmalloc that belong to the module's constructors (indexes) are found by their callers.
vmallocs() {
	grep -c dm_overlaybd /proc/vmallocinfo || true
}

round() {
	expect_ok dmcheck cycle z "$zfile" --threads 8 --count "$1"
	expect_ok dmcheck cycle s "$stack" --threads 8 --count "$1"
}

# The first rounds fill what the kernel keeps: per-CPU caches, slabs, names.
round 24
before=$(used)
areas=$(vmallocs)
round 500
n=0
while [ $n -lt 20 ]; do
	expect_fail dmsetup create refused -r --table "$bad"
	expect_fail dmsetup create refused -r --table "$late"
	n=$((n + 1))
done
after=$(used)
note "used before $before KiB, after $after KiB; vmalloc areas $areas, $(vmallocs)"
expect_eq "vmalloc areas of the module" "$(vmallocs)" "$areas"
# The smallest thing a device holds for long is its index or its reserve, 12 KiB for these: had a
# thousand of them been left behind, it would be seen.
limit=6144
if grep -q ' kasan_quarantine_put$' /proc/kallsyms; then
	# KASAN keeps back what is freed, up to a 32nd of all memory. There it is kmemleak that finds what
	# is lost, at the end of the run.
	limit=$((limit + $(awk '/^MemTotal/ { print $2 }' /proc/meminfo) / 32))
fi
[ $((after - before)) -lt $limit ] || fail "$((after - before)) KiB are gone"
expect_eq "module references" "$(awk '$1 == "dm_overlaybd" { print $3 }' /proc/modules)" 0
