#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# overlaybdsetup open fails, is interrupted or is killed behind each of its steps. Where it can still do something it
# leaves nothing; where it cannot, `close` finds the rest, and so does the next `open`. Layers that another image
# uses stay as they are.
#
# timeout: 600
. /overlaybd/tests/vm/lib.sh
. /overlaybd/tests/vm/tool.sh

layers_of lsmt/fs0_lz4_4k.zlsmt,lsmt/fs1_lz4_4k.zlsmt
base=$layers
baseline_want=$want
layers_of lsmt/fs0_lz4_4k.zlsmt,lsmt/fs1_lz4_4k.zlsmt,lsmt/fs2_lz4_4k.zlsmt,lsmt/fs3_lz4_4k.zlsmt
mkdir "$CASE_TMP/mnt"

# broken KIND STEP ARGS...: opens an image with that fault; false if it has fewer steps.
broken() {
	bk_fault=$1:$2
	shift 2
	bk_status=0
	OVERLAYBDSETUP_FAULT=$bk_fault overlaybdsetup open image "$@" >"$CASE_TMP/printed" 2>"$CASE_TMP/said" || bk_status=$?
	if [ $bk_status = 0 ]; then
		overlaybdsetup close image
		return 1
	fi
	expect_ok grep -q '^fault: ' "$CASE_TMP/said"
	expect_eq "what is printed" "$(cat "$CASE_TMP/printed")" ""
	case $bk_fault in
	kill:*) bk_want=137 ;;
	term:*) bk_want=143 ;;
	int:*) bk_want=130 ;;
	*) bk_want=1 ;;
	esac
	expect_eq "status at $bk_fault ($(cat "$CASE_TMP/said"))" $bk_status $bk_want
}

# Alone first, then beside an image with some of the same layers.
steps=0
for beside in no yes; do
	if [ $beside = yes ]; then
		# shellcheck disable=SC2086
		open_image other $base
	fi
	before=$(left)
	for kind in fail term kill; do
		step=1
		# shellcheck disable=SC2086
		while broken $kind $step $layers --mount "$CASE_TMP/mnt"; do
			if [ $kind = kill ]; then
				if [ $((step % 2)) = 0 ]; then
					# An image that takes what is left, and leaves nothing of it.
					# shellcheck disable=SC2086
					overlaybdsetup open next $layers >/dev/null || fail "open after kill:$step"
					[ -e /dev/mapper/image ] || overlaybdsetup close next
					[ ! -e /dev/mapper/next ] || overlaybdsetup close next
				fi
				# There may have been nothing yet.
				overlaybdsetup close image >/dev/null 2>&1 || [ $? = 4 ] || fail "close after kill:$step"
			fi
			expect_eq "what $kind:$step leaves" "$(left)" "$before"
			step=$((step + 1))
			steps=$((steps + 1))
		done
		note "$kind: $((step - 1)) steps"
		expect_eq "what there is behind $kind" "$(left)" "$before"
	done
done
[ $steps -ge 60 ] || fail "only $steps faults"
holds /dev/mapper/other "$baseline_want" "$CASE_TMP/$baseline_want"
close_image other

# The same with an exception store, which is kept where it was there before.
store=$CASE_TMP/store
for kind in fail int kill; do
	step=1
	# shellcheck disable=SC2086
	while broken $kind $step $layers --writable "$store:1M"; do
		if [ $kind = kill ]; then
			overlaybdsetup close image >/dev/null 2>&1 || [ $? = 4 ] || fail "close after kill:$step"
		else
			[ ! -e "$store" ] || fail "$kind:$step leaves $store"
		fi
		nothing_left "$kind:$step with a store"
		step=$((step + 1))
		steps=$((steps + 1))
	done
	rm -f "$store"
done
report "$steps faults"
