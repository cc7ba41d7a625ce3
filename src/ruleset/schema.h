/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table as data: what is created, printed and compared. */
#ifndef NAT_BRIDGE_SCHEMA_H
#define NAT_BRIDGE_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "statement.h"

/* nft's number of the type inet_proto */
#define NB_TYPE_PROTOCOL 12u

#define NB_SCHEMA_STATEMENTS 10
#define NB_SCHEMA_RULES	     5

struct nb_schema_chain {
	const char *name;
	const char *type; /* NULL: a chain that is jumped to */
	uint32_t hook;
	int32_t priority;
	const char *hook_text; /* as nft prints hook and priority */
	enum nb_statement rules[NB_SCHEMA_RULES + 1][NB_SCHEMA_STATEMENTS];
};

/* In the order in which they are created: what is jumped to comes first. */
extern const struct nb_schema_chain nb_schema_chains[];
extern const size_t nb_schema_chain_count;

struct nb_schema_set {
	const char *name;
	uint32_t id;
	uint32_t flags; /* NFT_SET_* */
	uint32_t key_type;
	uint32_t key_length;
	uint32_t data_type; /* 0: no map */
	uint32_t data_length;
	bool counter;
	const char *text; /* its body as nft prints it, lines indented by two tabs */
};

extern const struct nb_schema_set nb_schema_sets[];
extern const size_t nb_schema_set_count;

/* Lengths of the concatenated keys; each field padded to four bytes. */
#define NB_TARGETS_KEY_LENGTH  24 /* ifname 16, protocol 4, port 4 */
#define NB_TARGETS_DATA_LENGTH 8  /* address 4, port 4 */
#define NB_ACCEPTED_KEY_LENGTH 32

/* Does one of the rule's statements look into an anonymous set? */
bool nb_schema_rule_has_set(const enum nb_statement *statements);

/* "schema 2" */
#define NB_SCHEMA_COMMENT_PREFIX "schema "

#endif
