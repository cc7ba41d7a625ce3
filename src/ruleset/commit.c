/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Operations -> one nfnetlink batch -> the kernel -> errors in words.
 *
 * Elements of the same set follow each other in one message, because a
 * message each would be three times the bytes. The kernel reports the attribute that it
 * refused by its offset; the offsets of the elements are kept to name the mapping.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <arpa/inet.h>
#include <libnftnl/batch.h>
#include <libnftnl/chain.h>
#include <libnftnl/expr.h>
#include <libnftnl/rule.h>
#include <libnftnl/set.h>
#include <libnftnl/table.h>
#include <libnftnl/udata.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include "nat-bridge/ruleset.h"
#include "element.h"
#include "opener.h"
#include "schema.h"

/* No message of ours is longer; nested attributes end at 65535. */
#define MESSAGE_MAX 60000
#define ELEMENT_MAX 600
#define ACKS_KEPT   8

/* Which operations a message carries: items [first, first + count) of the list. */
struct span {
	uint32_t sequence;
	size_t first;
	size_t count;
	size_t offset; /* of the message in the buffer */
};

struct batch {
	char *buffer;
	size_t length;
	size_t capacity;
	struct span *spans;
	size_t span_count;
	size_t span_capacity;
	uint32_t sequence;
	uint32_t mark;
	int64_t now;
};

static void batch_clear(struct batch *batch)
{
	free(batch->buffer);
	free(batch->spans);
}

/* Room for the next message and for its span. */
static int reserve(struct batch *batch)
{
	if (batch->capacity - batch->length < 2 * MESSAGE_MAX) {
		size_t capacity = batch->capacity * 2 + 4 * MESSAGE_MAX;
		char *buffer = realloc(batch->buffer, capacity);

		if (!buffer)
			return -ENOMEM;
		/* libmnl 1.0.4 leaves the padding behind an attribute as it is */
		memset(buffer + batch->capacity, 0, capacity - batch->capacity);
		batch->buffer = buffer;
		batch->capacity = capacity;
	}
	if (batch->span_count == batch->span_capacity) {
		size_t capacity = batch->span_capacity * 2 + 64;
		struct span *spans = realloc(batch->spans, capacity * sizeof(*spans));

		if (!spans)
			return -ENOMEM;
		batch->spans = spans;
		batch->span_capacity = capacity;
	}
	return 0;
}

static char *tail(const struct batch *batch)
{
	return batch->buffer + batch->length;
}

/* A message that carries operations [first, first + count). Call reserve() before. */
static struct nlmsghdr *start(struct batch *batch, uint16_t type, uint16_t family, uint16_t flags,
			      size_t first, size_t count)
{
	batch->spans[batch->span_count++] = (struct span){
		.sequence = batch->sequence,
		.first = first,
		.count = count,
		.offset = batch->length,
	};
	return nftnl_nlmsg_build_hdr(tail(batch), type, family, flags, batch->sequence++);
}

static void finish(struct batch *batch, const struct nlmsghdr *message)
{
	batch->length += MNL_ALIGN(message->nlmsg_len);
}

static int put_table(struct batch *batch, size_t op, bool create)
{
	struct nftnl_table *table = nftnl_table_alloc();
	struct nftnl_udata_buf *udata = nftnl_udata_buf_alloc(NFTNL_UDATA_COMMENT_MAXLEN);
	struct nlmsghdr *message;
	char comment[32];
	int r = -ENOMEM;

	if (!table || !udata || reserve(batch) < 0)
		goto out;
	nftnl_table_set_str(table, NFTNL_TABLE_NAME, NB_TABLE_NAME);
	if (create) {
		snprintf(comment, sizeof(comment), NB_SCHEMA_COMMENT_PREFIX "%d", NB_SCHEMA);
		nftnl_udata_put_strz(udata, NFTNL_UDATA_TABLE_COMMENT, comment);
		nftnl_table_set_data(table, NFTNL_TABLE_USERDATA, nftnl_udata_buf_data(udata),
				     nftnl_udata_buf_len(udata));
	}
	message = start(batch, create ? NFT_MSG_NEWTABLE : NFT_MSG_DELTABLE, NFPROTO_INET,
			create ? NLM_F_CREATE | NLM_F_EXCL : 0, op, 1);
	nftnl_table_nlmsg_build_payload(message, table);
	finish(batch, message);
	r = 0;
out:
	nftnl_udata_buf_free(udata);
	nftnl_table_free(table);
	return r;
}

static int put_set(struct batch *batch, size_t op, const struct nb_schema_set *schema)
{
	struct nftnl_set *set = nftnl_set_alloc();
	struct nftnl_udata_buf *udata = nftnl_udata_buf_alloc(NFTNL_UDATA_COMMENT_MAXLEN);
	struct nftnl_expr *counter;
	struct nlmsghdr *message;
	int r = -ENOMEM;

	if (!set || !udata || reserve(batch) < 0)
		goto out;
	nftnl_set_set_str(set, NFTNL_SET_TABLE, NB_TABLE_NAME);
	nftnl_set_set_str(set, NFTNL_SET_NAME, schema->name);
	nftnl_set_set_u32(set, NFTNL_SET_ID, schema->id);
	nftnl_set_set_u32(set, NFTNL_SET_FAMILY, NFPROTO_INET);
	nftnl_set_set_u32(set, NFTNL_SET_FLAGS, schema->flags);
	nftnl_set_set_u32(set, NFTNL_SET_KEY_TYPE, schema->key_type);
	nftnl_set_set_u32(set, NFTNL_SET_KEY_LEN, schema->key_length);
	if (schema->data_type) {
		nftnl_set_set_u32(set, NFTNL_SET_DATA_TYPE, schema->data_type);
		nftnl_set_set_u32(set, NFTNL_SET_DATA_LEN, schema->data_length);
	}
	if (schema->key_length == NB_IFNAME_SIZE) {
		/* without it nft lists a lone interface name as "", which does not load again */
		nftnl_udata_put_u32(udata, NFTNL_UDATA_SET_KEYBYTEORDER, 1);
		nftnl_set_set_data(set, NFTNL_SET_USERDATA, nftnl_udata_buf_data(udata),
				   nftnl_udata_buf_len(udata));
	}
	if (schema->counter) {
		counter = nftnl_expr_alloc("counter");
		if (!counter)
			goto out;
		nftnl_set_add_expr(set, counter);
	}
	message = start(batch, NFT_MSG_NEWSET, NFPROTO_INET, NLM_F_CREATE | NLM_F_EXCL, op, 1);
	nftnl_set_nlmsg_build_payload(message, set);
	finish(batch, message);
	r = 0;
out:
	nftnl_udata_buf_free(udata);
	nftnl_set_free(set);
	return r;
}

static int put_chain(struct batch *batch, size_t op, const struct nb_schema_chain *schema)
{
	struct nftnl_chain *chain = nftnl_chain_alloc();
	struct nlmsghdr *message;
	int r = -ENOMEM;

	if (!chain || reserve(batch) < 0)
		goto out;
	nftnl_chain_set_str(chain, NFTNL_CHAIN_TABLE, NB_TABLE_NAME);
	nftnl_chain_set_str(chain, NFTNL_CHAIN_NAME, schema->name);
	if (schema->type) {
		nftnl_chain_set_str(chain, NFTNL_CHAIN_TYPE, schema->type);
		nftnl_chain_set_u32(chain, NFTNL_CHAIN_HOOKNUM, schema->hook);
		nftnl_chain_set_s32(chain, NFTNL_CHAIN_PRIO, schema->priority);
		nftnl_chain_set_u32(chain, NFTNL_CHAIN_POLICY, NF_ACCEPT);
	}
	message = start(batch, NFT_MSG_NEWCHAIN, NFPROTO_INET, NLM_F_CREATE | NLM_F_EXCL, op, 1);
	nftnl_chain_nlmsg_build_payload(message, chain);
	finish(batch, message);
	r = 0;
out:
	nftnl_chain_free(chain);
	return r;
}

/* { tcp, udp } */
static int put_protocol_set(struct batch *batch, size_t op, uint32_t id)
{
	static const uint8_t protocols[] = { IPPROTO_TCP, IPPROTO_UDP };
	struct nftnl_set *set = nftnl_set_alloc();
	struct nlmsghdr *message;
	int r = -ENOMEM;

	if (!set || reserve(batch) < 0)
		goto out;
	nftnl_set_set_str(set, NFTNL_SET_TABLE, NB_TABLE_NAME);
	nftnl_set_set_str(set, NFTNL_SET_NAME, "__set%d");
	nftnl_set_set_u32(set, NFTNL_SET_ID, id);
	nftnl_set_set_u32(set, NFTNL_SET_FAMILY, NFPROTO_INET);
	nftnl_set_set_u32(set, NFTNL_SET_FLAGS, NFT_SET_ANONYMOUS | NFT_SET_CONSTANT);
	nftnl_set_set_u32(set, NFTNL_SET_KEY_TYPE, NB_TYPE_PROTOCOL);
	nftnl_set_set_u32(set, NFTNL_SET_KEY_LEN, sizeof(protocols[0]));
	nftnl_set_set_u32(set, NFTNL_SET_DESC_SIZE, 2);
	message = start(batch, NFT_MSG_NEWSET, NFPROTO_INET, NLM_F_CREATE | NLM_F_EXCL, op, 1);
	nftnl_set_nlmsg_build_payload(message, set);
	finish(batch, message);

	if (reserve(batch) < 0)
		goto out;
	for (size_t i = 0; i < sizeof(protocols); i++) {
		struct nftnl_set_elem *element = nftnl_set_elem_alloc();

		if (!element)
			goto out;
		nftnl_set_elem_set(element, NFTNL_SET_ELEM_KEY, &protocols[i], 1);
		nftnl_set_elem_add(set, element);
	}
	message = start(batch, NFT_MSG_NEWSETELEM, NFPROTO_INET, NLM_F_CREATE, op, 1);
	nftnl_set_elems_nlmsg_build_payload(message, set);
	finish(batch, message);
	r = 0;
out:
	nftnl_set_free(set);
	return r;
}

static int put_schema_rule(struct batch *batch, size_t op, const char *chain,
			   const enum nb_statement *statements, uint32_t set_id)
{
	struct nftnl_rule *rule = nftnl_rule_alloc();
	struct nlmsghdr *message;
	int r = -ENOMEM;

	if (!rule || reserve(batch) < 0)
		goto out;
	nftnl_rule_set_str(rule, NFTNL_RULE_TABLE, NB_TABLE_NAME);
	nftnl_rule_set_str(rule, NFTNL_RULE_CHAIN, chain);
	nftnl_rule_set_u32(rule, NFTNL_RULE_FAMILY, NFPROTO_INET);
	r = nb_statements_build(rule, NFPROTO_INET, batch->mark, statements, set_id);
	if (r < 0)
		goto out;
	message = start(batch, NFT_MSG_NEWRULE, NFPROTO_INET, NLM_F_CREATE | NLM_F_APPEND, op, 1);
	nftnl_rule_nlmsg_build_payload(message, rule);
	finish(batch, message);
out:
	nftnl_rule_free(rule);
	return r;
}

static int put_schema(struct batch *batch, size_t op)
{
	uint32_t set_id = NB_SET_ID_ANONYMOUS;
	int r = put_table(batch, op, true);

	for (size_t i = 0; r == 0 && i < nb_schema_set_count; i++)
		r = put_set(batch, op, &nb_schema_sets[i]);
	for (size_t i = 0; r == 0 && i < nb_schema_chain_count; i++)
		r = put_chain(batch, op, &nb_schema_chains[i]);
	for (size_t i = 0; r == 0 && i < nb_schema_chain_count; i++) {
		const struct nb_schema_chain *chain = &nb_schema_chains[i];

		for (size_t j = 0; r == 0 && chain->rules[j][0] != NB_END; j++) {
			if (nb_schema_rule_has_set(chain->rules[j]))
				r = put_protocol_set(batch, op, ++set_id);
			if (r == 0)
				r = put_schema_rule(batch, op, chain->name, chain->rules[j],
						    set_id);
		}
	}
	return r;
}

static int put_opener(struct batch *batch, size_t index, const struct nb_op *op)
{
	const struct nb_input_chain *chain = op->opener.chain;
	bool insert = op->kind == NB_OP_OPENER_INSERT;
	struct nftnl_rule *rule = nftnl_rule_alloc();
	struct nlmsghdr *message;
	int r = -ENOMEM;

	if (!rule || reserve(batch) < 0)
		goto out;
	nftnl_rule_set_str(rule, NFTNL_RULE_TABLE, chain->table);
	nftnl_rule_set_str(rule, NFTNL_RULE_CHAIN, chain->name);
	nftnl_rule_set_u32(rule, NFTNL_RULE_FAMILY, chain->family);
	if (insert)
		r = nb_opener_build(rule, chain, batch->mark);
	else
		nftnl_rule_set_u64(rule, NFTNL_RULE_HANDLE, op->opener.handle), r = 0;
	if (r < 0)
		goto out;
	/* without NLM_F_APPEND a new rule goes to the head of its chain */
	message = start(batch, insert ? NFT_MSG_NEWRULE : NFT_MSG_DELRULE, chain->family,
			insert ? NLM_F_CREATE : 0, index, 1);
	nftnl_rule_nlmsg_build_payload(message, rule);
	finish(batch, message);
out:
	nftnl_rule_free(rule);
	return r;
}

static const char *set_of(enum nb_op_kind kind)
{
	switch (kind) {
	case NB_OP_BRIDGE_ADD:
	case NB_OP_BRIDGE_DELETE:
		return NB_SET_BRIDGES;
	case NB_OP_TARGET_ADD:
	case NB_OP_TARGET_DELETE:
		return NB_SET_TARGETS;
	case NB_OP_ACCEPTED_ADD:
	case NB_OP_ACCEPTED_DELETE:
		return NB_SET_ACCEPTED;
	default:
		return NULL;
	}
}

static bool is_deletion(enum nb_op_kind kind)
{
	return kind == NB_OP_BRIDGE_DELETE || kind == NB_OP_TARGET_DELETE ||
	       kind == NB_OP_ACCEPTED_DELETE;
}

/* Elements from @first on that belong to one set and one verb, as many as a message takes. */
static int put_elements(struct batch *batch, const struct nb_op_list *ops, size_t first,
			size_t *ret_count)
{
	enum nb_op_kind kind = ops->items[first].kind;
	struct nlmsghdr *message;
	struct nlattr *list;
	size_t count = 0;

	if (reserve(batch) < 0)
		return -ENOMEM;
	message = start(batch, is_deletion(kind) ? NFT_MSG_DELSETELEM : NFT_MSG_NEWSETELEM,
			NFPROTO_INET, is_deletion(kind) ? 0 : NLM_F_CREATE | NLM_F_EXCL, first, 0);
	mnl_attr_put_strz(message, NFTA_SET_ELEM_LIST_TABLE, NB_TABLE_NAME);
	mnl_attr_put_strz(message, NFTA_SET_ELEM_LIST_SET, set_of(kind));
	/* a set that this batch makes is found by its id, an older one by its name */
	mnl_attr_put_u32(message, NFTA_SET_ELEM_LIST_SET_ID, htonl(nb_element_set_id(kind)));
	list = mnl_attr_nest_start(message, NFTA_SET_ELEM_LIST_ELEMENTS);
	while (first + count < ops->count && ops->items[first + count].kind == kind &&
	       message->nlmsg_len < MESSAGE_MAX - ELEMENT_MAX) {
		nb_element_put(message, &ops->items[first + count], batch->now);
		count++;
	}
	mnl_attr_nest_end(message, list);
	finish(batch, message);
	batch->spans[batch->span_count - 1].count = count;
	*ret_count = count;
	return 0;
}

static int put_ops(struct batch *batch, const struct nb_op_list *ops)
{
	int r = 0;

	for (size_t i = 0, count; r == 0 && i < ops->count; i += count) {
		count = 1;
		switch (ops->items[i].kind) {
		case NB_OP_TABLE_DELETE:
			r = put_table(batch, i, false);
			break;
		case NB_OP_TABLE_CREATE:
			r = put_schema(batch, i);
			break;
		case NB_OP_OPENER_DELETE:
		case NB_OP_OPENER_INSERT:
			r = put_opener(batch, i, &ops->items[i]);
			break;
		default:
			r = put_elements(batch, ops, i, &count);
		}
	}
	return r;
}

/* The operation that an error of the kernel is about. */
static const struct nb_op *blame(const struct batch *batch, const struct nb_op_list *ops,
				 const struct nb_netlink_ack *ack)
{
	for (size_t i = 0; i < batch->span_count; i++) {
		const struct span *span = &batch->spans[i];
		const struct nlmsghdr *message;
		struct nlattr *attr, *element;
		size_t op = span->first;

		if (span->sequence != ack->sequence)
			continue;
		if (span->count <= 1 || ack->offset == 0)
			return &ops->items[op];
		message = (const struct nlmsghdr *)(batch->buffer + span->offset);
		mnl_attr_for_each(attr, message, sizeof(struct nfgenmsg)) {
			if (mnl_attr_get_type(attr) != NFTA_SET_ELEM_LIST_ELEMENTS)
				continue;
			mnl_attr_for_each_nested(element, attr) {
				const char *end = (const char *)element + element->nla_len;

				if ((const char *)message + ack->offset < end)
					return &ops->items[op];
				op++;
			}
		}
		return &ops->items[span->first];
	}
	return NULL;
}

/*
 * A stale generation, and an element that expired or appeared meanwhile: the
 * plan was made for another ruleset. An expiry does not change the generation.
 */
static bool is_conflict(const struct nb_op *op, int number)
{
	if (number == ERESTART || number == EBUSY || number == EINTR)
		return true;
	if (number != ENOENT && number != EEXIST)
		return false;
	return op && (set_of(op->kind) || op->kind == NB_OP_TABLE_DELETE ||
		      op->kind == NB_OP_TABLE_CREATE || op->kind == NB_OP_OPENER_DELETE);
}

static int word_failure(const struct batch *batch, const struct nb_op_list *ops,
			const struct nb_netlink_ack *acks, size_t ack_count, int number,
			struct nb_error *err)
{
	const struct nb_op *op = NULL;
	char what[256] = "change the ruleset";

	if (ack_count)
		op = blame(batch, ops, &acks[0]);
	if (is_conflict(op, -number))
		number = -EAGAIN;
	if (op)
		nb_op_describe(op, what, sizeof(what));
	nb_netlink_error(err, ack_count ? &acks[0] : NULL, number == -EAGAIN ? -ERESTART : number,
			 what);
	return number;
}

int nb_ops_commit(struct nb_netlink *nl, const struct nb_op_list *ops, uint32_t mark,
		  uint32_t generation, int64_t now, struct nb_error *err)
{
	struct batch batch = { .mark = mark, .now = now };
	struct nb_netlink_ack acks[ACKS_KEPT];
	size_t ack_count = ACKS_KEPT;
	struct nlmsghdr *message;
	int r;

	/* more than enough: a table is some sixty messages, an operation at most one */
	batch.sequence = nb_netlink_sequences(nl, (uint32_t)ops->count + 256);
	r = reserve(&batch);
	if (r < 0)
		goto no_memory;
	message = nftnl_batch_begin(tail(&batch), batch.sequence++);
	mnl_attr_put_u32(message, NFNL_BATCH_GENID, htonl(generation));
	finish(&batch, message);
	r = put_ops(&batch, ops);
	if (r == 0)
		r = reserve(&batch);
	if (r < 0)
		goto no_memory;
	message = nftnl_batch_end(tail(&batch), batch.sequence);
	message->nlmsg_flags |= NLM_F_ACK;
	finish(&batch, message);

	r = nb_netlink_commit(nl, batch.buffer, batch.length, batch.sequence, acks, &ack_count);
	if (r < 0)
		r = word_failure(&batch, ops, acks, ack_count, r, err);
	batch_clear(&batch);
	return r;

no_memory:
	batch_clear(&batch);
	return nb_error_set(err, NB_STATUS_FAILED, ENOMEM, "memory", "out of memory");
}
