/* What the service does for itself when it is the first process of a guest. */
#ifndef GUEST_H
#define GUEST_H

struct guest_settings {
    int nosync;
    const char *problem; /* what failed, when guest_setup returns -1 */
};

/* Mount /dev and /proc, load the front-end drivers, set up eth0 from the kernel's command line; from the second step on
 * orders that are written to the console are obeyed: crash, hang, shutdown, read (one sector of the disk). */
int guest_setup(struct guest_settings *settings);

/* Called as poweroff or reboot (the kernel does so when Xen asks the guest to stop): stop, and do not return. */
void guest_power_command(const char *name);

/* Send one gratuitous ARP for the guest's address, so that switches learn where it is now. */
void guest_announce(void);

#endif
