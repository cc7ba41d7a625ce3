/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Devices by rtnetlink: dump, and set of route_localnet and tag. */
#include <errno.h>
#include <linux/if_link.h>
#include <linux/ip.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "nat-bridge/link.h"

bool nb_link_is_tagged(const struct nb_link *link)
{
	return (link->tag & NB_TAG_MASK) == NB_TAG_MAGIC;
}

static int compare_names(const void *a, const void *b)
{
	const struct nb_link *left = a, *right = b;

	return strcmp(left->name, right->name);
}

const struct nb_link *nb_link_find(const struct nb_link_list *list, const char *name)
{
	struct nb_link key = { 0 };

	if (list->count == 0 || strlen(name) >= sizeof(key.name))
		return NULL;
	strcpy(key.name, name);
	return bsearch(&key, list->items, list->count, sizeof(*list->items), compare_names);
}

/* Ends at a container or a virtual machine, never at a wire. */
static bool is_virtual_port(const struct nb_link *link)
{
	if (strcmp(link->kind, "veth") == 0)
		return true;
	/* a tun device without Ethernet is a tunnel: it leads elsewhere */
	return strcmp(link->kind, "tun") == 0 && link->hardware == ARPHRD_ETHER;
}

static const char *describe(const struct nb_link *link)
{
	if (link->loopback)
		return "the loopback device";
	if (link->kind[0] == '\0')
		return "a physical interface";
	if (strcmp(link->kind, "tun") == 0)
		return "a tunnel (tun)";
	return link->kind;
}

bool nb_link_is_private(const struct nb_link_list *list, const struct nb_link *link, char *why,
			size_t why_size)
{
	if (strcmp(link->kind, "bridge") == 0) {
		for (size_t i = 0; i < list->count; i++) {
			const struct nb_link *port = &list->items[i];

			if (port->master != link->index || is_virtual_port(port))
				continue;
			snprintf(why, why_size,
				 "bridge %s has the port %s (%s), so others than containers "
				 "could reach the mapping",
				 link->name, port->name, describe(port));
			return false;
		}
		for (size_t i = 0; i < list->count; i++) {
			if (list->items[i].index != link->master)
				continue;
			snprintf(why, why_size, "bridge %s is a port of %s (%s)", link->name,
				 list->items[i].name, describe(&list->items[i]));
			return false;
		}
		return true;
	}
	if (!is_virtual_port(link)) {
		snprintf(why, why_size,
			 "%s is %s, not a bridge of containers nor a veth or tap device",
			 link->name, describe(link));
		return false;
	}
	for (size_t i = 0; i < list->count; i++) {
		if (link->master == 0 || list->items[i].index != link->master)
			continue;
		snprintf(why, why_size, "%s is a port of %s: name that instead", link->name,
			 list->items[i].name);
		return false;
	}
	return true;
}

static void read_inet_conf(const struct nlattr *af_spec, struct nb_link *link)
{
	struct nlattr *family, *attr;

	mnl_attr_for_each_nested(family, af_spec) {
		if (mnl_attr_get_type(family) != AF_INET)
			continue;
		mnl_attr_for_each_nested(attr, family) {
			const uint32_t *values = mnl_attr_get_payload(attr);
			size_t count = mnl_attr_get_payload_len(attr) / sizeof(*values);

			if (mnl_attr_get_type(attr) != IFLA_INET_CONF)
				continue;
			if (count >= IPV4_DEVCONF_ROUTE_LOCALNET)
				link->route_localnet = values[IPV4_DEVCONF_ROUTE_LOCALNET - 1];
			if (count >= IPV4_DEVCONF_TAG)
				link->tag = values[IPV4_DEVCONF_TAG - 1];
		}
	}
}

static void read_kind(const struct nlattr *link_info, struct nb_link *link)
{
	struct nlattr *attr;

	mnl_attr_for_each_nested(attr, link_info) {
		if (mnl_attr_get_type(attr) != IFLA_INFO_KIND ||
		    mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) < 0)
			continue;
		strncpy(link->kind, mnl_attr_get_str(attr), sizeof(link->kind) - 1);
	}
}

struct growing_list {
	struct nb_link_list list;
	size_t capacity;
};

void nb_link_parse(const struct nlmsghdr *message, struct nb_link *ret)
{
	const struct ifinfomsg *info = mnl_nlmsg_get_payload(message);
	struct nlattr *attr;

	memset(ret, 0, sizeof(*ret));
	ret->index = info->ifi_index;
	ret->hardware = info->ifi_type;
	ret->loopback = info->ifi_flags & IFF_LOOPBACK;
	ret->up = info->ifi_flags & IFF_UP;

	mnl_attr_for_each(attr, message, sizeof(*info)) {
		switch (mnl_attr_get_type(attr)) {
		case IFLA_IFNAME:
			if (mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) == 0)
				strncpy(ret->name, mnl_attr_get_str(attr), sizeof(ret->name) - 1);
			break;
		case IFLA_MASTER:
			ret->master = (int)mnl_attr_get_u32(attr);
			break;
		case IFLA_LINKINFO:
			read_kind(attr, ret);
			break;
		case IFLA_AF_SPEC:
			read_inet_conf(attr, ret);
			break;
		}
	}
}

static uint64_t digest(uint64_t hash, const void *data, size_t length)
{
	const unsigned char *at = data;

	while (length--)
		hash = (hash ^ *at++) * UINT64_C(1099511628211);
	return hash;
}

uint64_t nb_link_digest(const struct nb_link *link)
{
	uint64_t hash = UINT64_C(14695981039346656037);

	hash = digest(hash, &link->index, sizeof(link->index));
	hash = digest(hash, &link->master, sizeof(link->master));
	hash = digest(hash, &link->hardware, sizeof(link->hardware));
	hash = digest(hash, &link->loopback, sizeof(link->loopback));
	hash = digest(hash, link->name, sizeof(link->name));
	hash = digest(hash, link->kind, sizeof(link->kind));
	hash = digest(hash, &link->route_localnet, sizeof(link->route_localnet));
	return digest(hash, &link->tag, sizeof(link->tag));
}

bool nb_device_changes_put(struct nb_device_changes *changes, const struct nb_link *link)
{
	size_t i = 0;

	while (i < changes->count && changes->links[i].ifindex != link->index)
		i++;
	if (i == NB_DEVICE_CHANGES)
		return false;
	changes->links[i].ifindex = link->index;
	changes->links[i].digest = nb_link_digest(link);
	if (i == changes->count)
		changes->count++;
	return true;
}

bool nb_device_changes_cover(const struct nb_device_changes *changes,
			     const struct nb_device_changes *heard)
{
	if (heard->port && heard->port != changes->port)
		return false;
	for (size_t i = 0; i < heard->count; i++) {
		size_t j = 0;

		while (j < changes->count && changes->links[j].ifindex != heard->links[i].ifindex)
			j++;
		if (j == changes->count || changes->links[j].digest != heard->links[i].digest)
			return false;
	}
	return true;
}

static int read_link(const struct nlmsghdr *message, void *data)
{
	struct growing_list *growing = data;
	struct nb_link *link;

	if (message->nlmsg_type != RTM_NEWLINK)
		return 0;
	if (growing->list.count == growing->capacity) {
		size_t capacity = growing->capacity ? growing->capacity * 2 : 64;

		link = realloc(growing->list.items, capacity * sizeof(*link));
		if (!link)
			return -ENOMEM;
		growing->list.items = link;
		growing->capacity = capacity;
	}
	link = &growing->list.items[growing->list.count];
	nb_link_parse(message, link);
	growing->list.count++;
	return 0;
}

struct nlmsghdr *nb_link_request(void *buffer, uint16_t type, uint16_t flags, int index)
{
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	struct ifinfomsg *info;

	request->nlmsg_type = type;
	request->nlmsg_flags = flags;
	info = mnl_nlmsg_put_extra_header(request, sizeof(*info));
	info->ifi_family = AF_UNSPEC;
	info->ifi_index = index;
	/* nobody here asks for a device's counters, which are the most of an answer */
	if (type == RTM_GETLINK)
		mnl_attr_put_u32(request, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
	return request;
}

int nb_link_each(struct nb_netlink *nl, int (*callback)(const struct nlmsghdr *message, void *data),
		 void *data, struct nb_netlink_ack *ack)
{
	char buffer[256] = { 0 };

	return nb_netlink_ask(nl, NETLINK_ROUTE,
			      nb_link_request(buffer, RTM_GETLINK, NLM_F_DUMP, 0), callback, data,
			      ack);
}

static void forget_links(void *data)
{
	struct growing_list *growing = data;

	growing->list.count = 0;
}

int nb_link_dump(struct nb_netlink *nl, struct nb_link_list *ret, struct nb_error *err)
{
	struct growing_list growing = { 0 };
	char buffer[256] = { 0 };
	struct nb_netlink_ack ack;
	int r = nb_netlink_dump(nl, NETLINK_ROUTE,
				nb_link_request(buffer, RTM_GETLINK, NLM_F_DUMP, 0), read_link,
				forget_links, &growing, &ack);

	if (r < 0) {
		free(growing.list.items);
		return nb_netlink_error(err, &ack, r, "read the network devices");
	}
	if (growing.list.count)
		qsort(growing.list.items, growing.list.count, sizeof(*growing.list.items),
		      compare_names);
	*ret = growing.list;
	return 0;
}

void nb_link_list_clear(struct nb_link_list *list)
{
	free(list->items);
	memset(list, 0, sizeof(*list));
}

int nb_link_set(struct nb_netlink *nl, int ifindex, uint32_t route_localnet, bool set_tag,
		uint32_t tag, struct nb_netlink_ack *ack)
{
	char buffer[256] = { 0 };
	struct nlmsghdr *request = nb_link_request(buffer, RTM_SETLINK, 0, ifindex);
	struct nlattr *af_spec, *inet, *conf;

	af_spec = mnl_attr_nest_start(request, IFLA_AF_SPEC);
	inet = mnl_attr_nest_start(request, AF_INET);
	conf = mnl_attr_nest_start(request, IFLA_INET_CONF);
	if (set_tag)
		mnl_attr_put_u32(request, IPV4_DEVCONF_TAG, tag);
	mnl_attr_put_u32(request, IPV4_DEVCONF_ROUTE_LOCALNET, route_localnet);
	mnl_attr_nest_end(request, conf);
	mnl_attr_nest_end(request, inet);
	mnl_attr_nest_end(request, af_spec);
	return nb_netlink_ask(nl, NETLINK_ROUTE, request, NULL, NULL, ack);
}
