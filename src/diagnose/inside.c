/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The firewall of a container itself: of what it drops nothing is ever seen on the host. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>

/* behind netinet/in.h, which it would define anew */
#include <linux/netfilter.h>

#include "../model/text.h"
#include "diagnose.h"

#define OUTWARDS (1 << NF_INET_LOCAL_OUT | 1 << NF_INET_POST_ROUTING)
#define INWARDS	 (1 << NF_INET_PRE_ROUTING | 1 << NF_INET_LOCAL_IN)

struct look {
	uint32_t hooks;
	bool found;
	struct nb_dropping dropping;
};

/* In the container's namespace. */
static int look(void *data)
{
	static const uint8_t families[] = { NFPROTO_IPV4, NFPROTO_INET };
	struct look *look = data;
	struct nb_netlink *nl = nb_netlink_new();

	if (!nl)
		return -ENOMEM;
	for (size_t i = 0; i < sizeof(families) && !look->found; i++)
		look->found = nb_find_dropping(nl, families[i], look->hooks, &look->dropping);
	nb_netlink_free(nl);
	return 0;
}

bool nb_find_inside_trouble(const struct nb_case *one, bool answers, struct nb_port_trouble *ret)
{
	struct look inside = { .hooks = answers ? INWARDS : OUTWARDS };
	char rule[NB_DROPPING_TEXT], address[INET_ADDRSTRLEN];
	struct in_addr in = { .s_addr = htonl(one->address) };
	const struct nb_dropping *dropping = &inside.dropping;
	struct nb_probe_place *place;
	struct nb_error ignored;

	if (!one->pid || nb_probe_enter(one->pid, &place, &ignored) < 0)
		return false;
	(void)nb_probe_do(place, look, &inside);
	nb_probe_leave(place);
	if (!inside.found)
		return false;
	ret->code = "container-firewall";
	snprintf(ret->what, sizeof(ret->what),
		 "in the container's own network (pid %d) %s drops packets", (int)one->pid,
		 nb_dropping_text(dropping, rule));
	inet_ntop(AF_INET, &in, address, sizeof(address));
	/* the container has chosen these names, and the command is for the host's root */
	if (nb_is_plain_word(dropping->base_table) && nb_is_plain_word(dropping->base))
		snprintf(ret->mend, sizeof(ret->mend),
			 "nsenter -t %d -n nft insert rule %s %s %s ip %s %s accept", (int)one->pid,
			 dropping->family == NFPROTO_INET ? "inet" : "ip", dropping->base_table,
			 dropping->base, answers ? "saddr" : "daddr", address);
	else
		snprintf(
			ret->mend, sizeof(ret->mend),
			"accept what is %s %s in that chain, in the container (its name, which the "
			"container has chosen, is none to type into a shell)",
			answers ? "from" : "to", address);
	return true;
}
