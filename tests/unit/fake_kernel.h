/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A kernel in memory. It takes our batches, answers our dumps with what they
 * made, keeps devices, and fails where a test says so.
 *
 * Link with -Wl,--wrap= of nb_netlink_ask, nb_netlink_commit, nb_flow_end,
 * nb_flow_free_untranslated and nb_ingress_load. One for each process: the wrapped functions have no
 * room for a pointer to it, and Check runs each test in a process of its own.
 */
#ifndef NAT_BRIDGE_FAKE_KERNEL_H
#define NAT_BRIDGE_FAKE_KERNEL_H

#include <libnftnl/rule.h>

#include "nat-bridge/link.h"

#define FAKE_LINKS 16

struct fake_object;

/* What stands at the ingress of a device. */
struct fake_ingress {
	bool clsact;
	bool chain;	  /* that says that the qdisc is ours */
	uint32_t foreign; /* priority of somebody else's filter, 0: none */
	uint32_t foreign_egress;
	uint32_t priority; /* of ours */
	uint32_t handle;
	char name[64]; /* "" : it has none */
};

struct fake_kernel {
	uint32_t generation;
	struct nb_link links[FAKE_LINKS];
	size_t link_count;
	struct fake_ingress ingress[FAKE_LINKS]; /* of the link with that place */
	bool bpf;				 /* classifiers can be loaded */
	int no_clsact;				 /* the errno with which that qdisc is refused */
	int no_filter;				 /* and filters */
	struct fake_object *objects;
	size_t object_count;
	size_t object_capacity;
	void **heap; /* everything that objects point to, of former generations, too */
	size_t heap_count;
	uint64_t handle;
	unsigned int anonymous;

	/* Every change that was asked for, in order: "setlink br0 1 6e620000; batch +table ...". */
	char log[4096];
	unsigned int exchanges; /* requests, dumps, batches */

	/* The exchange of this number (from 1) fails with this errno (negative); 0: none does. */
	unsigned int fail_at;
	int number;
	/* For a batch: which message, 0 = its begin, and which element in it, from 0. */
	unsigned int fail_message;
	int fail_element; /* -1: no offset; -2: no acknowledgement at all */
	bool lose_answer; /* the batch is carried out, but nobody hears of it */
	bool half_dump;	  /* the dump shows what it has before it fails */

	/* Called before exchange @hook_at: somebody else acts. */
	unsigned int hook_at;
	void (*hook)(void);

	/* The last batch, as it was sent. */
	char *batch;
	size_t batch_length;
};

extern struct fake_kernel fake;

void fake_reset(void);
struct nb_link *fake_add_link(const char *name, int index, uint32_t route_localnet, uint32_t tag);
struct nb_link *fake_find_link(const char *name);
struct fake_ingress *fake_find_ingress(const char *name);

/* Somebody else's things. @flags NFT_TABLE_F_*; a chain with @type NULL has no hook. */
void fake_add_table(uint8_t family, const char *name, uint32_t flags, const char *comment);
void fake_add_chain(uint8_t family, const char *table, const char *name, const char *type,
		    uint32_t hook, int32_t priority, uint32_t policy);
/* Takes @rule, whose family, table and chain are set; returns the handle. */
uint64_t fake_add_rule(struct nftnl_rule *rule, bool append);
/* A rule with an expression that no libnftnl knows, at the end of a chain. */
void fake_add_unreadable_rule(uint8_t family, const char *table, const char *chain);
/* Forget objects: of our table the chain, set or rule number @index of a chain. */
void fake_delete_table(uint8_t family, const char *name);
void fake_delete_chain(const char *name);
void fake_delete_set(const char *name);
void fake_delete_rule(uint8_t family, const char *table, const char *chain, size_t index);
size_t fake_count_rules(uint8_t family, const char *table, const char *chain);
/* An element of our table expires: no generation changes. Returns how many went. */
size_t fake_expire(const char *set, const char *bridge);

/* The sequence and a one-line label of message @index of a batch, NULL behind its end. */
const struct nlmsghdr *fake_message(const char *batch, size_t length, unsigned int index);
const char *fake_label(const struct nlmsghdr *message, char *buffer, size_t size);

#endif
