/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Dumps of what others may be changing meanwhile. */
#include <errno.h>

#include "nat-bridge/netlink.h"

#define DUMP_ATTEMPTS 10

int nb_netlink_dump(struct nb_netlink *nl, int bus, struct nlmsghdr *request,
		    int (*callback)(const struct nlmsghdr *message, void *data),
		    void (*restart)(void *data), void *data, struct nb_netlink_ack *ack)
{
	int r = -EINTR;

	request->nlmsg_flags |= NLM_F_DUMP;
	for (int attempt = 0; attempt < DUMP_ATTEMPTS && r == -EINTR; attempt++) {
		if (restart)
			restart(data);
		r = nb_netlink_ask(nl, bus, request, callback, data, ack);
	}
	return r;
}
