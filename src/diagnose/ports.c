/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What sits between a bridge and its ports where nf_tables sees nothing: ports that do not
 * forward, VLAN filtering, XDP, filters of traffic control, qdiscs that lose packets.
 */
#include <linux/gen_stats.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "../model/text.h"
#include "diagnose.h"

#ifndef IFLA_BRPORT_LOCKED
#define IFLA_BRPORT_LOCKED 39
#endif

#define INGRESS TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS)
#define EGRESS	TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS)

struct search {
	const struct nb_link *bridge;
	pid_t pid;		      /* of the container behind the port; 0: not known */
	const struct nb_link *device; /* whose filters are read */
	const char *direction;
	int port;  /* whose alone counts; 0: any */
	bool tree; /* the bridge takes part in a spanning tree */
	bool filters_vlans;
	struct nb_port_trouble *found;
};

static bool is_string(const struct nlattr *attr)
{
	return mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) == 0;
}

static void find(struct search *search, const char *code, const char *what, const char *mend)
{
	if (search->found->code)
		return;
	search->found->code = code;
	snprintf(search->found->what, sizeof(search->found->what), "%s", what);
	snprintf(search->found->mend, sizeof(search->found->mend), "%s", mend);
}

static void read_bridge(struct search *search, const struct nlattr *data)
{
	struct nlattr *attr;

	mnl_attr_for_each_nested(attr, data) {
		unsigned int type = mnl_attr_get_type(attr);

		if (type == IFLA_BR_VLAN_FILTERING && mnl_attr_get_payload_len(attr) == 1)
			search->filters_vlans = mnl_attr_get_u8(attr);
		else if (type == IFLA_BR_STP_STATE && mnl_attr_validate(attr, MNL_TYPE_U32) >= 0)
			search->tree = mnl_attr_get_u32(attr);
	}
}

static void blame_state(struct search *search, const char *name, unsigned int state)
{
	static const char *const words[] = { "disabled", "listening", "learning", "forwarding",
					     "blocking" };
	char what[200], mend[160];

	snprintf(what, sizeof(what), "port %s of the bridge does not forward: it is %s", name,
		 state < sizeof(words) / sizeof(words[0]) ? words[state] : "in an unknown state");
	/* what the tree decides nobody else may */
	if (search->tree)
		snprintf(mend, sizeof(mend),
			 "ip link set %s type bridge stp_state 0 && ip link set %s down && "
			 "ip link set %s up",
			 search->bridge->name, name, name);
	else
		snprintf(mend, sizeof(mend), "bridge link set dev %s state 3", name);
	find(search, "isolated-port", what, mend);
}

/* The only device of a container, beside its loopback. False: it is not known, or has several. */
static bool find_device(pid_t pid, char *device)
{
	char path[64], line[256], name[NB_IFNAME_SIZE];
	size_t count = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/net/dev", (int)pid);
	file = pid ? fopen(path, "re") : NULL;
	if (!file)
		return false;
	while (fgets(line, sizeof(line), file)) {
		/* of two lines of heads neither has a colon */
		if (!strchr(line, ':') || sscanf(line, " %15[^: ]", name) != 1 ||
		    strcmp(name, "lo") == 0)
			continue;
		memcpy(device, name, sizeof(name));
		count++;
	}
	fclose(file);
	return count == 1;
}

/* The other end is down: until it is up the bridge does not let the port forward. */
static void blame_carrier(struct search *search, const char *name)
{
	char what[200], mend[160], device[NB_IFNAME_SIZE];

	snprintf(what, sizeof(what),
		 "port %s of the bridge has no carrier: its other end, the container's device, is "
		 "down",
		 name);
	/* the container may have chosen the name, and the command is for the host's root */
	if (find_device(search->pid, device) && nb_is_plain_word(device))
		snprintf(mend, sizeof(mend), "nsenter -t %d -n ip link set %s up", (int)search->pid,
			 device);
	else
		snprintf(mend, sizeof(mend), "set the container's device up, or start it anew");
	find(search, "isolated-port", what, mend);
}

/* What is sent to an address that the bridge has not learnt goes nowhere. */
static void blame_flooding(struct search *search, const char *name, bool floods, bool learns)
{
	char what[200], mend[160];

	if (floods)
		return;
	snprintf(what, sizeof(what),
		 "port %s of the bridge gets nothing for an address that the bridge does not know "
		 "(flood off%s)",
		 name, learns ? "" : ", learning off");
	snprintf(mend, sizeof(mend), "bridge link set dev %s flood on learning on", name);
	find(search, "isolated-port", what, mend);
}

static void read_port(struct search *search, const char *name, const struct nlattr *data)
{
	char what[200], mend[160];
	bool floods = true, learns = true;
	struct nlattr *attr;

	mnl_attr_for_each_nested(attr, data) {
		unsigned int type = mnl_attr_get_type(attr);
		unsigned int value = mnl_attr_get_payload_len(attr) == 1 ? mnl_attr_get_u8(attr)
									 : 0;

		if (type == IFLA_BRPORT_STATE && value != BR_STATE_FORWARDING)
			blame_state(search, name, value);
		if (type == IFLA_BRPORT_LOCKED && value) {
			snprintf(what, sizeof(what),
				 "port %s of the bridge is locked: it takes nothing of a sender "
				 "that "
				 "nobody has allowed",
				 name);
			snprintf(mend, sizeof(mend), "bridge link set dev %s locked off", name);
			find(search, "isolated-port", what, mend);
		}
		if (type == IFLA_BRPORT_UNICAST_FLOOD)
			floods = value;
		if (type == IFLA_BRPORT_LEARNING)
			learns = value;
	}
	blame_flooding(search, name, floods, learns);
}

static void blame_silence(struct search *search)
{
	char what[200], mend[160];

	snprintf(what, sizeof(what),
		 "bridge %s does not answer who asks for its hardware address (NOARP)",
		 search->bridge->name);
	snprintf(mend, sizeof(mend), "ip link set %s arp on", search->bridge->name);
	find(search, "arp", what, mend);
}

static const struct nlattr *part_of(const struct nlattr *info, unsigned int type)
{
	struct nlattr *attr;

	mnl_attr_for_each_nested(attr, info) {
		if (mnl_attr_get_type(attr) == type)
			return attr;
	}
	return NULL;
}

static void read_xdp(struct search *search, const char *name, const struct nlattr *xdp)
{
	char what[200], mend[120];
	struct nlattr *attr;

	mnl_attr_for_each_nested(attr, xdp) {
		if (mnl_attr_get_type(attr) != IFLA_XDP_ATTACHED || !mnl_attr_get_u8(attr))
			continue;
		snprintf(what, sizeof(what), "an XDP program on %s sees each packet first", name);
		snprintf(mend, sizeof(mend), "ask whose program it is: bpftool net show dev %s",
			 name);
		find(search, "traffic-control", what, mend);
	}
}

static int read_link(const struct nlmsghdr *message, void *data)
{
	const struct ifinfomsg *info = mnl_nlmsg_get_payload(message);
	const struct nlattr *link_info = NULL, *xdp = NULL, *part;
	struct search *search = data;
	const char *name = "";
	char what[120], mend[80];
	struct nlattr *attr;
	int master = 0;

	if (message->nlmsg_type != RTM_NEWLINK)
		return 0;
	mnl_attr_for_each(attr, message, sizeof(*info)) {
		switch (mnl_attr_get_type(attr)) {
		case IFLA_IFNAME:
			name = is_string(attr) ? mnl_attr_get_str(attr) : "";
			break;
		case IFLA_MASTER:
			master = (int)mnl_attr_get_u32(attr);
			break;
		case IFLA_LINKINFO:
			link_info = attr;
			break;
		case IFLA_XDP:
			xdp = attr;
			break;
		}
	}
	part = link_info ? part_of(link_info, info->ifi_index == search->bridge->index
						      ? IFLA_INFO_DATA
						      : IFLA_INFO_SLAVE_DATA)
			 : NULL;
	if (info->ifi_index == search->bridge->index) {
		if (part)
			read_bridge(search, part);
		if (info->ifi_flags & IFF_NOARP)
			blame_silence(search);
		return 0;
	}
	if (master != search->bridge->index || (search->port && info->ifi_index != search->port))
		return 0;
	if (!(info->ifi_flags & IFF_UP)) {
		snprintf(what, sizeof(what), "port %s of the bridge is down", name);
		snprintf(mend, sizeof(mend), "ip link set %s up", name);
		find(search, "isolated-port", what, mend);
	} else if (!(info->ifi_flags & IFF_RUNNING)) {
		blame_carrier(search, name);
	}
	if (part)
		read_port(search, name, part);
	if (xdp)
		read_xdp(search, name, xdp);
	return 0;
}

static int read_filter(const struct nlmsghdr *message, void *data)
{
	const struct tcmsg *tc = mnl_nlmsg_get_payload(message);
	struct search *search = data;
	const char *kind = "";
	char what[200], mend[160];
	struct nlattr *attr;
	uint32_t priority = TC_H_MAJ(tc->tcm_info) >> 16;

	if (message->nlmsg_type != RTM_NEWTFILTER || tc->tcm_handle == 0)
		return 0;
	/* our own guard */
	if (strcmp(search->direction, "ingress") == 0 &&
	    search->device->ingress.priority == priority)
		return 0;
	mnl_attr_for_each(attr, message, sizeof(*tc)) {
		if (mnl_attr_get_type(attr) == TCA_KIND && is_string(attr))
			kind = mnl_attr_get_str(attr);
	}
	snprintf(what, sizeof(what),
		 "a filter of traffic control (%s, priority %u) stands at the %s of %s", kind,
		 priority, search->direction, search->device->name);
	snprintf(mend, sizeof(mend), "tc filter del dev %s %s pref %u", search->device->name,
		 search->direction, priority);
	find(search, "traffic-control", what, mend);
	return 0;
}

static uint32_t read_drops(const struct nlattr *stats)
{
	struct gnet_stats_queue queue;
	struct nlattr *attr;

	mnl_attr_for_each_nested(attr, stats) {
		if (mnl_attr_get_type(attr) != TCA_STATS_QUEUE ||
		    mnl_attr_get_payload_len(attr) < sizeof(queue))
			continue;
		memcpy(&queue, mnl_attr_get_payload(attr), sizeof(queue));
		return queue.drops;
	}
	return 0;
}

static int read_qdisc(const struct nlmsghdr *message, void *data)
{
	/* which lose or hold packets back on purpose */
	static const char *const losing[] = { "netem", "blackhole", "tbf", "plug", "police" };
	const struct tcmsg *tc = mnl_nlmsg_get_payload(message);
	struct search *search = data;
	const char *kind = "";
	char what[200], mend[160];
	uint32_t dropped = 0;
	struct nlattr *attr;

	if (message->nlmsg_type != RTM_NEWQDISC || tc->tcm_ifindex != search->device->index)
		return 0;
	mnl_attr_for_each(attr, message, sizeof(*tc)) {
		if (mnl_attr_get_type(attr) == TCA_STATS2)
			dropped = read_drops(attr);
		if (mnl_attr_get_type(attr) != TCA_KIND || !is_string(attr))
			continue;
		kind = mnl_attr_get_str(attr);
		for (size_t i = 0; i < sizeof(losing) / sizeof(losing[0]); i++) {
			if (strcmp(mnl_attr_get_str(attr), losing[i]) != 0)
				continue;
			snprintf(what, sizeof(what), "qdisc %s on %s holds packets back", losing[i],
				 search->device->name);
			snprintf(mend, sizeof(mend), "tc qdisc del dev %s root",
				 search->device->name);
			find(search, "traffic-control", what, mend);
		}
	}
	/* any of them drops what its queue has no room for; a guard's has no queue */
	if (dropped && tc->tcm_parent == TC_H_ROOT) {
		snprintf(what, sizeof(what), "qdisc %s on %s has dropped %u packets", kind,
			 search->device->name, dropped);
		/* it may be long ago, and the queue what somebody wants */
		snprintf(mend, sizeof(mend),
			 "look whether that grows (tc -s qdisc show dev %s); if it does, give the "
			 "queue more room, or take it away",
			 search->device->name);
		find(search, "traffic-control", what, mend);
	}
	return 0;
}

static void ask_tc(struct nb_diagnosis *diagnosis, struct search *search, uint16_t type,
		   uint32_t parent, int (*callback)(const struct nlmsghdr *, void *))
{
	char buffer[256] = { 0 };
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	struct tcmsg *tc;

	request->nlmsg_type = type;
	request->nlmsg_flags = NLM_F_DUMP;
	tc = mnl_nlmsg_put_extra_header(request, sizeof(*tc));
	tc->tcm_family = AF_UNSPEC;
	tc->tcm_ifindex = search->device->index;
	tc->tcm_parent = parent;
	(void)nb_netlink_ask(diagnosis->nl, NETLINK_ROUTE, request, callback, search, NULL);
}

static void search_device(struct nb_diagnosis *diagnosis, struct search *search,
			  const struct nb_link *device)
{
	search->device = device;
	search->direction = "ingress";
	ask_tc(diagnosis, search, RTM_GETTFILTER, INGRESS, read_filter);
	search->direction = "egress";
	ask_tc(diagnosis, search, RTM_GETTFILTER, EGRESS, read_filter);
	ask_tc(diagnosis, search, RTM_GETQDISC, 0, read_qdisc);
}

static void blame_vlans(struct search *search)
{
	char what[200], mend[120];

	if (!search->filters_vlans)
		return;
	snprintf(what, sizeof(what),
		 "bridge %s filters VLANs, and its ports and itself may be of different ones "
		 "(bridge vlan show)",
		 search->bridge->name);
	snprintf(mend, sizeof(mend), "ip link set %s type bridge vlan_filtering 0",
		 search->bridge->name);
	find(search, "isolated-port", what, mend);
}

static void search_ports(struct nb_diagnosis *diagnosis, struct search *search)
{
	for (size_t i = 0; i < diagnosis->links->count; i++) {
		const struct nb_link *link = &diagnosis->links->items[i];

		if (link->master == search->bridge->index &&
		    (!search->port || link->index == search->port))
			search_device(diagnosis, search, link);
	}
}

bool nb_find_port_trouble(struct nb_diagnosis *diagnosis, const struct nb_case *one,
			  enum nb_port_end first, struct nb_port_trouble *ret)
{
	struct search search = {
		.bridge = one->link, .pid = one->pid, .port = one->port, .found = ret
	};

	memset(ret, 0, sizeof(*ret));
	/* the bridge may be told of behind its ports: the second time it is known */
	search.found = &(struct nb_port_trouble){ .code = "" };
	(void)nb_link_each(diagnosis->nl, read_link, &search, NULL);
	search.found = ret;
	(void)nb_link_each(diagnosis->nl, read_link, &search, NULL);
	if (first == NB_END_OF_BRIDGE)
		search_device(diagnosis, &search, one->link);
	search_ports(diagnosis, &search);
	if (first == NB_END_OF_PORT)
		search_device(diagnosis, &search, one->link);
	blame_vlans(&search);
	return ret->code != NULL;
}
