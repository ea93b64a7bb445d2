#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# overlaybdsetup and a registry whose tokens expire while a device is open, which redirects blobs to
# another host, which is behind a proxy, and which accepts connections and never answers. The token
# is renewed and does not reach the other host; a read that is never answered fails when its time is
# over. After many opens and closes nothing is left.
#
# timeout: 600
# only: stock
. /overlaybd/tests/vm/lib.sh
. /overlaybd/tests/vm/tool.sh
. /overlaybd/tests/vm/registry.sh

layers_of lsmt/fs0_lz4_4k.zlsmt,lsmt/fs1_lz4_4k.zlsmt
# shellcheck disable=SC2086
set -- $layers
oci_layout "$CASE_TMP/oci" v1 "$2" "$4"
hangs=$CASE_TMP/hangs
log=$CASE_TMP/oddregistry.log

listens() {
	curl -s -o /dev/null --max-time 5 "http://127.0.0.1:$1/v2/"
}
# serve PORT ARGS...: starts a registry; its requests are in $log.PORT.
serve() {
	sv_port=$1
	shift
	/overlaybd/tools/oddregistry "$CASE_TMP/oci" --port "$sv_port" --hangs "$hangs" "$@" \
		>"$log.$sv_port" 2>&1 &
	undo_add kill $!
	eventually 60 listens "$sv_port"
}
# answered PORT TEXT: prints the number of requests with that text.
answered() {
	grep -cE -- "$2" "$log.$1" || true
}
# open_odd PORT [ARGS...]
open_odd() {
	oo_port=$1
	shift
	open_image odd --registry "127.0.0.1:$oo_port/any/image" --insecure "$@"
}

# Tokens that expire after 3 seconds, and a redirect to another host.
undo_add eventually 10 rmmod nbd
serve 5002 --storage
serve 5001 --token-seconds 3 --redirect 5002
open_odd 5001
first=$(answered 5001 ' /token')
dd if=/dev/mapper/odd of="$CASE_TMP/read" bs=1M count=1 iflag=direct 2>/dev/null
sleep 4
dd if=/dev/mapper/odd of="$CASE_TMP/read" bs=1M iflag=direct 2>/dev/null ||
	fail "reads fail when the token has expired: $(overlaybdsetup status odd)"
expect_eq "content" "$(sha256_of "$CASE_TMP/read")" "$want"
tokens=$(answered 5001 ' /token')
[ "$tokens" -gt "$first" ] || fail "no token was renewed"
expect_eq "requests with credentials at the other host" "$(answered 5002 ' 400$')" 0
[ "$(answered 5002 '^GET .* 206$')" -gt 0 ] || fail "the other host was not asked"
close_image odd

# Answers that never come.
serve 5003
open_odd 5003 --timeout 4
: >"$hangs"
read_odd() {
	dd if=/dev/mapper/odd of="$CASE_TMP/read" bs=1M iflag=direct
}
read -r began _ </proc/uptime
expect_eio read_odd
read -r ended _ </proc/uptime
waited=$((${ended%.*} - ${began%.*}))
[ $waited -ge 3 ] || fail "a read failed after $waited seconds"
[ $waited -le 20 ] || fail "a read failed only after $waited seconds"
rm "$hangs"
expect_ok read_odd
expect_eq "content" "$(sha256_of "$CASE_TMP/read")" "$want"
close_image odd
eventually 30 nothing_remote

# A proxy: nothing listens at the registry's own port.
serve 5004
http_proxy=http://127.0.0.1:5004
export http_proxy
open_odd 5009
unset http_proxy
expect_ok read_odd
expect_eq "content" "$(sha256_of "$CASE_TMP/read")" "$want"
[ "$(answered 5004 '^GET http://127.0.0.1:5009/.*/blobs/.* 206$')" -gt 0 ] ||
	fail "the proxy was not asked for blobs"
close_image odd

# Where systemd runs, its program starts fetchers; where that fails they are started without it.
mkdir -p /run/systemd/system "$CASE_TMP/bin"
undo_add rm -r /run/systemd
cat >"$CASE_TMP/bin/systemd-run" <<-SH
#!/bin/sh
echo "\$*" >>"$CASE_TMP/systemd"
[ ! -e "$CASE_TMP/broken" ] || exit 1
while [ "\$1" != -- ]; do
	shift
done
shift
exec "\$@"
SH
chmod +x "$CASE_TMP/bin/systemd-run"
path=$PATH
PATH=$CASE_TMP/bin:$PATH
for broken in no yes; do
	[ $broken = no ] || : >"$CASE_TMP/broken"
	: >"$CASE_TMP/systemd"
	open_odd 5003
	expect_ok read_odd
	close_image odd
	expect_eq "fetchers in a scope" "$(grep -c '^--scope .*--unit overlaybdsetup-' \
		"$CASE_TMP/systemd")" 2
done
PATH=$path
eventually 30 nothing_remote

# Again and again, after those above: five times, or as long as `qemu/vm test --seconds` says.
number=0
lasting 0
while [ $number -lt 5 ] || ! time_is_up; do
	open_odd 5003
	close_image odd
	number=$((number + 1))
done
nothing_left "$number opens"
eventually 30 nothing_remote
report "$tokens tokens; a read that is never answered fails after $waited s; $number opens"
