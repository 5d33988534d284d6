/* The guest's own start: see guest.h. */
#define _GNU_SOURCE
#include "guest.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <net/route.h>
#include <netinet/if_ether.h>
#include <netpacket/packet.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { CARD_WAIT_STEPS = 1000, CARD_WAIT_STEP_NS = 10 * 1000 * 1000, ORDER_MAX = 64, SECTOR = 512 };

static const char *const drivers[] = {"/modules/xen-blkfront.ko", "/modules/xen-netfront.ko"};
static struct in_addr own_address;
static unsigned char own_mac[ETH_ALEN];

static int load_driver(const char *path)
{
    int file = open(path, O_RDONLY | O_CLOEXEC);
    int failed;

    if (file < 0)
        return errno == ENOENT ? 0 : -1; /* not a module in this kernel */
    failed = syscall(SYS_finit_module, file, "", 0) < 0 && errno != EEXIST;
    close(file);
    return failed ? -1 : 0;
}

/* Copy the value of `name=value` from the kernel's command line; 0 when it is not there. */
static int argument(const char *line, const char *name, char *value, size_t size)
{
    size_t length = strlen(name);
    const char *word;

    for (word = line; word && *word; word = strchr(word, ' ')) {
        word += strspn(word, " ");
        if (strncmp(word, name, length) == 0 && word[length] == '=') {
            snprintf(value, size, "%.*s", (int)strcspn(word + length + 1, " \n"), word + length + 1);
            return 1;
        }
    }
    return 0;
}

static void set_address(struct sockaddr *place, struct in_addr address)
{
    struct sockaddr_in full = {.sin_family = AF_INET, .sin_addr = address};

    memcpy(place, &full, sizeof full);
}

static int wait_for(const char *path)
{
    struct timespec step = {.tv_nsec = CARD_WAIT_STEP_NS};
    int i;

    for (i = 0; i < CARD_WAIT_STEPS; i++) {
        if (access(path, F_OK) == 0)
            return 0;
        nanosleep(&step, NULL);
    }
    errno = ETIMEDOUT;
    return -1;
}

static int set_up_card(char *address_with_prefix, const char *gateway)
{
    struct ifreq card = {.ifr_name = "eth0"};
    struct rtentry route = {.rt_flags = RTF_UP | RTF_GATEWAY};
    struct in_addr mask, none = {0}, through;
    char *slash = strchr(address_with_prefix, '/');
    int prefix = slash ? atoi(slash + 1) : 24;
    int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (slash)
        *slash = '\0';
    if (control < 0 || !inet_aton(address_with_prefix, &own_address) || prefix < 1 || prefix > 32)
        return -1;
    mask.s_addr = htonl(0xffffffffu << (32 - prefix));
    set_address(&card.ifr_addr, own_address);
    if (ioctl(control, SIOCSIFADDR, &card) < 0)
        return -1;
    set_address(&card.ifr_netmask, mask);
    if (ioctl(control, SIOCSIFNETMASK, &card) < 0 || ioctl(control, SIOCGIFFLAGS, &card) < 0)
        return -1;
    card.ifr_flags |= IFF_UP | IFF_RUNNING;
    if (ioctl(control, SIOCSIFFLAGS, &card) < 0 || ioctl(control, SIOCGIFHWADDR, &card) < 0)
        return -1;
    memcpy(own_mac, card.ifr_hwaddr.sa_data, sizeof own_mac);
    if (gateway[0] && inet_aton(gateway, &through)) {
        set_address(&route.rt_dst, none);
        set_address(&route.rt_genmask, none);
        set_address(&route.rt_gateway, through);
        if (ioctl(control, SIOCADDRT, &route) < 0)
            return -1;
    }
    close(control);
    return 0;
}

static void write_text(const char *path, const char *text)
{
    int file = open(path, O_WRONLY | O_CLOEXEC);

    if (file < 0 || write(file, text, strlen(text)) < 0)
        dprintf(STDOUT_FILENO, "workload: %s: %s\n", path, strerror(errno));
    if (file >= 0)
        close(file);
}

/* Take the only processor for ever, with the card off: the guest lives, and does nothing for anybody. */
static void hang(void)
{
    struct sched_param first = {.sched_priority = sched_get_priority_max(SCHED_FIFO)};
    struct ifreq card = {.ifr_name = "eth0"};
    int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    ioctl(control, SIOCSIFFLAGS, &card);
    write_text("/proc/sys/kernel/sched_rt_runtime_us", "-1");
    if (sched_setscheduler(0, SCHED_FIFO, &first) < 0)
        dprintf(STDOUT_FILENO, "workload: sched_setscheduler: %s\n", strerror(errno));
    for (;;)
        ;
}

/* Read one sector past every cache: it ends when the disk below has answered. */
static void read_disk(void)
{
    static char sector[SECTOR] __attribute__((aligned(SECTOR)));
    int file = open("/dev/xvda", O_RDONLY | O_DIRECT | O_CLOEXEC);
    ssize_t got = file < 0 ? -1 : pread(file, sector, sizeof sector, 0);

    dprintf(STDOUT_FILENO, "workload read %s\n", got == sizeof sector ? "ok" : strerror(errno));
    if (file >= 0)
        close(file);
}

/* Do one order of the console; these are the ways in which a guest can end, for those who test them. */
static void obey(const char *order)
{
    dprintf(STDOUT_FILENO, "workload order %s\n", order);
    if (strcmp(order, "crash") == 0)
        write_text("/proc/sysrq-trigger", "c");
    else if (strcmp(order, "hang") == 0)
        hang();
    else if (strcmp(order, "shutdown") == 0)
        guest_power_command("poweroff");
    else if (strcmp(order, "read") == 0)
        read_disk();
    else
        dprintf(STDOUT_FILENO, "workload: the orders are crash, hang, shutdown, read\n");
}

/* A process beside the service reads orders of one line, so that they work while the service waits for its disk. */
static int start_obeying(void)
{
    char line[ORDER_MAX];
    ssize_t got;
    pid_t child = fork();

    if (child != 0)
        return child < 0 ? -1 : 0;
    while ((got = read(STDIN_FILENO, line, sizeof line - 1)) > 0) {
        line[got] = '\0';
        line[strcspn(line, "\r\n")] = '\0';
        if (line[0])
            obey(line);
    }
    for (;;)
        pause();
}

static int failed(struct guest_settings *settings, const char *problem)
{
    settings->problem = problem;
    return -1;
}

int guest_setup(struct guest_settings *settings)
{
    char line[2048] = "", address[64], gateway[64] = "", nosync[8] = "";
    size_t i;
    int file;

    memset(settings, 0, sizeof *settings);
    mkdir("/dev", 0755);
    mkdir("/proc", 0755);
    if (mount("dev", "/dev", "devtmpfs", 0, NULL) < 0 && errno != EBUSY)
        return failed(settings, "mounting /dev");
    if (mount("proc", "/proc", "proc", 0, NULL) < 0 && errno != EBUSY)
        return failed(settings, "mounting /proc");
    if (start_obeying() < 0)
        return failed(settings, "starting the reader of orders");
    for (i = 0; i < sizeof drivers / sizeof drivers[0]; i++)
        if (load_driver(drivers[i]) < 0)
            return failed(settings, drivers[i]);
    file = open("/proc/cmdline", O_RDONLY | O_CLOEXEC);
    if (file < 0 || read(file, line, sizeof line - 1) < 0)
        return failed(settings, "reading /proc/cmdline");
    close(file);
    settings->nosync = argument(line, "nosync", nosync, sizeof nosync) && strcmp(nosync, "1") == 0;
    if (!argument(line, "ip", address, sizeof address))
        return failed(settings, "the kernel's command line has no ip=ADDRESS/PREFIX");
    argument(line, "gw", gateway, sizeof gateway);
    if (wait_for("/proc/sys/net/ipv4/conf/eth0") < 0)
        return failed(settings, "waiting for eth0");
    if (set_up_card(address, gateway) < 0)
        return failed(settings, "setting up eth0");
    if (wait_for("/dev/xvda") < 0)
        return failed(settings, "waiting for /dev/xvda");
    return 0;
}

void guest_power_command(const char *name)
{
    const char *slash = strrchr(name, '/');
    const char *word = slash ? slash + 1 : name;

    if (strcmp(word, "poweroff") == 0 || strcmp(word, "reboot") == 0) {
        sync();
        reboot(word[0] == 'p' ? RB_POWER_OFF : RB_AUTOBOOT);
        _exit(1);
    }
}

void guest_announce(void)
{
    struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ARP), .sll_halen = ETH_ALEN};
    struct ether_arp arp = {.arp_op = htons(ARPOP_REQUEST)};
    int raw = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, htons(ETH_P_ARP));

    arp.arp_hrd = htons(ARPHRD_ETHER);
    arp.arp_pro = htons(ETH_P_IP);
    arp.arp_hln = ETH_ALEN;
    arp.arp_pln = sizeof own_address;
    memcpy(arp.arp_sha, own_mac, ETH_ALEN);
    memcpy(arp.arp_spa, &own_address, sizeof own_address);
    memcpy(arp.arp_tpa, &own_address, sizeof own_address);
    memset(to.sll_addr, 0xff, ETH_ALEN);
    to.sll_ifindex = (int)if_nametoindex("eth0");
    if (raw < 0 || sendto(raw, &arp, sizeof arp, 0, (struct sockaddr *)&to, sizeof to) < 0)
        perror("workload: announcing the address");
    if (raw >= 0)
        close(raw);
}
