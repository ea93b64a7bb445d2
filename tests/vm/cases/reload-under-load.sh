#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Devices are suspended and resumed, and get new tables, while threads read them: with the same
# content, of which no read may fail or return anything else, and with another, of which each sector
# must be that of the one or of the other.
#
# timeout: 300
# only: debug
. /overlaybd/tests/vm/lib.sh

# run NAME REFERENCE ROUNDS TABLE...: reloads under load.
run() {
	name=$1
	reference=$2
	rounds=$3
	shift 3
	rm -f "$CASE_TMP/stop" "$CASE_TMP/ready"
	blkcheck compare "/dev/mapper/$name" "$reference" --threads 4 --ready "$CASE_TMP/ready" \
		--until "$CASE_TMP/stop" --seed 5 >"$CASE_TMP/out" 2>&1 &
	reader=$!
	eventually 20 test -e "$CASE_TMP/ready"
	expect_ok dmcheck reload "$name" "$@" --count "$rounds"
	: >"$CASE_TMP/stop"
	wait $reader || fail "$(cat "$CASE_TMP/out")"
	cat "$CASE_TMP/out"
	read -r _ reads _ <"$CASE_TMP/out"
	[ "$reads" -ge 50 ] || fail "there was hardly any load: $reads reads"
}

note "a ZFile: the same content from two files with other block sizes"
mkimage zfile "$CASE_TMP/a" --bytes 500224 --block-size 4096
mkimage zfile "$CASE_TMP/b" --bytes 500224 --block-size 16384 --no-verify
expect_ok cmp "$CASE_TMP/a.content" "$CASE_TMP/b.content"
loop_of "$CASE_TMP/a"
a="0 977 zfile_target $loop $(stat -c %s "$CASE_TMP/a")"
loop_of "$CASE_TMP/b"
b="0 977 zfile_target $loop $(stat -c %s "$CASE_TMP/b")"
dm_create z "$a" -r
run z "$CASE_TMP/a.content" 60 "$b" "$a"

note "a stack, from raw and compressed layers"
zfile_of z0 lsmt/fs2_lz4_4k.zlsmt
zdev=$dev
loop_of "$IMAGES/lsmt/fs2_raw.lsmt"
about layers lsmt/fs2_raw.lsmt
bytes=$of_payload_bytes
dm_create s "0 32768 lsmt_target $loop $bytes" -r
blkcheck hash /dev/mapper/s --save "$CASE_TMP/s" >/dev/null
run s "$CASE_TMP/s" 60 "0 32768 lsmt_target $zdev $dev_bytes" "0 32768 lsmt_target $loop $bytes" \
	"0 32768 lsmt_target $zdev $dev_bytes $loop $bytes"

note "two images, whose blocks go through the cache"
mkimage zfile "$CASE_TMP/c" --bytes 500224 --block-size 65536 --seed 2
mkimage zfile "$CASE_TMP/d" --bytes 500224 --block-size 65536 --seed 3 --zstd
loop_of "$CASE_TMP/c"
c="0 977 zfile_target $loop $(stat -c %s "$CASE_TMP/c")"
loop_of "$CASE_TMP/d"
d="0 977 zfile_target $loop $(stat -c %s "$CASE_TMP/d")"
dm_create o "$c" -r
rm -f "$CASE_TMP/stop" "$CASE_TMP/ready"
blkcheck either /dev/mapper/o "$CASE_TMP/c.content" "$CASE_TMP/d.content" --threads 4 \
	--ready "$CASE_TMP/ready" --until "$CASE_TMP/stop" >"$CASE_TMP/out" 2>&1 &
reader=$!
eventually 20 test -e "$CASE_TMP/ready"
expect_ok dmcheck reload o "$d" "$c" --count 61
: >"$CASE_TMP/stop"
wait $reader || fail "$(cat "$CASE_TMP/out")"
cat "$CASE_TMP/out"
random_reads /dev/mapper/o "$CASE_TMP/d.content" 20 --direct-only --seed 7

note "a lower device is suspended for a while: reads wait"
loop_of "$CASE_TMP/a"
dm_create under "0 $(sectors_of "$loop") linear $loop 0" -r
dm_create w "0 977 zfile_target /dev/mapper/under $(stat -c %s "$CASE_TMP/a")" -r
dmsetup suspend under
blkcheck compare /dev/mapper/w "$CASE_TMP/a.content" --reads 20 --seed 6 >"$CASE_TMP/out" 2>&1 &
reader=$!
eventually 60 under_way w 1
sleep 1
expect_ok kill -0 $reader
[ ! -s "$CASE_TMP/out" ] || fail "a read ended: $(cat "$CASE_TMP/out")"
dmsetup resume under
wait $reader || fail "$(cat "$CASE_TMP/out")"
