/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <linux/if_link.h>
#include <linux/ip.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>

#include "recorder.h"
#include "unit.h"

#define CLIENT UINT32_C(0xac1e0002) /* 172.30.0.2, behind device 3 */
#define BRIDGE UINT32_C(0xac1e0001)

#define NFNL_TYPE(subsystem, command) ((subsystem) << 8 | (command))

struct recorder script;

static __attribute__((format(printf, 1, 2))) void note(const char *format, ...)
{
	size_t used = strlen(script.log);
	va_list args;

	va_start(args, format);
	ck_assert_int_lt(vsnprintf(script.log + used, sizeof(script.log) - used, format, args),
			 (int)(sizeof(script.log) - used));
	va_end(args);
}

static struct nlattr *find_attr(const struct nlmsghdr *message, size_t header, uint16_t type)
{
	struct nlattr *attr;

	mnl_attr_for_each(attr, message, header)
		if (mnl_attr_get_type(attr) == type)
			return attr;
	return NULL;
}

static struct nlattr *find_nested(const struct nlattr *nest, uint16_t type)
{
	struct nlattr *attr;

	ck_assert_ptr_nonnull(nest);
	mnl_attr_for_each_nested(attr, nest)
		if (mnl_attr_get_type(attr) == type)
			return attr;
	return NULL;
}

/* Requests */

typedef int callback_fn(const struct nlmsghdr *message, void *data);

static void put_tuple(struct nlmsghdr *message, uint16_t type, uint32_t source,
		      uint32_t destination, uint16_t source_port, uint16_t destination_port)
{
	struct nlattr *tuple = mnl_attr_nest_start(message, type), *nest;

	nest = mnl_attr_nest_start(message, CTA_TUPLE_IP);
	mnl_attr_put_u32(message, CTA_IP_V4_SRC, htonl(source));
	mnl_attr_put_u32(message, CTA_IP_V4_DST, htonl(destination));
	mnl_attr_nest_end(message, nest);
	nest = mnl_attr_nest_start(message, CTA_TUPLE_PROTO);
	mnl_attr_put_u8(message, CTA_PROTO_NUM, IPPROTO_TCP);
	mnl_attr_put_u16(message, CTA_PROTO_SRC_PORT, htons(source_port));
	mnl_attr_put_u16(message, CTA_PROTO_DST_PORT, htons(destination_port));
	mnl_attr_nest_end(message, nest);
	mnl_attr_nest_end(message, tuple);
}

static int answer_flow(callback_fn *callback, void *data)
{
	char buffer[512] = { 0 };
	struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);

	message->nlmsg_type = NFNL_TYPE(NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_NEW);
	mnl_nlmsg_put_extra_header(message, sizeof(struct nfgenmsg));
	put_tuple(message, CTA_TUPLE_ORIG, CLIENT, BRIDGE, 40000, 80);
	put_tuple(message, CTA_TUPLE_REPLY, INADDR_LOOPBACK, CLIENT, 80, 40000);
	mnl_attr_put_u32(message, CTA_STATUS, htonl(IPS_DST_NAT));
	return callback(message, data);
}

static int answer_route(callback_fn *callback, void *data)
{
	char buffer[128] = { 0 };
	struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);
	struct rtmsg *route;

	message->nlmsg_type = RTM_NEWROUTE;
	route = mnl_nlmsg_put_extra_header(message, sizeof(*route));
	route->rtm_family = AF_INET;
	route->rtm_type = RTN_UNICAST;
	mnl_attr_put_u32(message, RTA_OIF, 3);
	return callback(message, data);
}

static int answer_generation(callback_fn *callback, void *data)
{
	char buffer[128] = { 0 };
	struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);

	message->nlmsg_type = NFNL_TYPE(NFNL_SUBSYS_NFTABLES, NFT_MSG_NEWGEN);
	mnl_nlmsg_put_extra_header(message, sizeof(struct nfgenmsg));
	if (script.generation_count)
		mnl_attr_put_u32(message, NFTA_GEN_ID, htonl(*script.generations));
	if (script.generation_count > 1) {
		script.generations++;
		script.generation_count--;
	}
	return callback(message, data);
}

static void note_setlink(const struct nlmsghdr *request)
{
	const struct ifinfomsg *info = mnl_nlmsg_get_payload(request);
	const struct nlattr *conf = find_attr(request, sizeof(*info), IFLA_AF_SPEC), *value;

	conf = find_nested(find_nested(conf, AF_INET), IFLA_INET_CONF);
	value = find_nested(conf, IPV4_DEVCONF_ROUTE_LOCALNET);
	ck_assert_ptr_nonnull(value);
	note("set %d %u", info->ifi_index, mnl_attr_get_u32(value));
	value = find_nested(conf, IPV4_DEVCONF_TAG);
	if (value)
		note(" %x", mnl_attr_get_u32(value));
	note("; ");
}

static int refuse(struct nb_netlink_ack *ack, uint32_t sequence, uint32_t offset)
{
	if (ack) {
		*ack = (struct nb_netlink_ack){
			.sequence = sequence,
			.number = -script.number,
			.offset = offset,
		};
		if (script.words)
			snprintf(ack->message, sizeof(ack->message), "%s", script.words);
	}
	return script.number;
}

/* NOLINTBEGIN(bugprone-reserved-identifier): the linker makes these names */
int __wrap_nb_netlink_ask(struct nb_netlink *netlink, int bus, struct nlmsghdr *request,
			  callback_fn *callback, void *data, struct nb_netlink_ack *ack);
int __wrap_nb_netlink_commit(struct nb_netlink *netlink, const void *batch, size_t length,
			     uint32_t last, struct nb_netlink_ack *acks, size_t *ack_count);
/* NOLINTEND(bugprone-reserved-identifier) */

int __wrap_nb_netlink_ask(struct nb_netlink *netlink, int bus, struct nlmsghdr *request,
			  callback_fn *callback, void *data, struct nb_netlink_ack *ack)
{
	bool failing = ++script.exchanges == script.fail_at;
	const struct nlattr *status;
	int (*answer)(callback_fn *, void *) = NULL;

	ck_assert_ptr_eq(netlink, script.nl);
	if (ack)
		memset(ack, 0, sizeof(*ack));
	if (bus == NETLINK_SOCK_DIAG) {
		ck_assert_uint_eq(request->nlmsg_type, SOCK_DIAG_BY_FAMILY);
		note("sockets; ");
	} else if (bus == NETLINK_ROUTE && request->nlmsg_type == RTM_SETLINK) {
		note_setlink(request);
		if (script.gone_for_ever)
			return -ENODEV;
	} else if (bus == NETLINK_ROUTE && request->nlmsg_type == RTM_GETROUTE) {
		note("route; ");
		answer = answer_route;
	} else if (bus == NETLINK_ROUTE && request->nlmsg_type == RTM_GETQDISC) {
		note("qdiscs; ");
	} else if (bus == NETLINK_ROUTE) {
		ck_assert_uint_eq(request->nlmsg_type, RTM_GETLINK);
		note("links; ");
	} else if (request->nlmsg_type == NFNL_TYPE(NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_DELETE)) {
		note("delete; ");
		if (!failing)
			script.flow = false;
	} else if (request->nlmsg_type == NFNL_TYPE(NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_GET)) {
		status = find_attr(request, sizeof(struct nfgenmsg), CTA_STATUS);
		ck_assert_ptr_nonnull(status);
		note("%s; ", mnl_attr_get_u32(status) ? "translated" : "untranslated");
		if (mnl_attr_get_u32(status) && script.flow)
			answer = answer_flow;
	} else if (request->nlmsg_type == NFNL_TYPE(NFNL_SUBSYS_NFTABLES, NFT_MSG_GETGEN)) {
		note("generation; ");
		answer = answer_generation;
	} else {
		note("dump; ");
	}
	if (failing)
		return refuse(ack, 0, 0);
	return answer ? answer(callback, data) : 0;
}

/* The offset that the kernel would name, and the sequence of its message. */
static uint32_t find_blamed(const char *batch, size_t length, uint32_t *ret_sequence)
{
	const struct nlmsghdr *message = (const struct nlmsghdr *)(const void *)batch;
	unsigned int messages = 0, elements = 0;
	struct nlattr *attr;

	for (int left = (int)length; mnl_nlmsg_ok(message, left);
	     message = mnl_nlmsg_next(message, &left)) {
		if (message->nlmsg_type != NFNL_TYPE(NFNL_SUBSYS_NFTABLES, script.command))
			continue;
		attr = find_attr(message, sizeof(struct nfgenmsg), NFTA_SET_ELEM_LIST_SET);
		if (strcmp(mnl_attr_get_str(attr), script.set) != 0 || messages++ < script.message)
			continue;
		*ret_sequence = message->nlmsg_seq;
		mnl_attr_for_each_nested(attr, find_attr(message, sizeof(struct nfgenmsg),
							 NFTA_SET_ELEM_LIST_ELEMENTS)) {
			if (elements++ < script.element)
				continue;
			return (uint32_t)((const char *)attr - (const char *)message) +
			       (script.inside ? (uint32_t)attr->nla_len - 4 : 0);
		}
	}
	ck_abort_msg("no element %u in message %u of set %s", script.element, script.message,
		     script.set);
}

int __wrap_nb_netlink_commit(struct nb_netlink *netlink, const void *batch, size_t length,
			     uint32_t last, struct nb_netlink_ack *acks, size_t *ack_count)
{
	const struct nlmsghdr *begin = batch;
	const struct nlattr *generation = find_attr(begin, sizeof(struct nfgenmsg),
						    NFNL_BATCH_GENID);
	uint32_t offset = 0, sequence = begin->nlmsg_seq;

	ck_assert_ptr_eq(netlink, script.nl);
	ck_assert_uint_eq(begin->nlmsg_type, NFNL_MSG_BATCH_BEGIN);
	ck_assert_uint_gt(last, begin->nlmsg_seq);
	ck_assert_ptr_nonnull(generation);
	note("batch %u; ", ntohl(mnl_attr_get_u32(generation)));
	if (++script.exchanges != script.fail_at) {
		*ack_count = 0;
		return 0;
	}
	if (script.number == -EINPROGRESS) {
		*ack_count = 0;
		return -EINPROGRESS;
	}
	if (script.command)
		offset = find_blamed(batch, length, &sequence);
	*ack_count = 1;
	return refuse(acks, sequence, offset);
}
