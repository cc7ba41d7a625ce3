/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nftrace of our own probes.
 *
 * Two tables, inet and bridge, and one of netdev for the bridge and its ports. The first chain of
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
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter_bridge.h>
#include <netinet/ip.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <libnftnl/batch.h>
#include <libnftnl/chain.h>
#include <libnftnl/expr.h>
#include <libnftnl/rule.h>
#include <libnftnl/table.h>
#include <libnftnl/trace.h>

#include "nat-bridge/plan.h"
#include "nat-bridge/trace.h"

#ifndef NFT_TABLE_F_OWNER
#define NFT_TABLE_F_OWNER 0x2
#endif

#define GROUP(number)  (1u << ((number)-1))
#define RECEIVE_BUFFER (16 << 20)
#define BATCH_SIZE     (512 * 1024)
#define MESSAGE_MAX    4096
#define SETTLED_MS     60 /* no message for so long: there are no more */
#define LONGEST_MS     1000
#define MOST_DEVICES   64
#define IDS_KEPT       4096
/* Before everybody and behind everybody, apart from the kernel's own hooks there. */
#define FIRST  INT_MIN
#define SECOND (INT_MIN + 1)
#define LAST   (INT_MAX - 1)

enum direction { REQUESTS, ANSWERS };

struct stage_chain {
	const char *name;
	enum nb_trace_stage stage;
	uint32_t hook;
	int32_t priority;
	enum direction direction;
	uint8_t family;
	bool starts; /* the trace of requests, or of answers */
};

static const struct stage_chain chains[] = {
	{ "first", NB_STAGE_NONE, NF_INET_PRE_ROUTING, FIRST, REQUESTS, NFPROTO_INET, true },
	{ "arrived", NB_STAGE_ARRIVED, NF_INET_PRE_ROUTING, SECOND, REQUESTS, NFPROTO_INET, false },
	{ "prerouted", NB_STAGE_PREROUTED, NF_INET_PRE_ROUTING, LAST, REQUESTS, NFPROTO_INET,
	  false },
	{ "forwarded", NB_STAGE_FORWARDED, NF_INET_FORWARD, FIRST, REQUESTS, NFPROTO_INET, false },
	{ "entered", NB_STAGE_ENTERED, NF_INET_LOCAL_IN, FIRST, REQUESTS, NFPROTO_INET, false },
	{ "delivered", NB_STAGE_DELIVERED, NF_INET_LOCAL_IN, LAST, REQUESTS, NFPROTO_INET, false },
	{ "answers", NB_STAGE_NONE, NF_INET_LOCAL_OUT, FIRST, ANSWERS, NFPROTO_INET, true },
	{ "answered", NB_STAGE_ANSWERED, NF_INET_LOCAL_OUT, SECOND, ANSWERS, NFPROTO_INET, false },
	{ "rerouted", NB_STAGE_REROUTED, NF_INET_LOCAL_OUT, LAST, ANSWERS, NFPROTO_INET, false },
	{ "postrouted", NB_STAGE_POSTROUTED, NF_INET_POST_ROUTING, LAST, ANSWERS, NFPROTO_INET,
	  false },
	{ "first", NB_STAGE_NONE, NF_BR_PRE_ROUTING, FIRST, REQUESTS, NFPROTO_BRIDGE, true },
	{ "port", NB_STAGE_PORT, NF_BR_PRE_ROUTING, SECOND, REQUESTS, NFPROTO_BRIDGE, false },
	{ "up", NB_STAGE_UP, NF_BR_LOCAL_IN, LAST, REQUESTS, NFPROTO_BRIDGE, false },
};
#define CHAIN_COUNT (sizeof(chains) / sizeof(chains[0]))

/* A trace id, and whose it is. */
struct known_id {
	uint32_t id;
	uint32_t flow; /* index */
	enum direction direction;
};

struct nb_trace {
	struct nb_netlink *nl; /* its socket owns the tables */
	struct mnl_socket *events;
	char table[32];
	const char *bridge;
	struct nb_trace_flow *flows;
	size_t count;
	struct nb_trace_rule *accepted;	   /* for each flow the last rule that let it go */
	enum nb_trace_stage (*reached)[2]; /* by request and answer */
	struct known_id *ids;
	size_t id_count;
	bool complete;
};

/* --- The tables --- */

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
		     const struct nb_trace_flow *flow, enum direction direction)
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
	if (family == NFPROTO_INET && direction == REQUESTS) {
		snprintf(device, sizeof(device), "%s", batch->trace->bridge);
		load_meta(batch, rule, NFT_META_IIFNAME);
		compare(batch, rule, device, sizeof(device));
	}
	load_meta(batch, rule, NFT_META_L4PROTO);
	compare(batch, rule, &flow->protocol, sizeof(flow->protocol));
	load_port(batch, rule, direction == REQUESTS ? 0 : 2);
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
		      enum direction direction)
{
	for (size_t i = 0; i < batch->trace->count; i++)
		put_rule(batch, family, chain, &batch->trace->flows[i], direction);
	if (direction == ANSWERS)
		put_icmp_rule(batch, family, chain);
}

static void put_hooks(struct batch *batch, uint8_t family)
{
	put_table(batch, family);
	for (size_t i = 0; i < CHAIN_COUNT; i++) {
		const struct stage_chain *chain = &chains[i];

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
		put_rules(batch, NFPROTO_NETDEV, name, REQUESTS);
		devices++;
	}
}

static int commit(struct nb_trace *trace, uint8_t family, const struct nb_link_list *links,
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

static int listen_to_kernel(struct nb_trace *trace, struct nb_error *err)
{
	int size = RECEIVE_BUFFER, fd;

	trace->events = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (!trace->events ||
	    mnl_socket_bind(trace->events, GROUP(NFNLGRP_NFTRACE), MNL_SOCKET_AUTOPID) < 0)
		return nb_netlink_error(err, NULL, errno ? -errno : -EIO, "listen to traces");
	fd = mnl_socket_get_fd(trace->events);
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	return 0;
}

static void end(struct nb_trace *trace)
{
	if (!trace)
		return;
	if (trace->events)
		mnl_socket_close(trace->events);
	nb_netlink_free(trace->nl);
	free(trace->ids);
	free(trace->accepted);
	free(trace->reached);
	free(trace);
}

int nb_trace_begin(const struct nb_link_list *links, const char *bridge,
		   struct nb_trace_flow *flows, size_t count, struct nb_trace **ret,
		   struct nb_error *err)
{
	struct nb_trace *trace = calloc(1, sizeof(*trace));
	struct nb_error ignored;
	int r;

	if (trace) {
		trace->nl = nb_netlink_new();
		trace->ids = calloc(IDS_KEPT, sizeof(*trace->ids));
		trace->accepted = calloc(count + 1, sizeof(*trace->accepted));
		trace->reached = calloc(count + 1, sizeof(*trace->reached));
	}
	if (!trace || !trace->nl || !trace->ids || !trace->accepted || !trace->reached) {
		end(trace);
		return nb_error_set(err, NB_STATUS_FAILED, ENOMEM, "memory", "out of memory");
	}
	trace->bridge = bridge;
	trace->flows = flows;
	trace->count = count;
	trace->complete = true;
	snprintf(trace->table, sizeof(trace->table), "nat-bridge-trace-%d", (int)getpid());
	r = listen_to_kernel(trace, err);
	if (r == 0)
		r = commit(trace, NFPROTO_INET, links, err);
	if (r < 0) {
		end(trace);
		return r;
	}
	/* a kernel without them has no rules there either */
	(void)commit(trace, NFPROTO_BRIDGE, links, &ignored);
	(void)commit(trace, NFPROTO_NETDEV, links, &ignored);
	*ret = trace;
	return 0;
}

/* --- What the kernel tells --- */

/* Ports and address of a message that carries the packet's headers. */
struct headers {
	bool known;
	uint8_t protocol;
	uint16_t source_port, port;
	uint32_t source, address;
	bool error; /* it is about another packet, whose ports these are */
};

static void read_ports(struct headers *headers, const uint8_t *bytes, size_t length)
{
	headers->known = length >= 4;
	if (!headers->known)
		return;
	headers->source_port = (uint16_t)(bytes[0] << 8 | bytes[1]);
	headers->port = (uint16_t)(bytes[2] << 8 | bytes[3]);
}

/* Of an ICMP error the packet that it is about, which has the flow's ports the other way round. */
static void read_quoted(struct headers *headers, const uint8_t *bytes, size_t length)
{
	const struct iphdr *quoted = (const void *)(bytes + 8);
	struct headers inner = { 0 };

	if (length < 8 + sizeof(*quoted) || bytes[0] != 3)
		return;
	headers->protocol = quoted->protocol;
	if (length >= 8u + quoted->ihl * 4u + 4)
		read_ports(&inner, bytes + 8 + quoted->ihl * 4u, 4);
	headers->known = inner.known;
	headers->source_port = inner.port;
	headers->port = inner.source_port;
	headers->error = true;
}

static struct headers read_headers(const struct nftnl_trace *message)
{
	struct headers headers = { 0 };
	uint32_t length = 0;
	const uint8_t *bytes;
	struct iphdr ip;

	if (!nftnl_trace_is_set(message, NFTNL_TRACE_NETWORK_HEADER) ||
	    !nftnl_trace_is_set(message, NFTNL_TRACE_TRANSPORT_HEADER))
		return headers;
	bytes = nftnl_trace_get_data(message, NFTNL_TRACE_NETWORK_HEADER, &length);
	if (!bytes || length < sizeof(ip))
		return headers;
	memcpy(&ip, bytes, sizeof(ip));
	if (ip.version != 4)
		return headers;
	headers.protocol = ip.protocol;
	headers.source = ntohl(ip.saddr);
	headers.address = ntohl(ip.daddr);
	bytes = nftnl_trace_get_data(message, NFTNL_TRACE_TRANSPORT_HEADER, &length);
	if (!bytes)
		return headers;
	if (ip.protocol == IPPROTO_ICMP)
		read_quoted(&headers, bytes, length);
	else
		read_ports(&headers, bytes, length);
	return headers;
}

static struct known_id *find_id(struct nb_trace *trace, uint32_t id)
{
	/* the latest: an id may come again */
	for (size_t i = trace->id_count; i-- > 0;)
		if (trace->ids[i].id == id)
			return &trace->ids[i];
	return NULL;
}

static void remember(struct nb_trace *trace, uint32_t id, size_t flow, enum direction direction)
{
	struct known_id *known = find_id(trace, id);

	if (!known && trace->id_count == IDS_KEPT) {
		trace->complete = false;
		return;
	}
	if (!known)
		known = &trace->ids[trace->id_count++];
	*known = (struct known_id){ .id = id, .flow = (uint32_t)flow, .direction = direction };
}

/* Whose is it? False: of somebody else's trace. */
static bool identify(struct nb_trace *trace, const struct headers *headers, uint32_t id,
		     struct known_id *ret)
{
	const struct known_id *known;

	for (size_t i = 0; headers->known && i < trace->count; i++) {
		const struct nb_trace_flow *flow = &trace->flows[i];

		if (headers->protocol != flow->protocol)
			continue;
		if (headers->source_port == flow->source_port)
			remember(trace, id, i, REQUESTS);
		else if (headers->port == flow->source_port)
			remember(trace, id, i, ANSWERS);
		else
			continue;
		break;
	}
	known = find_id(trace, id);
	if (known)
		*ret = *known;
	return known != NULL;
}

static void advance(struct nb_trace *trace, size_t flow, enum nb_trace_stage stage,
		    enum direction direction)
{
	enum nb_trace_stage *reached = &trace->reached[flow][direction];
	struct nb_trace_rule *drop = &trace->flows[flow].drop;

	if (stage <= *reached)
		return;
	*reached = stage;
	/* it came back from the program that it was handed to */
	if (drop->queued && drop->answer == (direction == ANSWERS))
		*drop = (struct nb_trace_rule){ 0 };
}

/* A message of one of our own chains: the packet came so far. */
static void note_stage(struct nb_trace *trace, const struct known_id *whose, uint8_t family,
		       const char *chain, const struct headers *headers)
{
	struct nb_trace_flow *flow = &trace->flows[whose->flow];

	if (family == NFPROTO_NETDEV && strcmp(chain, "bridge") == 0)
		flow->on_bridge = true;
	if (family == NFPROTO_NETDEV)
		advance(trace, whose->flow, NB_STAGE_PORT, whose->direction);
	for (size_t i = 0; i < CHAIN_COUNT; i++) {
		if (chains[i].family != family || chains[i].direction != whose->direction ||
		    strcmp(chains[i].name, chain) != 0)
			continue;
		advance(trace, whose->flow, chains[i].stage, whose->direction);
		if (chains[i].stage >= NB_STAGE_PREROUTED && whose->direction == REQUESTS &&
		    headers->known) {
			flow->address = headers->address;
			flow->port = headers->port;
		}
	}
}

static bool is_verdict(const struct nftnl_trace *message, uint32_t verdict)
{
	return nftnl_trace_get_u32(message, NFTNL_TRACE_TYPE) == NFT_TRACETYPE_RULE &&
	       nftnl_trace_is_set(message, NFTNL_TRACE_VERDICT) &&
	       nftnl_trace_get_u32(message, NFTNL_TRACE_VERDICT) == verdict;
}

static bool is_drop(const struct nftnl_trace *message)
{
	if (nftnl_trace_get_u32(message, NFTNL_TRACE_TYPE) == NFT_TRACETYPE_POLICY)
		return nftnl_trace_is_set(message, NFTNL_TRACE_POLICY) &&
		       nftnl_trace_get_u32(message, NFTNL_TRACE_POLICY) == NF_DROP;
	return is_verdict(message, NF_DROP);
}

static bool is_queue(const struct nftnl_trace *message)
{
	return nftnl_trace_get_u32(message, NFTNL_TRACE_TYPE) == NFT_TRACETYPE_RULE &&
	       nftnl_trace_is_set(message, NFTNL_TRACE_VERDICT) &&
	       (nftnl_trace_get_u32(message, NFTNL_TRACE_VERDICT) & NF_VERDICT_MASK) == NF_QUEUE;
}

static struct nb_trace_rule rule_of(const struct nftnl_trace *message, uint8_t family,
				    enum direction direction)
{
	struct nb_trace_rule rule = { .family = family, .answer = direction == ANSWERS };

	snprintf(rule.table, sizeof(rule.table), "%s",
		 nftnl_trace_get_str(message, NFTNL_TRACE_TABLE));
	snprintf(rule.chain, sizeof(rule.chain), "%s",
		 nftnl_trace_get_str(message, NFTNL_TRACE_CHAIN));
	if (nftnl_trace_get_u32(message, NFTNL_TRACE_TYPE) == NFT_TRACETYPE_RULE)
		rule.handle = nftnl_trace_get_u64(message, NFTNL_TRACE_RULE_HANDLE);
	return rule;
}

/* Which rule of somebody's was the last that let it go, when its destination is another? */
static void note_translation(struct nb_trace *trace, const struct known_id *whose,
			     const struct headers *headers, const struct nftnl_trace *message,
			     uint8_t family)
{
	struct nb_trace_flow *flow = &trace->flows[whose->flow];
	struct nb_trace_rule *accepted = &trace->accepted[whose->flow];

	if (whose->direction != REQUESTS)
		return;
	if (headers->known && !flow->dialled) {
		flow->source = headers->source;
		flow->dialled = headers->address;
		flow->dialled_port = headers->port;
	}
	if (headers->known && !flow->translated.family &&
	    (headers->address != flow->dialled || headers->port != flow->dialled_port)) {
		flow->translated = *accepted;
		flow->address = headers->address;
		flow->port = headers->port;
	}
	if (is_verdict(message, NF_ACCEPT))
		*accepted = rule_of(message, family, whose->direction);
}

static void read_message(struct nb_trace *trace, const struct nlmsghdr *header)
{
	struct nftnl_trace *message;
	const char *table, *chain;
	struct headers headers;
	struct nb_trace_flow *flow;
	struct known_id whose;
	uint8_t family;

	if (header->nlmsg_type != (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_TRACE))
		return;
	message = nftnl_trace_alloc();
	if (!message)
		return;
	if (nftnl_trace_nlmsg_parse(header, message) < 0)
		goto out;
	family = ((const struct nfgenmsg *)mnl_nlmsg_get_payload(header))->nfgen_family;
	table = nftnl_trace_get_str(message, NFTNL_TRACE_TABLE);
	chain = nftnl_trace_get_str(message, NFTNL_TRACE_CHAIN);
	headers = read_headers(message);
	if (!table || !chain ||
	    !identify(trace, &headers, nftnl_trace_get_u32(message, NFTNL_TRACE_ID), &whose))
		goto out;
	flow = &trace->flows[whose.flow];
	note_translation(trace, &whose, &headers, message, family);
	if (strcmp(table, trace->table) == 0)
		note_stage(trace, &whose, family, chain, &headers);
	/* the first says it: what a sender repeats is dropped again */
	else if (!flow->drop.family && (is_drop(message) || is_queue(message))) {
		flow->drop = rule_of(message, family, whose.direction);
		flow->drop.queued = is_queue(message);
	}
out:
	nftnl_trace_free(message);
}

static void read_messages(struct nb_trace *trace, const char *buffer, ssize_t length)
{
	const struct nlmsghdr *header = (const struct nlmsghdr *)buffer;
	int left = (int)length;

	for (; mnl_nlmsg_ok(header, left); header = mnl_nlmsg_next(header, &left))
		read_message(trace, header);
}

/* An answer to what never came to a socket is a rejection. */
static void sum_up(struct nb_trace_flow *flow, const enum nb_trace_stage *reached)
{
	flow->rejected = reached[ANSWERS] && reached[REQUESTS] < NB_STAGE_DELIVERED;
	flow->stage = reached[ANSWERS] && !flow->rejected ? reached[ANSWERS] : reached[REQUESTS];
}

bool nb_trace_end(struct nb_trace *trace)
{
	struct pollfd poller = { .fd = mnl_socket_get_fd(trace->events), .events = POLLIN };
	int64_t deadline = nb_monotonic_ms() + LONGEST_MS;
	char *buffer = malloc(NB_NETLINK_BUFFER);
	bool complete;

	while (buffer && nb_monotonic_ms() < deadline && poll(&poller, 1, SETTLED_MS) > 0) {
		ssize_t length = mnl_socket_recvfrom(trace->events, buffer, NB_NETLINK_BUFFER);

		if (length > 0)
			read_messages(trace, buffer, length);
		else if (length < 0 && errno == ENOBUFS)
			trace->complete = false;
	}
	for (size_t i = 0; i < trace->count; i++)
		sum_up(&trace->flows[i], trace->reached[i]);
	complete = trace->complete && buffer;
	free(buffer);
	end(trace);
	return complete;
}
