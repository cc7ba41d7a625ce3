/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the two halves of the kernel in memory. */
#ifndef NAT_BRIDGE_FAKE_NFT_H
#define NAT_BRIDGE_FAKE_NFT_H

#include "fake_kernel.h"

#define FAKE_COMMAND(message) ((message)->nlmsg_type & 0xff)

typedef int callback_fn(const struct nlmsghdr *message, void *data);

/* A copy that lives until fake_reset(), with @room zeroed bytes behind it. */
void *fake_keep(const void *data, size_t length, size_t room);

/* Attributes of a message of nf_tables, NULL or "" when they are not there. */
struct nlattr *fake_attr(const struct nlmsghdr *message, uint16_t type);
struct nlattr *fake_nested(const struct nlattr *nest, uint16_t type);
const char *fake_text(const struct nlmsghdr *message, uint16_t type);
uint8_t fake_family(const struct nlmsghdr *message);
/* The attribute that names the chain or set; that of the table is 1 everywhere. */
uint16_t fake_name_attribute(uint8_t command);

/* Carry out one message of a batch. A refusal says which attribute it is about. */
int fake_change(struct nlmsghdr *message, uint32_t *ret_offset);
/* Objects as they are now, to come back to when a batch fails. */
struct fake_object *fake_save(void);
void fake_restore(const struct fake_object *objects, size_t count);
int fake_answer(const struct nlmsghdr *request, callback_fn *callback, void *data);

#endif
