#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# How long a program of an image takes to start, in four ways over a slow network: the whole image
# is pulled first (not in a short run); its layers are fetched on demand; with a record of an
# earlier start; with a cache of one. The image is an ext4 with the programs of this guest, in
# three layers. The network has 100 Mbit/s and a delay in each direction. All must print the same;
# on demand no more than a quarter of the image may be fetched, and with a cache nothing. `make
# bench-registry` repeats it with other delays, and draws the figure.
#
# timeout: 600
# only: stock
. /overlaybd/tests/vm/lib.sh
. /overlaybd/tests/vm/tool.sh
. /overlaybd/tests/vm/registry.sh

now() {
	read -r nw_now _ </proc/uptime
	echo "${nw_now%.*}${nw_now#*.}"
}

# The programs: their folders alone, without what is mounted.
mkdir "$CASE_TMP/bind" "$CASE_TMP/mnt"
mount --bind / "$CASE_TMP/bind"
undo_add umount "$CASE_TMP/bind"
for link in bin sbin lib lib64; do
	[ -L "$CASE_TMP/bind/$link" ] || fail "/$link is no link"
done
mkdir "$CASE_TMP/root"
for folder in dev proc tmp etc; do
	mkdir "$CASE_TMP/root/$folder"
done
cp -a "$CASE_TMP/bind/usr" "$CASE_TMP/root/"
for link in bin sbin lib lib64; do
	ln -s usr/$link "$CASE_TMP/root/$link"
done
umount "$CASE_TMP/bind"
undo_drop umount "$CASE_TMP/bind"
expect_ok mke2fs -q -t ext4 -b 4096 -d "$CASE_TMP/root" "$CASE_TMP/ext4" 160M
rm -r "$CASE_TMP/root"
mkimage split "$CASE_TMP/layer" --content "$CASE_TMP/ext4" --layers 3 --seed 1 >/dev/null
rm "$CASE_TMP/ext4"
oci_layout "$CASE_TMP/oci" v1 "$CASE_TMP/layer.0" "$CASE_TMP/layer.1" "$CASE_TMP/layer.2"
rm "$CASE_TMP"/layer.*
image_bytes=$(find "$CASE_TMP/oci/blobs/sha256" -type f -exec stat -c %s {} + |
	awk '{ sum += $1 } END { print sum }')
registry_start
push_layout "$CASE_TMP/oci" programs 1
rm -r "$CASE_TMP/oci"
undo_add eventually 10 rmmod nbd

# start ARGS...: opens the image, starts the programs, closes it. Sets $took to hundredths of a
# second until they have ended, $fetched to the bytes that came from the registry.
start() {
	st_began=${began:-$(now)}
	open_image programs "$@" --mount "$CASE_TMP/mnt"
	chroot "$CASE_TMP/mnt" /bin/sh -c 'dpkg --version' \
		>"$CASE_TMP/out" 2>&1 || fail "the program fails: $(cat "$CASE_TMP/out")"
	took=$(($(now) - st_began))
	fetched=$(layer_field fetched_bytes programs)
	[ -z "${keep:-}" ] || overlaybdsetup record programs >"$CASE_TMP/record"
	close_image programs
	cmp -s "$CASE_TMP/out" "$CASE_TMP/wanted" || [ ! -e "$CASE_TMP/wanted" ] ||
		fail "the program prints something else: $(cat "$CASE_TMP/out")"
	mv "$CASE_TMP/out" "$CASE_TMP/wanted"
	echo 3 >/proc/sys/vm/drop_caches
}

# pull: fetches the whole image to $CASE_TMP/pulled.
pull() {
	pu_blobs=$CASE_TMP/pulled/blobs/sha256
	pu_url=http://$registry/v2/programs
	mkdir -p "$pu_blobs"
	pu_digest=${manifest#sha256:}
	curl -sS -o "$pu_blobs/$pu_digest" -H 'Accept: application/vnd.oci.image.manifest.v1+json' \
		"$pu_url/manifests/$manifest" || fail "no manifest"
	grep -o 'sha256:[0-9a-f]*' "$pu_blobs/$pu_digest" | sort -u >"$CASE_TMP/digests"
	while read -r pu_digest; do
		curl -sS -o "$pu_blobs/${pu_digest#sha256:}" "$pu_url/blobs/$pu_digest" ||
			fail "no blob"
	done <"$CASE_TMP/digests"
}

# measure DELAY_MS: adds a line to $results.
measure() {
	slow_network "$1" 100mbit
	echo 3 >/proc/sys/vm/drop_caches
	me_pull=-
	if [ -n "${LASTS:-}" ]; then
		began=$(now)
		pull
		start --oci "$CASE_TMP/pulled" --manifest "$manifest"
		me_pull=$took
		began=
		rm -r "$CASE_TMP/pulled"
	fi
	remote="--registry $registry/programs:1 --insecure"
	keep=yes
	# shellcheck disable=SC2086
	start $remote
	keep=
	me_demand=$took
	me_fetched=$fetched
	# shellcheck disable=SC2086
	start $remote --prefetch "$CASE_TMP/record"
	me_prefetch=$took
	# shellcheck disable=SC2086
	start $remote --cache "$CASE_TMP/cache"
	# shellcheck disable=SC2086
	start $remote --cache "$CASE_TMP/cache"
	me_cache=$took
	expect_eq "bytes fetched with a cache" "$fetched" 0
	rm -r "$CASE_TMP/cache"
	[ $((me_fetched * 4)) -lt "$image_bytes" ] ||
		fail "$me_fetched of $image_bytes bytes were fetched on demand"
	fast_network
	results="${results:+$results; }$1 ms: $me_pull $me_demand $me_prefetch $me_cache"
	results="$results $me_fetched"
}

if [ -n "${LASTS:-}" ]; then
	lasting 0
	until time_is_up; do
		for delay in 0 5 50; do
			measure $delay
		done
	done
else
	measure 5
fi
report "hundredths of a second, pulled first, on demand, with a record, with a cache, and" \
	"bytes on demand of $image_bytes: $results"
