/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rules of policy routing, by rtnetlink. */
#include <arpa/inet.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "nat-bridge/route.h"

struct policy_search {
	struct nb_route_policy first;
	bool found;
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

static void word_policy(const struct fib_rule_hdr *header, struct nlattr *const *attrs,
			uint32_t table, char *text, size_t size)
{
	uint32_t mark = word_of(attrs, FRA_FWMARK, 0);
	size_t used = (size_t)snprintf(text, size, "%s",
				       header->flags & FIB_RULE_INVERT ? "not " : "");

	if (attrs[FRA_SRC])
		used += put_prefix(text + used, size - used, "from", attrs[FRA_SRC],
				   header->src_len);
	else
		used += (size_t)snprintf(text + used, size - used, "from all ");
	used += put_prefix(text + used, size - used, "to", attrs[FRA_DST], header->dst_len);
	if (mark)
		used += (size_t)snprintf(text + used, size - used, "fwmark 0x%x ", mark);
	if (attrs[FRA_IIFNAME])
		used += (size_t)snprintf(text + used, size - used, "iif %.15s ",
					 mnl_attr_get_str(attrs[FRA_IIFNAME]));
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

static int read_policy(const struct nlmsghdr *message, void *data)
{
	const struct fib_rule_hdr *header = mnl_nlmsg_get_payload(message);
	struct nlattr *attrs[FRA_MAX + 1] = { NULL }, *attr;
	struct policy_search *search = data;
	uint32_t priority, table;

	if (message->nlmsg_type != RTM_NEWRULE ||
	    message->nlmsg_len < mnl_nlmsg_size(sizeof(*header)))
		return 0;
	mnl_attr_for_each(attr, message, sizeof(*header)) {
		if (mnl_attr_get_type(attr) <= FRA_MAX)
			attrs[mnl_attr_get_type(attr)] = attr;
	}
	priority = word_of(attrs, FRA_PRIORITY, 0);
	table = word_of(attrs, FRA_TABLE, header->table);
	if (is_standard(attrs, priority, table) ||
	    (search->found && search->first.priority <= priority))
		return 0;
	search->found = true;
	search->first.priority = priority;
	word_policy(header, attrs, table, search->first.text, sizeof(search->first.text));
	return 0;
}

int nb_route_foreign_policy(struct nb_netlink *nl, struct nb_route_policy *ret,
			    struct nb_error *err)
{
	char buffer[256];
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	struct policy_search search = { 0 };
	struct fib_rule_hdr *header;
	struct nb_netlink_ack ack;
	int r;

	request->nlmsg_type = RTM_GETRULE;
	request->nlmsg_flags = NLM_F_DUMP;
	header = mnl_nlmsg_put_extra_header(request, sizeof(*header));
	header->family = AF_INET;
	r = nb_netlink_ask(nl, NETLINK_ROUTE, request, read_policy, &search, &ack);
	if (r < 0)
		return nb_netlink_error(err, &ack, r, "read the rules of policy routing");
	*ret = search.first;
	return search.found;
}
