/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * (desired, state) -> plan, and the one executor of plans.
 *
 * Planning does no I/O. Undo is no second path: it is planning toward the
 * state from before.
 */
#ifndef NAT_BRIDGE_PLAN_H
#define NAT_BRIDGE_PLAN_H

#include <stdio.h>

#include "nat-bridge/flow.h"
#include "nat-bridge/ruleset.h"

/* What the kernel shall hold. With a partial state it is only what was asked about. */
struct nb_desired {
	struct nb_element_list elements; /* sorted by nb_desired_finish() */
	struct nb_bridge_list bridges;	 /* of the elements, comments without "previous:" */
	/*
	 * Mappings of an absent bridge: what is there of them may stay (the
	 * guard then stands before the bridge comes back), but nothing is added.
	 */
	struct nb_element_list pending;
	struct nb_bridge_list pending_bridges; /* guards that may stay */
	/* Mappings whose removal was not finished: flows of theirs may live although no element does. */
	struct nb_element_list ended;
	/*
	 * Whoever made it knows all that is asked for: on bridges whose guard falls, or had fallen, no
	 * flow lives on but those of elements, and of
	 */
	bool complete;
	struct nb_element_list spared; /* ... what is asked for, and is not to be put in now */
};

/* Add one mapping on @bridge for @network. The element's expiry is the mapping's until. */
int nb_desired_add(struct nb_desired *desired, const char *bridge,
		   const struct nb_mapping *mapping);
int nb_desired_add_pending(struct nb_desired *desired, const char *bridge,
			   const struct nb_mapping *mapping);
/* A bridge whose mappings have all expired: its guard may stay, but is not made. */
int nb_desired_tolerate(struct nb_desired *desired, const char *bridge);
/* Everything that @state holds, as it is; with @bare_bridges also guards without mappings. */
int nb_desired_from_state(struct nb_desired *desired, const struct nb_state *state,
			  bool bare_bridges);
/* Take all elements of these keys (sorted) out again, and bridges that they leave empty. */
void nb_desired_drop(struct nb_desired *desired, const struct nb_element_list *keys);
void nb_desired_finish(struct nb_desired *desired);
/* A number that changes with any of it (FNV-1a, 64 bits; no cryptography). */
uint64_t nb_desired_digest(const struct nb_desired *desired);
void nb_desired_clear(struct nb_desired *desired);

struct nb_link_step {
	int ifindex;
	char name[NB_IFNAME_SIZE];
	uint32_t route_localnet;
	uint32_t tag;
	bool set_tag;
};

struct nb_ingress_step {
	int ifindex;
	char name[NB_IFNAME_SIZE];
	struct nb_ingress old; /* to replace, or to detach */
};

/* What a difference is about. */
enum nb_drift {
	NB_DRIFT_OTHER, /* what the caller found: a mapping that cannot be, a removal unfinished */
	NB_DRIFT_TABLE, /* missing, damaged or older: nothing works */
	NB_DRIFT_MAPPING, /* missing, or other than it should be */
	NB_DRIFT_ROUTE,	  /* route_localnet of a bridge, or our tag on it */
	NB_DRIFT_GUARD,	  /* one of the guards of a bridge */
	NB_DRIFT_OPENER,  /* missing or misplaced in somebody's chain */
	NB_DRIFT_LEFT, /* left over, or a word that should be another; nobody is kept from anything */
};

/* One difference between desired and state, for `check`. */
struct nb_finding {
	enum nb_drift drift;
	char bridge[NB_IFNAME_SIZE]; /* or "" */
	uint16_t port;		     /* of one mapping; 0: about more than that */
	uint8_t protocol;
	char what[512];
	char network[NB_NETWORK_SIZE]; /* or "" */
	char mend[160];
};

struct nb_plan {
	/* in the order in which they are carried out */
	struct nb_link_step *close; /* tagged devices without a guard: closed at once */
	size_t close_count;
	struct nb_op_list first;	/* guard, elements, openers */
	struct nb_ingress_step *attach; /* filters at ingress */
	size_t attach_count;
	struct nb_link_step *enable;
	size_t enable_count;
	struct nb_flow_match *started; /* UDP mappings whose older flows must be forgotten */
	size_t started_count;
	struct nb_flow_match *ended; /* mappings that are gone: their flows end */
	size_t ended_count;
	struct nb_flow_match *kept; /* what stays where all else of a bridge ends */
	size_t kept_count;
	struct nb_link_step *restore;
	size_t restore_count;
	struct nb_ingress_step *detach;
	size_t detach_count;
	struct nb_op_list second; /* guards that are no longer needed, openers, table */

	struct nb_finding *findings;
	size_t finding_count;

	/* what the operations point to */
	struct nb_element_list elements;
	struct nb_element_list counted; /* the same with the counts of `accepted`, if it has any */
	struct nb_bridge_list bridges;
	struct nb_bridge_list guards;
};

/*
 * @ret is zeroed first. It points into @state: free it first with
 * nb_plan_clear(). Findings are worded only with @explain: 65,000 of them cost
 * more than the rest of a plan.
 */
int nb_plan_make(const struct nb_desired *desired, const struct nb_state *state, bool explain,
		 struct nb_plan *ret, struct nb_warnings *warnings, struct nb_error *err);
/* Does it change what the kernel holds? Flows that end, if there are any, do not count. */
bool nb_plan_changes(const struct nb_plan *plan);
bool nb_plan_is_empty(const struct nb_plan *plan);
/* What every command says of a table of state NB_TABLE_NEWER; returns -errno. */
int nb_plan_refuse_newer(const struct nb_state *state, struct nb_error *err);
/*
 * Let @plan, made for @desired and @state, also end the flows that @earlier had to end, apart from those of
 * mappings that are wanted now. -ENOMEM.
 */
int nb_plan_carry_ended(struct nb_plan *plan, const struct nb_desired *desired,
			const struct nb_state *state, const struct nb_plan *earlier);
void nb_plan_clear(struct nb_plan *plan);
/* An nft script, with the steps that nft cannot say as comments. */
void nb_plan_print(const struct nb_plan *plan, uint32_t mark, int64_t now, FILE *out);

/*
 * How far a plan came. An executor that fails after the first batch tells its
 * caller, who decides whether to undo or only to report.
 */
struct nb_outcome {
	bool changed;	     /* something was changed */
	bool committed;	     /* a batch is in the kernel, or may be: its answer was lost */
	uint32_t generation; /* of the ruleset, when the plan was carried out */
	char vanished[NB_IFNAME_SIZE]; /* a bridge that was gone when it was to be enabled */
	/* why no filter can be attached on this kernel, as was found when one was; "": it can */
	char unfiltered[96];
	struct nb_device_changes devices; /* what was done to them */
};

/*
 * Carry out @plan, which was made for @state. -EAGAIN: the ruleset changed;
 * read and plan again (outcome says what had been done).
 */
int nb_plan_execute(struct nb_netlink *nl, const struct nb_plan *plan, const struct nb_state *state,
		    uint32_t mark, struct nb_outcome *outcome, struct nb_warnings *warnings,
		    struct nb_error *err);

/* Milliseconds since the epoch, and on the monotonic clock. */
int64_t nb_now_ms(void);
int64_t nb_monotonic_ms(void);

#endif
