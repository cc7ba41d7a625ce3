/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Devices, addresses and routes of places, by rtnetlink. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <string.h>
#include <sys/random.h>

#include "nat-bridge/link.h"
#include "place.h"

#define BUFFER_SIZE 512

static int read_device(const struct nlmsghdr *message, void *data)
{
	const struct ifinfomsg *info = mnl_nlmsg_get_payload(message);
	struct nb_place_device *device = data;
	struct nlattr *attr;

	if (message->nlmsg_type != RTM_NEWLINK)
		return 0;
	device->index = info->ifi_index;
	device->up = info->ifi_flags & IFF_UP;
	mnl_attr_for_each(attr, message, sizeof(*info)) {
		switch (mnl_attr_get_type(attr)) {
		case IFLA_MTU:
			device->mtu = (int)mnl_attr_get_u32(attr);
			break;
		case IFLA_ADDRESS:
			if (mnl_attr_get_payload_len(attr) == NB_MAC_SIZE)
				memcpy(device->mac, mnl_attr_get_payload(attr), NB_MAC_SIZE);
			break;
		}
	}
	return 0;
}

int nb_device_find(struct nb_netlink *nl, const char *name, struct nb_place_device *ret)
{
	char buffer[BUFFER_SIZE] = { 0 };
	struct nlmsghdr *request = nb_link_request(buffer, RTM_GETLINK, 0, 0);

	memset(ret, 0, sizeof(*ret));
	mnl_attr_put_strz(request, IFLA_IFNAME, name);
	return nb_netlink_ask(nl, NETLINK_ROUTE, request, read_device, ret, NULL);
}

/* No link-local address: it would announce itself on the network. */
static void put_no_ipv6(struct nlmsghdr *request)
{
	struct nlattr *af_spec = mnl_attr_nest_start(request, IFLA_AF_SPEC);
	struct nlattr *inet6 = mnl_attr_nest_start(request, AF_INET6);

	mnl_attr_put_u8(request, IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
	mnl_attr_nest_end(request, inet6);
	mnl_attr_nest_end(request, af_spec);
}

/*
 * A bridge whose address nobody has set takes the lowest of its ports', and the smallest MTU: with
 * the highest address and the bridge's own MTU a port changes neither.
 */
static int put_high_mac(struct nlmsghdr *request)
{
	unsigned char mac[NB_MAC_SIZE] = { 0xfe, 0xff, 0xff };

	if (getrandom(mac + 3, 3, 0) != 3)
		return -EIO;
	mnl_attr_put(request, IFLA_ADDRESS, sizeof(mac), mac);
	return 0;
}

static void put_peer(struct nlmsghdr *request, int mtu, int namespace)
{
	struct nlattr *info = mnl_attr_nest_start(request, IFLA_LINKINFO), *data, *peer;

	mnl_attr_put_str(request, IFLA_INFO_KIND, "veth");
	data = mnl_attr_nest_start(request, IFLA_INFO_DATA);
	peer = mnl_attr_nest_start(request, VETH_INFO_PEER);
	mnl_nlmsg_put_extra_header(request, sizeof(struct ifinfomsg));
	mnl_attr_put_strz(request, IFLA_IFNAME, "eth0");
	mnl_attr_put_u32(request, IFLA_NET_NS_FD, (uint32_t) namespace);
	mnl_attr_put_u32(request, IFLA_MTU, (uint32_t)mtu);
	mnl_attr_nest_end(request, peer);
	mnl_attr_nest_end(request, data);
	mnl_attr_nest_end(request, info);
}

int nb_device_make(struct nb_netlink *nl, const char *name, int master, int mtu, int namespace)
{
	char buffer[BUFFER_SIZE] = { 0 };
	struct nlmsghdr *request = nb_link_request(buffer, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL,
						   0);
	int r = put_high_mac(request);

	if (r < 0)
		return r;
	mnl_attr_put_strz(request, IFLA_IFNAME, name);
	mnl_attr_put_u32(request, IFLA_MTU, (uint32_t)mtu);
	if (master)
		mnl_attr_put_u32(request, IFLA_MASTER, (uint32_t)master);
	put_peer(request, mtu, namespace);
	return nb_netlink_ask(nl, NETLINK_ROUTE, request, NULL, NULL, NULL);
}

static int set_flags(struct nb_netlink *nl, int index, bool up, bool no_ipv6)
{
	char buffer[BUFFER_SIZE] = { 0 };
	struct nlmsghdr *request = nb_link_request(buffer, RTM_NEWLINK, 0, index);
	struct ifinfomsg *info = mnl_nlmsg_get_payload(request);

	info->ifi_flags = up ? IFF_UP : 0;
	info->ifi_change = IFF_UP;
	if (no_ipv6)
		put_no_ipv6(request);
	return nb_netlink_ask(nl, NETLINK_ROUTE, request, NULL, NULL, NULL);
}

int nb_device_set_up(struct nb_netlink *nl, int index, bool up)
{
	int r = set_flags(nl, index, up, up);

	/* a kernel without IPv6 */
	if (up && (r == -EAFNOSUPPORT || r == -EOPNOTSUPP))
		r = set_flags(nl, index, up, false);
	return r;
}

int nb_device_delete(struct nb_netlink *nl, int index)
{
	char buffer[BUFFER_SIZE] = { 0 };
	struct nlmsghdr *request = nb_link_request(buffer, RTM_DELLINK, 0, index);

	return nb_netlink_ask(nl, NETLINK_ROUTE, request, NULL, NULL, NULL);
}

int nb_device_add_address(struct nb_netlink *nl, int index, const struct nb_prefix *address)
{
	char buffer[BUFFER_SIZE] = { 0 };
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	struct ifaddrmsg *header;

	request->nlmsg_type = RTM_NEWADDR;
	request->nlmsg_flags = NLM_F_CREATE | NLM_F_EXCL;
	header = mnl_nlmsg_put_extra_header(request, sizeof(*header));
	header->ifa_family = AF_INET;
	header->ifa_prefixlen = (unsigned char)address->length;
	header->ifa_index = (uint32_t)index;
	mnl_attr_put_u32(request, IFA_LOCAL, htonl(address->address));
	mnl_attr_put_u32(request, IFA_ADDRESS, htonl(address->address));
	return nb_netlink_ask(nl, NETLINK_ROUTE, request, NULL, NULL, NULL);
}

int nb_device_add_gateway(struct nb_netlink *nl, int index, uint32_t gateway)
{
	char buffer[BUFFER_SIZE] = { 0 };
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	struct rtmsg *route;

	request->nlmsg_type = RTM_NEWROUTE;
	request->nlmsg_flags = NLM_F_CREATE | NLM_F_EXCL;
	route = mnl_nlmsg_put_extra_header(request, sizeof(*route));
	route->rtm_family = AF_INET;
	route->rtm_table = RT_TABLE_MAIN;
	route->rtm_protocol = RTPROT_STATIC;
	route->rtm_scope = RT_SCOPE_UNIVERSE;
	route->rtm_type = RTN_UNICAST;
	mnl_attr_put_u32(request, RTA_GATEWAY, htonl(gateway));
	mnl_attr_put_u32(request, RTA_OIF, (uint32_t)index);
	return nb_netlink_ask(nl, NETLINK_ROUTE, request, NULL, NULL, NULL);
}

static int dump_addresses(struct nb_netlink *nl,
			  int (*callback)(const struct nlmsghdr *message, void *data), void *data)
{
	char buffer[BUFFER_SIZE] = { 0 };
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	struct ifaddrmsg *header;
	int r;

	request->nlmsg_type = RTM_GETADDR;
	request->nlmsg_flags = NLM_F_DUMP;
	header = mnl_nlmsg_put_extra_header(request, sizeof(*header));
	header->ifa_family = AF_INET;
	r = nb_netlink_ask(nl, NETLINK_ROUTE, request, callback, data, NULL);
	/* somebody changes addresses: what was seen was there */
	return r == -EINTR ? 0 : r;
}

struct use_search {
	const struct nb_prefix *network;
	bool used;
};

static void compare(struct use_search *search, uint32_t address, unsigned int length)
{
	unsigned int common = length < search->network->length ? length : search->network->length;

	/* a default route, or a half of one, is no use of it */
	if (common > 1 && ((address ^ search->network->address) >> (32 - common)) == 0)
		search->used = true;
}

static int compare_address(const struct nlmsghdr *message, void *data)
{
	const struct ifaddrmsg *header = mnl_nlmsg_get_payload(message);
	struct nlattr *attr;

	if (message->nlmsg_type != RTM_NEWADDR)
		return 0;
	mnl_attr_for_each(attr, message, sizeof(*header)) {
		uint16_t type = mnl_attr_get_type(attr);

		if ((type == IFA_LOCAL || type == IFA_ADDRESS) &&
		    mnl_attr_validate(attr, MNL_TYPE_U32) >= 0)
			compare(data, ntohl(mnl_attr_get_u32(attr)), header->ifa_prefixlen);
	}
	return 0;
}

static int compare_route(const struct nlmsghdr *message, void *data)
{
	const struct rtmsg *route = mnl_nlmsg_get_payload(message);
	struct nlattr *attr;

	if (message->nlmsg_type != RTM_NEWROUTE)
		return 0;
	mnl_attr_for_each(attr, message, sizeof(*route)) {
		if (mnl_attr_get_type(attr) == RTA_DST &&
		    mnl_attr_validate(attr, MNL_TYPE_U32) >= 0)
			compare(data, ntohl(mnl_attr_get_u32(attr)), route->rtm_dst_len);
	}
	return 0;
}

int nb_device_is_used(struct nb_netlink *nl, const struct nb_prefix *network)
{
	struct use_search search = { .network = network };
	char buffer[BUFFER_SIZE] = { 0 };
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	struct rtmsg *route;
	int r = dump_addresses(nl, compare_address, &search);

	if (r < 0)
		return r;
	request->nlmsg_type = RTM_GETROUTE;
	request->nlmsg_flags = NLM_F_DUMP;
	route = mnl_nlmsg_put_extra_header(request, sizeof(*route));
	route->rtm_family = AF_INET;
	r = nb_netlink_ask(nl, NETLINK_ROUTE, request, compare_route, &search, NULL);
	if (r < 0 && r != -EINTR)
		return r;
	return search.used;
}
