#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Images with layers in common share the devices of these, and the last image that is closed removes
# them; with --no-share and with --buffered an image has devices of its own. Of several processes
# that open one name at once, one succeeds and the others fail with a message; ten that open
# different names all succeed.
#
# timeout: 300
# only: stock
. /overlaybd/tests/vm/lib.sh
. /overlaybd/tests/vm/tool.sh

layers_of lsmt/fs0_lz4_4k.zlsmt,lsmt/fs1_lz4_4k.zlsmt,lsmt/fs2_lz4_4k.zlsmt,lsmt/fs3_lz4_4k.zlsmt
all=$layers
all_want=$want
layers_of lsmt/fs0_lz4_4k.zlsmt,lsmt/fs1_lz4_4k.zlsmt

# devices KIND: prints how many there are.
devices() {
	dmsetup ls |
		awk -v start="overlaybd-$1-" 'index($1, start) == 1 { n++ } END { print n + 0 }'
}

# shellcheck disable=SC2086
open_image one $layers
expect_eq "layers of one" "$(devices layer)" 2
# shellcheck disable=SC2086
open_image two $all
expect_eq "layers of both" "$(devices layer)" 4
expect_eq "users of the base" "$(value_of users status two | head -n 1)" 0
overlaybdsetup status two --json >"$CASE_TMP/json"
users=$(sed -n 's/^ *"users": \([0-9]*\),$/\1/p' "$CASE_TMP/json" | tr '\n' ' ')
expect_eq "users of its layers" "$users" "0 2 2 1 1 "
holds /dev/mapper/two "$all_want" "$CASE_TMP/all"
close_image one
expect_eq "layers without one" "$(devices layer)" 4
holds /dev/mapper/two "$all_want" "$CASE_TMP/all"
# shellcheck disable=SC2086
open_image one $layers
close_image two
expect_eq "layers without two" "$(devices layer)" 2
holds /dev/mapper/one "$want" "$CASE_TMP/two"

# Devices of their own.
# shellcheck disable=SC2086
open_image alone $layers --no-share
expect_eq "layers with one that shares nothing" "$(devices layer)" 4
# shellcheck disable=SC2086
open_image buffered $layers --buffered
expect_eq "layers with another mode" "$(devices layer)" 6
overlaybdsetup status --json >"$CASE_TMP/json"
modes=$(sed -n 's/^ *"direct_io": \(.*\),$/\1/p' "$CASE_TMP/json" | sort | uniq -c |
	tr -s ' \n' ' ')
expect_eq "modes" "$modes" " 2 false 4 true "
close_image alone
close_image one
close_image buffered
nothing_left

# One layer twice in an image.
# shellcheck disable=SC2086
set -- $layers
open_image twice --layer "$2" --layer "$2"
expect_eq "devices of a layer that is there twice" "$(devices layer)" 1
close_image twice
nothing_left

won=0
for n in 1 2 3; do
	# shellcheck disable=SC2086
	overlaybdsetup open race $layers >"$CASE_TMP/race$n" 2>&1 &
	eval "race$n=\$!"
done
for n in 1 2 3; do
	status=0
	eval "wait \$race$n" || status=$?
	case $status in
	0) won=$((won + 1)) ;;
	5) expect_ok grep -q "there is a device race already" "$CASE_TMP/race$n" ;;
	*) fail "status $status: $(cat "$CASE_TMP/race$n")" ;;
	esac
done
expect_eq "winners of one name" $won 1
overlaybdsetup close race

pids=
for n in 1 2 3 4 5 6 7 8 9 10; do
	# shellcheck disable=SC2086
	overlaybdsetup open many$n $layers >"$CASE_TMP/many$n" 2>&1 &
	pids="$pids $!"
done
for pid in $pids; do
	wait "$pid" || fail "one of ten: $(cat "$CASE_TMP"/many*)"
done
expect_eq "layers of ten" "$(devices layer)" 2
pids=
for n in 1 2 3 4 5 6 7 8 9 10; do
	overlaybdsetup close many$n >"$CASE_TMP/many$n" 2>&1 &
	pids="$pids $!"
done
for pid in $pids; do
	wait "$pid" || fail "close of one of ten: $(cat "$CASE_TMP"/many*)"
done
nothing_left "ten"
