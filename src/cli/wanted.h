/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the rule files ask of the kernel: shared by `apply` and `check`. */
#ifndef NAT_BRIDGE_WANTED_H
#define NAT_BRIDGE_WANTED_H

#include "cli.h"

/* A network that has no bridge now, and why. */
struct nb_absence {
	struct nb_network network;
	char why[NB_ENGINE_WHY];
};

/* Filled anew for each state that is read. */
struct nb_wanted {
	struct nb_row_list live;    /* mappings that shall be in the kernel */
	struct nb_row_list pending; /* bridge absent */
	struct nb_finding *refused; /* mappings that their bridge cannot carry */
	size_t refused_count;
	struct nb_error refusal; /* of the first of them */
	uint64_t digest;	 /* of what the rule files ask, runtime mappings aside */
	bool timed;		 /* some of it has a life span */
	bool keep_going;	 /* leave the refused out instead of failing */
	bool keep_refused;	 /* what is there of the refused is no finding of its own */
	const char *about;	 /* NULL, or a NETWORK: for struct nb_resolver */
	bool keep_all; /* while a file cannot be read withdraw nothing, whatever it mentions */
	/* runtime mappings to bring back; or NULL. Borrowed. */
	const struct nb_element_list *remembered;
	struct nb_element_list runtime; /* those that shall be in the kernel */
	struct nb_recall recall;	/* what networks of engines are now */
	int64_t next_end; /* when the next mapping of a rule file ends, seconds; 0: none does */
	struct nb_absence *absences; /* of the networks that are pending */
	size_t absence_count;
	char **bridges; /* what the rows of live point to */
	size_t bridge_count;
};

/*
 * A build function for struct nb_goal: the desired state is that of the valid
 * rule files and of runtime mappings. @data is a struct nb_wanted.
 */
int nb_wanted_build(struct nb_run *run, const struct nb_state *state, struct nb_desired *desired,
		    void *data);
void nb_wanted_clear(struct nb_wanted *wanted);

/*
 * run->error says why @mapping cannot be. With --keep-going it is left out (0); otherwise, and
 * for what went wrong in finding out, that is the end.
 */
int nb_wanted_refuse(struct nb_run *run, struct nb_wanted *wanted,
		     const struct nb_mapping *mapping);
/*
 * Two networks on one bridge, and one port that leads to two targets: both are refused, apart
 * from one that is live.
 */
int nb_wanted_settle_conflicts(struct nb_run *run, const struct nb_state *state,
			       struct nb_desired *desired, struct nb_wanted *wanted);
/* Append what removals that were not finished were about, by bridge. */
int nb_wanted_unfinished(struct nb_resolver *resolver, struct nb_element_list *ret);
/* Without --keep-going: the first invalid file as the error, the others as warnings. */
int nb_wanted_require_valid(struct nb_run *run);
/* The rules directory is gone while its mappings are live: that is a mistake, not a wish. */
int nb_wanted_require_directory(struct nb_run *run, const struct nb_state *state);
/* --strict: a pending mapping is the error. */
int nb_wanted_require_bridges(struct nb_run *run, const struct nb_wanted *wanted);
/* One warning for each network that has no bridge now; with @only for that one alone. */
void nb_wanted_warn_pending(struct nb_run *run, const struct nb_wanted *wanted,
			    const struct nb_network *only);

#endif
