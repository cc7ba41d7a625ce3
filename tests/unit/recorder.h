/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A kernel that only notes what it is asked, and refuses what a script says.
 * Dumps are empty, but for one flow. fake_kernel.h has one that remembers.
 *
 * Link with -Wl,--wrap=nb_netlink_ask,--wrap=nb_netlink_commit.
 */
#ifndef NAT_BRIDGE_RECORDER_H
#define NAT_BRIDGE_RECORDER_H

#include "nat-bridge/netlink.h"

/* One for each process: the wrapped functions have no room for a pointer, and Check forks. */
struct recorder {
	struct nb_netlink *nl; /* what must be handed to each exchange */
	/* Each of them: "set 3 1 6e620000; batch 7; translated; route; sockets; delete; ". */
	char log[1024];
	unsigned int exchanges;
	unsigned int fail_at; /* the exchange of this number (from 1), 0: none */
	int number;	      /* negative errno */
	const char *words;    /* extended ack */
	bool gone_for_ever;   /* every SETLINK meets a device that is gone */
	bool flow;	      /* a translated flow to 80/tcp of device 3 is alive */

	/* whom a failing batch blames: element @element of the @message-th such message */
	uint16_t command; /* NFT_MSG_*SETELEM, 0: nobody */
	const char *set;
	unsigned int message;
	unsigned int element;
	bool inside; /* the offset points into the element, not at it */

	const uint32_t *generations; /* answers to NFT_MSG_GETGEN, the last one for ever */
	size_t generation_count;
};

extern struct recorder script;

#endif
