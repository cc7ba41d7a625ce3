/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * When the watcher looks again. Pure: times come in as milliseconds of the monotonic clock.
 *
 * What happens after some quiet is acted upon at once. Looks take a fifth of a processor at most (to wait for an engine
 * costs nothing),
 * and where each of them finds that something has happened meanwhile the distance
 * between two grows to a second. Where each look has to mend the same again and again,
 * somebody undoes what we do: then it grows to a minute, until there was nothing to mend for
 * some time.
 */
#ifndef NAT_BRIDGE_PACE_H
#define NAT_BRIDGE_PACE_H

#include <stdbool.h>
#include <stdint.h>

#define NB_PACE_SHORTEST_MS 20
#define NB_PACE_STORM_MS    1000  /* longest distance while events go on */
#define NB_PACE_FIGHT_MS    60000 /* and in a fight, or where looks fail, */
#define NB_PACE_FIGHTS	    15	  /* which so many mends make, */
#define NB_PACE_WITHIN_MS   60000 /* in this time; the distance then begins with */
#define NB_PACE_BEGIN_MS    250
#define NB_PACE_QUIET_MS    10000 /* and so long without a mend, beside twice the distance, ends it */

struct nb_pace {
	int64_t last;	  /* when the last look ended, 0: never */
	int64_t distance; /* to the next one */
	bool waits;	  /* the next one has to wait for that */
	bool waited;	  /* and so had the one that is under way */
	int64_t first;	  /* mend of those that are counted, */
	int64_t mended;	  /* and the last one */
	unsigned int mends;
	bool fighting;
};

/* The earlier of two moments, of which 0 is never. */
int64_t nb_pace_earlier(int64_t a, int64_t b);
/* Something happened @now. When may the next look begin? */
int64_t nb_pace_next(struct nb_pace *pace, int64_t now);
/* It begins. What nb_pace_next() is asked from now on is about the one behind it. */
void nb_pace_begin(struct nb_pace *pace);
/*
 * A look that took @cost milliseconds of a processor ended @now: it mended what somebody else had broken, or
 * not; it failed, or not. Returns true where this makes a fight of it.
 */
bool nb_pace_note(struct nb_pace *pace, int64_t cost, int64_t now, bool mended, bool failed);

#endif
