/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Our nftables table: its schema, its elements, and the opener that we keep
 * in other tables. Also the state that is read from the kernel.
 */
#ifndef NAT_BRIDGE_RULESET_H
#define NAT_BRIDGE_RULESET_H

#include <stdio.h>

#include "nat-bridge/ingress.h"
#include "nat-bridge/link.h"
#include "nat-bridge/mapping.h"
#include "nat-bridge/netlink.h"

#define NB_TABLE_NAME	   "nat-bridge"
#define NB_SCHEMA	   2
#define NB_ELEMENT_COMMENT 128 /* longest comment of an element, with the NUL */

/*
 * One mapping as the kernel holds it: an element of `targets` or of
 * `accepted` (there the target is the rest of the key).
 */
struct nb_element {
	char bridge[NB_IFNAME_SIZE];
	struct nb_target target;
	uint16_t port;
	uint8_t protocol;
	int64_t expires; /* milliseconds since the epoch, 0 = never */
	uint64_t packets;
	uint64_t bytes;
	char *comment; /* owned, or NULL */
};

struct nb_element_list {
	struct nb_element *items;
	size_t count;
	size_t capacity;
};

int nb_element_list_append(struct nb_element_list *list, const struct nb_element *element);
void nb_element_list_sort(struct nb_element_list *list);
void nb_element_list_clear(struct nb_element_list *list);
/* Order by bridge, protocol, port; nb_element_compare() then by target, too. */
int nb_element_compare_key(const struct nb_element *a, const struct nb_element *b);
int nb_element_compare(const struct nb_element *a, const struct nb_element *b);
/* First element of that key in a sorted list, or NULL. */
struct nb_element *nb_element_find(const struct nb_element_list *list,
				   const struct nb_element *key);
/* The element of that key and that target in a sorted list, or NULL. */
const struct nb_element *nb_element_find_exact(const struct nb_element_list *list,
					       const struct nb_element *element);
/* Does a sorted list hold an element of this bridge? */
bool nb_element_list_has_bridge(const struct nb_element_list *list, const char *bridge);
/* Same timeout as far as drift is concerned: both none, or less than 2 s apart. */
bool nb_element_same_expiry(const struct nb_element *a, const struct nb_element *b);

/* One element of `bridges`. The comment names the networks, and the previous route_localnet. */
struct nb_bridge {
	char name[NB_IFNAME_SIZE];
	char comment[NB_ELEMENT_COMMENT];
};

struct nb_bridge_list {
	struct nb_bridge *items; /* sorted by name */
	size_t count;
	size_t capacity;
};

struct nb_bridge *nb_bridge_find(const struct nb_bridge_list *list, const char *name);
/* Add @name if it is not there; returns it, or NULL when out of memory. Keeps the order. */
struct nb_bridge *nb_bridge_put(struct nb_bridge_list *list, const char *name);
void nb_bridge_list_clear(struct nb_bridge_list *list);

/*
 * Comments of elements. Charset [A-Za-z0-9_.:@/-], the rest as %XX.
 *   of `bridges`:  "iface:br0", "iface:br0/docker:web", "iface:br0/previous:1"
 *   of a runtime mapping: "runtime/iface:br0", "runtime/external/iface:br0"
 */
bool nb_comment_has_network(const char *comment, const struct nb_network *network);
/* Append a network to a bridge's comment unless it is there or has no room. */
void nb_comment_add_network(char *comment, const struct nb_network *network);
/* The networks that a bridge's comment names, from *@position (0 at first) on; false: no more. */
bool nb_comment_next_network(const char *comment, size_t *position, struct nb_network *ret);
/* The first network that a bridge's comment names; false if it names none. */
bool nb_comment_first_network(const char *comment, struct nb_network *ret);
uint32_t nb_comment_previous(const char *comment); /* 0 if it does not say */
bool nb_comment_says_previous(const char *comment);
void nb_comment_set_previous(char *comment, uint32_t previous);
/* Copy the networks of @from that @to does not name yet. */
void nb_comment_add_networks(char *to, const char *from);
/* Same networks, in any order, and the same previous value? */
bool nb_comment_equal(const char *a, const char *b);
/* Runtime marks. @buffer holds NB_ELEMENT_COMMENT bytes. */
const char *nb_comment_runtime(const struct nb_network *network, bool external, char *buffer);
bool nb_comment_is_runtime(const char *comment, struct nb_network *ret, bool *ret_external);

/* An input base chain of somebody else that can drop what we admit. */
struct nb_input_chain {
	uint8_t family;
	char *table;
	char *name;
	bool owned;	 /* its table belongs to a process: nobody else may change it */
	bool iptables;	 /* a table of iptables-nft: the opener is an xt match there */
	bool can_drop;	 /* policy, or a rule that is not ours */
	uint64_t keep;	 /* handle of the opener that works, 0 = none */
	uint64_t *extra; /* handles of openers that are doubled, misplaced or outdated */
	size_t extra_count;
};

/* Somebody's DNAT to 127.0.0.0/8 of packets that one of our bridges may bring. */
struct nb_foreign_dnat {
	uint8_t family;
	char *table;
	char *chain;
	uint64_t handle;
	char bridge[NB_IFNAME_SIZE]; /* "" = any */
};

enum nb_table_state {
	NB_TABLE_ABSENT,
	NB_TABLE_SOUND,
	NB_TABLE_DAMAGED, /* not what this schema says: replaced as a whole */
	NB_TABLE_OLDER,	  /* an older schema: likewise */
	NB_TABLE_NEWER,	  /* a newer schema: touch nothing */
};

/* What the kernel says, read at one generation of the ruleset. */
struct nb_state {
	uint32_t generation;
	enum nb_table_state table;
	char damage[256]; /* of a damaged table: what is wrong */
	bool partial;	  /* targets and accepted hold only what was asked for */
	struct nb_bridge_list bridges;
	struct nb_element_list targets;	 /* sorted */
	struct nb_element_list accepted; /* sorted */
	struct nb_link_list
		links; /* with their filters at ingress, or those of the keys' bridges */
	/* Can more of them be had? Filled by nb_state_probe_ingress(). */
	enum nb_ingress_support ingress;
	int ingress_program;  /* if it is possible: the classifier; closed by nb_state_clear() */
	char ingress_why[96]; /* if it is not */
	struct nb_input_chain *chains;
	size_t chain_count;
	struct nb_foreign_dnat *dnats; /* only with NB_READ_DNAT */
	size_t dnat_count;
};

#define NB_READ_DNAT (1u << 0)

/*
 * Read the state. With @keys (sorted or not) only those keys' elements are
 * asked for, which spares a dump of all mappings; a table that is not sound is read
 * whole all the same. -EAGAIN: the ruleset kept changing; ask again.
 * @ret is zeroed first; free with nb_state_clear(), also after a failure.
 */
int nb_state_read(struct nb_netlink *nl, uint32_t mark, const struct nb_element_list *keys,
		  unsigned int flags, struct nb_state *ret, struct nb_error *err);
/* The generation of the ruleset, which is never 0, alone. */
int nb_state_read_generation(struct nb_netlink *nl, uint32_t *ret, struct nb_error *err);
/* The generation and the devices alone; no table, no elements. */
int nb_state_read_devices(struct nb_netlink *nl, uint32_t mark, struct nb_state *ret,
			  struct nb_error *err);
/*
 * A small question: the elements of `targets` with the bridge, protocol and port of @keys;
 * without @keys, those of `bridges`. That there is no table is an answer, too.
 */
int nb_state_read_elements(struct nb_netlink *nl, const struct nb_element_list *keys,
			   struct nb_state *ret, struct nb_error *err);
/*
 * Find out whether filters at ingress can be had, if a device of @bridges or one that is
 * guarded lacks a current one. Impossible is no failure.
 */
int nb_state_probe_ingress(struct nb_netlink *nl, uint32_t mark,
			   const struct nb_bridge_list *bridges, struct nb_state *state,
			   struct nb_error *err);
void nb_state_clear(struct nb_state *state);

/* One change of the ruleset. Pointers are borrowed from the state and the plan. */
enum nb_op_kind {
	NB_OP_TABLE_DELETE,
	NB_OP_TABLE_CREATE,
	NB_OP_BRIDGE_DELETE,
	NB_OP_BRIDGE_ADD,
	NB_OP_TARGET_DELETE,
	NB_OP_TARGET_ADD,
	NB_OP_ACCEPTED_DELETE,
	NB_OP_ACCEPTED_ADD,
	NB_OP_OPENER_DELETE,
	NB_OP_OPENER_INSERT,
};

struct nb_op {
	enum nb_op_kind kind;
	union {
		const struct nb_bridge *bridge;
		const struct nb_element *element;
		struct {
			const struct nb_input_chain *chain;
			uint64_t handle;
		} opener;
	};
};

struct nb_op_list {
	struct nb_op *items;
	size_t count;
	size_t capacity;
};

/*
 * Commit @ops in one nftables transaction bound to @generation.
 * @now (milliseconds since the epoch) turns expiry into timeouts.
 * -EAGAIN: the ruleset changed since it was read (or an element expired, or
 * appeared): read and plan again. Otherwise a failure names the operation.
 */
int nb_ops_commit(struct nb_netlink *nl, const struct nb_op_list *ops, uint32_t mark,
		  uint32_t generation, int64_t now, struct nb_error *err);

/* Print @ops as a script that `nft -f` takes. */
void nb_ops_print(const struct nb_op_list *ops, uint32_t mark, int64_t now, FILE *out);

/* What one operation does, in words: "add mapping br0 80/tcp -> 127.0.0.1:80". */
void nb_op_describe(const struct nb_op *op, char *buffer, size_t size);

/* Print the table of our schema as nft prints it, without elements. */
void nb_schema_print(uint32_t mark, FILE *out);

#endif
