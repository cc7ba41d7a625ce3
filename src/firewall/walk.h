/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What other owners' rules do to a packet of which some is known: accept it, drop it, or one
 * of both, depending on what is not known.
 */
#ifndef NAT_BRIDGE_FIREWALL_WALK_H
#define NAT_BRIDGE_FIREWALL_WALK_H

#include <libnftnl/chain.h>
#include <libnftnl/rule.h>

#include "divert.h"
#include "packet.h"

/* A chain of somebody's, a base chain or one that is jumped to. */
struct nb_chain {
	uint8_t family;
	char *table;
	char *name;
	bool base;
	bool dormant; /* its table is switched off: it sees nothing */
	bool owned;   /* its table belongs to a process: nobody else may change it */
	bool legacy;  /* of iptables-legacy, which nf_tables knows nothing of */
	bool policy_drops;
	uint32_t hook;
	int32_t priority;
	char type[8];			 /* "filter", "nat", "route" */
	char (*devices)[NB_IFNAME_SIZE]; /* whose ingress, or egress, it is */
	size_t device_count;
	bool egress;
	bool loaded, waits;	   /* its rules have been read; will be */
	struct nftnl_rule **rules; /* NULL in it: one that libnftnl cannot read */
	size_t count;
	size_t capacity;
};

/* Chains by family, table and name. */
struct nb_chain_list {
	struct nb_chain *items;
	size_t count;
	size_t capacity;
};

/* The chain to which rules of @from jump by that name, or NULL. */
const struct nb_chain *nb_chain_find(const struct nb_chain_list *list, const struct nb_chain *from,
				     const char *name);
bool nb_chain_has_device(const struct nb_chain *chain, const char *device);
/* Append an empty chain with copies of these names; NULL: no memory. */
struct nb_chain *nb_chain_list_add(struct nb_chain_list *list, uint8_t family, const char *table,
				   const char *name);
/* Takes @rule (NULL: unreadable), also when it fails with -ENOMEM. */
int nb_chain_append(struct nb_chain *chain, struct nftnl_rule *rule);
void nb_chain_list_clear(struct nb_chain_list *list);

/* The key of a set: what it may be at the lowest and at the highest, as bytes. */
struct nb_key {
	uint8_t low[NB_REGISTER_BYTES], high[NB_REGISTER_BYTES];
	size_t length; /* of both; more than a set takes */
	size_t known;  /* bytes of which there is but one value */
};

/* What a set says of a key; of a map also what it gives, of a verdict map the verdict and chain. */
struct nb_member {
	enum nb_truth truth;
	int verdict;
	char chain[128];
	uint8_t data[NB_REGISTER_BYTES]; /* of another map */
	uint32_t data_length;		 /* 0: not known */
};

enum {
	NB_OUTCOME_ACCEPT = 1 << 0,
	NB_OUTCOME_DROP = 1 << 1,
	NB_OUTCOME_CONTINUE = 1 << 2, /* it came to the end of what was asked for */
};

/* Where something happened. No rule: the chain's policy. */
struct nb_place {
	const struct nb_chain *chain; /* NULL: it did not happen */
	const struct nftnl_rule *rule;
	size_t position; /* from 0 */
};

/*
 * The zone of connection tracking in which a request's answers are expected, or an answer is looked
 * for: the one for direction "reply". It is 0 where no rule sets one, and where one sets the other
 * direction's alone.
 */
struct nb_zone {
	enum nb_truth set; /* the first rule that sets one does; then others have no effect */
	bool known;	   /* of those that set one */
	uint16_t id;
	struct nb_place place;
	const struct nb_chain *base; /* that was walked then */
};

struct nb_walk {
	const struct nb_chain_list *chains;
	struct nb_packet packet; /* rules may change its mark */
	/* Rules that are as if they were not there, or NULL. */
	bool (*skip)(const struct nftnl_rule *rule);
	/* Members of sets; NULL: nobody knows. */
	void (*look_up)(void *data, const struct nb_chain *chain, const char *set,
			const struct nb_key *key, struct nb_member *ret);
	void *data;
	struct nb_course course;
	/* results, gathered over all calls */
	const struct nb_chain *base; /* of the last call */
	unsigned int outcomes;	     /* NB_OUTCOME_* of that */
	struct nb_place drop;	     /* what drops last */
	struct nb_place untracked;
	enum nb_truth is_untracked;
	struct nb_zone zone;
	struct nb_place diverted;
	struct nb_diversion diversion;
	struct nb_place remarked; /* what may have changed the bits of @guarded */
	uint32_t guarded;
};

/*
 * Walk the first @count rules of a base chain, and if that is all of them to its policy.
 * The packet's mark is afterwards what the next chain of the hook sees.
 */
void nb_walk_chain(struct nb_walk *walk, const struct nb_chain *base, size_t count);

#endif
