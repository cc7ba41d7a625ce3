/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Elements of our sets <-> netlink attributes. */
#ifndef NAT_BRIDGE_ELEMENT_H
#define NAT_BRIDGE_ELEMENT_H

#include "nat-bridge/ruleset.h"
#include "statement.h"

/* The id of the set that an operation on an element is about. */
enum nb_set_id nb_element_set_id(enum nb_op_kind kind);

/* Append the element of @op to the list that is open in @message. @now in ms since the epoch. */
void nb_element_put(struct nlmsghdr *message, const struct nb_op *op, int64_t now);

/*
 * Read one element (an attribute of NFTA_SET_ELEM_LIST_ELEMENTS) of `targets`
 * or `accepted`. The comment is allocated. -EBADMSG: not of this schema's size.
 */
int nb_element_get(const struct nlattr *attr, enum nb_set_id set, int64_t now,
		   struct nb_element *ret);
int nb_element_get_bridge(const struct nlattr *attr, struct nb_bridge *ret);

/* Append one attribute with the key alone, for a question or a deletion. */
void nb_element_put_key(struct nlmsghdr *message, enum nb_set_id set,
			const struct nb_element *element);

#endif
