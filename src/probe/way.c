/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The ways out of a place: a container has routes of its own. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>

#include "place.h"

struct question {
	uint32_t address;
	int peer; /* not 0: instead of a way to the address the device with that other end */
	struct nb_probe_way *way;
	struct nb_error *err;
};

static int read_route(const struct nlmsghdr *message, void *data)
{
	const struct rtmsg *route = mnl_nlmsg_get_payload(message);
	struct nb_probe_way *way = data;
	struct nlattr *attr;

	if (message->nlmsg_type != RTM_NEWROUTE ||
	    message->nlmsg_len < mnl_nlmsg_size(sizeof(*route)))
		return 0;
	way->exists = route->rtm_type == RTN_UNICAST || route->rtm_type == RTN_LOCAL;
	way->local = route->rtm_type == RTN_LOCAL;
	mnl_attr_for_each(attr, message, sizeof(*route)) {
		if (mnl_attr_validate(attr, MNL_TYPE_U32) < 0)
			continue;
		if (mnl_attr_get_type(attr) == RTA_OIF)
			if_indextoname(mnl_attr_get_u32(attr), way->device);
		if (mnl_attr_get_type(attr) == RTA_GATEWAY)
			way->gateway = ntohl(mnl_attr_get_u32(attr));
	}
	return 0;
}

static int read_device(const struct nlmsghdr *message, void *data)
{
	struct nb_probe_way *way = data;
	bool elsewhere = false;
	struct nlattr *attr;
	int peer = 0;

	if (message->nlmsg_type != RTM_NEWLINK ||
	    message->nlmsg_len < mnl_nlmsg_size(sizeof(struct ifinfomsg)))
		return 0;
	mnl_attr_for_each(attr, message, sizeof(struct ifinfomsg)) {
		if (mnl_attr_get_type(attr) == IFLA_LINK &&
		    mnl_attr_validate(attr, MNL_TYPE_U32) >= 0)
			peer = (int)mnl_attr_get_u32(attr);
		elsewhere |= mnl_attr_get_type(attr) == IFLA_LINK_NETNSID;
	}
	way->peer = elsewhere ? peer : 0;
	return 0;
}

/* The device's other end, and its first address. */
static int look_at_device(struct nb_netlink *nl, int index, const struct question *question)
{
	struct nb_probe_way *way = question->way;
	char buffer[256] = { 0 };
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	struct nb_prefix own = { 0 };
	struct ifinfomsg *info;
	int r;

	request->nlmsg_type = RTM_GETLINK;
	info = mnl_nlmsg_put_extra_header(request, sizeof(*info));
	info->ifi_index = index;
	r = nb_netlink_ask(nl, NETLINK_ROUTE, request, read_device, way, NULL);
	if (r < 0)
		return r;
	r = nb_route_address(nl, index, &own, question->err);
	way->source = own.address;
	way->length = own.length;
	return r;
}

static int ask_for_device(struct nb_netlink *nl, const struct question *question)
{
	struct if_nameindex *devices = if_nameindex();
	struct nb_probe_way *way = question->way;
	int r = 0;

	if (!devices)
		return -errno;
	for (size_t i = 0; r == 0 && devices[i].if_index; i++) {
		memset(way, 0, sizeof(*way));
		r = look_at_device(nl, (int)devices[i].if_index, question);
		way->exists = r == 0 && way->peer == question->peer;
		if (!way->exists)
			continue;
		memcpy(way->device, devices[i].if_name,
		       strnlen(devices[i].if_name, sizeof(way->device) - 1));
		break;
	}
	if_freenameindex(devices);
	return r;
}

static int ask(struct nb_netlink *nl, const struct question *question)
{
	struct nb_probe_way *way = question->way;
	char buffer[256] = { 0 };
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	struct rtmsg *route;
	int r;

	request->nlmsg_type = RTM_GETROUTE;
	route = mnl_nlmsg_put_extra_header(request, sizeof(*route));
	route->rtm_family = AF_INET;
	route->rtm_dst_len = 32;
	mnl_attr_put_u32(request, RTA_DST, htonl(question->address));
	r = nb_netlink_ask(nl, NETLINK_ROUTE, request, read_route, way, NULL);
	/* whatever it refuses is no way */
	if (r < 0 && r != -ENOMEM && r != -ETIMEDOUT)
		return 0;
	if (r < 0 || !way->device[0])
		return r;
	return look_at_device(nl, (int)if_nametoindex(way->device), question);
}

static int work(void *data)
{
	const struct question *question = data;
	struct nb_netlink *nl = nb_netlink_new();
	int r = -ENOMEM;

	if (nl)
		r = question->peer ? ask_for_device(nl, question) : ask(nl, question);
	nb_netlink_free(nl);
	return r < 0 ? nb_netlink_error(question->err, NULL, r, "look up a container's route") : 0;
}

int nb_probe_find_way(struct nb_probe_place *place, uint32_t address, struct nb_probe_way *ret,
		      struct nb_error *err)
{
	struct question question = { .address = address, .way = ret, .err = err };

	memset(ret, 0, sizeof(*ret));
	return nb_place_do(place, work, &question);
}

int nb_probe_find_device(struct nb_probe_place *place, int peer, struct nb_probe_way *ret,
			 struct nb_error *err)
{
	struct question question = { .peer = peer, .way = ret, .err = err };

	memset(ret, 0, sizeof(*ret));
	return nb_place_do(place, work, &question);
}
