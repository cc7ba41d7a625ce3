/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The tables of a trace.
 *
 * Two of them, inet and bridge, and one of netdev for the bridge and its ports. The first chain of
 * a way sets nftrace on packets with a probe's port; all others are empty. A packet that is traced
 * leaves a message at the end of each of them.
 *
 * The tables have NFT_TABLE_F_OWNER: the kernel deletes them with the socket that made them.
 * (Linux 5.12; before that they outlive a kill, as tables without a verdict.)
 */
#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter_bridge.h>
#include <linux/netfilter_ipv4.h>
#include <netinet/ip.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <libnftnl/batch.h>
#include <libnftnl/chain.h>
#include <libnftnl/expr.h>
#include <libnftnl/rule.h>
#include <libnftnl/table.h>

#include "trace.h"

#ifndef NFT_TABLE_F_OWNER
#define NFT_TABLE_F_OWNER 0x2
#endif

#define BATCH_SIZE   (512 * 1024)
#define MESSAGE_MAX  4096
#define MOST_DEVICES 64
/* Before everybody and behind everybody, apart from the kernel's own hooks there. */
#define FIRST  INT_MIN
#define SECOND (INT_MIN + 1)
#define LAST   (INT_MAX - 1)
/* Right behind chain translate of our own table. */
#define TRANSLATED (NF_IP_PRI_NAT_DST - 10 + 1)

const struct nb_stage_chain nb_stage_chains[] = {
	{ "first", NB_STAGE_NONE, NF_INET_PRE_ROUTING, FIRST, NB_REQUESTS, NFPROTO_INET, true },
	{ "arrived", NB_STAGE_ARRIVED, NF_INET_PRE_ROUTING, SECOND, NB_REQUESTS, NFPROTO_INET,
	  false },
	{ "translated", NB_STAGE_TRANSLATED, NF_INET_PRE_ROUTING, TRANSLATED, NB_REQUESTS,
	  NFPROTO_INET, false },
	{ "prerouted", NB_STAGE_PREROUTED, NF_INET_PRE_ROUTING, LAST, NB_REQUESTS, NFPROTO_INET,
	  false },
	{ "forwarded", NB_STAGE_FORWARDED, NF_INET_FORWARD, FIRST, NB_REQUESTS, NFPROTO_INET,
	  false },
	{ "entered", NB_STAGE_ENTERED, NF_INET_LOCAL_IN, FIRST, NB_REQUESTS, NFPROTO_INET, false },
	{ "delivered", NB_STAGE_DELIVERED, NF_INET_LOCAL_IN, LAST, NB_REQUESTS, NFPROTO_INET,
	  false },
	{ "answers", NB_STAGE_NONE, NF_INET_LOCAL_OUT, FIRST, NB_ANSWERS, NFPROTO_INET, true },
	{ "answered", NB_STAGE_ANSWERED, NF_INET_LOCAL_OUT, SECOND, NB_ANSWERS, NFPROTO_INET,
	  false },
	{ "rerouted", NB_STAGE_REROUTED, NF_INET_LOCAL_OUT, LAST, NB_ANSWERS, NFPROTO_INET, false },
	{ "postrouted", NB_STAGE_POSTROUTED, NF_INET_POST_ROUTING, LAST, NB_ANSWERS, NFPROTO_INET,
	  false },
	{ "first", NB_STAGE_NONE, NF_BR_PRE_ROUTING, FIRST, NB_REQUESTS, NFPROTO_BRIDGE, true },
	{ "port", NB_STAGE_PORT, NF_BR_PRE_ROUTING, SECOND, NB_REQUESTS, NFPROTO_BRIDGE, false },
	{ "up", NB_STAGE_UP, NF_BR_LOCAL_IN, LAST, NB_REQUESTS, NFPROTO_BRIDGE, false },
};
const size_t nb_stage_chain_count = sizeof(nb_stage_chains) / sizeof(nb_stage_chains[0]);

struct batch {
	const struct nb_trace *trace;
	char *buffer;
	size_t length;
	uint32_t sequence;
	bool failed;
};

static struct nlmsghdr *start(struct batch *batch, uint16_t type, uint8_t family, uint16_t flags)
{
	if (BATCH_SIZE - batch->length < 2 * MESSAGE_MAX) {
		batch->failed = true;
		return NULL;
	}
	return nftnl_nlmsg_build_hdr(batch->buffer + batch->length, type, family, flags,
				     batch->sequence++);
}

static void finish(struct batch *batch, const struct nlmsghdr *message)
{
	batch->length += MNL_ALIGN(message->nlmsg_len);
}

static void put_table(struct batch *batch, uint8_t family)
{
	struct nftnl_table *table = nftnl_table_alloc();
	struct nlmsghdr *message = start(batch, NFT_MSG_NEWTABLE, family,
					 NLM_F_CREATE | NLM_F_EXCL);

	if (table && message) {
		nftnl_table_set_str(table, NFTNL_TABLE_NAME, batch->trace->table);
		nftnl_table_set_u32(table, NFTNL_TABLE_FLAGS, NFT_TABLE_F_OWNER);
		nftnl_table_nlmsg_build_payload(message, table);
		finish(batch, message);
	}
	batch->failed |= !table;
	nftnl_table_free(table);
}

static void put_chain(struct batch *batch, uint8_t family, const char *name, uint32_t hook,
		      int32_t priority, const char *device)
{
	struct nftnl_chain *chain = nftnl_chain_alloc();
	struct nlmsghdr *message = start(batch, NFT_MSG_NEWCHAIN, family,
					 NLM_F_CREATE | NLM_F_EXCL);

	if (chain && message) {
		nftnl_chain_set_str(chain, NFTNL_CHAIN_TABLE, batch->trace->table);
		nftnl_chain_set_str(chain, NFTNL_CHAIN_NAME, name);
		nftnl_chain_set_str(chain, NFTNL_CHAIN_TYPE, "filter");
		nftnl_chain_set_u32(chain, NFTNL_CHAIN_HOOKNUM, hook);
		nftnl_chain_set_s32(chain, NFTNL_CHAIN_PRIO, priority);
		nftnl_chain_set_u32(chain, NFTNL_CHAIN_POLICY, NF_ACCEPT);
		if (device)
			nftnl_chain_set_str(chain, NFTNL_CHAIN_DEV, device);
		nftnl_chain_nlmsg_build_payload(message, chain);
		finish(batch, message);
	}
	batch->failed |= !chain;
	nftnl_chain_free(chain);
}

static struct nftnl_expr *add(struct batch *batch, struct nftnl_rule *rule, const char *name)
{
	struct nftnl_expr *expr = nftnl_expr_alloc(name);

	if (expr)
		nftnl_rule_add_expr(rule, expr);
	else
		batch->failed = true;
	return expr;
}

static void load_meta(struct batch *batch, struct nftnl_rule *rule, uint32_t key)
{
	struct nftnl_expr *expr = add(batch, rule, "meta");

	if (!expr)
		return;
	nftnl_expr_set_u32(expr, NFTNL_EXPR_META_KEY, key);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_META_DREG, NFT_REG_1);
}

static void compare(struct batch *batch, struct nftnl_rule *rule, const void *data, uint32_t length)
{
	struct nftnl_expr *expr = add(batch, rule, "cmp");

	if (!expr)
		return;
	nftnl_expr_set_u32(expr, NFTNL_EXPR_CMP_SREG, NFT_REG_1);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_CMP_OP, NFT_CMP_EQ);
	nftnl_expr_set(expr, NFTNL_EXPR_CMP_DATA, data, length);
}

static void load_port(struct batch *batch, struct nftnl_rule *rule, uint32_t offset)
{
	struct nftnl_expr *expr = add(batch, rule, "payload");

	if (!expr)
		return;
	nftnl_expr_set_u32(expr, NFTNL_EXPR_PAYLOAD_BASE, NFT_PAYLOAD_TRANSPORT_HEADER);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_PAYLOAD_OFFSET, offset);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_PAYLOAD_LEN, sizeof(uint16_t));
	nftnl_expr_set_u32(expr, NFTNL_EXPR_PAYLOAD_DREG, NFT_REG_1);
}

static void set_trace(struct batch *batch, struct nftnl_rule *rule)
{
	struct nftnl_expr *expr = add(batch, rule, "immediate");
	uint8_t one = 1;

	if (!expr)
		return;
	nftnl_expr_set_u32(expr, NFTNL_EXPR_IMM_DREG, NFT_REG_1);
	nftnl_expr_set(expr, NFTNL_EXPR_IMM_DATA, &one, sizeof(one));
	expr = add(batch, rule, "meta");
	if (!expr)
		return;
	nftnl_expr_set_u32(expr, NFTNL_EXPR_META_KEY, NFT_META_NFTRACE);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_META_SREG, NFT_REG_1);
}

/* meta l4proto P th sport N meta nftrace set 1; of answers th dport */
static void put_rule(struct batch *batch, uint8_t family, const char *chain,
		     const struct nb_trace_flow *flow, enum nb_trace_direction direction)
{
	struct nftnl_rule *rule = nftnl_rule_alloc();
	struct nlmsghdr *message = start(batch, NFT_MSG_NEWRULE, family,
					 NLM_F_CREATE | NLM_F_APPEND);
	uint16_t port = htons(flow->source_port);
	char device[NB_IFNAME_SIZE] = { 0 };

	if (!rule || !message) {
		batch->failed = true;
		if (rule)
			nftnl_rule_free(rule);
		return;
	}
	nftnl_rule_set_str(rule, NFTNL_RULE_TABLE, batch->trace->table);
	nftnl_rule_set_str(rule, NFTNL_RULE_CHAIN, chain);
	if (family == NFPROTO_INET && direction == NB_REQUESTS) {
		snprintf(device, sizeof(device), "%s", batch->trace->bridge);
		load_meta(batch, rule, NFT_META_IIFNAME);
		compare(batch, rule, device, sizeof(device));
	}
	load_meta(batch, rule, NFT_META_L4PROTO);
	compare(batch, rule, &flow->protocol, sizeof(flow->protocol));
	load_port(batch, rule, direction == NB_REQUESTS ? 0 : 2);
	compare(batch, rule, &port, sizeof(port));
	set_trace(batch, rule);
	nftnl_rule_nlmsg_build_payload(message, rule);
	finish(batch, message);
	nftnl_rule_free(rule);
}

/* An ICMP error that the host sends may be the answer: meta l4proto icmp meta nftrace set 1 */
static void put_icmp_rule(struct batch *batch, uint8_t family, const char *chain)
{
	struct nftnl_rule *rule = nftnl_rule_alloc();
	struct nlmsghdr *message = start(batch, NFT_MSG_NEWRULE, family,
					 NLM_F_CREATE | NLM_F_APPEND);
	uint8_t icmp = IPPROTO_ICMP;

	if (rule && message) {
		nftnl_rule_set_str(rule, NFTNL_RULE_TABLE, batch->trace->table);
		nftnl_rule_set_str(rule, NFTNL_RULE_CHAIN, chain);
		load_meta(batch, rule, NFT_META_L4PROTO);
		compare(batch, rule, &icmp, sizeof(icmp));
		set_trace(batch, rule);
		nftnl_rule_nlmsg_build_payload(message, rule);
		finish(batch, message);
	}
	batch->failed |= !rule;
	if (rule)
		nftnl_rule_free(rule);
}

static void put_rules(struct batch *batch, uint8_t family, const char *chain,
		      enum nb_trace_direction direction)
{
	for (size_t i = 0; i < batch->trace->count; i++)
		put_rule(batch, family, chain, &batch->trace->flows[i], direction);
	if (direction == NB_ANSWERS)
		put_icmp_rule(batch, family, chain);
}

static void put_hooks(struct batch *batch, uint8_t family)
{
	put_table(batch, family);
	for (size_t i = 0; i < nb_stage_chain_count; i++) {
		const struct nb_stage_chain *chain = &nb_stage_chains[i];

		if (chain->family != family)
			continue;
		put_chain(batch, family, chain->name, chain->hook, chain->priority, NULL);
		if (chain->starts)
			put_rules(batch, family, chain->name, chain->direction);
	}
}

static void put_devices(struct batch *batch, const struct nb_link_list *links)
{
	const struct nb_link *bridge = nb_link_find(links, batch->trace->bridge);
	size_t devices = 0;
	char name[32];

	put_table(batch, NFPROTO_NETDEV);
	for (size_t i = 0; bridge && i < links->count && devices < MOST_DEVICES; i++) {
		const struct nb_link *link = &links->items[i];

		if (link != bridge && link->master != bridge->index)
			continue;
		if (link == bridge)
			strcpy(name, "bridge");
		else
			snprintf(name, sizeof(name), "port%d", link->index);
		put_chain(batch, NFPROTO_NETDEV, name, NF_NETDEV_INGRESS, FIRST, link->name);
		put_rules(batch, NFPROTO_NETDEV, name, NB_REQUESTS);
		devices++;
	}
}

int nb_trace_make_table(struct nb_trace *trace, uint8_t family, const struct nb_link_list *links,
			struct nb_error *err)
{
	struct batch batch = { .trace = trace, .buffer = calloc(1, BATCH_SIZE) };
	struct nb_netlink_ack ack;
	size_t ack_count = 1;
	struct nlmsghdr *message;
	int r;

	if (!batch.buffer)
		return nb_error_set(err, NB_STATUS_FAILED, ENOMEM, "memory", "out of memory");
	batch.sequence = nb_netlink_sequences(trace->nl, BATCH_SIZE / 64);
	finish(&batch, nftnl_batch_begin(batch.buffer, batch.sequence++));
	if (family == NFPROTO_NETDEV)
		put_devices(&batch, links);
	else
		put_hooks(&batch, family);
	message = nftnl_batch_end(batch.buffer + batch.length, batch.sequence);
	message->nlmsg_flags |= NLM_F_ACK;
	finish(&batch, message);
	r = batch.failed ? -ENOMEM
			 : nb_netlink_commit(trace->nl, batch.buffer, batch.length, batch.sequence,
					     &ack, &ack_count);
	if (r < 0)
		nb_netlink_error(err, ack_count ? &ack : NULL, r, "trace a probe");
	free(batch.buffer);
	return r;
}
