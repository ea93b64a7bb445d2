#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The first half of 2,000 generated images, ZFiles and stacks of layers of every shape and with
# every damage. Each must read as it was generated, fail exactly the reads that its damage touches,
# or be refused by name. The seed and the number that a failure prints reproduce an image: `genrun
# show` and `genrun host`. Two guests share the images, so this is one of two cases. With KASAN it
# is the first 31 of the thousand.
#
# timeout: 400
. /overlaybd/tests/vm/lib.sh

generated 1 0 1000
