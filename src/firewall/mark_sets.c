/* SPDX-License-Identifier: GPL-2.0-or-later */
/* All marks that a set has, as the bits of them. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <libmnl/libmnl.h>
#include <libnftnl/common.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include "mark_sets.h"

#define REQUEST_SIZE 1024

uint32_t nb_range_bits(uint32_t low, uint32_t high)
{
	uint32_t bits = low;

	if (low <= 1 && high == UINT32_MAX)
		return 0;
	for (unsigned int i = 0; i < 32; i++)
		/* the next number that has it */
		if ((((uint64_t)(low >> i) | 1) << i) <= high)
			bits |= UINT32_C(1) << i;
	return bits;
}

/* Where an interval begins, or the first number that is in it no more. */
struct bound {
	uint32_t value;
	bool ends;
};

struct gathering {
	size_t offset;
	bool turned, values; /* values: of the map's, and not of the keys */
	bool intervals;	     /* a key is where an interval begins or ends */
	uint32_t bits;
	struct bound *bounds;
	size_t count, capacity;
};

/* The word at an offset of NFTA_DATA_VALUE in @nest. */
static bool read_word(struct nlattr *nest, size_t offset, bool turned, uint32_t *ret)
{
	struct nlattr *attr;

	if (!nest)
		return false;
	mnl_attr_for_each_nested(attr, nest) {
		if (mnl_attr_get_type(attr) != NFTA_DATA_VALUE ||
		    mnl_attr_get_payload_len(attr) < offset + sizeof(*ret))
			continue;
		memcpy(ret, (const char *)mnl_attr_get_payload(attr) + offset, sizeof(*ret));
		*ret = turned ? ntohl(*ret) : *ret;
		return true;
	}
	return false;
}

static int add_bound(struct gathering *gathering, uint32_t value, bool ends)
{
	if (gathering->count == gathering->capacity) {
		size_t capacity = gathering->capacity ? 2 * gathering->capacity : 16;
		struct bound *grown = reallocarray(gathering->bounds, capacity, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		gathering->bounds = grown;
		gathering->capacity = capacity;
	}
	gathering->bounds[gathering->count++] = (struct bound){ value, ends };
	return 0;
}

static int gather_element(struct nlattr *nest, struct gathering *gathering)
{
	struct nlattr *attrs[NFTA_SET_ELEM_MAX + 1] = { NULL }, *attr;
	uint32_t word, last, flags = 0;

	mnl_attr_for_each_nested(attr, nest) {
		if (mnl_attr_get_type(attr) <= NFTA_SET_ELEM_MAX)
			attrs[mnl_attr_get_type(attr)] = attr;
	}
	if (gathering->values) {
		if (read_word(attrs[NFTA_SET_ELEM_DATA], gathering->offset, false, &word))
			gathering->bits |= word;
		return 0;
	}
	if (attrs[NFTA_SET_ELEM_FLAGS])
		flags = ntohl(mnl_attr_get_u32(attrs[NFTA_SET_ELEM_FLAGS]));
	if (!read_word(attrs[NFTA_SET_ELEM_KEY], gathering->offset, gathering->turned, &word))
		return 0;
	if (read_word(attrs[NFTA_SET_ELEM_KEY_END], gathering->offset, gathering->turned, &last))
		gathering->bits |= nb_range_bits(word, last);
	else if (gathering->intervals)
		return add_bound(gathering, word, flags & NFT_SET_ELEM_INTERVAL_END);
	else
		gathering->bits |= word;
	return 0;
}

static int gather(const struct nlmsghdr *message, void *data)
{
	struct nlattr *list, *element;
	int r = 0;

	mnl_attr_for_each(list, message, sizeof(struct nfgenmsg)) {
		if (mnl_attr_get_type(list) != NFTA_SET_ELEM_LIST_ELEMENTS)
			continue;
		mnl_attr_for_each_nested(element, list) {
			if (r == 0)
				r = gather_element(element, data);
		}
	}
	return r;
}

/* An interval that ends where the next one begins comes first. */
static int by_value(const void *a, const void *b)
{
	const struct bound *first = a, *second = b;

	if (first->value != second->value)
		return first->value < second->value ? -1 : 1;
	return (int)second->ends - (int)first->ends;
}

/* The kernel gives bounds in any order. */
static void join_bounds(struct gathering *gathering)
{
	const struct bound *begin = NULL;

	if (gathering->count)
		qsort(gathering->bounds, gathering->count, sizeof(*gathering->bounds), by_value);
	for (size_t i = 0; i < gathering->count; i++) {
		const struct bound *bound = &gathering->bounds[i];

		if (begin && bound->ends)
			gathering->bits |= nb_range_bits(begin->value, bound->value - 1);
		begin = bound->ends ? NULL : bound;
	}
	if (begin)
		gathering->bits |= nb_range_bits(begin->value, UINT32_MAX);
}

static uint32_t gather_set(struct nb_netlink *nl, const struct nb_chain *chain, const char *set,
			   struct gathering *gathering)
{
	char buffer[REQUEST_SIZE] = { 0 };
	struct nlmsghdr *request = nftnl_nlmsg_build_hdr(buffer, NFT_MSG_GETSETELEM, chain->family,
							 NLM_F_DUMP, 0);

	mnl_attr_put_strz(request, NFTA_SET_ELEM_LIST_TABLE, chain->table);
	mnl_attr_put_strz(request, NFTA_SET_ELEM_LIST_SET, set);
	if (nb_netlink_ask(nl, NETLINK_NETFILTER, request, gather, gathering, NULL) == 0)
		join_bounds(gathering);
	free(gathering->bounds);
	return gathering->bits;
}

static int read_flags(const struct nlmsghdr *message, void *data)
{
	struct nlattr *attr;

	mnl_attr_for_each(attr, message, sizeof(struct nfgenmsg)) {
		if (mnl_attr_get_type(attr) == NFTA_SET_FLAGS)
			*(uint32_t *)data = ntohl(mnl_attr_get_u32(attr));
	}
	return 0;
}

uint32_t nb_set_key_bits(struct nb_netlink *nl, const struct nb_chain *chain, const char *set,
			 size_t offset, bool turned)
{
	char buffer[REQUEST_SIZE] = { 0 };
	struct nlmsghdr *request = nftnl_nlmsg_build_hdr(buffer, NFT_MSG_GETSET, chain->family, 0,
							 0);
	struct gathering gathering = { .offset = offset, .turned = turned };
	uint32_t flags = 0;

	mnl_attr_put_strz(request, NFTA_SET_TABLE, chain->table);
	mnl_attr_put_strz(request, NFTA_SET_NAME, set);
	if (nb_netlink_ask(nl, NETLINK_NETFILTER, request, read_flags, &flags, NULL) < 0)
		return 0;
	gathering.intervals = flags & NFT_SET_INTERVAL;
	return gather_set(nl, chain, set, &gathering);
}

uint32_t nb_set_value_bits(struct nb_netlink *nl, const struct nb_chain *chain, const char *map)
{
	struct gathering gathering = { .values = true };

	return gather_set(nl, chain, map, &gathering);
}
