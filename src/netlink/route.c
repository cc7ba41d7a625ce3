/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Route lookups and the search for default routes, by rtnetlink. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "nat-bridge/route.h"

static int read_route(const struct nlmsghdr *message, void *data)
{
	const struct rtmsg *route = mnl_nlmsg_get_payload(message);
	struct nb_route *found = data;
	struct nlattr *attr;

	if (message->nlmsg_type != RTM_NEWROUTE ||
	    message->nlmsg_len < mnl_nlmsg_size(sizeof(*route)))
		return 0;
	if (route->rtm_type != RTN_UNICAST && route->rtm_type != RTN_LOCAL)
		return 0;
	found->local = route->rtm_type == RTN_LOCAL;
	mnl_attr_for_each(attr, message, sizeof(*route)) {
		if (mnl_attr_get_type(attr) == RTA_OIF &&
		    mnl_attr_validate(attr, MNL_TYPE_U32) >= 0)
			found->ifindex = (int)mnl_attr_get_u32(attr);
	}
	return 0;
}

/* What fib rules and routes say when they refuse an address. */
static bool is_refusal(int number)
{
	switch (number) {
	case -ENETUNREACH:  /* no route; throw */
	case -EHOSTUNREACH: /* unreachable */
	case -EACCES:	    /* prohibit */
	case -EINVAL:	    /* blackhole; an address that nobody may have */
		return true;
	}
	return false;
}

/* Begin a question for the route to @address, from one of which @source_bits count. */
static struct nlmsghdr *ask_for(char *buffer, uint32_t address, uint8_t source_bits)
{
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	struct rtmsg *route;

	request->nlmsg_type = RTM_GETROUTE;
	route = mnl_nlmsg_put_extra_header(request, sizeof(*route));
	route->rtm_family = AF_INET;
	route->rtm_dst_len = 32;
	route->rtm_src_len = source_bits;
	mnl_attr_put_u32(request, RTA_DST, htonl(address));
	return request;
}

int nb_route_lookup(struct nb_netlink *nl, uint32_t address, struct nb_route *ret,
		    struct nb_error *err)
{
	const struct nb_route_flow flow = { .address = address };

	return nb_route_lookup_flow(nl, &flow, ret, err);
}

int nb_route_lookup_flow(struct nb_netlink *nl, const struct nb_route_flow *flow,
			 struct nb_route *ret, struct nb_error *err)
{
	char buffer[256];
	struct nlmsghdr *request = ask_for(buffer, flow->address, flow->source ? 32 : 0);
	struct nb_route found = { 0 };
	struct nb_netlink_ack ack;
	int r;

	if (flow->source)
		mnl_attr_put_u32(request, RTA_SRC, htonl(flow->source));
	if (flow->protocol)
		mnl_attr_put_u8(request, RTA_IP_PROTO, flow->protocol);
	if (flow->protocol && flow->source_port)
		mnl_attr_put_u16(request, RTA_SPORT, htons(flow->source_port));
	if (flow->mark)
		mnl_attr_put_u32(request, RTA_MARK, flow->mark);
	if (flow->has_uid)
		mnl_attr_put_u32(request, RTA_UID, flow->uid);
	r = nb_netlink_ask(nl, NETLINK_ROUTE, request, read_route, &found, &ack);
	if (r < 0 && !is_refusal(r))
		return nb_netlink_error(err, &ack, r, "look up a route");
	*ret = found;
	return 0;
}

struct default_search {
	int ifindex;
	bool found;
};

static bool multipath_uses(const struct nlattr *multipath, int ifindex)
{
	const struct rtnexthop *hop = mnl_attr_get_payload(multipath);
	size_t left = mnl_attr_get_payload_len(multipath);

	while (left >= sizeof(*hop) && hop->rtnh_len >= sizeof(*hop) && hop->rtnh_len <= left) {
		size_t step = RTNH_ALIGN(hop->rtnh_len);

		if (hop->rtnh_ifindex == ifindex)
			return true;
		if (step >= left)
			break;
		left -= step;
		hop = (const struct rtnexthop *)((const char *)hop + step);
	}
	return false;
}

static int search_default(const struct nlmsghdr *message, void *data)
{
	const struct rtmsg *route = mnl_nlmsg_get_payload(message);
	struct default_search *search = data;
	struct nlattr *attr;

	if (message->nlmsg_type != RTM_NEWROUTE ||
	    message->nlmsg_len < mnl_nlmsg_size(sizeof(*route)))
		return 0;
	if (route->rtm_type != RTN_UNICAST || route->rtm_dst_len > 1)
		return 0;

	/*
	 * The kernel chose by device already. Without nexthop_compat_mode a
	 * route through a nexthop object would not even show it.
	 */
	if (message->nlmsg_flags & NLM_F_DUMP_FILTERED) {
		search->found = true;
		return 0;
	}
	mnl_attr_for_each(attr, message, sizeof(*route)) {
		switch (mnl_attr_get_type(attr)) {
		case RTA_OIF:
			if (mnl_attr_validate(attr, MNL_TYPE_U32) >= 0 &&
			    (int)mnl_attr_get_u32(attr) == search->ifindex)
				search->found = true;
			break;
		case RTA_MULTIPATH:
			if (multipath_uses(attr, search->ifindex))
				search->found = true;
			break;
		}
	}
	return 0;
}

/* What an inconsistent dump showed was there at some moment: nothing of it is forgotten. */
static int dump_defaults(struct nb_netlink *nl, unsigned char family, struct default_search *search,
			 struct nb_netlink_ack *ack)
{
	char buffer[256];
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	struct rtmsg *route;

	request->nlmsg_type = RTM_GETROUTE;
	route = mnl_nlmsg_put_extra_header(request, sizeof(*route));
	route->rtm_family = family;
	/* a filter under NETLINK_GET_STRICT_CHK, ignored without it */
	mnl_attr_put_u32(request, RTA_OIF, (uint32_t)search->ifindex);
	return nb_netlink_dump(nl, NETLINK_ROUTE, request, search_default, NULL, search, ack);
}

int nb_route_is_default(struct nb_netlink *nl, int ifindex, struct nb_error *err)
{
	static const unsigned char families[] = { AF_INET, AF_INET6 };
	struct default_search search = { .ifindex = ifindex };

	for (size_t i = 0; i < sizeof(families); i++) {
		struct nb_netlink_ack ack;
		int r = dump_defaults(nl, families[i], &search, &ack);

		if (search.found)
			return 1;
		/* no such device; no table of routes yet; a kernel without IPv6 */
		if (r < 0 && r != -ENODEV && r != -ENOENT && r != -EOPNOTSUPP && r != -EAFNOSUPPORT)
			return nb_netlink_error(err, &ack, r, "read the default routes");
	}
	return 0;
}

struct address_search {
	int ifindex;
	size_t count;
	struct nb_prefix first, last;
	uint32_t near; /* in whose network the first is to be; 0: in any */
};

static int read_address(const struct nlmsghdr *message, void *data)
{
	const struct ifaddrmsg *header = mnl_nlmsg_get_payload(message);
	struct address_search *search = data;
	struct nlattr *attr;

	if (message->nlmsg_type != RTM_NEWADDR ||
	    message->nlmsg_len < mnl_nlmsg_size(sizeof(*header)) ||
	    (int)header->ifa_index != search->ifindex)
		return 0;
	mnl_attr_for_each(attr, message, sizeof(*header)) {
		if (mnl_attr_get_type(attr) == IFA_LOCAL &&
		    mnl_attr_validate(attr, MNL_TYPE_U32) >= 0)
			search->last.address = ntohl(mnl_attr_get_u32(attr));
	}
	search->last.length = header->ifa_prefixlen;
	if (search->near && (header->ifa_prefixlen == 0 || header->ifa_prefixlen > 32 ||
			     (search->last.address ^ search->near) >> (32 - header->ifa_prefixlen)))
		return 0;
	if (++search->count == 1)
		search->first = search->last;
	return 0;
}

static int dump_addresses(struct nb_netlink *nl,
			  int (*callback)(const struct nlmsghdr *message, void *data),
			  void (*restart)(void *data), void *data, struct nb_error *err)
{
	char buffer[256];
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	struct nb_netlink_ack ack;
	struct ifaddrmsg *header;
	int r;

	request->nlmsg_type = RTM_GETADDR;
	header = mnl_nlmsg_put_extra_header(request, sizeof(*header));
	header->ifa_family = AF_INET;
	r = nb_netlink_dump(nl, NETLINK_ROUTE, request, callback, restart, data, &ack);
	return r < 0 ? nb_netlink_error(err, &ack, r, "read addresses") : 0;
}

static void restart_search(void *data)
{
	struct address_search *search = data;

	*search = (struct address_search){ .ifindex = search->ifindex, .near = search->near };
}

static int search_addresses(struct nb_netlink *nl, struct address_search *search,
			    struct nb_error *err)
{
	return dump_addresses(nl, read_address, restart_search, search, err);
}

static int collect_address(const struct nlmsghdr *message, void *data)
{
	const struct ifaddrmsg *header = mnl_nlmsg_get_payload(message);
	struct nb_address_list *list = data;
	struct nb_address *grown;
	struct nlattr *attr;

	if (message->nlmsg_type != RTM_NEWADDR ||
	    message->nlmsg_len < mnl_nlmsg_size(sizeof(*header)))
		return 0;
	grown = realloc(list->items, (list->count + 1) * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	list->items = grown;
	grown += list->count;
	*grown = (struct nb_address){
		.ifindex = (int)header->ifa_index,
		.prefix = { .length = header->ifa_prefixlen },
	};
	mnl_attr_for_each(attr, message, sizeof(*header)) {
		if (mnl_attr_get_type(attr) == IFA_LOCAL &&
		    mnl_attr_validate(attr, MNL_TYPE_U32) >= 0)
			grown->prefix.address = ntohl(mnl_attr_get_u32(attr));
	}
	list->count += grown->prefix.address != 0;
	return 0;
}

static void restart_list(void *data)
{
	struct nb_address_list *list = data;

	list->count = 0;
}

int nb_route_addresses(struct nb_netlink *nl, struct nb_address_list *ret, struct nb_error *err)
{
	memset(ret, 0, sizeof(*ret));
	return dump_addresses(nl, collect_address, restart_list, ret, err);
}

void nb_address_list_clear(struct nb_address_list *list)
{
	free(list->items);
	memset(list, 0, sizeof(*list));
}

int nb_route_network(struct nb_netlink *nl, int ifindex, struct nb_prefix *ret,
		     struct nb_error *err)
{
	struct address_search search = { .ifindex = ifindex };
	int r = search_addresses(nl, &search, err);

	memset(ret, 0, sizeof(*ret));
	if (r == 0 && search.count == 1 && search.first.length > 0 && search.first.length <= 30)
		*ret = search.first;
	return r;
}

int nb_route_address(struct nb_netlink *nl, int ifindex, struct nb_prefix *ret,
		     struct nb_error *err)
{
	struct address_search search = { .ifindex = ifindex };
	int r = search_addresses(nl, &search, err);

	*ret = search.first;
	return r;
}

int nb_route_address_near(struct nb_netlink *nl, int ifindex, uint32_t near, struct nb_prefix *ret,
			  struct nb_error *err)
{
	struct address_search search = { .ifindex = ifindex, .near = near };
	int r = search_addresses(nl, &search, err);

	*ret = search.first;
	return r;
}

uint32_t nb_route_neighbour(const struct nb_prefix *own)
{
	uint32_t hosts = UINT32_MAX >> own->length;
	uint32_t host = own->address & hosts;

	/* neither the network's first nor its last address, nor this one */
	host = host + 1 < hosts ? host + 1 : host - 1;
	return (own->address & ~hosts) | host;
}

int nb_route_accepts(struct nb_netlink *nl, int ifindex, const struct nb_prefix *network,
		     struct nb_error *err)
{
	char buffer[256];
	struct nlmsghdr *request = ask_for(buffer, network->address, 32);
	struct nb_netlink_ack ack;
	int r;

	mnl_attr_put_u32(request, RTA_SRC, htonl(nb_route_neighbour(network)));
	mnl_attr_put_u32(request, RTA_IIF, (uint32_t)ifindex);
	r = nb_netlink_ask(nl, NETLINK_ROUTE, request, NULL, NULL, &ack);
	/* EXDEV says the filter; from Linux 6.13 on every refusal is EHOSTUNREACH or EINVAL */
	if (r == -EXDEV || is_refusal(r))
		return 0;
	return r < 0 ? nb_netlink_error(err, &ack, r, "look up a route") : 1;
}
