/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Elements <-> netlink attributes, written with libmnl directly: libnftnl
 * allocates half a kilobyte for each, which for 65,000 mappings is more than
 * everything else together.
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <arpa/inet.h>
#include <libnftnl/udata.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>

#include "element.h"
#include "schema.h"
#include "userdata.h"

/* Each field of a concatenation is padded to four bytes. */
struct wire_key {
	char bridge[NB_IFNAME_SIZE];
	uint8_t protocol;
	uint8_t pad1[3];
	uint16_t port;
	uint8_t pad2[2];
	/* from here on only in `accepted`; as data in `targets` */
	uint32_t address;
	uint16_t target_port;
	uint8_t pad3[2];
};

_Static_assert(sizeof(struct wire_key) == NB_ACCEPTED_KEY_LENGTH, "padding");

enum nb_set_id nb_element_set_id(enum nb_op_kind kind)
{
	switch (kind) {
	case NB_OP_TARGET_ADD:
	case NB_OP_TARGET_DELETE:
		return NB_SET_ID_TARGETS;
	case NB_OP_ACCEPTED_ADD:
	case NB_OP_ACCEPTED_DELETE:
		return NB_SET_ID_ACCEPTED;
	default:
		return NB_SET_ID_BRIDGES;
	}
}

static void fill_key(struct wire_key *key, const struct nb_element *element)
{
	memset(key, 0, sizeof(*key));
	memcpy(key->bridge, element->bridge, sizeof(key->bridge));
	key->protocol = element->protocol;
	key->port = htons(element->port);
	key->address = htonl(element->target.address);
	key->target_port = htons(element->target.port);
}

static void put_value(struct nlmsghdr *message, uint16_t type, const void *data, size_t length)
{
	struct nlattr *nest = mnl_attr_nest_start(message, type);

	mnl_attr_put(message, NFTA_DATA_VALUE, length, data);
	mnl_attr_nest_end(message, nest);
}

/* NFTNL_UDATA_SET_ELEM_COMMENT: type, length, text with its NUL */
static void put_comment(struct nlmsghdr *message, const char *comment)
{
	uint8_t userdata[2 + NB_ELEMENT_COMMENT];
	size_t length = strnlen(comment, NB_ELEMENT_COMMENT - 1);

	userdata[0] = NFTNL_UDATA_SET_ELEM_COMMENT;
	userdata[1] = (uint8_t)(length + 1);
	memcpy(userdata + 2, comment, length);
	userdata[2 + length] = '\0';
	mnl_attr_put(message, NFTA_SET_ELEM_USERDATA, length + 3, userdata);
}

/* A table that is replaced keeps its counts. */
static void put_counter(struct nlmsghdr *message, const struct nb_element *element)
{
	struct nlattr *expr = mnl_attr_nest_start(message, NFTA_SET_ELEM_EXPR);
	struct nlattr *data;

	mnl_attr_put_strz(message, NFTA_EXPR_NAME, "counter");
	data = mnl_attr_nest_start(message, NFTA_EXPR_DATA);
	mnl_attr_put_u64(message, NFTA_COUNTER_BYTES, htobe64(element->bytes));
	mnl_attr_put_u64(message, NFTA_COUNTER_PACKETS, htobe64(element->packets));
	mnl_attr_nest_end(message, data);
	mnl_attr_nest_end(message, expr);
}

void nb_element_put_key(struct nlmsghdr *message, enum nb_set_id set,
			const struct nb_element *element)
{
	struct wire_key key;

	fill_key(&key, element);
	put_value(message, NFTA_SET_ELEM_KEY, &key,
		  set == NB_SET_ID_TARGETS ? NB_TARGETS_KEY_LENGTH : NB_ACCEPTED_KEY_LENGTH);
}

static void put_mapping(struct nlmsghdr *message, enum nb_set_id set,
			const struct nb_element *element, int64_t now)
{
	struct wire_key key;

	nb_element_put_key(message, set, element);
	if (set == NB_SET_ID_TARGETS) {
		fill_key(&key, element);
		put_value(message, NFTA_SET_ELEM_DATA, &key.address, NB_TARGETS_DATA_LENGTH);
	}
	if (element->expires) {
		/* one that ends just now must still get a timeout: none means for ever */
		int64_t left = element->expires > now ? element->expires - now : 1;

		mnl_attr_put_u64(message, NFTA_SET_ELEM_TIMEOUT, htobe64((uint64_t)left));
	}
	if (element->packets || element->bytes)
		put_counter(message, element);
	/* the mark of a runtime mapping stands in one place */
	if (element->comment && set == NB_SET_ID_TARGETS)
		put_comment(message, element->comment);
}

void nb_element_put(struct nlmsghdr *message, const struct nb_op *op, int64_t now)
{
	enum nb_set_id set = nb_element_set_id(op->kind);
	struct nlattr *nest = mnl_attr_nest_start(message, NFTA_LIST_ELEM);

	switch (op->kind) {
	case NB_OP_BRIDGE_ADD:
	case NB_OP_BRIDGE_DELETE:
		put_value(message, NFTA_SET_ELEM_KEY, op->bridge->name, NB_IFNAME_SIZE);
		if (op->kind == NB_OP_BRIDGE_ADD && op->bridge->comment[0])
			put_comment(message, op->bridge->comment);
		break;
	case NB_OP_TARGET_ADD:
	case NB_OP_ACCEPTED_ADD:
		put_mapping(message, set, op->element, now);
		break;
	default:
		nb_element_put_key(message, set, op->element);
	}
	mnl_attr_nest_end(message, nest);
}

/* The bytes of a NFTA_DATA_VALUE inside @nest, if it has exactly that length. */
static const void *get_value(const struct nlattr *nest, size_t length)
{
	struct nlattr *attr;

	mnl_attr_for_each_nested(attr, nest) {
		if (mnl_attr_get_type(attr) == NFTA_DATA_VALUE &&
		    mnl_attr_get_payload_len(attr) == length)
			return mnl_attr_get_payload(attr);
	}
	return NULL;
}

static const char *get_comment(const struct nlattr *attr)
{
	return nb_userdata_text(mnl_attr_get_payload(attr), mnl_attr_get_payload_len(attr),
				NFTNL_UDATA_SET_ELEM_COMMENT);
}

static void get_counter(const struct nlattr *expr, struct nb_element *element)
{
	struct nlattr *attr, *value;

	mnl_attr_for_each_nested(attr, expr) {
		if (mnl_attr_get_type(attr) == NFTA_EXPR_NAME &&
		    strcmp(mnl_attr_get_str(attr), "counter") != 0)
			return;
		if (mnl_attr_get_type(attr) != NFTA_EXPR_DATA)
			continue;
		mnl_attr_for_each_nested(value, attr) {
			if (mnl_attr_get_payload_len(value) != sizeof(uint64_t))
				continue;
			if (mnl_attr_get_type(value) == NFTA_COUNTER_BYTES)
				element->bytes = be64toh(mnl_attr_get_u64(value));
			else if (mnl_attr_get_type(value) == NFTA_COUNTER_PACKETS)
				element->packets = be64toh(mnl_attr_get_u64(value));
		}
	}
}

static void set_key(struct nb_element *element, const struct wire_key *key)
{
	memcpy(element->bridge, key->bridge, sizeof(element->bridge));
	element->bridge[NB_IFNAME_SIZE - 1] = '\0';
	element->protocol = key->protocol;
	element->port = ntohs(key->port);
	element->target.address = ntohl(key->address);
	element->target.port = ntohs(key->target_port);
}

int nb_element_get(const struct nlattr *nest, enum nb_set_id set, int64_t now,
		   struct nb_element *ret)
{
	size_t key_length = set == NB_SET_ID_TARGETS ? NB_TARGETS_KEY_LENGTH
						     : NB_ACCEPTED_KEY_LENGTH;
	struct nb_element element = { 0 };
	struct nlattr *attr;
	const char *comment = NULL;
	const void *key = NULL, *data = NULL;
	struct wire_key wire = { 0 };
	bool timed = false;

	mnl_attr_for_each_nested(attr, nest) {
		switch (mnl_attr_get_type(attr)) {
		case NFTA_SET_ELEM_KEY:
			key = get_value(attr, key_length);
			break;
		case NFTA_SET_ELEM_DATA:
			data = get_value(attr, NB_TARGETS_DATA_LENGTH);
			break;
		case NFTA_SET_ELEM_TIMEOUT:
			timed = be64toh(mnl_attr_get_u64(attr)) != 0;
			break;
		case NFTA_SET_ELEM_EXPIRATION:
			element.expires = now + (int64_t)be64toh(mnl_attr_get_u64(attr));
			break;
		case NFTA_SET_ELEM_USERDATA:
			comment = get_comment(attr);
			break;
		case NFTA_SET_ELEM_EXPR:
			get_counter(attr, &element);
			break;
		}
	}
	if (!key || (set == NB_SET_ID_TARGETS && !data))
		return -EBADMSG;
	if (!timed)
		element.expires = 0;
	memcpy(&wire, key, key_length);
	if (data)
		memcpy(&wire.address, data, NB_TARGETS_DATA_LENGTH);
	set_key(&element, &wire);
	if (comment) {
		element.comment = strdup(comment);
		if (!element.comment)
			return -ENOMEM;
	}
	*ret = element;
	return 0;
}

int nb_element_get_bridge(const struct nlattr *nest, struct nb_bridge *ret)
{
	struct nlattr *attr;
	const char *name = NULL, *comment = NULL;

	mnl_attr_for_each_nested(attr, nest) {
		if (mnl_attr_get_type(attr) == NFTA_SET_ELEM_KEY)
			name = get_value(attr, NB_IFNAME_SIZE);
		else if (mnl_attr_get_type(attr) == NFTA_SET_ELEM_USERDATA)
			comment = get_comment(attr);
	}
	if (!name)
		return -EBADMSG;
	memset(ret, 0, sizeof(*ret));
	memcpy(ret->name, name, NB_IFNAME_SIZE - 1);
	if (comment)
		strncpy(ret->comment, comment, sizeof(ret->comment) - 1);
	return 0;
}
