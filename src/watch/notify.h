/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a service of Type=notify says to systemd: sd_notify(3), without its library. */
#ifndef NAT_BRIDGE_NOTIFY_H
#define NAT_BRIDGE_NOTIFY_H

#include <stdint.h>

/* "READY=1", "STATUS=...". Without NOTIFY_SOCKET, or if it cannot be sent, nothing happens. */
void nb_notify(const char *state);
/* How often to send "WATCHDOG=1", in milliseconds; 0: nobody waits for it. */
int64_t nb_notify_interval(void);

#endif
