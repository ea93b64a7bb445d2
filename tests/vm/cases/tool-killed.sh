#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# overlaybdsetup open fails, is interrupted or is killed after each of its steps. Where it can still
# act it must leave nothing; where it cannot, `close` finds the rest, and so does the next `open`.
# Layers that another image uses must stay as they are.
#
# timeout: 600
# only: stock
. /overlaybd/tests/vm/lib.sh
. /overlaybd/tests/vm/tool.sh

all_kinds
mkdir "$CASE_TMP/mnt"
steps=0

# broken KIND STEP ARGS...: opens an image with that fault; false if `open` has fewer steps.
broken() {
	bk_fault=$1:$2
	shift 2
	bk_status=0
	OVERLAYBDSETUP_FAULT=$bk_fault overlaybdsetup open image "$@" >"$CASE_TMP/printed" \
		2>"$CASE_TMP/said" || bk_status=$?
	if [ $bk_status = 0 ]; then
		overlaybdsetup close image
		return 1
	fi
	steps=$((steps + 1))
	expect_ok grep -q '^fault: ' "$CASE_TMP/said"
	[ ! -s "$CASE_TMP/printed" ] || fail "$bk_fault prints a path"
	case $bk_fault in
	kill:*) bk_want=137 ;;
	term:*) bk_want=143 ;;
	int:*) bk_want=130 ;;
	*) bk_want=1 ;;
	esac
	expect_eq "status at $bk_fault ($(cat "$CASE_TMP/said"))" $bk_status $bk_want
}

# kill_all FIRST BY ARGS...: kills an `open` of these after every BY-th step from FIRST on.
kill_all() {
	ka_step=$1
	ka_by=$2
	shift 2
	ka_before=$(left)
	while broken kill "$ka_step" "$@"; do
		if [ $((ka_step % 4)) = 0 ] && ! dmsetup info image >/dev/null 2>&1; then
			# Another image takes what is left over, and leaves nothing.
			# shellcheck disable=SC2086
			overlaybdsetup open next $layers >/dev/null ||
				fail "open after kill:$ka_step"
			overlaybdsetup close next ||
				fail "close of what was opened after kill:$ka_step"
		fi
		# Status 4: nothing existed yet.
		overlaybdsetup close image >/dev/null 2>&1 || [ $? = 4 ] ||
			fail "close after kill:$ka_step"
		expect_eq "what kill:$ka_step leaves" "$(left)" "$ka_before"
		ka_step=$((ka_step + ka_by))
	done
}

step=1
kind=term
# shellcheck disable=SC2086
while broken $kind $step $layers --mount "$CASE_TMP/mnt"; do
	nothing_left "$kind:$step"
	step=$((step + 1))
	case $kind in
	term) kind=int ;;
	int) kind=fail ;;
	*) kind=term ;;
	esac
done
note "$((step - 1)) steps"
[ $step -gt 12 ] || fail "only $((step - 1)) steps"
# shellcheck disable=SC2086
kill_all 1 1 $layers --mount "$CASE_TMP/mnt"

# With an exception store, which `open` removes again where it can still act.
# shellcheck disable=SC2086
kill_all 2 4 $layers --writable "$CASE_TMP/store:1M"
rm "$CASE_TMP/store"
for step in 1 8 15; do
	# shellcheck disable=SC2086
	broken term $step $layers --writable "$CASE_TMP/store:1M" || fail "there is no step $step"
	[ ! -e "$CASE_TMP/store" ] || fail "term:$step leaves the store"
	nothing_left "term:$step with a store"
done

# Beside an image with the same layers.
# shellcheck disable=SC2086
open_image other $layers
# shellcheck disable=SC2086
kill_all 1 1 $layers
holds /dev/mapper/other "$want" "$CASE_TMP/$want"
close_image other
nothing_left
report "$steps faults"
