/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What sits between a bridge and its ports where nf_tables sees nothing: ports that do not
 * forward, VLAN filtering, XDP, filters of traffic control, qdiscs that lose packets.
 */
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "diagnose.h"

#define INGRESS TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS)
#define EGRESS	TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS)

struct search {
	const struct nb_link *bridge;
	const struct nb_link *device; /* whose filters are read */
	const char *direction;
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

/* What a bridge says of itself, or of a port of its own. */
static void read_link_info(struct search *search, const char *name, bool is_bridge,
			   const struct nlattr *info)
{
	char what[200], mend[120];
	struct nlattr *part, *attr;

	mnl_attr_for_each_nested(part, info) {
		unsigned int type = mnl_attr_get_type(part);

		if (type != (is_bridge ? IFLA_INFO_DATA : IFLA_INFO_SLAVE_DATA))
			continue;
		mnl_attr_for_each_nested(attr, part) {
			type = mnl_attr_get_type(attr);
			if (mnl_attr_get_payload_len(attr) != 1)
				continue;
			if (is_bridge && type == IFLA_BR_VLAN_FILTERING && mnl_attr_get_u8(attr)) {
				snprintf(what, sizeof(what),
					 "bridge %s filters VLANs: its ports and itself may be of "
					 "different ones (bridge vlan show)",
					 name);
				snprintf(mend, sizeof(mend),
					 "ip link set %s type bridge vlan_filtering 0", name);
				find(search, "isolated-port", what, mend);
			}
			if (!is_bridge && type == IFLA_BRPORT_STATE &&
			    mnl_attr_get_u8(attr) != BR_STATE_FORWARDING) {
				snprintf(what, sizeof(what),
					 "port %s of the bridge does not forward (state %u)", name,
					 mnl_attr_get_u8(attr));
				snprintf(mend, sizeof(mend), "bridge link set dev %s state 3",
					 name);
				find(search, "isolated-port", what, mend);
			}
		}
	}
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
	const struct nlattr *link_info = NULL, *xdp = NULL;
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
	if (master != search->bridge->index && info->ifi_index != search->bridge->index)
		return 0;
	if (!(info->ifi_flags & IFF_UP)) {
		snprintf(what, sizeof(what), "port %s of the bridge is down", name);
		snprintf(mend, sizeof(mend), "ip link set %s up", name);
		find(search, "isolated-port", what, mend);
	}
	if (link_info)
		read_link_info(search, name, info->ifi_index == search->bridge->index, link_info);
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

static int read_qdisc(const struct nlmsghdr *message, void *data)
{
	/* which lose or hold packets back on purpose */
	static const char *const losing[] = { "netem", "blackhole", "tbf", "plug", "police" };
	const struct tcmsg *tc = mnl_nlmsg_get_payload(message);
	struct search *search = data;
	char what[200], mend[120];
	struct nlattr *attr;

	if (message->nlmsg_type != RTM_NEWQDISC || tc->tcm_ifindex != search->device->index)
		return 0;
	mnl_attr_for_each(attr, message, sizeof(*tc)) {
		if (mnl_attr_get_type(attr) != TCA_KIND || !is_string(attr))
			continue;
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

bool nb_find_port_trouble(struct nb_diagnosis *diagnosis, const struct nb_case *one,
			  struct nb_port_trouble *ret)
{
	struct search search = { .bridge = one->link, .found = ret };
	char buffer[256] = { 0 };
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	struct ifinfomsg *info;

	memset(ret, 0, sizeof(*ret));
	search_device(diagnosis, &search, one->link);
	for (size_t i = 0; i < diagnosis->links->count; i++)
		if (diagnosis->links->items[i].master == one->link->index)
			search_device(diagnosis, &search, &diagnosis->links->items[i]);
	request->nlmsg_type = RTM_GETLINK;
	request->nlmsg_flags = NLM_F_DUMP;
	info = mnl_nlmsg_put_extra_header(request, sizeof(*info));
	info->ifi_family = AF_UNSPEC;
	(void)nb_netlink_ask(diagnosis->nl, NETLINK_ROUTE, request, read_link, &search, NULL);
	return ret->code != NULL;
}
