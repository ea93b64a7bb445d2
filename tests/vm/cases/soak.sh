#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# A minute, or as long as `make soak` says, of what a host does at once: devices of three targets
# are created, read, compared and removed; other devices are read by several threads, get new
# tables, are suspended and resumed; tables are refused; the page cache is dropped. At the end the
# kernel must have as much memory in use as after the first round, and the module no reference.
#
# timeout: 420
# only: debug
. /overlaybd/tests/vm/lib.sh

image=neg/z00_ok_trailer.zf
layer=neg/l00_ok.lsmt

loop_of "$IMAGES/$image"
about malformed $image
zfile="zfile_target $loop $of_bytes"
refused="0 65536 $zfile"
dm_create part "0 129 $zfile" -r
holds /dev/mapper/part "$of_content_sha256" "$CASE_TMP/zfile"
dm_remove part
loop_of "$IMAGES/$layer"
about malformed $layer
stack="lsmt_target $loop $of_bytes $loop $of_bytes"
dm_create part "0 $((of_content_bytes / 512)) $stack" -r
holds /dev/mapper/part "$of_content_sha256" "$CASE_TMP/stack"
dm_remove part
mkimage zfile "$CASE_TMP/small" --bytes 66048 --zstd
loop_of "$CASE_TMP/small"
{
	cat "$CASE_TMP/zfile"
	head -c 51200 "$CASE_TMP/stack"
	cat "$CASE_TMP/small.content"
} >"$CASE_TMP/content"
cycled="0 129 $zfile
129 100 $stack
229 129 zfile_target $loop $(stat -c %s "$CASE_TMP/small")"

# The same content in three ways.
mkimage zfile "$CASE_TMP/lz4" --bytes 1048576
for kind in "lz4 4096" "large 65536" "zstd 16384 --zstd"; do
	name=${kind%% *}
	# shellcheck disable=SC2086
	[ $name = lz4 ] || mkimage zfile "$CASE_TMP/$name" --content "$CASE_TMP/lz4.content" \
		--block-size ${kind#* }
	loop_of "$CASE_TMP/$name"
	echo "0 2048 zfile_target $loop $(stat -c %s "$CASE_TMP/$name")" >"$CASE_TMP/table.$name"
done
table() {
	cat "$CASE_TMP/table.$1"
}

cycles=0
reads=0
round() {
	expect_ok dmcheck cycle cycled "$cycled" --threads 4 --count 16 --holds "$CASE_TMP/content"
	cycles=$((cycles + 16))
	expect_ok dmcheck reload lz4 "$(table large)" "$(table zstd)" "$(table lz4)" --count 6
	expect_ok dmcheck reload zstd "$(table zstd)" "$(table lz4)" --count 4
	expect_fail dmsetup create refused -r --table "$refused"
	echo 1 >/proc/sys/vm/drop_caches
}

# load COMMAND...: a round while threads read, and more of them until the command succeeds.
load() {
	rm -f "$CASE_TMP/stop"
	pids=
	for name in lz4 large zstd; do
		dm_create $name "$(table $name)" -r
		blkcheck compare /dev/mapper/$name "$CASE_TMP/lz4.content" --threads 2 \
			--until "$CASE_TMP/stop" >"$CASE_TMP/out.$name" 2>&1 &
		pids="$pids $!"
	done
	round
	while ! "$@"; do
		round
	done
	: >"$CASE_TMP/stop"
	for pid in $pids; do
		wait "$pid" || fail "$(cat "$CASE_TMP"/out.*)"
	done
	for name in lz4 large zstd; do
		read -r _ count _ <"$CASE_TMP/out.$name"
		reads=$((reads + count))
		dm_remove $name
	done
}

percpu_kib() {
	awk '/^Percpu/ { print $2 }' /proc/meminfo
}

# The first round fills the caches of the kernel: per-CPU lists, slabs, names, ZSTD workspaces.
load true
before=$(used_kib)
areas=$(vmalloc_areas)
percpu=$(percpu_kib)
lasting 60
load time_is_up
after=$(used_kib)
note "used before $before KiB, after $after KiB; per CPU $percpu, $(percpu_kib)"
expect_eq "vmalloc areas of the module" "$(vmalloc_areas)" "$areas"
expect_eq "module references" "$(module_references)" 0
[ $((after - before)) -lt $((4096 + $(delayed_kib))) ] || fail "$((after - before)) KiB are gone"
[ $(($(percpu_kib) - percpu)) -lt 512 ] || fail "$(($(percpu_kib) - percpu)) KiB per CPU are gone"
report "$cycles devices of three targets, $reads reads; memory $((after - before)) KiB"
