#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Without free memory, reads continue from the reserve, wait for it where others have it, and return
# the right bytes. A constructor whose allocation fails, at any point, refuses the table and leaves
# nothing allocated.
#
# timeout: 400
# only: debug
. /overlaybd/tests/vm/lib.sh

faults=/sys/kernel/debug
reserves=$faults/fail_mempool_alloc
{ [ -d $faults/failslab ] && [ -d $reserves ]; } ||
	lacks "fault injection: allocations cannot be made to fail"

# faults_on PERCENT TIMES IGNORE-WAIT START END: allocations of the marked tasks fail where a caller
# is in the code from START to END.
faults_on() {
	for kind in failslab fail_page_alloc; do
		echo "$1" >$faults/$kind/probability
		echo 1 >$faults/$kind/interval
		echo "$2" >$faults/$kind/times
		echo 0 >$faults/$kind/space
		echo 0 >$faults/$kind/verbose
		echo Y >$faults/$kind/task-filter
		echo "$3" >$faults/$kind/ignore-gfp-wait
		echo "$4" >$faults/$kind/require-start
		echo "$5" >$faults/$kind/require-end
	done
	echo 0 >$faults/fail_page_alloc/min-order
}

# reserves_on: the mempools that the marked tasks allocate from give out their reserves alone.
reserves_on() {
	echo 1 >$reserves/interval
	echo 0 >$reserves/space
	echo 0 >$reserves/verbose
	echo Y >$reserves/task-filter
	echo "$total" >$reserves/times
	echo 100 >$reserves/probability
}

reserves_off() {
	echo 0 >$reserves/probability
}

faults_off() {
	for kind in failslab fail_page_alloc; do
		echo 0 >$faults/$kind/probability
		echo 0 >$faults/$kind/times
		echo Y >$faults/$kind/ignore-gfp-wait
	done
}
undo_add faults_off
undo_add reserves_off

# starved COMMAND...: runs it as a task whose allocations fail.
starved() {
	sh -c 'echo 1 >/proc/self/make-it-fail; exec "$@"' starved "$@"
}

# The code of modules has the highest addresses, and there is no other module.
expect_eq modules "$(wc -l </proc/modules)" 1
read -r _ _ _ _ _ code _ </proc/modules
total=100000000
for kind in "512" "4096" "65536" "65536 --zstd"; do
	note "reading blocks of $kind"
	rm -f "$CASE_TMP/made.padded"
	# shellcheck disable=SC2086
	mkimage zfile "$CASE_TMP/made" --bytes 1048576 --block-size $kind
	loop_of "$CASE_TMP/made"
	dm_create z "0 2048 zfile_target $loop $(stat -c %s "$CASE_TMP/made")" -r
	# Every allocation that must not wait fails: the buffers of reads, and the first try of each
	# mempool. First no mempool has memory beside its reserve. A pool without a reserve keeps
	# the first element that is freed, so it must not have had any.
	faults_on 100 $total Y 0 0xffffffffffffffff
	reserves_on
	rm -f "$CASE_TMP/ended"
	{
		starved blkcheck compare /dev/mapper/z "$CASE_TMP/made.content" --seed 3 \
			--reads 8 --threads 4 --direct-only --max-bytes 32768 &&
			: >"$CASE_TMP/ended"
	} &
	eventually 60 test -e "$CASE_TMP/ended"
	taken=$((total - $(cat $reserves/times)))
	reserves_off
	expect_ok starved blkcheck compare /dev/mapper/z "$CASE_TMP/made.content" \
		--reads 8 --threads 4 --seed 1 --direct-only --max-bytes 32768
	slab=$((total - $(cat $faults/failslab/times)))
	pages=$((total - $(cat $faults/fail_page_alloc/times)))
	# What must not wait is declined, and repeated where it may wait. Device-mapper and the
	# block layer decline it as well: here only the allocations of the module fail.
	faults_on 100 $total Y "$code" 0xffffffffffffffff
	expect_ok starved blkcheck compare /dev/mapper/z "$CASE_TMP/made.content" \
		--reads 8 --seed 4 --nowait-only --max-bytes 32768
	note "$ok_out"
	case $ok_out in
	*" nowait_answered 0 nowait_refused "*) ;;
	*) fail "a read that must not wait was answered" ;;
	esac
	faults_off
	note "failed: $slab of slab, $pages of pages"
	[ $((slab + pages)) -ge 32 ] || fail "hardly any allocation failed"
	note "taken from reserves: $taken"
	[ $taken -ge 32 ] || fail "hardly any read used a reserve"
	random_reads /dev/mapper/z "$CASE_TMP/made.content" 10 --seed 2
	dm_remove z
	loop_detach "$loop"
done

note "constructors"
mkimage zfile "$CASE_TMP/other" --bytes 262144
loop_of "$CASE_TMP/other"
# Only allocations that our constructors cause fail, not the others of a load.
faults_on 0 $total N "$code" 0xffffffffffffffff
expect_ok dmcheck starve z "0 512 zfile_target $loop $(stat -c %s "$CASE_TMP/other")"
note "$ok_out"
mkimage zfile "$CASE_TMP/zstd" --bytes 262144 --zstd --block-size 65536
loop_of "$CASE_TMP/zstd"
expect_ok dmcheck starve z "0 512 zfile_target $loop $(stat -c %s "$CASE_TMP/zstd")"
note "$ok_out"
mkimage stack "$CASE_TMP/stack" --layers 3
loop_of "$CASE_TMP/stack/layers"
layers_in "$CASE_TMP/stack"
sectors=$(($(stat -c %s "$CASE_TMP/stack/content") / 512))
expect_ok dmcheck starve s "0 $sectors lsmt_target$pairs"
note "$ok_out"
faults_off
expect_eq "module references" "$(module_references)" 0
