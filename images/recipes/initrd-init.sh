#!/bin/busybox sh
# First program of the node's kernel: load the modules of the root disk, mount it, hand over. /bin/busybox is static.
/bin/busybox mount -t devtmpfs dev /dev
exec < /dev/console > /dev/console 2>&1
for module in @MODULES@; do
    /bin/busybox insmod "/modules/$module" || echo "initrd: $module does not load"
done
if ! /bin/busybox mount -t ext4 -o noatime /dev/vda /root; then
    echo "initrd: the root disk /dev/vda cannot be mounted; the node stops here"
    exec /bin/busybox sleep 2147483647
fi
/bin/busybox mount --move /dev /root/dev
exec /bin/busybox switch_root /root /usr/sbin/runit
