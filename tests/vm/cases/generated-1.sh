#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The first half of 2,000 generated images, ZFiles and stacks of layers of every shape and with every
# damage: each must read as it was made, fail exactly the reads that its damage touches, or be refused by
# name. An image is made again by the seed and the number that a failure gives: `genrun show` and
# `genrun host`. Two cases, so that two guests share them. With KASAN it is the first 31 of the thousand.
#
# timeout: 400
. /overlaybd/tests/vm/lib.sh

generated 1 0 1000
