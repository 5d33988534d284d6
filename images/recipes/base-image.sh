#!/bin/sh
# A hook on the host (in mmdebstrap's user namespace when the build has no root): $1 is the tree, $2 the free MiB.
# Makes /out/root.img inside the tree from the tree itself, without what is mounted below it.
set -eu
PATH=$PATH:/usr/sbin:/sbin
tree=$1
side=$tree.side
mkdir "$side" "$side/view"
mv "$tree/out" "$side/out"
# What mmdebstrap still needs in the tree does not belong into the image.
mkdir "$side/tmp"
find "$tree/tmp" -mindepth 1 -maxdepth 1 -exec mv {} "$side/tmp/" \;
used_mib=$(du -xsm "$tree" | cut -f 1)
inodes=$(($(find "$tree" -xdev | wc -l) + 8192))
# A bind mount shows the tree alone: mke2fs would otherwise copy /proc and /sys too.
unshare -m sh -c "mount --bind '$tree' '$side/view' &&
    mke2fs -q -t ext4 -L node-root -m 0 -N $inodes -J size=16 -E lazy_itable_init=0,root_owner=0:0 \
    -U 7d0c1f5e-5a0e-4b0a-9d5c-0a7a6e0d1c01 -d '$side/view' '$side/out/root.img' $((used_mib * 115 / 100 + $2))M"
echo "$used_mib" > "$side/out/used_mib"
find "$side/tmp" -mindepth 1 -maxdepth 1 -exec mv {} "$tree/tmp/" \;
mv "$side/out" "$tree/out"
rmdir "$side/view" "$side/tmp" "$side"
