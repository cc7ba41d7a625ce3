/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rules of policy routing, by rtnetlink. */
#include <arpa/inet.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "nat-bridge/mapping.h"
#include "nat-bridge/route.h"

struct policy_search {
	const struct nb_route_flow *flow;
	struct nb_route_policies *found;
};

static uint32_t word_of(struct nlattr *const *attrs, unsigned int type, uint32_t fallback)
{
	return attrs[type] && mnl_attr_validate(attrs[type], MNL_TYPE_U32) >= 0
		       ? mnl_attr_get_u32(attrs[type])
		       : fallback;
}

/* Those that every network namespace has, and that of VRFs. */
static bool is_standard(struct nlattr *const *attrs, uint32_t priority, uint32_t table)
{
	if (attrs[FRA_L3MDEV])
		return true;
	return (priority == 0 && table == RT_TABLE_LOCAL) ||
	       (priority == 32766 && table == RT_TABLE_MAIN) ||
	       (priority == 32767 && table == RT_TABLE_DEFAULT);
}

static size_t put_prefix(char *text, size_t size, const char *word, const struct nlattr *address,
			 unsigned int length)
{
	char name[INET_ADDRSTRLEN] = "?";

	if (!address)
		return 0;
	if (mnl_attr_get_payload_len(address) == sizeof(struct in_addr))
		inet_ntop(AF_INET, mnl_attr_get_payload(address), name, sizeof(name));
	return (size_t)snprintf(text, size, "%s %s/%u ", word, name, length);
}

/* "80", "80-90" */
static size_t put_range(char *text, size_t size, const char *word, uint32_t start, uint32_t end)
{
	if (start == end)
		return (size_t)snprintf(text, size, "%s %u ", word, start);
	return (size_t)snprintf(text, size, "%s %u-%u ", word, start, end);
}

static size_t put_ranges(char *text, size_t size, struct nlattr *const *attrs)
{
	const struct fib_rule_port_range *ports;
	const struct fib_rule_uid_range *uids;
	size_t used = 0;

	if (attrs[FRA_IP_PROTO]) {
		unsigned int protocol = mnl_attr_get_u8(attrs[FRA_IP_PROTO]);

		if (protocol == IPPROTO_TCP || protocol == IPPROTO_UDP)
			used += (size_t)snprintf(text, size, "ipproto %s ",
						 nb_protocol_name((uint8_t)protocol));
		else
			used += (size_t)snprintf(text, size, "ipproto %u ", protocol);
	}
	if (attrs[FRA_SPORT_RANGE] &&
	    mnl_attr_get_payload_len(attrs[FRA_SPORT_RANGE]) == sizeof(*ports)) {
		ports = mnl_attr_get_payload(attrs[FRA_SPORT_RANGE]);
		used += put_range(text + used, size - used, "sport", ports->start, ports->end);
	}
	if (attrs[FRA_UID_RANGE] &&
	    mnl_attr_get_payload_len(attrs[FRA_UID_RANGE]) == sizeof(*uids)) {
		uids = mnl_attr_get_payload(attrs[FRA_UID_RANGE]);
		used += put_range(text + used, size - used, "uidrange", uids->start, uids->end);
	}
	return used;
}

static void put_policy(const struct fib_rule_hdr *header, struct nlattr *const *attrs,
		       uint32_t table, char *text, size_t size)
{
	uint32_t mark = word_of(attrs, FRA_FWMARK, 0);
	uint32_t mask = word_of(attrs, FRA_FWMASK, mark ? UINT32_MAX : 0);
	size_t used = (size_t)snprintf(text, size, "%s",
				       header->flags & FIB_RULE_INVERT ? "not " : "");

	if (attrs[FRA_SRC])
		used += put_prefix(text + used, size - used, "from", attrs[FRA_SRC],
				   header->src_len);
	else
		used += (size_t)snprintf(text + used, size - used, "from all ");
	used += put_prefix(text + used, size - used, "to", attrs[FRA_DST], header->dst_len);
	if (mask == UINT32_MAX)
		used += (size_t)snprintf(text + used, size - used, "fwmark 0x%x ", mark);
	else if (mask)
		used += (size_t)snprintf(text + used, size - used, "fwmark 0x%x/0x%x ", mark, mask);
	if (attrs[FRA_IIFNAME])
		used += (size_t)snprintf(text + used, size - used, "iif %.15s ",
					 mnl_attr_get_str(attrs[FRA_IIFNAME]));
	used += put_ranges(text + used, size - used, attrs);
	switch (header->action) {
	case FR_ACT_TO_TBL:
		snprintf(text + used, size - used, "lookup %u", table);
		return;
	case FR_ACT_BLACKHOLE:
		snprintf(text + used, size - used, "blackhole");
		return;
	case FR_ACT_UNREACHABLE:
		snprintf(text + used, size - used, "unreachable");
		return;
	case FR_ACT_PROHIBIT:
		snprintf(text + used, size - used, "prohibit");
		return;
	default:
		snprintf(text + used, size - used, "goto");
	}
}

/* About as `ip rule` has it; what there is no room for is cut. */
static void word_policy(const struct fib_rule_hdr *header, struct nlattr *const *attrs,
			uint32_t table, char *text, size_t size)
{
	char line[320]; /* more than all that a rule can look at takes */

	put_policy(header, attrs, table, line, sizeof(line));
	snprintf(text, size, "%.*s", (int)size - 1, line);
}

static bool covers(const struct nlattr *prefix, unsigned int length, uint32_t address)
{
	uint32_t value;

	if (!prefix || length == 0)
		return true;
	if (mnl_attr_get_payload_len(prefix) != sizeof(value) || length > 32)
		return false;
	value = ntohl(mnl_attr_get_u32(prefix));
	return (value ^ address) >> (32 - length) == 0;
}

/* What the host sends comes in by "lo", says a rule. */
static bool is_sent_here(const struct nlattr *name)
{
	return !name || (mnl_attr_validate(name, MNL_TYPE_NUL_STRING) == 0 &&
			 strcmp(mnl_attr_get_str(name), "lo") == 0);
}

static bool is_of_protocol(const struct nlattr *protocol, const struct nb_route_flow *flow)
{
	return !protocol || (mnl_attr_get_payload_len(protocol) == 1 &&
			     mnl_attr_get_u8(protocol) == flow->protocol);
}

static bool is_from_port(const struct nlattr *range, const struct nb_route_flow *flow)
{
	const struct fib_rule_port_range *ports;

	if (!range)
		return true;
	ports = mnl_attr_get_payload(range);
	return mnl_attr_get_payload_len(range) == sizeof(*ports) && flow->source_port &&
	       ports->start <= flow->source_port && flow->source_port <= ports->end;
}

static bool is_of_user(const struct nlattr *range, const struct nb_route_flow *flow)
{
	const struct fib_rule_uid_range *uids;

	if (!range)
		return true;
	uids = mnl_attr_get_payload(range);
	return mnl_attr_get_payload_len(range) == sizeof(*uids) && flow->has_uid &&
	       uids->start <= flow->uid && flow->uid <= uids->end;
}

static bool matches(const struct fib_rule_hdr *header, struct nlattr *const *attrs,
		    const struct policy_search *search)
{
	static const unsigned int narrow[] = { FRA_OIFNAME, FRA_DPORT_RANGE, FRA_TUN_ID };
	const struct nb_route_flow *flow = search->flow;
	uint32_t mark = word_of(attrs, FRA_FWMARK, 0);
	bool all = covers(attrs[FRA_SRC], header->src_len, flow->source) &&
		   covers(attrs[FRA_DST], header->dst_len, flow->address) &&
		   ((mark ^ flow->mark) & word_of(attrs, FRA_FWMASK, mark ? UINT32_MAX : 0)) == 0 &&
		   is_sent_here(attrs[FRA_IIFNAME]) && is_of_protocol(attrs[FRA_IP_PROTO], flow) &&
		   is_from_port(attrs[FRA_SPORT_RANGE], flow) &&
		   is_of_user(attrs[FRA_UID_RANGE], flow);

	for (size_t i = 0; i < sizeof(narrow) / sizeof(narrow[0]); i++)
		if (attrs[narrow[i]])
			return false;
	return all != (bool)(header->flags & FIB_RULE_INVERT);
}

/* The attributes of a rule, by type; NULL: the message is none. */
static const struct fib_rule_hdr *read_rule(const struct nlmsghdr *message,
					    struct nlattr *attrs[FRA_MAX + 1])
{
	const struct fib_rule_hdr *header = mnl_nlmsg_get_payload(message);
	struct nlattr *attr;

	memset(attrs, 0, (FRA_MAX + 1) * sizeof(*attrs));
	if (message->nlmsg_type != RTM_NEWRULE ||
	    message->nlmsg_len < mnl_nlmsg_size(sizeof(*header)))
		return NULL;
	mnl_attr_for_each(attr, message, sizeof(*header)) {
		if (mnl_attr_get_type(attr) <= FRA_MAX)
			attrs[mnl_attr_get_type(attr)] = attr;
	}
	return header;
}

static int read_policy(const struct nlmsghdr *message, void *data)
{
	struct nlattr *attrs[FRA_MAX + 1];
	const struct fib_rule_hdr *header = read_rule(message, attrs);
	struct policy_search *search = data;
	struct nb_route_policies *found = search->found;
	uint32_t priority, table;
	char text[160];
	size_t used;

	if (!header)
		return 0;
	priority = word_of(attrs, FRA_PRIORITY, 0);
	table = word_of(attrs, FRA_TABLE, header->table);
	if (is_standard(attrs, priority, table) || !matches(header, attrs, search))
		return 0;
	if (found->count == 0 || priority < found->first)
		found->first = priority;
	word_policy(header, attrs, table, text, sizeof(text));
	used = strlen(found->text);
	snprintf(found->text + used, sizeof(found->text) - used, "%s%u: %s",
		 found->count ? ", " : "", priority, text);
	found->count++;
	return 0;
}

static int read_mark(const struct nlmsghdr *message, void *data)
{
	struct nlattr *attrs[FRA_MAX + 1];
	const struct fib_rule_hdr *header = read_rule(message, attrs);
	struct nb_route_mark_list *list = data;
	struct nb_route_mark *grown;
	uint32_t value, mask;
	char text[sizeof(grown->text) - 16];

	if (!header)
		return 0;
	value = word_of(attrs, FRA_FWMARK, 0);
	mask = word_of(attrs, FRA_FWMASK, value ? UINT32_MAX : 0);
	if (!mask)
		return 0;
	grown = reallocarray(list->items, list->count + 1, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	list->items = grown;
	grown += list->count++;
	*grown = (struct nb_route_mark){ .value = value, .mask = mask };
	word_policy(header, attrs, word_of(attrs, FRA_TABLE, header->table), text, sizeof(text));
	snprintf(grown->text, sizeof(grown->text), "%u: %s", word_of(attrs, FRA_PRIORITY, 0), text);
	return 0;
}

static int dump_policies(struct nb_netlink *nl,
			 int (*callback)(const struct nlmsghdr *message, void *data),
			 void (*restart)(void *data), void *data, struct nb_error *err)
{
	char buffer[256] = { 0 };
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	struct fib_rule_hdr *header;
	struct nb_netlink_ack ack;
	int r;

	request->nlmsg_type = RTM_GETRULE;
	header = mnl_nlmsg_put_extra_header(request, sizeof(*header));
	header->family = AF_INET;
	r = nb_netlink_dump(nl, NETLINK_ROUTE, request, callback, restart, data, &ack);
	return r < 0 ? nb_netlink_error(err, &ack, r, "read the rules of policy routing") : 0;
}

static void forget_policies(void *data)
{
	const struct policy_search *search = data;

	memset(search->found, 0, sizeof(*search->found));
}

int nb_route_policies(struct nb_netlink *nl, const struct nb_route_flow *flow,
		      struct nb_route_policies *ret, struct nb_error *err)
{
	struct policy_search search = { .flow = flow, .found = ret };

	return dump_policies(nl, read_policy, forget_policies, &search, err);
}

/* The next ones are put where they were. */
static void forget_marks(void *data)
{
	struct nb_route_mark_list *list = data;

	list->count = 0;
}

int nb_route_marks(struct nb_netlink *nl, struct nb_route_mark_list *ret, struct nb_error *err)
{
	memset(ret, 0, sizeof(*ret));
	return dump_policies(nl, read_mark, forget_marks, ret, err);
}

struct route_search {
	uint32_t address;
	struct nb_route_entry *found;
	bool any;
};

static void word_route(const struct rtmsg *route, const struct nlattr *destination,
		       struct nb_route_entry *entry)
{
	const char *type = route->rtm_type == RTN_BLACKHOLE	? "blackhole "
			   : route->rtm_type == RTN_UNREACHABLE ? "unreachable "
			   : route->rtm_type == RTN_PROHIBIT	? "prohibit "
								: "";
	char address[INET_ADDRSTRLEN] = "0.0.0.0", device[IF_NAMESIZE] = "";

	if (destination && mnl_attr_get_payload_len(destination) == sizeof(struct in_addr))
		inet_ntop(AF_INET, mnl_attr_get_payload(destination), address, sizeof(address));
	if (entry->ifindex && if_indextoname((unsigned int)entry->ifindex, device))
		snprintf(entry->text, sizeof(entry->text), "%s%s/%u dev %s", type, address,
			 entry->length, device);
	else
		snprintf(entry->text, sizeof(entry->text), "%s%s/%u", type, address, entry->length);
}

static int read_entry(const struct nlmsghdr *message, void *data)
{
	const struct rtmsg *route = mnl_nlmsg_get_payload(message);
	const struct nlattr *destination = NULL;
	struct route_search *search = data;
	struct nlattr *attr;
	int ifindex = 0;

	if (message->nlmsg_type != RTM_NEWROUTE || route->rtm_table != RT_TABLE_MAIN)
		return 0;
	mnl_attr_for_each(attr, message, sizeof(*route)) {
		if (mnl_attr_get_type(attr) == RTA_DST)
			destination = attr;
		else if (mnl_attr_get_type(attr) == RTA_OIF &&
			 mnl_attr_validate(attr, MNL_TYPE_U32) >= 0)
			ifindex = (int)mnl_attr_get_u32(attr);
	}
	if (!covers(destination, route->rtm_dst_len, search->address) ||
	    (search->any && route->rtm_dst_len <= search->found->length))
		return 0;
	search->any = true;
	search->found->ifindex = ifindex;
	search->found->length = route->rtm_dst_len;
	word_route(route, destination, search->found);
	return 0;
}

static void forget_entry(void *data)
{
	struct route_search *search = data;

	memset(search->found, 0, sizeof(*search->found));
	search->any = false;
}

int nb_route_find(struct nb_netlink *nl, uint32_t address, struct nb_route_entry *ret,
		  struct nb_error *err)
{
	struct route_search search = { .address = address, .found = ret };
	char buffer[256] = { 0 };
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	struct nb_netlink_ack ack;
	struct rtmsg *route;
	int r;

	request->nlmsg_type = RTM_GETROUTE;
	route = mnl_nlmsg_put_extra_header(request, sizeof(*route));
	route->rtm_family = AF_INET;
	r = nb_netlink_dump(nl, NETLINK_ROUTE, request, read_entry, forget_entry, &search, &ack);
	return r < 0 ? nb_netlink_error(err, &ack, r, "read the routes") : search.any;
}
