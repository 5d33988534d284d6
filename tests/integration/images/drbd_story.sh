# Told in a small machine with the node's kernel and root, with the path of DRBD's module as its argument: pairs of
# volumes that mirror each other within one kernel, a disk that holds requests back, and whether each of them ends.
# Each line of the story is `STORY seconds what WORD ...`. Times here are the machine's own, so a slow host changes nothing.
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH
cd /tmp
say() { read -r up rest < /proc/uptime; echo "STORY $up $*"; }

mkdir -p /run/lock
modprobe -a loop dm-mod lru_cache libcrc32c
insmod "$1" usermode_helper=/run/helper
read -r version < /sys/module/drbd/version
say module "$version"
ip link set lo up

# look MINOR: its two lines of /proc/drbd
look() {
    state= counters=
    while read -r number rest; do
        [ "$number" = "$1:" ] && state=$rest && read -r counters && break
    done < /proc/drbd
}

# seen MINOR WORDS: look until they are there
seen() {
    looks=0
    while look "$1"; do
        case "$state $counters " in *"$2"*) return 0 ;; esac
        looks=$((looks + 1))
        [ $looks -gt 300 ] && break
        sleep 0.5
    done
    say "$1 NOT SEEN: $2, but $state $counters"
    return 1
}

# pair A B OPTIONS: two volumes on disks with these options, equal, and A is the writer
pair() {
    one=$1
    two=$2
    shift 2
    for n in $one $two; do
        truncate -s 8M disk$n
        losetup /dev/loop$n disk$n
        dmsetup create back$n --noudevsync --table "0 16384 linear /dev/loop$n 0"
        dmsetup mknodes
        drbdmeta --force $n v08 /dev/mapper/back$n internal create-md > /dev/null 2>&1
        drbdsetup new-resource r$n --on-no-data-accessible=suspend-io
        drbdsetup new-minor r$n $n 0
        attach $n "$@"
    done
    join $one $two
    join $two $one
    seen $one cs:Connected
    seen $two cs:Connected
    drbdsetup new-current-uuid --clear-bitmap $one
    seen $one ds:UpToDate/UpToDate
    drbdsetup primary $one
    dd if=/dev/zero of=/dev/drbd$one bs=4k count=1 conv=fsync 2> /dev/null
}
attach() {
    volume=$1
    shift
    drbdsetup attach $volume /dev/mapper/back$volume /dev/mapper/back$volume internal \
        --fencing=resource-and-stonith "$@"
}
join() {
    drbdsetup connect r$1 ipv4:127.0.0.1:70$1 ipv4:127.0.0.1:70$2 --protocol=C --timeout=600 --ko-count=0 \
        --ping-int=120 --ping-timeout=20 --connect-int=1
}
leave() { drbdsetup disconnect ipv4:127.0.0.1:70$1 ipv4:127.0.0.1:70$2 --force; }
hold() { dmsetup suspend --nolockfs --noflush back$1; }
release() { dmsetup resume --noudevsync back$1; }

# start NAME COMMAND...: a request of a program; `waiter` is the program
start() {
    name=$1
    shift
    { "$@" 2> /dev/null && say "$name ended" || say "$name ended badly"; } &
    waiter=$!
}
is_open() { kill -0 $waiter 2> /dev/null; }

# judge NAME MINOR: a write and a flush that come later are done; is the request that came first?
judge() {
    dd if=/dev/zero of=/dev/drbd$2 bs=4k count=1 seek=1 conv=fsync 2> /dev/null || say "$1 FAILED: no later write"
    sleep 5
    look $2
    if is_open; then say "$1 HANGS: $state $counters"; else say "$1 PASSED: $state $counters"; fi
}

# frozen NAME A B: a flush is at the disk when the peer leaves, and the disk answers while I/O is frozen
frozen() {
    pair $2 $3
    hold $2
    start $1 sync /dev/drbd$2
    seen $2 "ap:1 "
    leave $3 $2
    seen $2 " s----"
    release $2
    seen $2 "lo:0 "
    sleep 2
    is_open || say "$1 FAILED: heard while frozen"
}

echo 0 > /run/fence-answer
frozen flush-resumed 10 11
drbdsetup resume-io 10
judge flush-resumed 10

frozen flush-connected 12 13
join 13 12
seen 12 cs:Connected
judge flush-connected 12

echo 7 > /run/fence-answer
touch /run/fence-slow
frozen flush-fenced 14 15
rm /run/fence-slow
seen 14 " r----"
judge flush-fenced 14
echo 0 > /run/fence-answer

# The disk fails under the flush while I/O is frozen; the peer, with good data, comes back.
pair 16 17
hold 16
start flush-failed sync /dev/drbd16
seen 16 "ap:1 "
leave 17 16
seen 16 " s----"
dmsetup load back16 --table "0 16384 error"
release 16
seen 16 ds:Diskless
sleep 1
is_open || say "flush-failed FAILED: heard while frozen"
join 17 16
seen 16 cs:Connected
judge flush-failed 16

# The disk hangs under the flush, is given up, and answers late, when I/O is frozen for want of data.
pair 18 19 --disk-timeout=20
hold 18
start flush-hung sync /dev/drbd18
seen 18 ds:Failed
sleep 3
if is_open; then say "flush-hung-link HANGS: it waits for the disk"; else say "flush-hung-link PASSED"; fi
leave 19 18
seen 18 " s----"
release 18
seen 18 ds:Diskless
join 19 18
seen 18 cs:Connected
judge flush-hung 18

# The disk hangs under a read, and answers late. (Debian's module panics, which is shown with a write.)
case $version in *avance*)
    pair 20 21 --disk-timeout=20
    hold 20
    start read-hung dd if=/dev/drbd20 of=read bs=4k count=1 skip=100 iflag=direct
    seen 20 ds:Failed
    release 20
    seen 20 ds:Diskless
    judge read-hung 20
    ;;
esac

# What is written in pieces of many sizes is on both disks as it was.
pair 22 23
dd if=/dev/urandom of=data bs=1M count=7 2> /dev/null
at=0
for size in 2048 1 7 8 9 64 255 256 257 1 2047 3 512; do
    dd if=data of=/dev/drbd22 bs=$((size * 512)) count=1 iflag=skip_bytes oflag=direct,seek_bytes \
        skip=$((at * 512)) seek=$((at * 512)) 2> /dev/null || say "copies FAILED: $size sectors at $at"
    at=$((at + size))
done
for n in 22 23; do
    cmp -n $((at * 512)) data disk$n && say "copies-$n PASSED"
done

# The disk hangs under a write; the next one to the same place goes to the peer alone. The late answer finds no pages of
# others, and the disk gets the newer data when it is attached again.
pair 24 25 --disk-timeout=20
hold 24
start write-hung dd if=data of=/dev/drbd24 bs=4k count=1 seek=9 oflag=direct
seen 24 ds:Failed
sleep 3
if is_open; then say "write-hung-link HANGS: it waits for the disk"; else say "write-hung-link PASSED"; fi
dd if=data of=/dev/drbd24 bs=4k count=1 skip=1 seek=9 oflag=direct 2> /dev/null
release 24
seen 24 ds:Diskless
judge write-hung 24
drbdmeta 24 v08 /dev/mapper/back24 internal apply-al > /dev/null 2>&1
attach 24
seen 24 ds:UpToDate/UpToDate
for n in 24 25; do
    cmp -n 4096 -i $((9 * 4096)):4096 disk$n data && say "write-hung-$n PASSED"
done

dmesg | grep -E "BUG|ASSERT|FIXME|Oops" | while read -r line; do say "kernel FAILED: $line"; done
say "the end"
