/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What other owners' rules do to a packet of which some is known: accept it, drop it, or one
 * of both, depending on what is not known.
 */
#ifndef NAT_BRIDGE_FIREWALL_WALK_H
#define NAT_BRIDGE_FIREWALL_WALK_H

#include "chain_list.h"
#include "divert.h"
#include "packet.h"

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

/* Does one rule of @chain match the walk's packet? Nothing is gathered, and nothing changed. */
enum nb_truth nb_walk_matches(struct nb_walk *walk, const struct nb_chain *chain,
			      const struct nftnl_rule *rule);

#endif
