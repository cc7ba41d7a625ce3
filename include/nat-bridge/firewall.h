/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Other owners' firewalls: what keeps a mapping from working where no opener of ours can
 * help. Nothing is changed; this is read to be told.
 */
#ifndef NAT_BRIDGE_FIREWALL_H
#define NAT_BRIDGE_FIREWALL_H

#include "nat-bridge/link.h"
#include "nat-bridge/netlink.h"

/* The packets of one mapping on one bridge. Sorted by bridge, many are looked at quickly. */
struct nb_flow_path {
	char bridge[NB_IFNAME_SIZE];
	int index; /* of the bridge; 0 = not known */
	uint8_t protocol;
	uint16_t port; /* that the container dials */
	struct nb_target target;
};

#define NB_OBSTACLE_CURE  512
#define NB_OBSTACLE_NAME  128 /* of a table or a chain; what is longer is cut */
#define NB_OBSTACLE_RULE  256
#define NB_OBSTACLE_WHERE 512
#define NB_OBSTACLE_TEXT  1280

enum nb_obstacle_kind {
	NB_OBSTACLE_DROPS,
	NB_OBSTACLE_MAY_DROP,	  /* some of these packets, or nobody knows */
	NB_OBSTACLE_UNTRACKS,	  /* hides them from connection tracking */
	NB_OBSTACLE_ZONES,	  /* requests and answers are tracked in zones of their own */
	NB_OBSTACLE_DIVERTS,	  /* translates or rewrites them, so that they go elsewhere */
	NB_OBSTACLE_REMARKS,	  /* takes our mark away before a chain that needs it */
	NB_OBSTACLE_REVERSE_PATH, /* a reverse path filter refuses the bridge's own addresses */
	NB_OBSTACLE_CLASHES,	  /* a rule uses the bit of the mark; it drops nothing */
};

/* What keeps packets of a mapping, or their answers, from their way. */
struct nb_obstacle {
	enum nb_obstacle_kind kind;
	struct nb_flow_path path; /* whose packets; of a clash nobody's */
	bool answers;		  /* it is the answers that do not get through */
	uint8_t family;		  /* NFPROTO_* of the chain; 0: it is no rule of nf_tables */
	bool legacy;		  /* a chain of iptables-legacy */
	bool owned;		  /* in a table of a process, which nobody else may change */
	char table[NB_OBSTACLE_NAME], chain[NB_OBSTACLE_NAME];
	uint64_t handle; /* 0: the policy; of iptables-legacy the rule's number, from 1 */
	char rule[NB_OBSTACLE_RULE];
	char where
		[NB_OBSTACLE_WHERE]; /* the same in words: "rule 7 of chain ip filter INPUT (...)" */
	char cure[NB_OBSTACLE_CURE]; /* a command, or what to do */
	char program[64];	     /* who most likely made that chain; "" = nobody can tell */
	/* of a clash */
	uint32_t mark;	 /* our bits */
	const char *use; /* what is done with them: "asks for it"; NULL with @whole */
	bool whole;	 /* they change what somebody sees who compares the whole mark */
	size_t more;	 /* so many rules beside it */
	/* of a diversion: where to; address 0: one of the host, both 0: not known */
	struct nb_target diverted_to;
};

struct nb_obstacle_list {
	struct nb_obstacle *items;
	size_t count;
};

/*
 * Find what stands in the way of these packets where no opener of ours can help: rules that drop
 * them or their answers, send them elsewhere, hide them from connection tracking, take our mark away or use its bit; a
 * reverse path filter. One rule may be named for each of many paths. What cannot be read is left out.
 * Appends to @ret, which is to be zeroed; free with nb_obstacle_list_clear(). 0 or -ENOMEM.
 */
int nb_firewall_find(struct nb_netlink *nl, uint32_t mark, const struct nb_flow_path *paths,
		     size_t count, struct nb_obstacle_list *ret, struct nb_error *err);
void nb_obstacle_list_clear(struct nb_obstacle_list *list);
/* What it does, in one line; nb_obstacle_text() also says the cure. Both return @buffer. */
char *nb_obstacle_what(const struct nb_obstacle *obstacle, char *buffer, size_t size);
char *nb_obstacle_text(const struct nb_obstacle *obstacle, char *buffer, size_t size);

/*
 * What is to be said of one rule or policy that was seen to drop packets of @path: fills @ret, whose
 * family, table, chain, handle (0: the policy) and `answers` are given, with text, program
 * and cure. Returns 0, -ENOENT if it is not there any more, or -ENOMEM.
 */
int nb_firewall_explain(struct nb_netlink *nl, uint32_t mark, const struct nb_flow_path *path,
			struct nb_obstacle *ret, struct nb_error *err);
/* Does iptables-legacy have a table in use? */
bool nb_firewall_has_legacy(void);

/* Warn of each. */
void nb_obstacle_warn(const struct nb_obstacle_list *list, struct nb_warnings *warnings);
/* Find the same, and warn of it: of what one command mends once, and of the first ones. */
int nb_firewall_advise(struct nb_netlink *nl, uint32_t mark, const struct nb_flow_path *paths,
		       size_t count, struct nb_warnings *warnings, struct nb_error *err);

/* What a chain does to these packets, from good to bad. */
enum nb_passage {
	NB_PASSES_UNSEEN, /* they do not come there */
	NB_PASSES,
	NB_PASSES_PERHAPS, /* it may drop some, or nobody knows */
	NB_PASSES_NOT,	   /* those of some mapping it drops, or hides from connection tracking */
};

/* A base chain of somebody else on the way of mappings' packets or of their answers. */
struct nb_firewall_chain {
	const char *family; /* "ip", "inet", "bridge", "netdev" */
	char *table, *chain;
	const char *hook; /* "ingress", "prerouting", "input", "output", "postrouting", "egress" */
	int32_t priority;
	bool legacy;	  /* of iptables-legacy */
	bool owned;	  /* its table belongs to a process: nobody else may change it */
	bool opener;	  /* our accept rule is in it */
	char program[64]; /* who most likely made it, by its names; "" = they do not say */
	enum nb_passage passage;
};

struct nb_firewall_list {
	struct nb_firewall_chain *items; /* in the order of the way, so by priority in a hook */
	size_t count;
};

/*
 * Which chains are there, and does each let the packets through, as the rules are now? @paths
 * as for nb_firewall_advise(). Returns 0 or a negative errno (-EAGAIN: they changed meanwhile, ask
 * again). @ret is zeroed first; free with nb_firewall_list_clear(), also after a failure.
 */
int nb_firewall_overview(struct nb_netlink *nl, uint32_t mark, const struct nb_flow_path *paths,
			 size_t count, struct nb_firewall_list *ret);
/* The same, and from the same reading what nb_firewall_find() would append to @obstacles. */
int nb_firewall_survey(struct nb_netlink *nl, uint32_t mark, const struct nb_flow_path *paths,
		       size_t count, struct nb_firewall_list *ret,
		       struct nb_obstacle_list *obstacles);
void nb_firewall_list_clear(struct nb_firewall_list *list);

#endif
