#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Tables of five targets, ZFiles and stacks, are loaded, read, compared and removed a thousand
# times, then tables that are refused halfway. Afterwards the kernel must use as much memory as
# before.
#
# With KASAN, where every device costs a tenth of a second, it is two hundred devices, a thousand
# targets; the thousand devices are for Debian's kernel.
#
# timeout: 600
# only: stock
. /overlaybd/tests/vm/lib.sh

image=neg/z00_ok_trailer.zf
layer=neg/l00_ok.lsmt

# part NAME SECTORS TARGET SHA256: checks the content of this target and keeps it in a file.
part() {
	dm_create "$1" "0 $2 $3" -r
	holds "/dev/mapper/$1" "$4" "$CASE_TMP/$1"
	dm_remove "$1"
}

loop_of "$IMAGES/$image"
about malformed $image
zfile="zfile_target $loop $of_bytes"
part zfile 129 "$zfile" "$of_content_sha256"
late="0 129 $zfile
129 1 zfile_target $loop 1024"
mkimage zfile "$CASE_TMP/zstd" --bytes 66048 --zstd
loop_of "$CASE_TMP/zstd"
zstd="zfile_target $loop $(stat -c %s "$CASE_TMP/zstd")"
loop_of "$IMAGES/$layer"
about malformed $layer
layer_bytes=$of_bytes
stack="lsmt_target $loop $layer_bytes $loop $layer_bytes"
part stack $((of_content_bytes / 512)) "$stack" "$of_content_sha256"
{
	cat "$CASE_TMP/zfile"
	head -c 51200 "$CASE_TMP/stack"
	cat "$CASE_TMP/zstd.content" "$CASE_TMP/zfile"
	head -c 51200 "$CASE_TMP/stack"
} >"$CASE_TMP/content"
expect_eq "sectors of the table" "$(stat -c %s "$CASE_TMP/content")" $((587 * 512))
bad="0 65536 $stack $loop 8192"

round() {
	expect_ok dmcheck cycle c "0 129 $zfile
129 100 $stack
229 129 $zstd
358 129 $zfile
487 100 $stack" --threads 8 --count "$1" --holds "$CASE_TMP/content"
}

# The first rounds fill the caches of the kernel: per-CPU lists, slabs, names, ZSTD workspaces.
round 16
before=$(used_kib)
areas=$(vmalloc_areas)
rounds=1000
if has_kasan; then
	rounds=200
fi
round $rounds
n=0
while [ $n -lt 5 ]; do
	expect_fail dmsetup create refused -r --table "$bad"
	expect_fail dmsetup create refused -r --table "$late"
	n=$((n + 1))
done
after=$(used_kib)
note "used before $before KiB, after $after KiB; vmalloc areas $areas, $(vmalloc_areas)"
expect_eq "vmalloc areas of the module" "$(vmalloc_areas)" "$areas"
# The smallest allocation of a target that lives as long as it, the index or the reserve, is 12 KiB
# here: a thousand leaked ones exceed the limit.
[ $((after - before)) -lt $((6144 + $(delayed_kib))) ] || fail "$((after - before)) KiB are gone"
report "$rounds devices of five targets"
expect_eq "module references" "$(module_references)" 0
