#!/bin/sh
# Runs inside the node's Debian tree after the packages: leaves the boot material in /out and removes what the
# node never needs. The image itself is made from the tree by the next hook.
set -eu
export LC_ALL=C
kernel=$(ls /lib/modules)
mkdir -p /out/initrd-modules /out/guest-modules

depmod "$kernel"

# Modules in loading order, dependencies first.
copy_modules() {
    target=$1
    shift
    modprobe -S "$kernel" --show-depends -a "$@" | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' |
        while read -r path; do
            cp "$path" "$target/"
            echo "${path##*/}" >> "$target/order"
        done
}
copy_modules /out/initrd-modules virtio_pci virtio_blk ext4
copy_modules /out/guest-modules xen-blkfront xen-netfront

# Fail here, not in a test, when a module that the node or a scenario needs was left out.
modprobe -S "$kernel" --show-depends -a virtio_net virtio_console bridge bonding raid1 dm-mod dm-snapshot dm-delay \
    dm-flakey loop drbd dummy ifb tun veth sch_netem sch_tbf sch_ingress act_mirred cls_u32 nf_tables \
    xen-evtchn xen-gntdev xen-gntalloc xen-privcmd xenfs xen-blkback xen-netback i6300esb softdog \
    ipmi_si ipmi_devintf ipmi_watchdog pvpanic > /dev/null

cp "/boot/vmlinuz-$kernel" /out/vmlinuz
cp /usr/bin/busybox /out/busybox 2> /dev/null || cp /bin/busybox /out/busybox
dpkg-query -W -f '${Package} ${Version}\n' > /out/packages
echo "$kernel" > /out/kernel
modinfo -k "$kernel" -F version drbd > /out/drbd

python3 -m compileall -q /usr/lib/python3.11 /usr/lib/python3/dist-packages > /dev/null || true

# /tmp stays as it is: mmdebstrap keeps its apt configuration there until it ends. Without that file its own last
# steps would work on the package lists of the host.
apt-get clean
rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/* /var/log/* /boot/* /etc/runit/* /etc/sv/* \
    /etc/rc?.d /etc/service /usr/lib/x86_64-linux-gnu/perl /usr/share/perl /usr/share/initramfs-tools \
    /var/lib/dpkg/info /usr/lib/python3.11/pydoc_data /usr/lib/python3.11/lib2to3 /usr/lib/udev/hwdb.bin /etc/lvm/archive /etc/lvm/backup /etc/drbd.d/*
mkdir -p /etc/runit /etc/sv /etc/service /etc/avance /var/lib/avance /var/log/avance /var/log/xen/console /run/avance \
    /etc/lvm/archive /etc/lvm/backup /var/lib/xenstored /usr/lib/workload /root/.ssh
for script in block vif-bridge; do
    mv "/etc/xen/scripts/$script" "/etc/xen/scripts/$script.dist"
done
rm -f /etc/machine-id /etc/hostname /etc/mdadm/mdadm.conf /etc/lvm/lvm.conf /etc/drbd.conf

# What exists in the image: the build must know it, because it adds files by debugfs.
find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /out \) -prune -o -type d -printf 'd %p\n' -o -printf 'f %p\n' \
    > /out/listing
