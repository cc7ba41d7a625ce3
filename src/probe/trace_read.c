/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the kernel tells of traced packets: whose each message is, and what follows from it. */
#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <netinet/ip.h>
#include <stdio.h>
#include <string.h>
#include <libmnl/libmnl.h>
#include <libnftnl/trace.h>

#include "trace.h"

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

static struct nb_trace_id *find_id(struct nb_trace *trace, uint32_t id)
{
	/* the latest: an id may come again */
	for (size_t i = trace->id_count; i-- > 0;)
		if (trace->ids[i].id == id)
			return &trace->ids[i];
	return NULL;
}

static void remember(struct nb_trace *trace, uint32_t id, size_t flow,
		     enum nb_trace_direction direction)
{
	struct nb_trace_id *known = find_id(trace, id);

	if (!known && trace->id_count == NB_TRACE_IDS) {
		trace->complete = false;
		return;
	}
	if (!known)
		known = &trace->ids[trace->id_count++];
	*known = (struct nb_trace_id){ .id = id, .flow = (uint32_t)flow, .direction = direction };
}

/* Whose is it? False: of somebody else's trace. */
static bool identify(struct nb_trace *trace, const struct headers *headers, uint32_t id,
		     struct nb_trace_id *ret)
{
	const struct nb_trace_id *known;

	for (size_t i = 0; headers->known && i < trace->count; i++) {
		const struct nb_trace_flow *flow = &trace->flows[i];

		if (headers->protocol != flow->protocol)
			continue;
		if (headers->source_port == flow->source_port)
			remember(trace, id, i, NB_REQUESTS);
		else if (headers->port == flow->source_port)
			remember(trace, id, i, NB_ANSWERS);
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
		    enum nb_trace_direction direction)
{
	enum nb_trace_stage *reached = &trace->reached[flow][direction];
	struct nb_trace_rule *drop = &trace->flows[flow].drop;

	if (stage <= *reached)
		return;
	*reached = stage;
	/* it came back from the program that it was handed to */
	if (drop->queued && drop->answer == (direction == NB_ANSWERS))
		*drop = (struct nb_trace_rule){ 0 };
}

/* A message of one of our own chains: the packet came so far. */
static void note_stage(struct nb_trace *trace, const struct nb_trace_id *whose, uint8_t family,
		       const char *chain, const struct headers *headers)
{
	struct nb_trace_flow *flow = &trace->flows[whose->flow];

	if (family == NFPROTO_NETDEV && strcmp(chain, "bridge") == 0)
		flow->on_bridge = true;
	if (family == NFPROTO_NETDEV)
		advance(trace, whose->flow, NB_STAGE_PORT, whose->direction);
	for (size_t i = 0; i < nb_stage_chain_count; i++) {
		if (nb_stage_chains[i].family != family ||
		    nb_stage_chains[i].direction != whose->direction ||
		    strcmp(nb_stage_chains[i].name, chain) != 0)
			continue;
		advance(trace, whose->flow, nb_stage_chains[i].stage, whose->direction);
		if (nb_stage_chains[i].stage >= NB_STAGE_TRANSLATED &&
		    whose->direction == NB_REQUESTS && headers->known) {
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
				    enum nb_trace_direction direction)
{
	struct nb_trace_rule rule = { .family = family, .answer = direction == NB_ANSWERS };

	snprintf(rule.table, sizeof(rule.table), "%s",
		 nftnl_trace_get_str(message, NFTNL_TRACE_TABLE));
	snprintf(rule.chain, sizeof(rule.chain), "%s",
		 nftnl_trace_get_str(message, NFTNL_TRACE_CHAIN));
	if (nftnl_trace_get_u32(message, NFTNL_TRACE_TYPE) == NFT_TRACETYPE_RULE)
		rule.handle = nftnl_trace_get_u64(message, NFTNL_TRACE_RULE_HANDLE);
	return rule;
}

/* Which rule of somebody's was the last that let it go, when its destination is another? */
static void note_translation(struct nb_trace *trace, const struct nb_trace_id *whose,
			     const struct headers *headers, const struct nftnl_trace *message,
			     uint8_t family)
{
	struct nb_trace_flow *flow = &trace->flows[whose->flow];
	struct nb_trace_rule *accepted = &trace->accepted[whose->flow];

	if (whose->direction != NB_REQUESTS)
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

void nb_trace_read(struct nb_trace *trace, const struct nlmsghdr *header)
{
	struct nftnl_trace *message;
	const char *table, *chain;
	struct headers headers;
	struct nb_trace_flow *flow;
	struct nb_trace_id whose;
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
	if (whose.direction == NB_ANSWERS)
		flow->answer_mark = nftnl_trace_get_u32(message, NFTNL_TRACE_MARK);
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
